"""Chooses the smallest set of fuzzed instances that tells each gold query from its neighbours."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqleval.compare import spider_equal
from sqleval.outcome import Rows
from sqleval.rewrite import fix_year, is_ordered, tidy
from sqleval.sandbox import Connection, Limits
from sqleval.suite.fuzz import write_instance
from sqleval.suite.mutate import neighbours

log = logging.getLogger(__name__)

Pair = tuple[int, int]  # gold, neighbour


@dataclass(frozen=True)
class Suite:
    """What was built: the files (the original first), and how many neighbours each set of databases tells apart.

    ``undecided`` neighbours equal their gold on every instance that was tried; most are equivalent queries.
    """

    files: tuple[Path, ...]
    golds: int
    neighbours: int
    told_by_original: int
    told_by_suite: int
    undecided: int


def build_suite(
    database: Path, golds: Sequence[str], out: Path, *, tries: int = 60, most: int = 20, seed: int = 0, timeout: float = 2.0,
    progress: Callable[[str], None] | None = None,
) -> Suite:  # fmt: skip
    """Write a copy of ``database`` and the chosen instances to the folder ``out``.

    ``tries`` instances are fuzzed, at most ``most`` are kept: greedily, the one that tells most pairs still open.
    The result depends only on the database, the golds and ``seed``. ``progress`` is told what happens.

    Raises:
        FileNotFoundError: there is no such database.
        ValueError: no gold runs on it.
    """
    say = progress or (lambda text: None)
    limits = Limits(timeout=timeout)
    queries = {gold: neighbours(gold) for gold in dict.fromkeys(_ready(gold) for gold in golds)}
    original = _told_apart(database, queries, limits)
    if not any(original.runs):
        raise ValueError(f"none of the {len(queries)} gold queries runs on {database}")
    every = set(original.pairs)
    open_pairs = every - original.told
    say(f"{len(queries)} golds, {len(every)} neighbours, {len(original.told)} told apart by the database itself")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".building-") as folder:
        told: dict[Path, set[Pair]] = {}
        for number in range(tries):
            if open_pairs <= set().union(*told.values()):
                break
            path = Path(folder) / f"{number}.sqlite"
            write_instance(database, path, golds, seed * 100_003 + number)
            found = _told_apart(path, queries, limits)
            # An instance on which a gold fails or answers nothing is weak, but one that breaks a gold is of no use.
            if all(now or not before for now, before in zip(found.runs, original.runs, strict=True)):
                told[path] = found.told & open_pairs
            say(
                f"instance {number + 1} of {tries}: {len(open_pairs - set().union(*told.values()))} neighbours still open"
            )
        chosen = _cover(told, most)
        return _place(
            database, chosen, out, len(queries), every, original.told, set().union(*(told[p] for p in chosen))
        )


def _ready(gold: str) -> str:
    return fix_year(tidy(gold, keep_distinct=False)).strip().rstrip(";")


@dataclass(frozen=True)
class _Findings:
    runs: list[bool]
    pairs: list[Pair]
    told: set[Pair]


def _told_apart(database: Path, queries: dict[str, list[str]], limits: Limits) -> _Findings:
    """Which neighbours give another answer than their gold on one instance."""
    connection = Connection(database, limits)
    runs: list[bool] = []
    pairs: list[Pair] = []
    told: set[Pair] = set()
    for number, (gold, others) in enumerate(queries.items()):
        truth = connection.run(gold)
        runs.append(isinstance(truth, Rows))
        for place, other in enumerate(others):
            pairs.append((number, place))
            if not isinstance(truth, Rows):
                continue
            most = len(truth.rows)
            answer = connection.run(tidy(other, False), enough=lambda count, latest, most=most: count > most)  # type: ignore[misc]
            if not isinstance(answer, Rows) or not spider_equal(truth.rows, answer.rows, is_ordered(gold)):
                told.add((number, place))
    connection.close()
    return _Findings(runs, pairs, told)


def _cover(told: dict[Path, set[Pair]], most: int) -> list[Path]:
    """Greedy set cover, then instances that the others make needless are dropped."""
    chosen: list[Path] = []
    covered: set[Pair] = set()
    while len(chosen) < most:
        best = max(told, key=lambda path: len(told[path] - covered), default=None)
        if best is None or not told[best] - covered:
            break
        chosen.append(best)
        covered |= told[best]
    for path in list(chosen):
        rest: set[Pair] = set().union(*(told[other] for other in chosen if other != path))
        if told[path] <= rest:
            chosen.remove(path)
    return chosen


def _place(
    database: Path, chosen: Sequence[Path], out: Path, golds: int, every: set[Pair], first: set[Pair], more: set[Pair]
) -> Suite:
    """Move the chosen instances into place under their final names, after removing those of an earlier build."""
    name = database.stem
    for old in out.glob(f"{name}_suite*.sqlite"):
        old.unlink()
    home = out / database.name
    if home.resolve() != database.resolve():
        partial = out / f".{database.name}.partial"
        shutil.copyfile(database, partial)
        partial.replace(home)
    files = [home]
    for number, path in enumerate(chosen, 1):
        files.append(path.replace(out / f"{name}_suite{number}.sqlite"))
    told = first | more
    return Suite(tuple(files), golds, len(every), len(first), len(told), len(every - told))
