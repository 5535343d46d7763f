"""From files of samples to a file of choices, and a report of how good those are."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from text2sql import ledger
from text2sql.artifacts import digest, write_json, write_note
from text2sql.checkpoint.model import fingerprint
from text2sql.evaluate.answers import check_databases
from text2sql.predictions import PredictionFile, note_path
from text2sql.records import Alternative, Candidate, Choice, Example, read_jsonl, write_jsonl
from text2sql.repair import repaired
from text2sql.select.candidates import Questions, SelectOptions, read_candidates
from text2sql.select.instances import write_instances
from text2sql.select.learned import Scoring
from text2sql.select.measure import Line, Measure, measured
from text2sql.select.plot import draw
from text2sql.select.revise import revised
from text2sql.select.run import Runner
from text2sql.select.vote import choose

logger = logging.getLogger("text2sql.select")
_QUESTIONS_AT_ONCE = 16


@dataclass(frozen=True)
class Selection:
    """What was chosen, and the lines of the report (none without ``score``)."""

    choices: list[Choice]
    lines: list[Line]


def select(options: SelectOptions) -> Selection:
    """Choose an answer to each question; writes ``predictions.jsonl`` and ``report.json`` to ``output_dir``.

    ``candidates.jsonl`` there holds every candidate with its group and standing, and is appended to while they are run: a
    run that was stopped goes on, and one with the same inputs runs nothing again.

    Raises:
        UserError: examples, predictions or databases are missing, or do not belong together.
    """
    examples, questions = read_candidates(options)
    check_databases(options.database_root, {example.db_id for example in examples})
    questions = _executed(options, examples, questions)
    score = Scoring(options)
    if options.reward_model is not None:
        questions = _scored(options, examples, questions, score)
    choices = [choose(rows, options.choose) for rows in questions.values()]
    rounds: list[dict[str, Candidate]] = []
    if options.revise is not None:
        first = {key: _candidate(choice, questions[key]) for key, choice in zip(questions, choices, strict=True)}
        rounds = revised(options, options.revise, examples, first, score)
        choices = [_changed(choice, rounds[-1][choice.question_id]) for choice in choices]
    path = options.output_dir / "predictions.jsonl"
    write_note(note_path(path), {**_made_of(options), "decoding_words": _words(options, questions)})
    write_jsonl(path, choices)
    logger.info("choices: %s", path)
    lines = _reported(options, examples, questions, rounds) if options.score else []
    return Selection(choices, lines)


def _candidate(choice: Choice, rows: Sequence[Candidate]) -> Candidate:
    """The candidate that was chosen."""
    return next(row for row in rows if row.pred == choice.pred)


def _changed(choice: Choice, answer: Candidate) -> Choice:
    """The choice with a revision in its place, and itself among the alternatives; without one, as it is."""
    if answer.pred == choice.pred:
        return choice
    others = (Alternative(choice.pred, choice.share), *choice.alternatives)
    return replace(choice, pred=answer.pred, text=answer.text, raw=None, repairs=None, alternatives=others)


def _scored(options: SelectOptions, examples: Sequence[Example], questions: Questions, score: Scoring) -> Questions:
    """The executed candidates with the reward model's scores, from the file where they are known."""
    assert options.reward_model is not None
    made_of = {**_made_of(options), "reward_model": fingerprint(options.reward_model)}
    n = len(next(iter(questions.values())))
    file = PredictionFile(options.output_dir / "scored.jsonl", made_of, n, Candidate)
    with file.claim():
        done = file.open(keep=True)
        rest = [example for example in examples if example.question_id not in done]
        with _progress(len(rest), "scoring") as (progress, task):
            for example in rest:
                file.append(score(example, questions[example.question_id]))
                progress.advance(task)
        file.finish([example.question_id for example in examples])
        return _read(file, questions)


