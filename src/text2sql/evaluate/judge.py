"""A language model as judge: SQL, reasoning, format and educational value, 1 to 5, for answers that are explained.

Execution says whether SQL is right; whether an explanation helps somebody, only a reader can say. Judging costs money
and hours, so every judgement is appended to ``judgements.jsonl`` as it comes: a run that was killed goes on there, and
starting again asks for what failed only. A judgement belongs to its exact prompt and model, never to a file name.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from text2sql.artifacts import digest
from text2sql.errors import UserError
from text2sql.evaluate.judgements import Judgement, journal, read_judgements, summarize
from text2sql.evaluate.reply import UnreadableReplyError, read_reply
from text2sql.evaluate.report import write_sections
from text2sql.evaluate.score import pair
from text2sql.generate.endpoint import EndpointEngine, NoAnswerError
from text2sql.generate.types import Decoding, EngineSettings, Request
from text2sql.prompts import AnswerFormat, JudgeLanguage, Message, judge_again, judge_messages
from text2sql.recipe import STRICT
from text2sql.records import Example, read_jsonl

logger = logging.getLogger(__name__)

_SERVER = ("connection", "status_", "no_chat", "timeout")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class JudgeOptions:
    """Keys of a judge's recipe.

    ``base_urls`` are OpenAI-compatible servers, ``model`` the judge's name there (empty: the only one served), the key is
    read from ``OPENAI_API_KEY``. ``answer_format`` is the form that the completions were asked for, ``language`` the
    judge's. A request may take ``timeout`` seconds and is sent ``retries`` times more where a server fails; a reply that
    cannot be read is asked for again, ``attempts`` times in all. ``batch_size`` requests are in flight at each server.
    """

    examples: Path
    predictions: Path
    output_dir: Path
    base_urls: list[str]
    model: str = ""
    language: JudgeLanguage = "en"
    answer_format: AnswerFormat = "process"
    limit: int | None = None
    attempts: int = 3
    timeout: float = 120.0
    retries: int = 4
    batch_size: int = 8
    temperature: float = 0.0
    max_new_tokens: int = 512
    enable_thinking: bool | None = False
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class _Item:
    key: str
    question_id: str
    sample: int
    messages: list[Message]


def judge(options: JudgeOptions) -> dict[str, Any]:
    """Judge a predictions file; returns the section ``judge`` that it writes into ``evaluation_report.json``.

    Raises:
        UserError: inputs are missing, no server answers (any more), or not one reply could be used.
    """
    if options.attempts < 1 or options.batch_size < 1:
        raise UserError("attempts and batch_size are 1 or more")
    decoding = Decoding(temperature=options.temperature, max_new_tokens=options.max_new_tokens, seed=options.seed)
    settings = EngineSettings(
        options.model, engine="openai", base_urls=tuple(options.base_urls), batch_size=options.batch_size,
        enable_thinking=options.enable_thinking,
    )  # fmt: skip
    if not options.base_urls:
        raise UserError("base_urls: name a server, for example base_urls=[http://localhost:8000/v1]")
    with EndpointEngine(settings, options.timeout, options.retries) as engine:
        items = _items(options, engine.model)
        with journal(options.output_dir) as file:
            known = read_judgements(file)
            rest = [item for item in items if item.key not in known or known[item.key].scores is None]
            if len(rest) < len(items):
                logger.info("%d of %d completions are judged already", len(items) - len(rest), len(items))
            for judgement in _judge_all(engine, rest, options, decoding):
                known[judgement.key] = judgement
                file.write(json.dumps(asdict(judgement), ensure_ascii=False) + "\n")
                file.flush()
        model = engine.model
    section = summarize([known[item.key] for item in items], model, options.language)
    write_sections(options.output_dir, digest(options.examples, options.predictions), {"judge": section})
    if not section["judged"]:
        raise UserError(f"judge: not one of {len(items)} completions could be judged: {_named(section['failed'])}")
    return section


def _items(options: JudgeOptions, model: str) -> list[_Item]:
    examples = list(read_jsonl(options.examples, Example))[: options.limit]
    if not examples:
        raise UserError(f"{options.examples}: no examples in it")
    predictions, items = pair(examples, options.predictions), []
    for example in examples:
        for row in predictions[example.question_id]:
            messages = judge_messages(example, row.text or row.pred, options.answer_format, options.language)
            about = json.dumps([model, example.question_id, row.sample, messages], ensure_ascii=False)
            key = hashlib.sha256(about.encode("utf-8", "replace")).hexdigest()[:24]
            items.append(_Item(key, example.question_id, row.sample, messages))
    return items


def _judge_all(
    engine: EndpointEngine, items: Sequence[_Item], options: JudgeOptions, decoding: Decoding
) -> Iterator[Judgement]:
    """Judgements as they come.

    Raises:
        UserError: so many requests in a row failed that the servers must be gone.
    """
    flying = options.batch_size * len(engine.clients)
    most, in_a_row = max(2 * flying, 10), 0
    pool = ThreadPoolExecutor(flying)
    columns = (
        TextColumn("judging"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns) as progress:
        task, failed = progress.add_task("judging", total=len(items), note=""), 0
        try:
            waiting = [pool.submit(_judge_one, engine, item, options, decoding, i) for i, item in enumerate(items)]
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


def _judge_one(engine: EndpointEngine, item: _Item, options: JudgeOptions, decoding: Decoding, turn: int) -> Judgement:
    messages, attempt = item.messages, 0
    while True:
        attempt += 1
        try:
            reply = engine.answer(Request(item.key, messages), decoding, turn)[0]
            if reply.finish_reason == "prompt_too_long":
                return _failed(item, "prompt_too_long", "longer than the judge can read", attempt)
            found = read_reply(reply.text)
        except UnreadableReplyError as problem:
            reason = "cut_off" if reply.finish_reason == "length" else problem.reason
            if attempt >= options.attempts:
                return _failed(item, reason, f"{problem}: {reply.text[-200:]!r}", attempt)
            messages = [*item.messages, *judge_again(reply.text, str(problem), options.language)]
        except NoAnswerError as error:
            return _failed(item, error.reason, str(error), attempt)
        except UserError as error:
            return _failed(item, "refused", str(error), attempt)
        else:
            return Judgement(item.key, item.question_id, item.sample, found.scores, found.comment, attempts=attempt)


def _failed(item: _Item, reason: str, detail: str, attempts: int) -> Judgement:
    return Judgement(item.key, item.question_id, item.sample, None, "", reason, detail[:500], attempts)


def _named(failed: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in failed.items())
