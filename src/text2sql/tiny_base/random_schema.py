"""Random database descriptions with thousands of names, half of them made up.

A tiny model that has seen few names learns the names; copying an identifier never seen before must be the only
way to answer. So every schema is new, and its names mix known words, their combinations and invented ones.
"""

import random
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from text2sql.schema import quote
from text2sql.toy.spec import ColumnSpec, DatabaseSpec, Kind, TableSpec

_ONSETS = (
    "b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sc sh sk sl sm sp st str t th tr v w z".split()
)
_VOWELS = "a e i o u a e i o u ai ea ee oa oo ou".split()
_CODAS = ["", "", "", *"b ck d f g l ll m n nd nt p r rk rn rt sk st t x".split()]
_MODIFIED, _PREFIXED = 0.3, 0.1


@dataclass(frozen=True)
class Words:
    """The pools of ``words.yaml``."""

    tables: tuple[str, ...]
    text: tuple[str, ...]
    number: tuple[str, ...]
    date: tuple[str, ...]
    modifiers: tuple[str, ...]
    values: tuple[str, ...]


@cache
def load_words(excluded_tables: frozenset[str] = frozenset()) -> Words:
    """Read the pools without the table nouns in ``excluded_tables`` (held-out databases)."""
    raw = yaml.safe_load(files(__package__).joinpath("words.yaml").read_text(encoding="utf-8"))
    pools = {name: tuple(dict.fromkeys(text.split())) for name, text in raw.items()}
    pools["tables"] = tuple(noun for noun in pools["tables"] if noun not in excluded_tables)
    return Words(**pools)


def invent_word(rng: random.Random) -> str:
    """A pronounceable word that probably exists in no language, 4 to 10 letters."""
    syllables = (rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(rng.randint(2, 3)))
    return "".join(syllables)[:10]


