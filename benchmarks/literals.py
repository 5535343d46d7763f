"""Whether prompts show what answers need: the text literals of gold queries that stand in them word for word.

    python benchmarks/literals.py [--split dev] [--ledger]

Takes Spider's questions (``TEXT2SQL_SHARED`` or ``--shared``) as recipes/data/spider.yaml shows them: columns with values,
and below the schema the stored values that a question means. ``shown`` is the share of questions with a text literal
whose literals all stand in the prompt, ``shown_bare`` the share without what the recipe adds, and ``shown_stored`` the
share among questions whose literals the database holds: of others, no prompt could show them. ``tokens`` is what that
adds to a prompt on the mean, by Qwen's tokenizer. Also the seconds to build all indexes, and to find the values of all questions.
"""

import json
import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path

from frame import SHARED, Shared, ToLedger, record, run, say
from sqlglot import exp
from transformers import Qwen2TokenizerFast

from text2sql.artifacts import digest
from text2sql.errors import UserError
from text2sql.prompts import user_turn
from text2sql.schema.model import read_samples, render
from text2sql.schema.sqlite import open_readonly, read_schema
from text2sql.sql import read_statement
from text2sql.values import ValueOptions
from text2sql.values.index import open_index
from text2sql.values.match import match
from text2sql.values.match import render as render_values

FILES = {"dev": "dev.json", "train": "train_spider.json"}


def main(split: str = "dev", shared: Shared = SHARED, ledger: ToLedger = False) -> None:
    """Measure, print, and append the row."""
    source, databases, place = shared / "spider" / FILES[split], shared / "spider/database", Path(tempfile.mkdtemp())
    if not source.is_file():
        raise UserError(f"{source}: not there; set TEXT2SQL_SHARED or --shared")
    rows = [row for row in json.loads(source.read_text(encoding="utf-8")) if _file(databases, row["db_id"]).is_file()]
    names, options = sorted({row["db_id"] for row in rows}), ValueOptions()
    started = time.monotonic()
    indexes = {name: open_index(_file(databases, name), place) for name in names}
    built = time.monotonic()
    found = [render_values(match(row["question"], indexes[row["db_id"]], options.most), options.tokens) for row in rows]
    matched = time.monotonic()
    schemas = {name: _schemas(_file(databases, name)) for name in names}
    bare = [user_turn(row["question"], schemas[row["db_id"]][0]) for row in rows]
    full = [user_turn(row["question"], schemas[row["db_id"]][1], "", f) for row, f in zip(rows, found, strict=True)]
    needed = [_literals(row["query"]) for row in rows]
    asked = [i for i, texts in enumerate(needed) if texts]
    stored = [i for i in asked if all(_is_stored(text, _file(databases, rows[i]["db_id"])) for text in needed[i])]
    qwen = shared / "tokenizer_qwen"
    count = Qwen2TokenizerFast(str(qwen / "vocab.json"), str(qwen / "merges.txt"))
    metrics = {
        "shown": _share(asked, needed, full),
        "shown_bare": _share(asked, needed, bare),
        "shown_stored": _share(stored, needed, full),
        "questions_stored": len(stored),
        "tokens": sum(len(count(f).input_ids) - len(count(b).input_ids) for f, b in zip(full, bare, strict=True))
        / len(rows),
        "index_seconds": built - started,
        "match_seconds": matched - built,
    }
    for name, value in metrics.items():
        say(f"{name:18} {value:.4f}")
    if ledger:
        seconds, made = time.monotonic() - started, digest(source)
        figures = {name: round(value, 4) for name, value in metrics.items()}
        record("spider.literals", figures, split=split, n=len(asked), data_hash=made, seconds=seconds)
    shutil.rmtree(place)


def _file(databases: Path, name: str) -> Path:
    return databases / name / f"{name}.sqlite"


def _schemas(file: Path) -> tuple[str, str]:
    """The schema without and with values."""
    with closing(open_readonly(file)) as connection:
        schema = read_schema(connection)
        return render(schema), render(schema, "ddl_values", read_samples(connection, schema))


def _literals(sql: str) -> list[str]:
    """The texts that a gold query compares with; Spider writes many in double quotes."""
    tree = read_statement(sql).tree
    if tree is None:
        return []
    texts = [literal.name for literal in tree.find_all(exp.Literal) if literal.is_string]
    texts += [
        column.name for column in tree.find_all(exp.Column) if column.this.args.get("quoted") and not column.table
    ]
    return [text.strip("%") for text in texts if text.strip("%")]


def _is_stored(text: str, file: Path) -> bool:
    with closing(open_readonly(file)) as connection:
        for table in read_schema(connection).tables:
            for column in table.columns:
                name = '"' + column.name.replace('"', '""') + '"'
                source = '"' + table.name.replace('"', '""') + '"'
                if connection.execute(f"SELECT 1 FROM {source} WHERE instr({name}, ?) LIMIT 1", (text,)).fetchone():
                    return True
    return False


def _share(places: list[int], needed: list[list[str]], prompts: list[str]) -> float:
    return sum(all(text in prompts[i] for text in needed[i]) for i in places) / len(places)


if __name__ == "__main__":
    run(main, __doc__)
