"""What trivial answers get on the toy questions: the nearest training question's query with names put in; the commonest pattern.

    python benchmarks/toy_baselines.py [--toy data/prepared/toy] [--ledger]

The nearest question shares most words, weighted by rarity, after names and values are taken out. Its query is carried over to the
asked database: the tables, columns and values that the new question mentions, in its order, stand for those of the old one. The
commonest pattern answers every question by the nearest training question of that one pattern.
"""

import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import sqlglot
from frame import ROOT, ToLedger, run, show
from sqlglot import exp

from sqleval import Evaluator
from text2sql.errors import UserError
from text2sql.records import Example, Prediction, read_jsonl, write_jsonl
from text2sql.schema import Schema, Table
from text2sql.sql.statement import parse_ddl
from text2sql.synth.words import singular, split_words

_SPLITS = ("test", "test_heldout")
_VALUE = re.compile(r"'([^']+)'|\"([^\"]+)\"|(?<![\w.])(\d+(?:[.-]\d+)*)|(?<=[a-z] )([A-Z]\w+(?: [A-Z]\w+)*)")


def main(toy: Path = ROOT / "data/prepared/toy", ledger: ToLedger = False) -> None:
    """See the module's text."""
    train_file = toy / "examples/train.jsonl"
    if not train_file.is_file():
        raise UserError(f"{train_file}: not there; make it with text2sql data recipes/data/toy.yaml")
    train = list(read_jsonl(train_file, Example))
    commonest = Counter(map(_pattern, train)).most_common(1)[0][0]
    ways = {"nearest": train, "commonest": [example for example in train if _pattern(example) == commonest]}
    rows = []
    with Evaluator(toy / "database", protocol="spider-test-suite") as evaluator:
        for way, known in ways.items():
            nearest = _Nearest(known)
            shares = []
            for split in _SPLITS:
                file = toy / f"examples/{split}.jsonl"
                asked = list(read_jsonl(file, Example))
                answers = [(e.db_id, e.sql, carried_over(nearest.find(e), e)) for e in asked]
                correct = sum(verdict.correct for verdict in evaluator.score_batch(answers)) / len(asked)
                shares.append(correct)
                if ledger:
                    _to_ledger(toy, split, answers, asked, f"toy.baseline_{way}")
            rows.append((way, *(f"{100 * share:.1f}" for share in shares)))
    show("Execution accuracy of trivial answers", _SPLITS, rows)


def _to_ledger(
    toy: Path, split: str, answers: list[tuple[str, str, str]], asked: list[Example], experiment: str
) -> None:
    """A row as the models' have it, by hardness, through the same command."""
    folder = ROOT / f"outputs/tiny/eval/{experiment}_{split}"
    made = (Prediction(e.question_id, e.db_id, sql) for e, (_, _, sql) in zip(asked, answers, strict=True))
    write_jsonl(folder / "predictions.jsonl", made)
    keys = [f"examples={toy}/examples/{split}.jsonl", f"output_dir={folder}", f"database_root={toy}/database"]
    command = ["-m", "text2sql", "evaluate", "recipes/tiny/evaluate.yaml", *keys, f"experiment={experiment}", "seed=0"]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)


def _pattern(example: Example) -> str:
    return example.source.rpartition("/")[2]


class _Nearest:
    """Finds the training example whose question shares most."""

    def __init__(self, train: list[Example]) -> None:
        self.train = [(example, _words(example)) for example in train]
        self.counts = Counter(word for _, words in self.train for word in words)

    def find(self, asked: Example) -> Example:
        words = _words(asked)
        return max(self.train, key=lambda pair: self._likeness(words, pair[1]))[0]

    def _likeness(self, one: frozenset[str], other: frozenset[str]) -> float:
        def weight(words: Iterable[str]) -> float:
            return sum(1 / math.log(2 + self.counts[word]) for word in words)

        return weight(one & other) / (weight(one | other) or 1)


@cache
def _schema(text: str) -> Schema:
    return parse_ddl(text)


def _words(example: Example) -> frozenset[str]:
    """The question's words without those of names and values."""
    text = _VALUE.sub(" VALUE ", example.question)
    names = {
        word
        for t in _schema(example.schema).tables
        for n in (t.name, *(c.name for c in t.columns))
        for word in split_words(n).split()
    }
    found = (word for word in re.findall(r"[a-zA-Z]+|[^\x00-\x7f]", text))
    return frozenset(
        "NAME" if singular(word.lower()) in names or word.lower() in names else word.lower() for word in found
    )


def carried_over(known: Example, asked: Example) -> str:
    """The query of a ``known`` question over the database of another, with what that one mentions."""
    old, new, text = _schema(known.schema), _schema(asked.schema), asked.question.lower()
    try:
        tree = sqlglot.parse_one(known.sql, read="sqlite")
    except sqlglot.errors.SqlglotError:
        return known.sql
    by_mention = sorted(new.tables, key=lambda table: _place(singular(split_words(table.name)), text))
    tables: dict[str, Table] = {}
    alias = {node.alias_or_name.lower(): node.name.lower() for node in tree.find_all(exp.Table)}
    for name in dict.fromkeys(alias.values()):
        tables[name] = by_mention[min(len(tables), len(by_mention) - 1)]
    _columns(tree, tables, alias, old, text)
    for node in tree.find_all(exp.Table):
        node.set("this", exp.to_identifier(tables[node.name.lower()].name, quoted=False))
    values = [next(filter(None, found)) for found in _VALUE.findall(asked.question)]
    literals = [node for node in tree.find_all(exp.Literal) if not isinstance(node.parent, exp.Limit)]
    for node, value in zip(literals, values, strict=False):
        is_text = not re.fullmatch(r"\d+(\.\d+)?", value)
        node.replace(exp.Literal.string(value) if is_text else exp.Literal.number(value))
    return str(tree.sql(dialect="sqlite"))


def _place(words: str, text: str) -> int:
    found = text.find(words)
    return found if found >= 0 else len(text)


def _columns(tree: exp.Expression, tables: dict[str, Table], alias: dict[str, str], old: Schema, text: str) -> None:
    """Replace each column by the next one that the question mentions of the table in its place; keys by keys."""
    known = {table.name.lower(): table for table in old.tables}
    chosen: dict[tuple[str, str], str] = {}
    for node in list(tree.find_all(exp.Column)):
        owner = alias.get(node.table.lower(), "") or next(iter(tables))
        table, place = tables[owner], (owner, node.name.lower())
        if place not in chosen:
            chosen[place] = _counterpart(known.get(owner), table, node.name, set(chosen.values()), text)
        node.set("this", exp.to_identifier(chosen[place], quoted=False))


def _counterpart(old: Table | None, new: Table, name: str, taken: set[str], text: str) -> str:
    if old is not None and name.lower() in map(str.lower, old.primary_key) and new.primary_key:
        return new.primary_key[0]
    if old is not None and name.lower() in {key.column.lower() for key in old.foreign_keys} and new.foreign_keys:
        return new.foreign_keys[0].column
    keys = {*new.primary_key, *(key.column for key in new.foreign_keys)}
    free = [column.name for column in new.columns if column.name not in keys | taken] or [new.columns[-1].name]
    return min(free, key=lambda column: _place(split_words(column), text))


if __name__ == "__main__":
    run(main, __doc__)
