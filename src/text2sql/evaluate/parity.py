"""Is a run that was spread over processes the same training as on one? Losses step by step, and answers after it.

Both runs start from the same weights, read the same examples in the same order with the same global batch, and compute in
float32, so that what differs is the order of sums.
"""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from text2sql import ledger
from text2sql.errors import UserError
from text2sql.evaluate.options import EvaluateOptions
from text2sql.evaluate.score import evaluate
from text2sql.infer import InferOptions, infer
from text2sql.recipe import load_recipe, options_from
from text2sql.records import Prediction, read_jsonl

logger = logging.getLogger(__name__)

Curve = dict[int, float]


@dataclass(frozen=True)
class Trained:
    """A finished run: its output folder, and what answers questions: a model, and perhaps an adapter of it."""

    run: Path
    model: Path
    adapter: Path | None = None


@dataclass(frozen=True)
class Parity:
    """The first step's absolute difference of losses, the largest relative one of any step, accuracies, equal answers."""

    first_step_difference: float
    max_relative_difference: float
    steps: int
    execution_accuracy_single: float
    execution_accuracy: float
    same_answers: float


def read_curve(run: Path) -> Curve:
    """Training loss by step, as the trainer logged it in a run's ``trainer_state.json``, or so far in its log.

    Raises:
        UserError: nothing was logged.
    """
    state, log = run / "trainer_state.json", run / "trainer_log.jsonl"
    if state.is_file():
        rows = json.loads(state.read_text(encoding="utf-8"))["log_history"]
    elif log.is_file():
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    else:
        raise UserError(f"{run}: no trainer_state.json or trainer_log.jsonl; train first")
    curve = {int(row.get("step", row.get("current_steps"))): float(row["loss"]) for row in rows if "loss" in row}
    if not curve:
        raise UserError(f"{run}: no losses were logged; train with logging_steps=1")
    return curve


def compare_curves(single: Curve, spread: Curve) -> tuple[float, float]:
    """Absolute difference of the first losses, and the largest difference of any step relative to ``single``'s loss.

    Raises:
        UserError: they are not of the same steps.
    """
    if single.keys() != spread.keys():
        raise UserError(
            f"losses of {len(single)} and {len(spread)} steps cannot be compared; log the same steps in both"
        )
    first = min(single)
    worst = max(abs(spread[step] - loss) / abs(loss) for step, loss in single.items())
    return abs(spread[first] - single[first]), worst


def compare(single: Trained, spread: Trained, infer_recipe: Path, evaluate_recipe: Path) -> tuple[Parity, int]:
    """Compare two runs, and what their models answer; also returns the number of questions.

    Raises:
        UserError: a run or a model is missing.
    """
    first, worst = compare_curves(read_curve(single.run), curve := read_curve(spread.run))
    scores, answers = [], []
    for trained in (single, spread):
        accuracy, predictions = _score(trained, infer_recipe, evaluate_recipe)
        scores.append(accuracy)
        answers.append({row.question_id: row.pred for row in read_jsonl(predictions, Prediction)})
    same = sum(answers[0][key] == answers[1][key] for key in answers[0]) / len(answers[0])
    return Parity(first, worst, len(curve), scores[0], scores[1], same), len(answers[0])


def _score(trained: Trained, infer_recipe: Path, evaluate_recipe: Path) -> tuple[float, Path]:
    folder = trained.run / "eval"
    given = [f"model_name_or_path={trained.model}", f"output={folder}/predictions.jsonl", "engine=transformers"]
    given += [f"adapter_name_or_path={trained.adapter}"] if trained.adapter else []
    predictions = infer(options_from(InferOptions, load_recipe(infer_recipe, given), str(infer_recipe)))
    options = load_recipe(evaluate_recipe, [f"output_dir={folder}"])
    report = evaluate(options_from(EvaluateOptions, options, str(evaluate_recipe)))
    return report.overall.accuracy, predictions


def record(
    experiment: str, parity: Parity, n: int, *, words: str, data_hash: str, seconds: float, path: Path = ledger.LEDGER,
    profile: str = "tiny", seed: int = 42,
) -> None:  # fmt: skip
    """Append a ledger row such as ``parity.zero3_lora``; ``words`` say batch, precision and processes."""
    row = ledger.new_row(
        experiment, profile=profile, seed=seed, split="test", n=n, metrics=asdict(parity), data_hash=data_hash, seconds=seconds,
        protocol=f"losses of {parity.steps} steps ({words}) against one process; answers by spider-test-suite",
        decoding="greedy",
    )  # fmt: skip
    ledger.append(path, row)
    logger.info("ledger: %s -> %s", experiment, path)