class SchemaWriter:
    """Draws database descriptions from one random generator.

    ``pieces``: a tokenizer's lower-case pieces. A share ``pieced`` of the invented words is put together from them, so
    that no piece is first met in somebody's column name; a piece that only ever completes one word is never learned.
    ``invented``: share of attribute words that are invented; of table nouns, a tenth more. ``camel``:
    share of databases with CamelCase names.
    """

    def __init__(
        self,
        words: Words,
        rng: random.Random,
        pieces: tuple[str, ...] = (),
        pieced: float = 0.0,
        invented: float = 0.3,
        camel: float = 0.15,
    ) -> None:
        self.words, self.rng, self.pieces, self.pieced, self.invented = words, rng, pieces, pieced, invented
        self.camel = camel

    def database(self, db_id: str, tables: int, columns: tuple[int, int], short_keys: float = 0.0) -> DatabaseSpec:
        """``tables`` tables with ``columns`` (low, high) describable columns each; most have a parent.

        ``short_keys``: share of tables whose key abbreviates the table's name (``dept_id``, ``dep_no``).
        """
        rng = self.rng
        camel, plain_id, plural = rng.random() < self.camel, rng.random() < 0.25, rng.random() < 0.2
        made: list[TableSpec] = []
        names: set[str] = set()
        keys: set[str] = set()
        for _ in range(tables):
            noun = self._fresh(names, lambda: self._noun(self.words.tables, self.invented + 0.1))
            key = "id" if plain_id else f"{noun}_id"
            if short_keys and not plain_id and rng.random() < short_keys:
                key = f"{noun[: rng.randint(2, 4)]}_{rng.choice(('id', 'id', 'no'))}"
            key = key if key not in keys or plain_id else f"{noun}_id"
            keys.add(key)
            specs = [ColumnSpec(key, "id")]
            if made and rng.random() < 0.9:
                for parent in rng.sample(made, min(len(made), rng.choice((1, 1, 1, 2)))):
                    target = parent.columns[0].name
                    specs.append(ColumnSpec(f"{parent.name}_id" if target == "id" else target, "ref", to=parent.name))
            taken = {spec.name for spec in specs}
            specs += [self._column(noun, taken) for _ in range(rng.randint(*columns))]
            made.append(TableSpec(noun, tuple(specs), rng.randint(8, 24)))
        return self._styled(DatabaseSpec(db_id, tuple(made)), camel, plural and not camel)

    def _column(self, noun: str, taken: set[str]) -> ColumnSpec:
        kinds: tuple[Kind, ...] = ("name", "category", "integer", "real", "date")
        kind = self.rng.choices(kinds, (3, 3, 3.5, 1.2, 1))[0]
        pool = {"integer": self.words.number, "real": self.words.number, "date": self.words.date}.get(
            kind, self.words.text
        )
        name = self._fresh(taken, lambda: self._attribute(noun, pool))
        nulls = 0.2 if self.rng.random() < 0.25 else 0.0
        if kind in ("name", "category"):
            count = self.rng.randint(3, 5) if kind == "category" else 12
            return ColumnSpec(name, kind, values=tuple(self._value() for _ in range(count)), nulls=nulls)
        if kind == "date":
            return ColumnSpec(
                name, kind, low=self.rng.randint(1970, 2005), high=self.rng.randint(2006, 2024), nulls=nulls
            )
        high = self.rng.choice((10, 60, 100, 500, 1000, 5000, 40000))
        return ColumnSpec(name, kind, low=0 if self.rng.random() < 0.7 else high // 5, high=high, nulls=nulls)

    def _invent(self) -> str:
        rng = self.rng
        if not self.pieced or rng.random() >= self.pieced:
            return invent_word(rng)
        word = "".join(rng.choice(self.pieces) for _ in range(rng.randint(1, 3)))[:12]
        ending = "y" if rng.random() < 0.12 and len(word) > 2 else ""  # plurals in "ies" respell the word
        return (word.rstrip("aeiouy") or "st") + ending if ending else word

    def _noun(self, pool: tuple[str, ...], invented: float) -> str:
        if self.rng.random() < invented:
            return self._invent()
        noun = self.rng.choice(pool)
        return f"{self.rng.choice(self.words.modifiers)}_{noun}" if self.rng.random() < 0.15 else noun

    def _attribute(self, noun: str, pool: tuple[str, ...]) -> str:
        rng = self.rng
        word = self._invent() if rng.random() < self.invented else rng.choice(pool)
        if rng.random() < _PREFIXED:
            return f"{noun}_{word}"
        if rng.random() < _MODIFIED:
            return f"{rng.choice(self.words.modifiers) if rng.random() < 0.7 else self._invent()}_{word}"
        return word

    def _value(self) -> str:
        rng = self.rng
        words = []
        for _ in range(1 if rng.random() < 0.7 else 2):
            word = rng.choice(self.words.values) if rng.random() < 0.5 else self._invent()
            words.append(word.capitalize() if rng.random() < 0.8 else word)
        return " ".join(words)

    def _fresh(self, taken: set[str], draw: object) -> str:
        while True:
            name: str = draw()  # type: ignore[operator]
            if name not in taken and quote(name) == name:
                taken.add(name)
                return name

    def _styled(self, spec: DatabaseSpec, camel: bool, plural: bool) -> DatabaseSpec:
        """The same database in CamelCase, or with plural table names; keys keep the singular."""

        def column(name: str) -> str:
            return "".join(part.capitalize() for part in name.split("_")) if camel else name

        def table(name: str) -> str:
            return column(name) + "s" * (plural and not name.endswith("s"))

        tables = (
            TableSpec(
                table(t.name),
                tuple(
                    ColumnSpec(column(c.name), c.kind, table(c.to) if c.to else "", c.values, c.low, c.high, c.nulls)
                    for c in t.columns
                ),
                t.rows,
            )
            for t in spec.tables
        )
        return DatabaseSpec(spec.db_id, tuple(tables))
