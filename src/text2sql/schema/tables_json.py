"""Schemas from Spider's ``tables.json``, for benchmarks whose databases are not at hand."""

import json
from pathlib import Path
from typing import Any

from text2sql.errors import UserError
from text2sql.schema.model import Column, ForeignKey, Schema, Table

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
    return Schema(
        tuple(
            Table(name, tuple(owned[i]), tuple(primary[i]), tuple(foreign[i])) for i, name in enumerate(names)
        )
    )  # fmt: skip
