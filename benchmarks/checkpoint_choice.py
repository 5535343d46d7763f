"""Which figure finds the checkpoint that answers best: the loss on held-out rows, or accuracy on held-out questions?

python benchmarks/checkpoint_choice.py --ledger

One run of recipes/tiny/lora_all_sft.yaml keeps all its checkpoints. At each, the loss and the execution accuracy are
measured on the toy validation databases, and the accuracy on the test databases, which nothing was chosen by. Reported are
Spearman's rank correlations of both with test accuracy, and the test accuracy of the checkpoint that each would keep.
Needs the toy data (bash scripts/prepare_data.sh recipes/data/toy.yaml). A stopped measurement goes on where it was.
"""

import json
import time
from pathlib import Path
from typing import Any

from frame import ROOT, ToLedger, record, run, show
from scipy.stats import spearmanr

from sqleval import Evaluator
from text2sql.artifacts import digest
from text2sql.errors import UserError
from text2sql.infer import InferOptions, infer
from text2sql.recipe import load_recipe, options_from
from text2sql.records import Example, Prediction, read_jsonl
from text2sql.train.__main__ import train

RECIPE, INFER = ROOT / "recipes/tiny/lora_all_sft.yaml", ROOT / "recipes/tiny/infer.yaml"
TOY = Path("data/prepared/toy")
BASE = "models/tiny-base"
ACCURACY = "eval_execution_accuracy"


def main(
    steps: int = 400,
    every: int = 20,
    questions: int = 150,
    limit: int = 360,
    output: Path = Path("outputs/bench/checkpoint_choice"),
    seed: int = 42,
    ledger: ToLedger = False,
) -> None:
    """Measure, print, and append to the ledger if asked to."""
    started = time.monotonic()
    train(
        RECIPE,
        [f"{key}={'null' if value is None else value}" for key, value in keys(steps, every, questions, seed).items()]
        + [f"output_dir={output}"],
    )
    state = json.loads((output / "trainer_state.json").read_text(encoding="utf-8"))
    rows = {row["step"]: row for row in state["log_history"] if ACCURACY in row}
    examples = list(read_jsonl(TOY / "examples/test.jsonl", Example))[:limit]
    with Evaluator(TOY / "database", protocol="spider-test-suite") as evaluator:
        test = {step: accuracy(output / f"checkpoint-{step}", examples, evaluator) for step in rows}
    metrics = figures(rows, test)
    cells = [[str(s), f"{rows[s]['eval_loss']:.4f}", f"{rows[s][ACCURACY]:.3f}", f"{test[s]:.3f}"] for s in rows]
    show("Checkpoints of one run", ("loss on val", "accuracy on val", "accuracy on test"), cells)
    show(
        "Chosen by",
        ("rank correlation with test", "test accuracy"),
        [
            [name, f"{metrics[f'spearman_{name}']:.3f}", f"{metrics[f'test_accuracy_by_{name}']:.3f}"]
            for name in ("loss", "answers")
        ],
    )
    if ledger:
        record(
            "toy.checkpoint_choice",
            metrics,
            profile="tiny",
            seed=seed,
            split="test",
            n=len(examples),
            protocol="spider-test-suite",
            decoding="greedy",
            data_hash=digest(TOY / "examples/test.jsonl"),
            seconds=time.monotonic() - started,
        )


def keys(steps: int, every: int, questions: int, seed: int) -> dict[str, Any]:
    """What the run changes in the recipe: every checkpoint is kept, and none is preferred."""
    return {
        "max_steps": steps,
        "eval_steps": every,
        "save_steps": every,
        "save_total_limit": None,
        "load_best_model_at_end": False,
        "early_stopping_steps": None,
        "eval_examples": TOY / "examples/val.jsonl",
        "eval_samples": questions,
        "database_root": TOY / "database",
        "max_new_tokens": 128,
        "seed": seed,
    }


def accuracy(checkpoint: Path, examples: list[Example], evaluator: Evaluator) -> float:
    """The share of test questions that a checkpoint answers, greedily."""
    answers = checkpoint.parent / f"answers/{checkpoint.name}.jsonl"
    given = {
        "model_name_or_path": BASE,
        "adapter_name_or_path": checkpoint,
        "engine": "transformers",
        "output": answers,
    }
    recipe = load_recipe(INFER, [f"{key}={value}" for key, value in (given | {"limit": len(examples)}).items()])
    infer(options_from(InferOptions, recipe, str(INFER)))
    predicted = {p.question_id: p.pred for p in read_jsonl(answers, Prediction)}
    verdicts = evaluator.score_batch([(e.db_id, e.sql, predicted[e.question_id]) for e in examples])
    return sum(verdict.correct for verdict in verdicts) / len(verdicts)


def figures(rows: dict[int, dict[str, float]], test: dict[int, float]) -> dict[str, float]:
    """Rank correlations with test accuracy, and the test accuracy of what each figure chooses; steps are the keys.

    Raises:
        UserError: fewer than three checkpoints, or a figure that never changes, have no correlation.
    """
    ways = {
        "loss": {step: -row["eval_loss"] for step, row in rows.items()},
        "answers": {step: row[ACCURACY] for step, row in rows.items()},
    }
    if len(rows) < 3 or any(len(set(figure.values())) < 2 for figure in (*ways.values(), test)):
        raise UserError("no rank correlation: three checkpoints with different figures are needed; train longer")
    metrics: dict[str, float] = {"checkpoints": len(rows), "test_accuracy_best": max(test.values())}
    for name, figure in ways.items():
        metrics[f"spearman_{name}"] = float(spearmanr(list(figure.values()), [test[s] for s in figure]).statistic)
        metrics[f"test_accuracy_by_{name}"] = test[max(figure, key=lambda step: figure[step])]
    return metrics


if __name__ == "__main__":
    run(main, __doc__)
