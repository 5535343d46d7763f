"""A language model as judge: SQL, reasoning, format and educational value, 1 to 5, for answers that are explained.

Execution accuracy says nothing about explanations. Judging costs money and hours, so every judgement is appended to
``judgements.jsonl`` as it comes: a run that was killed continues there, and a run that is started again asks only for what
failed. A judgement is found again by the digest of its prompt and model, whatever the files are called.
"""

import json
import logging
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from text2sql.artifacts import digest, digest_of, locked
from text2sql.errors import UserError, first_complaint
from text2sql.evaluate.answers import JudgeOptions, join
from text2sql.evaluate.reply import UnreadableReplyError, read_reply
from text2sql.evaluate.score import write_sections
from text2sql.generate.endpoint import EndpointEngine, NoAnswerError
from text2sql.generate.types import Decoding, EngineSettings, Request
from text2sql.prompts import JUDGE_AXES, Message, judge_again, judge_messages

logger = logging.getLogger(__name__)

JUDGEMENTS = "judgements.jsonl"
_SHOWN = 10
_SERVER = ("connection", "status_", "no_chat", "timeout")


@dataclass(frozen=True)
class Judgement:
    """One completion judged: ``scores`` by axis and what is wrong with the SQL (one of :data:`JUDGE_ERRORS`, empty where the
    judge does not say), or the name of the ``failure`` and its ``detail``. ``key`` tells the prompt and the model."""

    key: str
    question_id: str
    sample: int
    scores: dict[str, float] | None
    comment: str = ""
    error_type: str = ""
    failure: str = ""
    detail: str = ""
    attempts: int = 1


_Item = tuple[Judgement, list[Message]]
"""A judgement that is still to be made, and the messages that ask for it."""


def judge(options: JudgeOptions) -> dict[str, Any]:
    """Judge a predictions file; returns the section ``judge`` that it writes into ``evaluation_report.json``.

    Raises:
        UserError: inputs are missing, no server answers (any more), or not one reply could be used.
    """
    settings = EngineSettings(
        options.model,
        engine="openai",
        base_urls=tuple(options.base_urls),
        batch_size=options.batch_size,
        enable_thinking=options.enable_thinking,
    )
    with (
        EndpointEngine(settings, options.timeout, options.retries) as engine,
        _journal(options.output_dir) as (known, append),
    ):
        items, model = _items(options, engine.model), engine.model
        rest = [item for item in items if item[0].key not in known or known[item[0].key].scores is None]
        if len(rest) < len(items):
            logger.info("%d of %d completions are judged already", len(items) - len(rest), len(items))
        for judgement in _judge_all(engine, rest, options):
            known[judgement.key] = judgement
            append(judgement)
    section = _summarize([known[item.key] for item, _ in items], model, options.language)
    write_sections(options.output_dir, digest(options.examples, options.predictions), {"judge": section})
    if not section["judged"]:
        failed = ", ".join(f"{name} {count}" for name, count in section["failed"].items())
        raise UserError(f"judge: not one of {len(items)} completions could be judged: {failed}")
    return section


def _items(options: JudgeOptions, model: str) -> list[_Item]:
    items = []
    how = (options.answer_format, options.language, options.system_prompt)
    for example, row in join(options, options.seed):
        messages = judge_messages(example, row.text or row.pred, *how)
        key = digest_of([model, example.question_id, row.sample, messages])
        items.append((Judgement(key, example.question_id, row.sample, None), messages))
    return items


def _judge_all(engine: EndpointEngine, items: Sequence[_Item], options: JudgeOptions) -> Iterator[Judgement]:
    """Judgements as they come.

    Raises:
        UserError: so many requests in a row failed that the servers must be gone.
    """
    workers = options.batch_size * len(engine.clients)
    most, in_a_row, failed = max(2 * workers, 10), 0, 0
    pool = ThreadPoolExecutor(workers)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    with Progress(TextColumn("judging"), *columns) as progress:
        task = progress.add_task("judging", total=len(items), note="")
        try:
            waiting = [pool.submit(_judge_one, engine, item, options, turn) for turn, item in enumerate(items)]
            for future in as_completed(waiting):
                judgement = future.result()
                yield judgement
                failed += judgement.scores is None
                progress.update(task, advance=1, note=f"{failed} failed" if failed else "")
                in_a_row = in_a_row + 1 if judgement.failure.startswith(_SERVER) else 0
                if in_a_row >= most:
                    raise UserError(
                        f"judge: the last {in_a_row} requests failed ({judgement.detail}); what was judged is kept: mend the "
                        "server or base_urls and start the same command again"
                    )
        finally:
            pool.shutdown(cancel_futures=True)


