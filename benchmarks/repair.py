"""What repair without a model does to published predictions: accuracy before and after, on every file of verdicts.

``python benchmarks/repair.py`` repairs each file, judges what was changed as it was and as it is by Spider's or BIRD's execution
accuracy, and prints a line; "right" starts from the file's official verdicts, since what is unchanged stays right or wrong. The
rules know neither question nor gold, so every file is a test of them. ``gain`` is that of the fully fine-tuned Qwen3-1.7B
(``qwen3_1p7b_tp_dp_P2trainP2``), ``worst`` the smallest gain of any set of predictions (a loss is below 0), in fractions of its
questions. ``--ledger`` appends the row spider.repair_published.
"""

import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agreement import read_rows, verdict_files
from frame import SHARED, Shared, ToLedger, record, run, say

from sqleval import Evaluator, Protocol
from text2sql.artifacts import digest
from text2sql.errors import UserError
from text2sql.repair import repair

FULL_SFT = "qwen3_1p7b_tp_dp_P2trainP2"


@dataclass(frozen=True)
class Effect:
    """A file's questions, how many of its predictions were changed, and how many are right before and after."""

    name: str
    n: int
    changed: int
    before: int
    after: int
    lost: int

    @property
    def gain(self) -> float:
        """In fractions of the questions."""
        return (self.after - self.before) / self.n


def main(files: str = "*", jobs: int = os.cpu_count() or 1, shared: Shared = SHARED, ledger: ToLedger = False) -> None:
    """Score, print, and append the row."""
    if not (shared / "verdicts").is_dir():
        raise UserError(f"{shared}: no verdicts there; set TEXT2SQL_SHARED or --shared")
    started, paths = time.monotonic(), verdict_files(shared / "verdicts", files)
    effects = []
    for path in paths:
        effects.append(effect(path, *setting(shared, path), jobs))
        e = effects[-1]
        say(
            f"{e.name}: n {e.n}, changed {e.changed}, right {e.before} -> {e.after} ({e.lost} lost), {100 * e.gain:+.2f}"
        )
    full = next((e for e in effects if e.name == f"spider_dev/{FULL_SFT}"), None)
    if ledger and full:
        metrics = {"gain": full.gain, "worst": min(e.gain for e in effects), "files": len(effects)}
        metrics |= {"execution_accuracy_raw": full.before / full.n, "execution_accuracy": full.after / full.n}
        add = partial(record, split="dev", n=full.n, protocol="spider-exec", seconds=time.monotonic() - started)
        add("spider.repair_published", {k: round(v, 6) for k, v in metrics.items()}, data_hash=digest(*paths))


def setting(shared: Path, path: Path) -> tuple[Path, Protocol]:
    """The databases of a file, and how its predictions are compared there."""
    if path.parent.name == "bird":
        return shared / "bird/dev_databases", Protocol("bird-ex")
    if path.parent.name.endswith("_suite"):
        return shared / "spider_suite/database", Protocol("spider-test-suite")
    return shared / "spider/database", Protocol("spider-exec")


def effect(path: Path, root: Path, protocol: Protocol, jobs: int) -> Effect:
    """A file's predictions repaired, and the verdicts on those that it changes."""
    rows = read_rows(path)
    texts = [repair(row["pred"], root / row["db_id"] / f"{row['db_id']}.sqlite").sql for row in rows]
    changed = [(row["db_id"], row["gold"], row["pred"], text) for row, text in zip(rows, texts, strict=True)]
    changed = [item for item in changed if item[2] != item[3]]
    with Evaluator(root, protocol, jobs, timeout=30.0) as evaluator:
        verdicts = evaluator.score_batch([(db, gold, sql) for db, gold, *both in changed for sql in both])
    before, after = ([verdict.correct for verdict in verdicts[start::2]] for start in (0, 1))
    lost = sum(one and not other for one, other in zip(before, after, strict=True))
    official = sum(bool(row["ex" if "ex" in row else "exec"]) for row in rows)
    name = f"{path.parent.name}/{path.name.removesuffix('.jsonl.gz')}"
    return Effect(name, len(rows), len(changed), official, official + sum(after) - sum(before), lost)


if __name__ == "__main__":
    run(main, __doc__)