def _made_of(options: SelectOptions) -> dict[str, Any]:
    """What the executed candidates depend on."""
    files = [options.greedy, *options.predictions] if options.greedy else options.predictions
    keys = ("repair", "values", "instances", "protocol", "timeout", "limit")
    return {
        "examples": digest(options.examples),
        "predictions": [digest(path) for path in files],
        "database_root": str(options.database_root),
        **{key: getattr(options, key) for key in keys},
    }


def _words(options: SelectOptions, questions: Questions) -> str:
    """How the choices were made, as result tables show it."""
    n = len(next(iter(questions.values()))) - (options.greedy is not None)
    ways = {"vote": f"vote of {n}", "reward_model": f"best of {n} by reward model", "weighted": f"weighted vote of {n}"}
    parts = [ways[options.choose], "and the greedy answer" * (options.greedy is not None)]
    parts += [f"on {options.instances} fuzzed instances" * (options.instances > 0), "after repair" * options.repair]
    parts += [f"and {options.revise.rounds} rounds of revision"] if options.revise else []
    return " ".join(filter(None, parts))


def _executed(options: SelectOptions, examples: Sequence[Example], questions: Questions) -> Questions:
    """The candidates with group and standing, from the file where they are known."""
    n = len(next(iter(questions.values())))
    file = PredictionFile(options.output_dir / "candidates.jsonl", _made_of(options), n, Candidate)
    with file.claim():
        done = file.open(keep=True)
        # One database after the other, so that its files stay open.
        rest = sorted((rows for key, rows in questions.items() if key not in done), key=lambda rows: rows[0].db_id)
        if rest:
            _execute(options, questions, rest, file)
        file.finish([example.question_id for example in examples])
        return _read(file, questions)


def _read(file: PredictionFile, questions: Questions) -> Questions:
    found: Questions = {key: [] for key in questions}
    for row in read_jsonl(file.path, Candidate):
        if row.question_id in found:
            found[row.question_id].append(row)
    return found


def _execute(options: SelectOptions, questions: Questions, rest: list[list[Candidate]], file: PredictionFile) -> None:
    """Run what is left, and append it to the file question by question."""
    runner = Runner(
        options.database_root,
        options.protocol,
        instances=_instances(options, questions) if options.instances else None,
        values=options.values,
        jobs=options.jobs,
        timeout=options.timeout,
    )
    size = max(_QUESTIONS_AT_ONCE, 4 * options.jobs)
    with runner, _progress(len(rest), "executing") as (progress, task):
        for start in range(0, len(rest), size):
            part = rest[start : start + size]
            if options.repair:
                part = [[repaired(row, options.database_root) for row in rows] for rows in part]
            for rows in runner.run(part):
                file.append(rows)
                progress.advance(task)


def _instances(options: SelectOptions, questions: Questions) -> Path:
    every = (row for rows in questions.values() for row in rows)
    return write_instances(options.database_root, every, options.instances, options.output_dir / "instances")


@contextmanager
def _progress(total: int, words: str) -> Iterator[tuple[Progress, Any]]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(TextColumn(words), *columns) as progress:
        yield progress, progress.add_task(words, total=total)


def _reported(
    options: SelectOptions, examples: Sequence[Example], questions: Questions, rounds: Sequence[dict[str, Candidate]]
) -> list[Line]:
    how = Measure(options.database_root, options.protocol, options.jobs, options.timeout, options.greedy is not None)
    lines, seconds = measured(examples, questions, how, rounds)
    draw(lines, options.output_dir / "choices.png")
    write_json(options.output_dir / "report.json", [asdict(line) for line in lines])
    for line in lines if options.experiment else ():
        ledger.append(
            options.ledger,
            ledger.new_row(
                f"{options.experiment}.{line.name}",
                profile=options.profile,
                seed=options.seed,
                split=options.split or examples[0].split,
                n=line.score.n,
                protocol=options.protocol,
                decoding=_words(options, questions),
                metrics=line.metrics(),
                data_hash=digest(options.examples),
                seconds=seconds,
            ),
        )
    return lines
