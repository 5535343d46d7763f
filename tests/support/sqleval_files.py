"""Files that the evaluator's tests read: a small shop database, and rows of official verdicts."""

import gzip
import json
import sqlite3
from pathlib import Path

SHOP = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, city TEXT, age INTEGER);
CREATE TABLE purchase (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customer(id), item TEXT, price REAL);
INSERT INTO customer VALUES (1, 'Ann', 'Rome', 30), (2, 'Bob', 'Oslo', 41), (3, 'Cid', 'Rome', NULL), (4, 'Ann', 'Lima', 30);
INSERT INTO purchase VALUES (1, 1, 'pen', 2.5), (2, 1, 'ink', 7.0), (3, 2, 'pen', 2.5), (4, 3, 'cup', 6.0), (5, 2, 'cup', 6.0);
"""


def make_database(path: Path, script: str = SHOP) -> Path:
    """Create a SQLite file from a script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path)
    db.executescript(script)
    db.close()
    return path


def rows_of(path: Path) -> list[dict]:
    """Rows of a gzipped JSONL file of verdicts; Spider's predictions are cut as the official tool cuts them."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for row in rows if "bird" not in path.parts else []:
        row["pred"] = row["pred"].strip().split("\t")[0]
    return rows
