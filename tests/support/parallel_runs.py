"""Runs of the real training script for tests of several processes: started, watched, killed, and read afterwards."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from support.tiny_model import QUESTIONS, SCHEMA, make_model

ROOT = Path(__file__).parents[2]


def make_world(folder: Path, steps: int, save_steps: int) -> list[str]:
    """A random model that two processes can split, a small data set, and the overrides of a float32 run on them."""
    make_model(folder / "model", layers=2)
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"{SCHEMA}\n{QUESTIONS[i % len(QUESTIONS)]} {i}"},
                {"role": "assistant", "content": f"SELECT name FROM shop WHERE id = {i}"},
            ]
        }
        for i in range(60)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    info = json.loads((ROOT / "data/dataset_info.json").read_text(encoding="utf-8"))["toy_train"]
    (folder / "dataset_info.json").write_text(
        json.dumps({"rows": info | {"file_name": "rows.jsonl"}}), encoding="utf-8"
    )
    keys = f"model_name_or_path={folder / 'model'} dataset_dir={folder} dataset=rows eval_dataset=null bf16=false"
    keys += f" max_steps={steps} save_steps={save_steps} logging_steps=1 warmup_steps=3 learning_rate=1e-3"
    keys += " eval_strategy=no load_best_model_at_end=false early_stopping_steps=null report_to=none"
    return keys.split()


class Training:
    """A script at work; what it prints goes to ``screen``, both streams together."""

    script = "scripts/qwen3_1p7B_train.sh"

    def __init__(self, recipe: str, given: list[str], out: Path, processes: int, **environment: str) -> None:
        self.out, self.screen = out, out.with_name(f"{out.name}.screen")
        command = ["bash", self.script, f"recipes/tiny/{recipe}.yaml", *given, f"output_dir={out}"]
        with self.screen.open("w") as screen:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=screen,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"NPROC_PER_NODE": str(processes)} | environment,
            )

    @property
    def said(self) -> str:
        return self.screen.read_text(encoding="utf-8", errors="replace")

    @property
    def last_line(self) -> str:
        return self.said.rstrip().replace("\r", "\n").splitlines()[-1]

    def wait(self, patience: float = 900) -> int:
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill_everything()
            raise

    def finish(self) -> "Training":
        assert self.wait() == 0, self.said[-3000:]
        return self

    def until_step(self, step: int) -> None:
        log = self.out / "trainer_log.jsonl"
        self.until(lambda: log.is_file() and f'"current_steps": {step},' in log.read_text(encoding="utf-8"))

    def until(self, happened, patience: float = 900) -> None:
        deadline = time.monotonic() + patience
        while not happened():
            assert self.process.poll() is None, self.said[-3000:]
            assert time.monotonic() < deadline, self.said[-3000:]
            time.sleep(0.002)

    def rank(self, number: int) -> int:
        """The process id of a training process."""
        for pid in self.descendants():
            try:
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if f"RANK={number}".encode() in environment:
                return pid
        raise AssertionError(f"no process of rank {number}")

    def descendants(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        found, queue = [], [self.process.pid]
        while queue:
            below = children.get(queue.pop(), [])
            found += below
            queue += below
        return found

    def kill_everything(self) -> None:
        """What a machine that loses power does."""
        for pid in [*self.descendants(), self.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


class SlurmTraining(Training):
    """The Slurm example, which starts the script on every machine."""

    script = "scripts/slurm_train.sbatch"
