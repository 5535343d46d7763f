"""Chooses the smallest set of fuzzed instances that distinguishes each gold query from its neighbours."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqleval.compare.rewrite import fix_year, is_ordered, tidy
from sqleval.compare.rules import spider_equal
from sqleval.files import written_whole
from sqleval.outcome import Rows
from sqleval.run.sandbox import Connection, Limits
from sqleval.suite.fuzz import write_instance
from sqleval.suite.mutate import neighbours

Pair = tuple[int, int]  # gold, neighbour


@dataclass(frozen=True)
class Suite:
    """What was built: the files (the original first), and how many neighbours each set of databases distinguishes from
    their gold.

    ``undecided`` neighbours equal their gold on every instance that was tried; most are equivalent queries.
    """

    files: tuple[Path, ...]
    golds: int
    neighbours: int
    distinguished_by_original: int
    distinguished_by_suite: int
    undecided: int


def build_suite(
    database: Path,
    golds: Sequence[str],
    out: Path,
    *,
    tries: int = 60,
    most: int = 20,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> Suite:
    """Write a copy of ``database`` and the chosen instances to the folder ``out``.

    ``tries`` instances are fuzzed, at most ``most`` are kept: greedily, the one that distinguishes most of the remaining
    pairs. The result depends only on the database, the golds and ``seed``. ``progress`` is called with lines
    of text.

    Raises:
        FileNotFoundError: there is no such database.
        ValueError: no gold runs on it.
    """
    limits = Limits(timeout=2.0)
    queries = {gold: neighbours(gold) for gold in dict.fromkeys(_ready(gold) for gold in golds)}
    every = {(number, place) for number, others in enumerate(queries.values()) for place in range(len(others))}
    runs, by_original = _distinguished(database, queries, limits)
    if not any(runs):
        raise ValueError(f"none of the {len(queries)} gold queries runs on {database}")
    progress(f"{len(queries)} golds, {len(every)} neighbours, {len(by_original)} told apart by the database itself")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".building-") as folder:
        found_by: dict[Path, set[Pair]] = {}
        left = every - by_original
        for number in range(tries):
            if not left:
                break
            path = Path(folder) / f"{number}.sqlite"
            write_instance(database, path, golds, seed * 100_003 + number)
            runs_now, found = _distinguished(path, queries, limits)
            # An instance on which a gold fails or answers nothing is weak, but one that breaks a gold is of no use.
            if all(now or not before for now, before in zip(runs_now, runs, strict=True)):
                found_by[path] = found - by_original
            left -= found_by.get(path, set())
            progress(f"instance {number + 1} of {tries}: {len(left)} neighbours still open")
        chosen = _cover(found_by, most)
        files = _place(database, chosen, out)
    by_suite = by_original.union(*(found_by[path] for path in chosen))
    return Suite(files, len(queries), len(every), len(by_original), len(by_suite), len(every - by_suite))


def _ready(gold: str) -> str:
    return fix_year(tidy(gold, keep_distinct=False)).strip().rstrip(";")


def _distinguished(database: Path, queries: dict[str, list[str]], limits: Limits) -> tuple[list[bool], set[Pair]]:
    """Which golds run on one instance, and which neighbours give another answer than their gold there."""
    runs: list[bool] = []
    distinguished: set[Pair] = set()
    with closing(Connection(database, limits)) as connection:
        for number, (gold, others) in enumerate(queries.items()):
            truth = connection.run(gold)
            runs.append(isinstance(truth, Rows))
            if not isinstance(truth, Rows):
                continue
            most = len(truth.rows)
            for place, other in enumerate(others):
                answer = connection.run(tidy(other, False), enough=lambda count, latest, most=most: count > most)  # type: ignore[misc]
                if not isinstance(answer, Rows) or not spider_equal(truth.rows, answer.rows, is_ordered(gold)):
                    distinguished.add((number, place))
    return runs, distinguished


def _cover(found_by: dict[Path, set[Pair]], most: int) -> list[Path]:
    """Greedy set cover, then instances that the others make unnecessary are dropped."""
    chosen: list[Path] = []
    covered: set[Pair] = set()
    while len(chosen) < most:
        best = max(found_by, key=lambda path: len(found_by[path] - covered), default=None)
        if best is None or not found_by[best] - covered:
            break
        chosen.append(best)
        covered |= found_by[best]
    for path in list(chosen):
        if found_by[path] <= set[Pair]().union(*(found_by[other] for other in chosen if other != path)):
            chosen.remove(path)
    return chosen


def _place(database: Path, chosen: Sequence[Path], out: Path) -> tuple[Path, ...]:
    """Move the chosen instances into place under their final names, after removing those of an earlier build."""
    for old in out.glob(f"{database.stem}_suite*.sqlite"):
        old.unlink()
    home = out / database.name
    if home.resolve() != database.resolve():
        with written_whole(home) as partial:
            shutil.copyfile(database, partial)
    return home, *(path.replace(out / f"{database.stem}_suite{number}.sqlite") for number, path in enumerate(chosen, 1))
