"""Other rows for the same schema: instances of a database whose cells are drawn again.

Values come from the column's own, numbers close to them, and the literals that the gold queries compare it with, so that
filters keep some rows and drop others. Counts, keys and largest and smallest values are others in every instance, so that no
constant, no key that was learnt by heart and no condition that never drops a row is right on all. Foreign keys point
at rows that exist; some rows stay without partners, and some values repeat, because joins and DISTINCT differ only then.
"""

import random
import sqlite3
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from sqleval.files import lenient, open_readonly, quoted
from sqleval.outcome import Cell
from sqleval.suite.hints import parsed, read_hints
from sqleval.suite.tables import Column, Table, read_schema, related

_POOL = 500  # values of a column that are known
_NUMERIC = ("INT", "REAL", "NUM", "FLOA", "DOUB", "DEC")
_TAME, _SKEW = 0.5, 1.7
Draw = Callable[[], Cell]


class Fuzzer:
    """Writes instances of one database; its schema and values are read once.

    Raises:
        sqlite3.Error: the file is not a database.
    """

    def __init__(self, original: Path, golds: Sequence[str], *, named: bool = False) -> None:
        """``named``: every instance has what the golds compare with, for uses that have one instance only."""
        self.named = named
        with closing(open_readonly(original)) as db:
            db.text_factory = lenient
            tables = read_schema(db)
            self.columns = {table.name.lower(): [c.name.lower() for c in table.columns] for table in tables}
            trees = [tree for tree in map(parsed, golds) if tree is not None]
            self.hints = read_hints(trees, self.columns)
            self.tables = related(tables, self.hints)
            self.values = {(t.name, c.name): _own(db, t, c) for t in tables for c in t.columns}
            self.with_nulls = {(t.name, c.name) for t in tables for c in t.columns if _has_null(db, t, c)}
            self.empty = _empty_copy(db)

    def instance(self, seed: int) -> bytes:
        """An instance as ``sqlite3.Connection.serialize`` gives it: the content of a database file."""
        source = random.Random(seed)
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
            db.deserialize(self.empty)
            db.execute("PRAGMA foreign_keys = OFF")
            db.execute("BEGIN")
            for table in self.tables:
                self._fill(db, table, source)
            db.execute("COMMIT")
            return db.serialize()

    def _fill(self, db: sqlite3.Connection, table: Table, source: random.Random) -> None:
        refers = any(column.refers for column in table.columns)
        most = source.randint(60, 140) if refers else source.randint(60, 110)
        count = min(max(int(table.rows * source.uniform(0.5, 1.5)), source.randint(24, 60)), most)
        draws = [self._draw(db, table, column, count, source) for column in table.columns]
        names = ", ".join(quoted(column.name) for column in table.columns)
        places = ", ".join("?" for _ in table.columns)
        rows = ([draw() for draw in draws] for _ in range(count))
        # Rows that break a UNIQUE, CHECK or NOT NULL constraint are simply left out.
        db.executemany(f"INSERT OR IGNORE INTO {quoted(table.name)} ({names}) VALUES ({places})", rows)

    def _draw(self, db: sqlite3.Connection, table: Table, column: Column, count: int, source: random.Random) -> Draw:
        """What gives a column's next cell in one instance."""
        own = self.values[table.name, column.name]
        literals = list(self.hints.literals.get(column.name.lower(), ()))
        null = source.choice((0.0, 0.04, 0.12)) if column.nullable else 0.0
        if column.refers and column.refers[0] != table.name:
            parent, key = map(quoted, column.refers)
            found: list[Cell] = [row[0] for row in db.execute(f"SELECT {key} FROM {parent} ORDER BY {key}")]
            # Some parent rows are not referenced, so that outer and inner joins differ.
            kept = source.sample(found, max(1, int(len(found) * 0.7))) if found else [None]
            named = [value for value in found if value in literals] or kept
            pools = (named, kept, kept)
            if (table.name, column.name) not in self.with_nulls:
                null = 0.0  # one would make every NOT IN over the column empty, also where the data have none
            return lambda: None if source.random() < null else _skewed(source.choice(pools), source)
        numeric = any(word in column.type for word in _NUMERIC) or (
            bool(own) and not any(isinstance(v, str) for v in own)
        )
        if table.key == (column.name,):
            keys = _keys(own, literals, numeric, count, source)
            return lambda: next(keys)
        pool = _pool(own, literals, numeric, "INT" not in column.type, source)
        favourites, share = source.sample(literals, min(len(literals), 4)), source.choice((0.12, 0.3, 0.5))
        extremes = _numbers_beyond(own) if numeric else _texts_beyond(own)
        # Huge numbers are not in every instance, for one is all that a mean depends on.
        musts = _middle(pool) if numeric and source.random() < _TAME else extremes * 2
        musts = source.sample(musts, min(len(musts), count // 2)) + [None] * bool(null)
        musts += favourites if self.named else []
        left = count

        def draw() -> Cell:
            nonlocal left
            left -= 1
            if source.random() * (left + 1) < len(musts):
                return musts.pop()
            if source.random() < null:
                return None
            if favourites and source.random() < share:
                return source.choice(favourites)
            return _skewed(pool, source)

        return draw


def _own(db: sqlite3.Connection, table: Table, column: Column) -> list[Cell]:
    query = f"SELECT DISTINCT {quoted(column.name)} FROM {quoted(table.name)} LIMIT {_POOL}"
    return [row[0] for row in db.execute(query) if row[0] is not None]


def _has_null(db: sqlite3.Connection, table: Table, column: Column) -> bool:
    query = f"SELECT 1 FROM {quoted(table.name)} WHERE {quoted(column.name)} IS NULL LIMIT 1"
    return db.execute(query).fetchone() is not None


def _empty_copy(origin: sqlite3.Connection) -> bytes:
    """A database with the same tables, indexes and views, and no rows."""
    kinds = "CASE type WHEN 'table' THEN 0 WHEN 'index' THEN 1 ELSE 2 END"
    made = f"SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND type <> 'trigger' ORDER BY {kinds}, rowid"
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        for (sql,) in origin.execute(made):
            with suppress(sqlite3.Error):  # the tables behind a virtual one exist with it
                db.execute(sql)
        return db.serialize()


def _skewed(pool: Sequence[Cell], source: random.Random) -> Cell:
    """The first values often, the last rarely: ties and duplicates."""
    return pool[int(len(pool) * source.random() ** _SKEW)]


def _keys(own: list[Cell], literals: list[Cell], numeric: bool, count: int, source: random.Random) -> Iterator[Cell]:
    """Values of a primary key, each once: those that queries name, half from the original, and new ones with gaps."""
    kept: list[Cell] = [v for v in literals if source.random() < 0.8 and isinstance(v, int if numeric else str)]
    kept += source.sample(own, min(len(own), count // 2))
    last = max((int(v) for v in own if isinstance(v, int | float)), default=0) + source.randint(1, 60)
    text = str(own[0]) if own else "k"
    while len(kept) < count:
        last += source.randint(1, 9)
        kept.append(last if numeric else f"{text}{last}")
    beyond: list[Cell] = [source.randint(10**7, 10**8), *([-source.randint(1, 9)] if source.random() < 0.4 else [])]
    chosen = list(dict.fromkeys([*(beyond if numeric else []), *kept]))[:count]
    source.shuffle(chosen)
    yield from chosen
    while True:
        last += 1
        yield last if numeric else f"{text}{last}"


def _pool(own: list[Cell], literals: list[Cell], numeric: bool, fractions: bool, source: random.Random) -> list[Cell]:
    """Values of an ordinary column in one instance, the frequent ones first."""
    few = source.random() < 0.4 or len(own) < 12
    kept = source.sample(own, min(len(own), source.randint(2, 9) if few else 120))
    if not numeric:
        texts = [text for text in literals if isinstance(text, str)]
        return kept + [f"{text}x" for text in (*source.sample(texts, min(len(texts), 2)), *map(str, kept[:1]))] or [
            "a",
            "b",
        ]
    numbers = [value for value in (*kept, *literals) if isinstance(value, int | float)]
    steps = (1, -1, 0.25) if fractions and any(isinstance(value, float) for value in numbers) else (1, -1)
    near: list[Cell] = [value + step for value in source.sample(numbers, min(len(numbers), 10)) for step in steps]
    return kept + near or [0, 1, 2, 3]


def _middle(pool: list[Cell]) -> list[Cell]:
    """Numbers around the mean of what :func:`_skewed` draws from a pool, which tell a mean from what is close to it."""
    numbers = [value for value in pool if isinstance(value, int | float)]
    if len(numbers) < 2:
        return []
    shares = [((i + 1) / len(numbers)) ** (1 / _SKEW) - (i / len(numbers)) ** (1 / _SKEW) for i in range(len(numbers))]
    mean = sum(value * share for value, share in zip(numbers, shares, strict=True))
    step = min(statistics.pstdev(numbers) / 12, 1.0)
    near = [mean + place * step for place in range(-4, 5)]
    whole = all(isinstance(value, int) for value in numbers)
    return list(dict.fromkeys(round(value) if whole else round(value, 2) for value in near))


def _numbers_beyond(own: list[Cell]) -> list[Cell]:
    largest = min(max((abs(value) for value in own if isinstance(value, int | float)), default=10), 2**61)
    return [0, -1, -int(largest) - 7, min(3 * int(largest) + 11, 2**62), 10**6 + 37]


def _texts_beyond(own: list[Cell]) -> list[Cell]:
    texts = [value for value in own if isinstance(value, str)] or ["a"]
    dates = ["0001-01-01", "9999-12-31"] if any(text[:4].isdigit() and text[4:5] == "-" for text in texts) else []
    return ["", "~zz", "0", texts[0].swapcase(), f" {texts[-1]} ", *dates]
