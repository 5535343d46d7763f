"""Turns schemas told in words into ``CREATE TABLE`` text, by an OpenAI-compatible model that is not believed.

    python -m text2sql.data.describe RECIPE [key=value ...]

SQLite must build the tables, and every gold query about them must run on them; where not, the model is shown the
error and asked again. What was settled is appended to the output, so a killed run goes on. A data recipe reads the
output by its key ``described``.
"""

import dataclasses
import json
import logging
import re
import sys
from dataclasses import field
from pathlib import Path

from pydantic.dataclasses import dataclass
from rich.progress import Progress

from text2sql.data.grounds import MemoryDatabase
from text2sql.data.reading import Fault, read_rows
from text2sql.errors import UserError, run_command
from text2sql.generate import Decoding, EngineSettings, Request, open_engine
from text2sql.prompts import Message
from text2sql.recipe import STRICT, load_recipe, options_from
from text2sql.schema import SchemaError, build_from_ddl

logger = logging.getLogger(__name__)
_SYSTEM = (
    "You write SQLite schemas. You are given a database's tables and columns in words. Answer with one CREATE TABLE "
    "statement for each table, with column types, primary keys and foreign keys, using the names exactly as they are "
    "given. No other text."
)
_FENCED = re.compile(r"```(?:\w+)?\s*\n(.*?)(?:```|$)|<sql>(.*?)(?:</sql>|$)", re.DOTALL)
_SHOWN = 3


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Options:
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
    rounds: int = 3
    share: float = 1.0
    max_new_tokens: int = 2048
    batch_size: int = 16


@dataclasses.dataclass
class _Task:
    """A description, its gold queries, and the conversation about it."""

    text: str
    queries: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    error: str = ""


def describe(options: Options) -> tuple[int, int]:
    """Settle every description of the input that the output has not; returns how many have tables, and how many in all.

    Raises:
        UserError: input or output cannot be read, or no server answers.
    """
    if options.rounds < 1 or not 0 <= options.share <= 1:
        raise UserError("rounds is 1 or more, and share from 0 to 1")
    tasks = _tasks(options)
    known = read_described(options.output) if options.output.is_file() else {}
    waiting = [task for text, task in tasks.items() if text not in known]
    if waiting:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        settings = EngineSettings(
            options.model, engine="openai", base_urls=tuple(options.base_urls), batch_size=options.batch_size
        )
        with open_engine(settings) as engine, options.output.open("a", encoding="utf-8") as out, Progress() as progress:
            bar = progress.add_task("describing", total=len(waiting))
            for turn in range(options.rounds):
                asked = {str(number): task for number, task in enumerate(waiting)}
                requests = [Request(key, task.messages) for key, task in asked.items()]
                waiting = []
                for answer in engine.generate(requests, Decoding(max_new_tokens=options.max_new_tokens)):
                    task = asked[answer.key]
                    ddl = _settle(task, answer.text, options.share)
                    if ddl or turn + 1 == options.rounds:
                        row = {"description": task.text, "ddl": ddl, "rounds": turn + 1, "error": task.error}
                        out.write(json.dumps(row, ensure_ascii=False) + "\n")
                        out.flush()
                        progress.advance(bar)
                    else:
                        waiting.append(task)
    known = read_described(options.output) if options.output.is_file() else {}
    return sum(bool(known.get(text)) for text in tasks), len(tasks)


def read_described(path: Path) -> dict[str, str]:
    """Descriptions with their ``CREATE TABLE`` text, empty where none could be had.

    Raises:
        UserError: no such file, or a line that this command has not written; a torn last line does not count.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; make it with python -m text2sql.data.describe")
    lines = path.read_bytes().split(b"\n")
    found = {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            found[row["description"]] = row["ddl"]
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                if line:
                    path.write_bytes(b"\n".join(lines[:-1]) + b"\n" * (number > 1))
                break
            raise UserError(f"{path}:{number}: not a described schema; remove the line or the file") from error
    return found


def _tasks(options: Options) -> dict[str, _Task]:
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


def _settle(task: _Task, answer: str, share: float) -> str:
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
        database = MemoryDatabase(build_from_ddl(ddl))
    except SchemaError as error:
        return f"SQLite says {error}"
    failures = [(sql, failure) for sql in dict.fromkeys(queries) if (failure := database.failure(sql, 5.0))]
    if len(failures) <= (1 - share) * len(set(queries)):
        return ""
    return "; ".join(f"{' '.join(sql.split())} fails with {failure[1]}" for sql, failure in failures[:_SHOWN])


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.stdout.write(f"{__doc__}\n")
        return
    recipe = Path(sys.argv[1])
    options = options_from(Options, load_recipe(recipe, sys.argv[2:]), str(recipe))
    good, total = describe(options)
    logger.info("%s: %d of %d schemas have tables that their gold queries run on", options.output, good, total)


if __name__ == "__main__":
    run_command(main)
