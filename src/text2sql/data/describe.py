"""Turns schemas told in words into ``CREATE TABLE`` text, by an OpenAI-compatible model whose answers are checked.

SQLite must build the tables, and the gold queries about them must run; where not, the model is shown the error and
asked again. Each finished schema is appended to the output, so a killed run goes on. A data recipe reads the output by
its key ``described``.
"""

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pydantic.dataclasses
from pydantic import Field
from rich.progress import track

from text2sql.data.databases import gold_failure, read_described
from text2sql.data.options import Count
from text2sql.data.reading import Fault, read_rows
from text2sql.errors import run_command
from text2sql.generate import Decoding, Engine, EngineSettings, Request, open_engine
from text2sql.prompts import Message
from text2sql.recipe import STRICT, load_recipe, options_from
from text2sql.recipe.command import Overrides, RecipePath, single
from text2sql.schema.sqlite import SchemaError, build_from_ddl

logger = logging.getLogger(__name__)
_SYSTEM = (
    "You write SQLite schemas. You are given a database's tables and columns in words. Answer with one CREATE TABLE "
    "statement for each table, with column types, primary keys and foreign keys, using the names exactly as they are "
    "given. No other text."
)
_FENCED = re.compile(r"```(?:\w+)?\s*\n(.*?)(?:```|$)|<sql>(.*?)(?:</sql>|$)", re.DOTALL)
_SHOWN = 3


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)
class DescribeOptions:
    """``input``: a table whose columns ``description`` and ``sql`` hold the words and a gold query about them.

    ``rounds``: how often the model is asked about a schema before it is given up; ``share``: of the gold queries that
    must run.
    """

    input: Path
    output: Path
    base_urls: list[str]
    model: str = ""
    description: str = "instruction"
    sql: str = "output"
    rounds: Count = 3
    share: Annotated[float, Field(ge=0, le=1)] = 1.0
    max_new_tokens: int = 2048
    batch_size: int = 16


@dataclass
class _Task:
    """A description, its gold queries, and the conversation about it."""

    text: str
    queries: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    error: str = ""


def describe_command(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Turn schemas told in words into CREATE TABLE text that their gold queries run on."""
    options = options_from(DescribeOptions, load_recipe(recipe, overrides or []), str(recipe))
    good, total = describe(options)
    logger.info("%s: %d of %d schemas have tables that their gold queries run on", options.output, good, total)


def describe(options: DescribeOptions) -> tuple[int, int]:
    """Describe what the input has and the output has not; returns how many have tables, and how many there are.

    Raises:
        UserError: input or output cannot be read, or no server answers.
    """
    tasks = _tasks(options)
    known = read_described(options.output) if options.output.is_file() else {}
    waiting = [task for text, task in tasks.items() if text not in known]
    if waiting:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        urls = tuple(options.base_urls)
        settings = EngineSettings(options.model, engine="openai", base_urls=urls, batch_size=options.batch_size)
        with open_engine(settings) as engine, options.output.open("a", encoding="utf-8") as out:
            for row in track(_answers(waiting, options, engine), "describing", total=len(waiting), transient=True):
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
                out.flush()
                known[row["description"]] = row["ddl"]
    return sum(bool(known.get(text)) for text in tasks), len(tasks)


def _answers(waiting: list[_Task], options: DescribeOptions, engine: Engine) -> Iterator[dict[str, Any]]:
    """The output's row of each task, as soon as its tables hold or the last round is over."""
    for turn in range(1, options.rounds + 1):
        asked = {str(number): task for number, task in enumerate(waiting)}
        requests = [Request(key, task.messages) for key, task in asked.items()]
        waiting = []
        for answer in engine.generate(requests, Decoding(max_new_tokens=options.max_new_tokens)):
            task = asked[answer.key]
            ddl = _checked(task, answer.text, options.share)
            if ddl or turn == options.rounds:
                yield {"description": task.text, "ddl": ddl, "rounds": turn, "error": task.error}
            else:
                waiting.append(task)


def _tasks(options: DescribeOptions) -> dict[str, _Task]:
    tasks: dict[str, _Task] = {}
    for number, row, _ in read_rows(options.input):
        if isinstance(row, Fault):
            logger.warning("%s: row %d: %s (%s)", options.input, number, row.reason, row.detail)
            continue
        text, sql = row.get(options.description), row.get(options.sql)
        if not isinstance(text, str) or not isinstance(sql, str) or not text.strip():
            logger.warning("%s: row %d: no text in %r or %r", options.input, number, options.description, options.sql)
            continue
        tasks.setdefault(text.strip(), _Task(text.strip())).queries.append(sql)
    for task in tasks.values():
        task.messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": task.text}]
    return tasks


def _checked(task: _Task, answer: str, share: float) -> str:
    """The tables of an answer if they hold; otherwise nothing, with the error put to the model."""
    ddl = tables_in(answer)
    task.error = check_tables(ddl, task.queries, share)
    if not task.error:
        return ddl
    again = f"That does not work: {task.error}. Answer with all CREATE TABLE statements again, corrected."
    task.messages = [*task.messages[:2], {"role": "assistant", "content": ddl}, {"role": "user", "content": again}]
    return ""


def tables_in(answer: str) -> str:
    """The SQL of an answer: after any thinking, from fences or tags, or the bare text."""
    text = answer.rpartition("</think>")[2]
    blocks = [fenced or tagged for fenced, tagged in _FENCED.findall(text)]
    return "\n".join(block.strip() for block in blocks) or text.strip()


def check_tables(ddl: str, queries: list[str], share: float = 1.0) -> str:
    """What is wrong with tables for these gold queries, in a line; empty if enough of the queries run."""
    try:
        database = build_from_ddl(ddl).serialize()
    except SchemaError as error:
        return f"SQLite says {error}"
    failures = [(sql, failure) for sql in dict.fromkeys(queries) if (failure := gold_failure(database, sql, 5.0))]
    if len(failures) <= (1 - share) * len(set(queries)):
        return ""
    return "; ".join(f"{' '.join(sql.split())} fails with {failure[1]}" for sql, failure in failures[:_SHOWN])


if __name__ == "__main__":
    run_command(single(describe_command))
