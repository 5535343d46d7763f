"""Completions that try to be paid without answering, and the small database they are about."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqleval.suite.build import build_suite
from text2sql.data.options import SuiteOptions
from text2sql.records import Example, RewardSample
from text2sql.rewards import RewardContext, RewardSuite
from text2sql.schema import open_readonly, read_schema, render_ddl

HERE = Path(__file__).parent
# A further instance of the database: other rows, so that luck on one instance does not count.
INSTANCE = (
    "DELETE FROM customers WHERE customer_id = 2; INSERT INTO customers VALUES (9, 'Emil', 'Lyon', '2020-02-02');"
    "INSERT INTO customers VALUES (10, 'Fatou', 'Nice', '2020-02-03'); UPDATE cakes SET price = 99 WHERE cake_id = 4;"
)


@dataclass(frozen=True)
class Trick:
    """One adversarial completion."""

    id: str
    kind: str
    sample: RewardSample


def make_bakery(root: Path) -> Path:
    """Write the database, with one more instance, under ``root``; returns ``root``."""
    folder = root / "bakery"
    folder.mkdir(parents=True)
    script = (HERE / "bakery.sql").read_text(encoding="utf-8")
    for name, extra in (("bakery", ""), ("bakery_1", INSTANCE)):
        db = sqlite3.connect(folder / f"{name}.sqlite")
        db.executescript(script + extra)
        db.close()
    return root


def make_suite(root: Path, bakery: Path) -> Path:
    """Build the bakery's test suite under ``root`` as the preparation of training data does; returns ``root``."""
    golds = [row["sql"] for row in _rows("questions.jsonl")]
    options = SuiteOptions()
    sizes = {"count": options.instances, "tries": options.tries, "tested": options.golds}
    build_suite(bakery / "bakery" / "bakery.sqlite", golds, root / "bakery", **sizes)
    return root


def queries(honest: dict[str, dict[str, RewardSample]]) -> Iterator[Trick]:
    """Plain completions that are nothing but SQL: tricks, and (kind ``equivalent``) answers in other words than the gold's."""
    for number, row in enumerate(_rows("queries.jsonl")):
        example = honest[row["question_id"]]["plain"].example
        yield Trick(f"{row['kind']}-{number}", row["kind"], RewardSample("", row["sql"], example))


def _rows(name: str) -> Iterator[dict[str, Any]]:
    return map(json.loads, (HERE / name).read_text(encoding="utf-8").splitlines())


def load(root: Path) -> tuple[dict[str, dict[str, RewardSample]], list[Trick]]:
    """Honest completions by question and format, and all tricks."""
    db = open_readonly(root / "bakery" / "bakery.sqlite")
    schema = render_ddl(read_schema(db))
    db.close()
    examples, honest = {}, {}
    for row in _rows("questions.jsonl"):
        example = Example(row["question_id"], row["db_id"], row["question"], schema, row["sql"])
        examples[example.question_id] = example
        honest[example.question_id] = {name: RewardSample("", text, example) for name, text in row["honest"].items()}
    tricks = []
    for row in _rows("completions.jsonl"):
        text = row["completion"]
        if "repeat" in row:
            sentence, count = row["repeat"]
            text = text.replace("@", "".join(sentence.replace("#", str(i)) for i in range(count)))
        tricks.append(Trick(row["id"], row["kind"], RewardSample("", text, examples[row["question_id"]])))
    return honest, tricks


def scores(name: str, context: RewardContext, example: Example, *completions: str, **params: object) -> Sequence[float]:
    """Unweighted scores of completions for one example by one reward; ``params`` are the reward's."""
    suite = RewardSuite([name], context, params={name: params} if params else None)
    return suite.score(name, [RewardSample("", c, example) for c in completions]).scores
