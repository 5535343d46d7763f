"""Draws questions with SQL about one database until there are enough that differ and have a settled result.

A question is dropped where its query gives nothing, where a LIMIT cuts through equal rows, or where a part of the query is not
said. Rows that a join repeats are counted once, and the question then asks for different values.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from text2sql.synth.check import unsaid
from text2sql.synth.draw import Drawer
from text2sql.synth.meaning import Query, Term
from text2sql.synth.profile import DatabaseProfile
from text2sql.synth.render import to_sql
from text2sql.synth.say import Names, Speaker

Rows = Sequence[tuple[object, ...]]
Run = Callable[[str], Rows]
_LIMITED = re.compile(r"(.*) LIMIT (\d+)\Z")
_MISTYPED = 0.015
_OFTEN_MISTYPED = re.compile(
    r"\b(?:what|which|many|number|different|whose|average|their|please|list|show|there|with)\b"
)


@dataclass(frozen=True)
class Composed:
    """A question, its query, the pattern that it follows and how it is said."""

    question: str
    sql: str
    pattern: str
    language: str
    register: str


class Composer:
    """Composes questions about a database; ``run`` gives a query's rows, none where it fails.

    ``names``: words for columns beside their names (see :class:`Phrases`). ``checked``: read each question back.
    """

    def __init__(
        self, profile: DatabaseProfile, languages: Sequence[str], register: str, rng: random.Random, run: Run,
        names: Names | None = None,
        checked: bool = True,
    ) -> None:  # fmt: skip
        self.rng, self.run, self.register, self.names, self.checked = rng, run, register, names, checked
        self.drawer = Drawer(profile, rng)
        self.speakers = {language: Speaker(language, register, rng, names) for language in languages}
        self.verdicts: dict[str, bool] = {}

    def meaning(self) -> tuple[Query, str] | None:
        """A meaning with its SQL, which was not run yet; None where nothing fitting was drawn."""
        query = self.drawer.draw()
        if query is None:
            return None
        if query.counts_rows_twice() and query.asks != "top" and not query.combine and self._repeats(query):
            if query.order is not None or query.distinct:
                return None
            query = query.once()
        return query, to_sql(query)

    def say(self, query: Query, sql: str) -> Composed | None:
        """A question that says all of the query; None where this wording does not."""
        language = self.rng.choice(list(self.speakers))
        question = self.speakers[language].question(query)
        if self.checked and unsaid(question, sql, self.names):
            return None
        if language == "en" and self.register == "natural" and self.rng.random() < _MISTYPED:
            question = _mistyped(question, self.rng)
        return Composed(question, sql, query.shape, language, self.register)

    def _repeats(self, query: Query) -> bool:
        """Whether a join gives a row of what is asked about several times; True where that cannot be told."""
        key = query.places[0].table.key
        if key is None:
            return True
        counts = (Term(0, None, "count"), Term(0, key, "count", distinct=True))
        rows = self.run(to_sql(replace(query, items=counts, order=None, distinct=False)))
        return not rows or rows[0][0] != rows[0][1]

    def has_result(self, sql: str) -> bool:
        """Whether the query runs, and its result is more than NULLs or a zero and does not depend on chance."""
        if sql not in self.verdicts:
            rows = self.run(sql)
            has_values = any(cell is not None for row in rows for cell in row) and list(rows) != [(0,)]
            self.verdicts[sql] = has_values and self._is_settled(sql, rows)
        return self.verdicts[sql]

    def _is_settled(self, sql: str, rows: Rows) -> bool:
        """Whether a query with LIMIT leaves rows out, returns as many as it asks for, and has no tie at its end."""
        limited = _LIMITED.match(sql)
        if limited is None:
            return True
        whole, count = limited[1], int(limited[2])
        if len(rows) < count or list(self.run(f"SELECT count(*) > {count} FROM ({whole})")) != [(1,)]:
            return False
        places = range(1, len(rows[0]) + 1)
        ends = [
            self.run(f"{whole}, {', '.join(f'{place} {way}' for place in places)} LIMIT {count}")
            for way in ("ASC", "DESC")
        ]
        return bool(ends[0]) and sorted(map(repr, ends[0])) == sorted(map(repr, ends[1]))


def _mistyped(question: str, rng: random.Random) -> str:
    """Two letters of a common word exchanged, as fingers do; names and values stay whole."""
    found = list(_OFTEN_MISTYPED.finditer(question))
    if not found:
        return question
    start, end = rng.choice(found).span()
    at = rng.randrange(start + 1, end - 1) if end - start > 3 else start + 1
    return question[:at] + question[at + 1] + question[at] + question[at + 2 :]
