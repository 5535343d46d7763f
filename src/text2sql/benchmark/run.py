"""Runs the sets one after another: prepare, answer, vote, score. What is finished is kept, so a stopped run goes on."""

import json
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from sqleval.report.tally import Comparison, compare_paired
from text2sql.benchmark.options import BenchmarkOptions, TestSet
from text2sql.data.prepare import prepare
from text2sql.errors import UserError
from text2sql.evaluate.answers import EvaluateOptions
from text2sql.evaluate.score import Report, evaluate
from text2sql.generate import Engine, EngineSettings, open_engine
from text2sql.infer import InferOptions, Opener, infer
from text2sql.recipe import load_recipe
from text2sql.select.candidates import SelectOptions
from text2sql.select.choose import select

logger = logging.getLogger("text2sql.benchmark")


@dataclass(frozen=True)
class Result:
    """One figure: a set, a way of answering (``greedy``, ``vote_8``), a protocol; ``paired`` compares the other run (first)
    with this one (second) on the same questions."""

    name: str
    title: str
    way: str
    protocol: str
    report: Report
    paired: Comparison | None = None


@dataclass(frozen=True)
class Outcome:
    """What was measured, and the sets that were left out with the reason."""

    results: list[Result]
    skipped: dict[str, str]


def benchmark(options: BenchmarkOptions) -> Outcome:
    """Measure a model on every set that is there.

    Raises:
        UserError: the model or the other run is missing, or no set is there.
    """
    results: list[Result] = []
    skipped: dict[str, str] = {}
    with ExitStack() as stack:
        opened = _opened_once(stack)
        for name in options.only or options.sets:
            test = options.sets[name]
            reason = _unprepared(test)
            if reason is not None:
                skipped[name] = reason
                continue
            there = {protocol: root for protocol, root in test.protocols.items() if root.is_dir()}
            skipped |= {f"{name}, {p}": f"no databases at {r}" for p, r in test.protocols.items() if p not in there}
            if there:
                logger.info("%s", test.title)
                results += _measured(options, name, replace(test, protocols=there), opened)
    if not results:
        raise UserError("no set of the recipe is there: " + "; ".join(f"{k}: {why}" for k, why in skipped.items()))
    return Outcome(results, skipped)


def _opened_once(stack: ExitStack) -> Opener:
    """Opens the engine when it is first needed and keeps it until the end: loading a model takes longer than many sets."""
    kept: list[Engine] = []

    def opener(settings: EngineSettings) -> AbstractContextManager[Engine]:
        if not kept:
            kept.append(stack.enter_context(open_engine(settings)))
        return nullcontext(kept[0])

    return opener


def _unprepared(test: TestSet) -> str | None:
    """Why a set has no examples; they are prepared first where their source is there."""
    if test.examples.is_file():
        return None
    if test.prepare is None:
        return f"{test.examples} is not there; prepare it (bash scripts/prepare_data.sh RECIPE)"
    try:
        prepare(load_recipe(test.prepare.recipe, test.prepare.overrides), str(test.prepare.recipe))
    except UserError as error:
        return str(error)
    return None if test.examples.is_file() else f"{test.prepare.recipe} does not write {test.examples}"


def _measured(options: BenchmarkOptions, name: str, test: TestSet, opened: Opener) -> Iterator[Result]:
    folder = options.output_dir / name
    protocol, root = next(iter(test.protocols.items()))
    greedy = infer(_infer_options(options, test, folder / "greedy/predictions.jsonl"), opened)
    answers = {"greedy": greedy}
    if options.samples:
        sampled = _infer_options(options, test, folder / "samples.jsonl", options.samples)
        voted = SelectOptions(
            examples=test.examples,
            predictions=[infer(sampled, opened)],
            greedy=greedy,
            database_root=root,
            output_dir=folder / f"vote_{options.samples}",
            protocol="bird-ex" if protocol.startswith("bird") else protocol,  # type: ignore[arg-type]
            score=False,
            **{key: getattr(options, key) for key in ("limit", "values", "repair", "instances", "jobs", "timeout")},
        )
        select(voted)
        answers[voted.output_dir.name] = voted.output_dir / "predictions.jsonl"
    for way, predictions in answers.items():
        for number, (protocol, root) in enumerate(test.protocols.items()):
            where = Path(name, way, protocol)
            report = evaluate(_evaluate_options(options, test, predictions, where, root, first=number == 0))
            yield Result(name, test.title, way, protocol, report, _paired(options, where))


def _infer_options(options: BenchmarkOptions, test: TestSet, output: Path, samples: int = 0) -> InferOptions:
    shared = ("answer_format", "system_prompt", "max_new_tokens", "seed", "limit")
    sampling = {"temperature": options.temperature, "n": samples} if samples else {}
    keys = {**options.engine_keys(), **{key: getattr(options, key) for key in shared}, **sampling}
    return InferOptions(examples=test.examples, output=output, **keys)


def _evaluate_options(
    options: BenchmarkOptions, test: TestSet, predictions: Path, where: Path, root: Path, first: bool
) -> EvaluateOptions:
    name, way, protocol = where.parts
    row = f"{options.experiment}.{name}.{way}" + ("" if first else f".{protocol.replace('-', '_')}")
    return EvaluateOptions(
        examples=test.examples,
        predictions=predictions,
        output_dir=options.output_dir / where,
        database_root=root,
        protocol=protocol,  # type: ignore[arg-type]
        repair=options.repair and way == "greedy",  # what votes was repaired before
        experiment=row if options.experiment else None,
        split=name,
        once=True,
        **{key: getattr(options, key) for key in ("limit", "jobs", "timeout", "profile", "seed", "ledger")},
    )


def _paired(options: BenchmarkOptions, where: Path) -> Comparison | None:
    """The other run against this one, on the questions that both answered; None where the other has not this figure."""
    if options.against is None:
        return None
    if not options.against.is_dir():
        raise UserError(f"against: {options.against} is not there; it is the output_dir of another model's run")
    other = options.against / where / "verdicts.jsonl"
    if not other.is_file():
        logger.warning("%s is not there: %s is not compared", other, where)
        return None
    theirs, ours = _scores(other), _scores(options.output_dir / where / "verdicts.jsonl")
    if theirs.keys() != ours.keys():
        raise UserError(f"{other} answers other questions than {options.output_dir / where}; give both the same limit")
    return compare_paired(list(theirs.values()), [ours[key] for key in theirs])


def _scores(path: Path) -> dict[str, float]:
    """Each question's verdict as a number."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {row["question_id"]: float(row["score"]) for row in rows}
