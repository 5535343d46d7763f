"""Writes ``tables.json`` in Spider's format for any folder of SQLite databases: other tools ask for it."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from text2sql.schema import Schema, open_readonly, read_schema


def write_tables(root: Path, db_ids: Iterable[str], target: Path) -> None:
    """Describe ``root/<db_id>/<db_id>.sqlite`` for each database in one file, written whole.

    Raises:
        UserError: a database is missing or is not SQLite.
    """
    entries = []
    for db_id in db_ids:
        connection = open_readonly(root / db_id / f"{db_id}.sqlite")
        try:
            entries.append(spider_entry(db_id, read_schema(connection)))
        finally:
            connection.close()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    partial.write_text(json.dumps(entries, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    partial.replace(target)


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
            types.append(_kind(column.type))
    primary: list[int] = []
    foreign = []
    for table in schema.tables:
        primary += [number[table.name.lower(), name.lower()] for name in table.primary_key[:1]]
        for link in table.foreign_keys:
            target = number.get((link.ref_table.lower(), link.ref_column.lower()))
            if target is not None:
                foreign.append([number[table.name.lower(), link.column.lower()], target])
    names = [table.name for table in schema.tables]
    return {
        "db_id": db_id,
        "table_names_original": names,
        "table_names": [_words(name) for name in names],
        "column_names_original": original,
        "column_names": [[table, _words(name)] for table, name in original],
        "column_types": types,
        "primary_keys": primary,
        "foreign_keys": foreign,
    }


def _kind(declared: str) -> str:
    """Spider's five types, from a declared type; tested in the order in which they exclude each other."""
    for kind, pattern in (
        ("boolean", "BOOL"),
        ("time", "DATE|TIME|YEAR"),
        ("text", "CHAR|TEXT|CLOB"),
        ("number", "INT|REAL|NUM|DEC|FLO|DOUB"),
    ):
        if re.search(pattern, declared):
            return kind
    return "others"


def _words(name: str) -> str:
    """``HomeCity`` and ``home_city`` as ``home city``."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name.replace("_", " "))
    return " ".join(parted.lower().split()) or name