def _judge_one(engine: EndpointEngine, item: _Item, options: JudgeOptions, turn: int) -> Judgement:
    decoding = Decoding(temperature=options.temperature, max_new_tokens=options.max_new_tokens, seed=options.seed)
    judgement, asked = item
    messages, reason, detail, attempt = asked, "", "", 0
    for attempt in range(1, options.attempts + 1):
        try:
            reply = engine.answer(Request(judgement.key, messages), decoding, turn)[0]
            if reply.finish_reason == "prompt_too_long":
                reason, detail = "prompt_too_long", "longer than the judge can read"
                break
            scores, comment, error = read_reply(reply.text)
        except UnreadableReplyError as problem:
            reason = "cut_off" if reply.finish_reason == "length" else problem.reason
            detail = f"{problem}: {reply.text[-200:]!r}"
            messages = [*asked, *judge_again(reply.text, str(problem), options.language)]
        except UserError as problem:
            reason, detail = problem.reason if isinstance(problem, NoAnswerError) else "refused", str(problem)
            break
        else:
            return replace(judgement, scores=scores, comment=comment, error_type=error, attempts=attempt)
    return replace(judgement, failure=reason, detail=detail[:500], attempts=attempt)


@contextmanager
def _journal(folder: Path) -> Iterator[tuple[dict[str, Judgement], Callable[[Judgement], None]]]:
    """Judgements by key (of several the last), and a function that appends one; held by this run alone.

    Raises:
        UserError: another run holds the file, or a line in it is not a judgement.
    """
    path = folder / JUDGEMENTS
    message = f"{path}: another run is writing there; wait for it, or give another output_dir"
    with locked(folder / f".{JUDGEMENTS}.lock", message), path.open("a+b") as file:
        file.seek(0)
        whole = b"".join(file.read().rpartition(b"\n")[:2])
        file.truncate(len(whole))  # a killed run may have left part of a line

        def append(judgement: Judgement) -> None:
            file.write(json.dumps(asdict(judgement), ensure_ascii=False).encode() + b"\n")
            file.flush()

        yield _read(whole, path), append


def _read(lines: bytes, path: Path) -> dict[str, Judgement]:
    found, adapter = {}, TypeAdapter(Judgement)
    for number, line in enumerate(lines.splitlines(), 1):
        try:
            judgement = adapter.validate_json(line)
        except ValidationError as error:
            problem = first_complaint(error)
            raise UserError(f"{path}:{number}: not a judgement ({problem}); put the file aside") from error
        found[judgement.key] = judgement
    return found


def _summarize(judgements: Sequence[Judgement], model: str, language: str) -> dict[str, Any]:
    """Mean, standard deviation and distribution of each axis over the completions judged; failures by name."""
    scored = [(j, j.scores) for j in judgements if j.scores is not None]
    failed = [j for j in judgements if j.scores is None]
    axes: dict[str, dict[str, Any]] = {}
    for axis in JUDGE_AXES if scored else ():
        values = [scores[axis] for _, scores in scored]
        spread = dict(sorted(Counter(f"{round(value)}" for value in values).items()))
        axes[axis] = {"mean": statistics.fmean(values), "std": statistics.pstdev(values), "distribution": spread}
    lowest = sorted(scored, key=lambda pair: sum(pair[1].values()))[:_SHOWN]
    return {
        "model": model,
        "language": language,
        "completions": len(judgements),
        "judged": len(scored),
        "asked_again": sum(j.attempts > 1 for j in judgements),
        "failed": dict(Counter(j.failure for j in failed).most_common()),
        "scores": axes,
        "error_types": dict(Counter(j.error_type or "not said" for j, _ in scored).most_common()),
        "overall": statistics.fmean(value["mean"] for value in axes.values()) if axes else None,
        "lowest": [
            {
                "question_id": j.question_id,
                "sample": j.sample,
                **scores,
                "error_type": j.error_type,
                "comment": j.comment,
            }
            for j, scores in lowest
        ],
        "failures": [
            {key: getattr(j, key) for key in ("question_id", "sample", "failure", "detail")} for j in failed[:_SHOWN]
        ],
    }
