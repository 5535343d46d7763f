"""``USE_MCA=1`` through llamafactory-cli, tensor-parallel over two processes, has Hugging Face's losses; and comes back.

Runs where mcore_adapter is installed (its home is the folder mcore_adapter of the repository alibaba/ROLL; the package
index has only another project's). On a machine without CUDA it runs on CPUs through tests/megatron_shim.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from text2sql.evaluate.parity import compare_curves, read_curve
from text2sql.megatron.keys import OWN
from text2sql.megatron.packages import adapter_is_here
from tiny_model import make_model

ROOT = Path(__file__).parents[1]
STEPS = 6
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not adapter_is_here(), reason="mcore_adapter (alibaba/ROLL, folder mcore_adapter) is not installed"
    ),
]

# What a process of torchrun's needs on a CPU beside the shim: random state by the names that the adapter asks for, and a
# copy of float32 logits, which Megatron's loss changes in place although the adapter's hook has made them a view.
SITE = """
import os
if "LOCAL_RANK" in os.environ and os.environ.get("USE_MCA"):
    import torch
    if not torch.cuda.is_available():
        import megatron_shim
        torch.cpu.get_rng_state, torch.cpu.set_rng_state = torch.get_rng_state, torch.set_rng_state
    from megatron.core.tensor_parallel.cross_entropy import VocabParallelCrossEntropy as Loss
    theirs = Loss.calculate_logits_max
    Loss.calculate_logits_max = staticmethod(lambda logits: theirs(logits.clone()))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    make_model(folder / "base", layers=4, vocab_size=448)
    turns = [("How many shops?", "SELECT count(*) FROM shop;"), ("Names of all shops?", "SELECT name FROM shop;")] * 12
    rows = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in turns]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    info = json.loads((ROOT / "data/dataset_info.json").read_text(encoding="utf-8"))["toy_train"]
    (folder / "dataset_info.json").write_text(
        json.dumps({"rows": info | {"file_name": "rows.jsonl"}}), encoding="utf-8"
    )
    (folder / "site").mkdir()
    (folder / "site/sitecustomize.py").write_text(SITE, encoding="utf-8")
    return folder


def train(place: Path, name: str, tensor: int = 0) -> Path:
    """The tiny Megatron recipe for a few steps in float32; ``tensor`` 0 trains the same by Hugging Face in one process."""
    recipe = yaml.safe_load((ROOT / "recipes/tiny/full_sft_megatron.yaml").read_text(encoding="utf-8"))
    recipe |= {
        "model_name_or_path": str(place / "base"), "output_dir": str(place / name), "dataset_dir": str(place),
        "dataset": "rows", "use_cpu": True, "bf16": False, "max_steps": STEPS, "warmup_steps": 2, "logging_steps": 1,
        "save_steps": STEPS // 2, "eval_strategy": "no", "report_to": "none", "plot_loss": False, "cutoff_len": 128,
        "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "learning_rate": 1e-3,
    }  # fmt: skip
    del recipe["eval_dataset"]
    given = {"OMP_NUM_THREADS": "1", "DISABLE_VERSION_CHECK": "1", "NPROC_PER_NODE": str(max(tensor, 1))}
    if tensor:
        recipe |= {"tensor_model_parallel_size": tensor, "pipeline_model_parallel_size": 1, "ddp_backend": "gloo"}
        paths = [str(place / "site"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
        given |= {"USE_MCA": "1", "PYTHONPATH": os.pathsep.join(paths)}
    else:
        recipe = {key: value for key, value in recipe.items() if key not in OWN}
        recipe |= {"disable_shuffling": True, "flash_attn": "sdpa", "disable_gradient_checkpointing": True}
    (place / f"{name}.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "llamafactory-cli"), "train", str(place / f"{name}.yaml")]
    environment = os.environ | given | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return place / name


def test_losses_are_hugging_faces_and_the_checkpoint_comes_back(place: Path) -> None:
    from text2sql.megatron.mg2hf import Mg2hfOptions, convert

    single = train(place, "hf")
    for tensor in (1, 2):
        run = train(place, f"tp{tensor}", tensor)
        first, worst = compare_curves(read_curve(single), read_curve(run))
        assert (first, worst) < (2e-4, 2e-4), "logged losses have four decimals"
        report = convert(Mg2hfOptions(run, place / f"tp{tensor}_hf", place / "base", reference=single))
        assert report.adapter_tensors == len(list(_names(place / "base"))), (
            "equal to what the adapter's converter gives"
        )
        assert report.logits_difference is not None


def _names(folder: Path) -> list[str]:
    from text2sql.weights import folder_shapes

    return list(folder_shapes(folder))
