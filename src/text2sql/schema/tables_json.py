"""Spider's ``tables.json``: read for benchmarks whose databases are not at hand, written for tools that need it."""

import json
import re
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from text2sql.artifacts import write_json
from text2sql.errors import UserError
from text2sql.schema.model import Column, ForeignKey, Schema, Table
from text2sql.schema.sqlite import open_readonly, read_schema

_KINDS = (
    ("boolean", "BOOL"),
    ("time", "DATE|TIME|YEAR"),
    ("text", "CHAR|TEXT|CLOB"),
    ("number", "INT|REAL|NUM|DEC|FLO|DOUB"),
)
"""Spider's types, and what a declared type of each holds; the first that is found counts."""
_TYPES = {"text": "TEXT", "number": "NUMERIC", "time": "DATETIME", "boolean": "BOOLEAN", "others": ""}


def read_tables_json(path: Path) -> dict[str, Schema]:
    """Schemas by ``db_id``. Column types are Spider's five kinds; keys that BIRD lists as pairs are composite.

    Raises:
        UserError: the file is missing, or an entry is not in Spider's form; the message names it.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    schemas: dict[str, Schema] = {}
    for number, entry in enumerate(entries if isinstance(entries, list) else [], 1):
        try:
            schemas[entry["db_id"]] = _schema(entry)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UserError(f"{path}: entry {number}: not in the form of tables.json ({error!r})") from error
    if not schemas:
        raise UserError(f"{path}: expected an array of databases, found none")
    return schemas


def read_names(path: Path) -> dict[str, dict[tuple[str, str], str]]:
    """By ``db_id``, what a column is called in words, by (table, column) in lower case, where that says more than its name.

    Raises:
        UserError: as :func:`read_tables_json`.
    """
    read_tables_json(path)
    found: dict[str, dict[tuple[str, str], str]] = {}
    for entry in json.loads(path.read_text(encoding="utf-8-sig")):
        tables, names = entry["table_names_original"], entry.get("column_names", [])
        for (table, name), (_, words) in zip(entry["column_names_original"], names, strict=False):
            if table >= 0 and _letters(words) != _letters(name):
                found.setdefault(entry["db_id"], {})[tables[table].lower(), name.lower()] = words
    return found


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _schema(entry: dict[str, Any]) -> Schema:
    names = entry["table_names_original"]
    columns = entry["column_names_original"]
    owned: list[list[Column]] = [[] for _ in names]
    for (table, name), kind in zip(columns, entry["column_types"], strict=True):
        if table >= 0:
            owned[table].append(Column(name, _TYPES.get(kind, str(kind).upper())))
    primary: list[list[str]] = [[] for _ in names]
    for key in entry["primary_keys"]:
        for number in key if isinstance(key, list) else [key]:
            table, name = columns[number]
            primary[table].append(name)
    foreign: list[list[ForeignKey]] = [[] for _ in names]
    for child, parent in entry["foreign_keys"]:
        (table, name), (other, ref) = columns[child], columns[parent]
        foreign[table].append(ForeignKey(name, names[other], ref))
    parts = zip(names, owned, primary, foreign, strict=True)
    return Schema(tuple(Table(name, tuple(own), tuple(key), tuple(links)) for name, own, key, links in parts))


def write_tables_json(root: Path, db_ids: Iterable[str], target: Path) -> None:
    """Describe ``root/<db_id>/<db_id>.sqlite`` for each database in one file, written whole.

    Raises:
        UserError: a database is missing or is not SQLite.
    """
    entries = []
    for db_id in db_ids:
        with closing(open_readonly(root / db_id / f"{db_id}.sqlite")) as connection:
            entries.append(spider_entry(db_id, read_schema(connection)))
    write_json(target, entries)


def spider_entry(db_id: str, schema: Schema) -> dict[str, Any]:
    """One database as Spider's tables.json has it: columns by number, of which 0 is ``*``.

    Of a composite primary key Spider names the first column.
    """
    original: list[list[Any]] = [[-1, "*"]]
    types = ["text"]
    number: dict[tuple[str, str], int] = {}
    for index, table in enumerate(schema.tables):
        for column in table.columns:
            number[table.name.lower(), column.name.lower()] = len(original)
            original.append([index, column.name])
            types.append(next((kind for kind, pattern in _KINDS if re.search(pattern, column.type)), "others"))
    foreign = [
        [number[table.name.lower(), link.column.lower()], target]
        for table in schema.tables
        for link in table.foreign_keys
        if (target := number.get((link.ref_table.lower(), link.ref_column.lower()))) is not None
    ]
    names = [table.name for table in schema.tables]
    return {
        "db_id": db_id,
        "table_names_original": names,
        "table_names": [_words(name) for name in names],
        "column_names_original": original,
        "column_names": [[table, _words(name)] for table, name in original],
        "column_types": types,
        "primary_keys": [number[t.name.lower(), name.lower()] for t in schema.tables for name in t.primary_key[:1]],
        "foreign_keys": foreign,
    }


def _words(name: str) -> str:
    """``HomeCity`` and ``home_city`` as ``home city``."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name.replace("_", " "))
    return " ".join(parted.lower().split()) or name
