"""Chooses fuzzed instances that distinguish each gold query from its neighbours and from a constant."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqleval.compare.rewrite import fix_year, is_ordered, tidy
from sqleval.compare.rules import spider_equal
from sqleval.files import written_whole
from sqleval.outcome import Rows
from sqleval.run.sandbox import Connection, Limits
from sqleval.suite.fuzz import Fuzzer
from sqleval.suite.mutate import neighbours

_LIMITS = Limits(timeout=2.0)
_NEIGHBOUR_SECONDS = 0.25
_MOST_BYTES = 4 << 20  # of an original on which neighbours are run as well
_MOST_NEIGHBOURS = 48  # of one gold
_CONSTANT = -1  # the neighbour that gives the original's answer everywhere


@dataclass(frozen=True)
class Suite:
    """What was built: the files (the original first), and how many neighbours each set of databases distinguishes from
    their gold.

    ``undecided`` neighbours equal their gold on every instance; most are equivalent queries. ``fixed`` golds give one and
    the same answer on every instance.
    """

    files: tuple[Path, ...]
    golds: int
    neighbours: int
    distinguished_by_original: int
    distinguished_by_suite: int
    undecided: int
    fixed: int


@dataclass
class _Gold:
    """A gold with its answer on the original and the neighbours, by number, that no database tells apart so far."""

    sql: str
    answer: Rows
    open: dict[int, str]


def build_suite(
    database: Path,
    golds: Sequence[str],
    out: Path,
    *,
    count: int = 6,
    tries: int = 4,
    tested: int | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> Suite:
    """Write a copy of ``database`` and ``count`` instances to the folder ``out``.

    Each instance is the best of ``tries`` fuzzed ones: that which distinguishes most of the remaining neighbours (where none
    remains, the first, for mistakes and tricks that no neighbour stands for).
    ``tested`` golds, evenly spread, have neighbours of all kinds (None: all), the others only a constant. The result depends
    only on the database, the golds and ``seed``. ``progress`` is called with lines of text.

    Raises:
        FileNotFoundError: there is no such database.
        ValueError: no gold runs on it.
    """
    texts = list(dict.fromkeys(fix_year(tidy(gold, keep_distinct=True)).strip().rstrip(";") for gold in golds))
    if not database.is_file():
        raise FileNotFoundError(f"{database}: no such database")
    fuzzer = Fuzzer(database, texts)
    queries, total = _read(database, texts, fuzzer, len(texts) if tested is None else tested)
    if not queries:
        raise ValueError(f"none of the {len(texts)} gold queries runs on {database}")
    by_original = total - _left(queries)
    progress(f"{len(queries)} golds, {total} neighbours, {by_original} told apart by the database itself")
    chosen: list[bytes] = []
    for number in range(count):
        found = max(
            (_distinguished(fuzzer.instance((seed * 1009 + number) * 1009 + place), queries) for place in range(tries)),
            key=lambda pair: len(pair[1]),
        )
        chosen.append(found[0])
        for gold, neighbour in found[1]:
            queries[gold].open.pop(neighbour)
        progress(f"instance {number + 1}: {_left(queries)} neighbours still open")
    fixed = sum(_CONSTANT in query.open for query in queries)
    files = _place(database, chosen, out)
    left = _left(queries)
    return Suite(files, len(queries), total, by_original, total - left, left, fixed)


def _left(queries: Sequence[_Gold]) -> int:
    return sum(len(query.open) - (_CONSTANT in query.open) for query in queries)


def _read(database: Path, texts: Sequence[str], fuzzer: Fuzzer, tested: int) -> tuple[list[_Gold], int]:
    """The golds that run, with the neighbours that the original does not tell apart, and how many there are in all."""
    found, total = [], 0
    chosen = {i * len(texts) // tested for i in range(min(tested, len(texts)))} if tested < len(texts) else None
    small = database.stat().st_size <= _MOST_BYTES
    with closing(Connection(database, _LIMITS)) as connection:
        for number, sql in enumerate(texts):
            answer = connection.run(sql)
            if not isinstance(answer, Rows):
                continue
            others = neighbours(sql, fuzzer.columns, _MOST_NEIGHBOURS) if chosen is None or number in chosen else []
            total += len(others)
            query = _Gold(sql, answer, dict(enumerate(others)))
            apart = _apart(connection, query, answer) if small else []
            query.open = {place: other for place, other in query.open.items() if place not in apart}
            query.open[_CONSTANT] = ""
            found.append(query)
    return found, total


def _distinguished(content: bytes, queries: Sequence[_Gold]) -> tuple[bytes, list[tuple[int, int]]]:
    """The instance, and the open neighbours (number of the gold, its neighbour) that it tells apart; none where a gold fails."""
    found: list[tuple[int, int]] = []
    with closing(Connection(content, _LIMITS)) as connection:
        for number, query in enumerate(queries):
            truth = connection.run(query.sql)
            if not isinstance(truth, Rows):
                return content, []
            found += ((number, place) for place in _apart(connection, query, truth))
    return content, found


def _apart(connection: Connection, query: _Gold, truth: Rows) -> list[int]:
    """Which open neighbours give another answer than the gold, ``truth``, on one database."""
    ordered, most = is_ordered(query.sql), len(truth.rows)
    found = []
    for place, other in query.open.items():
        if place == _CONSTANT:
            same = spider_equal(truth.rows, query.answer.rows, ordered)
        else:
            answer = connection.run(other, _NEIGHBOUR_SECONDS, lambda count, latest: count > most)
            same = isinstance(answer, Rows) and spider_equal(truth.rows, answer.rows, ordered)
        if not same:
            found.append(place)
    return found


def _place(database: Path, chosen: Sequence[bytes], out: Path) -> tuple[Path, ...]:
    """Write the instances, after removing those of an earlier build."""
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob(f"{database.stem}_suite*.sqlite"):
        old.unlink()
    home = out / database.name
    if home.resolve() != database.resolve():
        with written_whole(home) as partial:
            shutil.copyfile(database, partial)
    files = [home]
    for number, content in enumerate(chosen, 1):
        files.append(out / f"{database.stem}_suite{number}.sqlite")
        with written_whole(files[-1]) as partial:
            partial.write_bytes(content)
    return tuple(files)
