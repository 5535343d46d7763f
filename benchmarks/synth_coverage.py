"""How much of what people ask the grammar of ``text2sql synth`` can produce: shares of query skeletons and of questions.

    python benchmarks/synth_coverage.py [--draws 6000] [--ledger]

A skeleton is a query without names, values, aliases, join conditions and the order of what it selects or compares; joins are
counted. The grammar draws on the databases of Spider dev; a gold query is covered where its skeleton was drawn on any of them.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import sqlglot
from frame import SHARED, Shared, ToLedger, record, run, say, show
from sqlglot import exp

from text2sql.artifacts import digest
from text2sql.errors import UserError
from text2sql.schema import open_readonly
from text2sql.synth.draw import Drawer
from text2sql.synth.profile import profile_database, refined
from text2sql.synth.render import to_sql

_SETS = {
    "spider_dev": "spider/dev.json",
    "spider_train": "spider/train_spider.json",
    "bird_superhero": "bird/bird_dev_full.json",
}


@cache
def skeleton(sql: str) -> str:
    """The query's skeleton; empty where it cannot be parsed."""
    try:
        tree = sqlglot.parse_one(sql.replace('"', "'"), read="sqlite")
    except sqlglot.errors.SqlglotError:
        return ""
    return _text(tree)


def _text(tree: exp.Expression) -> str:
    for node in list(tree.find_all(exp.Literal)):
        node.replace(exp.Literal.number(0))
    for join in tree.find_all(exp.Join):
        for part in ("on", "using", "side", "kind"):
            join.set(part, None)
    for ordered in tree.find_all(exp.Ordered):
        ordered.set("desc", bool(ordered.args.get("desc")))
    tree = tree.transform(_bare)
    for select in tree.find_all(exp.Select):
        select.set("expressions", sorted(select.expressions, key=str))
    for node in list(tree.find_all(exp.And, exp.Or)):
        if not isinstance(node.parent, type(node)):
            sides = sorted(node.flatten(), key=str)
            node.replace(type(node)(this=sides[0], expression=sides[1]) if len(sides) == 2 else node)
    return str(tree.sql(dialect="sqlite"))


def _bare(node: exp.Expression) -> exp.Expression:
    if isinstance(node, exp.Alias):
        return node.this
    if isinstance(node, exp.Column):
        return exp.column("c")
    if isinstance(node, exp.Table):
        return exp.to_table("t")
    return node


def _drawn(folder: Path, draws: int) -> set[str]:
    names = sorted({row["db_id"] for row in json.loads((folder / "dev.json").read_text(encoding="utf-8"))})
    queries: set[str] = set()
    for name in names:
        with closing(open_readonly(folder / "database" / name / f"{name}.sqlite")) as connection:
            drawer = Drawer(refined(connection, profile_database(connection)), random.Random(name))
        queries |= {to_sql(query) for query in (drawer.draw() for _ in range(draws)) if query is not None}
    return {skeleton(sql) for sql in queries}


def _golds(file: Path, key: str) -> Iterator[str]:
    rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    for row in rows:
        if key != "bird_superhero" or row["db_id"] == "superhero":
            yield row.get("query") or row["SQL"]


def main(draws: int = 6000, shared: Shared = SHARED, missed: int = 0, ledger: ToLedger = False) -> None:
    """``missed``: show so many of the most frequent skeletons of Spider dev that were not drawn."""
    if not (shared / "spider/dev.json").is_file():
        raise UserError(f"{shared}/spider/dev.json: not there; --shared names the folder that holds spider/")
    start, rows = time.monotonic(), []
    known = _drawn(shared / "spider", draws)
    for name, path in _SETS.items():
        if not (shared / path).is_file():
            say(f"{shared / path}: not there, left out")
            continue
        golds = Counter(map(skeleton, _golds(shared / path, name)))
        questions = sum(golds.values())
        covered = sum(count for text, count in golds.items() if text in known)
        shares = {"questions": covered / questions, "skeletons": len(golds.keys() & known) / len(golds)}
        rows.append((name, str(questions), *(f"{100 * share:.1f} %" for share in shares.values())))
        if name == "spider_dev":
            for text, count in [pair for pair in golds.most_common() if pair[0] not in known][:missed]:
                say(f"{count:4d}  {text}")
        if ledger:
            more = {"data_hash": digest(shared / path), "seconds": time.monotonic() - start}
            record("data.synth_coverage", {**shares, "drawn": len(known)}, split=name, n=questions, **more)
    show("What the grammar can produce", ("questions", "of them", "of their skeletons"), rows)


if __name__ == "__main__":
    run(main, __doc__)
