"""Three figures on Spider: leaks of its dev set that are found, what schema linking keeps, and what ``text2sql.synth`` asks.

    python benchmarks/data_quality.py [count=1000] [only=leakage|linking|synth] [ledger=results/ledger.jsonl]

Leaks: each dev row is planted as a paraphrase (Spider-Syn), re-cased, with other literals, with the question's
words in other case, and with both its question (Spider-Syn) and its SQL (aliases, sides, conditions, literals) in other
words; ``recall`` is the lowest share found of the five, with the database rule off; ``false_drop_rate``
the share of Spider train that the same rules drop. Linking: by names and values alone, at the recipe's defaults and at
half of them, the share of the gold queries' tables and columns that are kept, of questions of which all are, and of the
schemas' columns that are shown. Synth: ``count`` pairs for each of the 20 dev databases.
Data are read from ``TEXT2SQL_SHARED`` (default ../shared).
"""

import json
import logging
import os
import random
import re
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import sqlglot
from sqlglot import exp

from sqleval import Failure, execute
from text2sql import ledger
from text2sql.artifacts import digest
from text2sql.data.leakage import LeakIndex, read_evaluation
from text2sql.linking import LinkOptions
from text2sql.linking.linker import Linker
from text2sql.schema import Schema, open_readonly, read_schema
from text2sql.synth.own import LEVELS, write_for_database

logger = logging.getLogger("data_quality")
SHARED = Path(os.environ.get("TEXT2SQL_SHARED", Path(__file__).parents[2] / "shared"))


def leakage() -> dict[str, float]:
    """Recall by kind and in the worst case, and false drops."""
    dev = _dev()
    synonyms = json.loads((SHARED / "spider_syn/dev.json").read_text(encoding="utf-8"))
    train = json.loads((SHARED / "spider/train_spider.json").read_text(encoding="utf-8"))
    leaks = LeakIndex(read_evaluation(SHARED / "spider/dev.json"), rules=("question", "sql", "near"))
    rng = random.Random(3)
    literals = [re.sub(r"\b\d+\b", "77", re.sub(r"'[^']*'|\"[^\"]*\"", "'else'", row["query"])) for row in dev]
    cases = ["".join(rng.choice((c.upper(), c.lower())) for c in row["query"]) for row in dev]
    planted = {
        "paraphrase": [(row["SpiderSynQuestion"], row["query"]) for row in synonyms],
        "recased_sql": [(f"Question number {n}?", sql) for n, sql in enumerate(cases)],
        "literals_swapped": [(f"Question number {n}?", sql) for n, sql in enumerate(literals)],
        "recased_question": [(row["question"].upper(), f"SELECT {n} AS other") for n, row in enumerate(dev)],
        "both_reworded": [(row["SpiderSynQuestion"], reworded(row["query"])) for row in synonyms],
    }
    found = {
        f"recall_{kind}": sum(leaks.find(*row, "elsewhere") is not None for row in rows) / len(rows)
        for kind, rows in planted.items()
    }
    dropped = sum(leaks.find(row["question"], row["query"], row["db_id"]) is not None for row in train)
    return {"recall": min(found.values()), "false_drop_rate": dropped / len(train), **found}


def reworded(sql: str) -> str:
    """A query that says the same in other words: other aliases, sides and conditions in reverse, literals swapped."""
    tree = sqlglot.parse_one(sql, read="sqlite")
    for node in list(tree.find_all(exp.EQ, exp.NEQ, exp.And, exp.Or)):
        one, other = node.this.copy(), node.expression.copy()
        node.set("this", other)
        node.set("expression", one)
    names = {table.alias: f"tab{n}" for n, table in enumerate(tree.find_all(exp.Table)) if table.alias}
    for table in tree.find_all(exp.Table):
        if table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(names[table.alias])))
    for column in tree.find_all(exp.Column):
        if column.table in names:
            column.set("table", exp.to_identifier(names[column.table]))
    for literal in tree.find_all(exp.Literal):
        literal.set("this", "else" if literal.is_string else "77")
    return str(tree.sql(dialect="sqlite"))


def linking() -> dict[str, float]:
    """Recall against the gold queries of the dev set, and what is shown for it."""
    found = {}
    for name, options in (("", LinkOptions()), ("_half", LinkOptions(tables=3, columns=4))):
        linker = Linker(options)
        counts = np.array([_linked(linker, row) for row in _dev()])
        tables, all_tables, columns, all_columns, shown, whole = counts.sum(axis=0)
        complete = (counts[:, 0] == counts[:, 1]) & (counts[:, 2] == counts[:, 3])
        found |= {
            f"table_recall{name}": tables / all_tables,
            f"column_recall{name}": columns / all_columns,
            f"questions_whole{name}": complete.mean(),
            f"columns_shown{name}": shown / whole,
        }
    return {name: float(value) for name, value in found.items()}


def _dev() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((SHARED / "spider/dev.json").read_text(encoding="utf-8"))
    return rows


def _linked(linker: Linker, row: dict[str, Any]) -> tuple[int, ...]:
    path = _database(row["db_id"])
    return linker.cut(row["question"], _schema(path), path, sqlglot.parse_one(row["query"], read="sqlite")).counts


def _database(name: str) -> Path:
    return SHARED / "spider/database" / name / f"{name}.sqlite"


@cache
def _schema(path: Path) -> Schema:
    connection = open_readonly(path)
    try:
        return read_schema(connection)
    finally:
        connection.close()


def synth(count: int) -> dict[str, float]:
    """Over the dev databases: fewest pairs, and shares of pairs that run, repeat, and of databases with all levels."""
    names = sorted({row["db_id"] for row in _dev()})
    pairs = ran = repeated = whole = 0
    fewest = count
    for name in names:
        path = _database(name)
        made = write_for_database(path, count)
        pairs += len(made.examples)
        fewest = min(fewest, len(made.examples))
        ran += sum(not isinstance(execute(path, one.sql, timeout=20), Failure) for one in made.examples)
        repeated += len(made.examples) - len({(one.question.casefold(), one.sql) for one in made.examples})
        whole += all(made.levels[level] for level in LEVELS)
        logger.info("%s: %d pairs %s %s", name, len(made.examples), made.levels, made.note)
    return {
        "databases": len(names),
        "fewest_pairs": fewest,
        "pairs": pairs,
        "run": ran / pairs,
        "duplicates": repeated,
        "all_levels": whole / len(names),
    }


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    count = int(given.get("count", 1000))
    data = digest(SHARED / "spider/dev.json")
    for name, split, n, measure in (
        ("data.leakage", "spider_dev", 1034, leakage),
        ("data.linking", "spider_dev", 1034, linking),
        ("data.synth", "spider_dev_databases", 20, lambda: synth(count)),
    ):
        if name.removeprefix("data.") != given.get("only", name.removeprefix("data.")):
            continue
        began = time.monotonic()
        metrics = {key: round(value, 4) for key, value in measure().items()}
        logger.info("%s: %s", name, metrics)
        if "ledger" in given:
            row = ledger.new_row(
                name,
                profile="cpu",
                seed=42,
                split=split,
                n=n,
                metrics=metrics,
                data_hash=data,
                seconds=time.monotonic() - began,
            )
            ledger.append(Path(given["ledger"]), row)


if __name__ == "__main__":
    main()
