"""Noun phrases of a question: tables and columns in words, conditions and relations beside their nouns."""

import random
from collections.abc import Sequence

from text2sql.synth.meaning import Condition, Place, Query, Term, Value
from text2sql.synth.profile import ColumnProfile, TableProfile
from text2sql.synth.rules import Rules
from text2sql.synth.words import NAMES, counted, ends_with, split_words, written_out

_NUMERALS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
_WRITTEN_OUT, _SPECIAL, _QUOTED, _DESCRIBED, _KEPT_PREFIX, _WHO = 0.75, 0.45, 0.35, 0.6, 0.35, 0.8
_KEY_WORDS = frozenset("id ids no num nbr number code fk".split())
Names = dict[tuple[str, str], str]


class Phrases:
    """Phrases about one database in one language and register; :meth:`begin` starts a question, within which words stay.

    ``names``: words for columns, by table and column in lower case, for example out of comments; they are used beside the names.
    """

    def __init__(self, language: str, register: str, rng: random.Random, names: Names | None = None) -> None:
        self.rules, self.rng, self.names = Rules(language, register, rng), rng, names or {}
        self.english = language == "en"
        self.begin()

    def begin(self) -> None:
        """Forget the words of the last question."""
        self.words: dict[tuple[str, str], str] = {}
        self.style = self.rng.random()

    def _say(self, rule: str, **parts: str) -> str:
        return self.rules.expand(rule, parts)

    def _np(self, head: str, mods: str) -> str:
        return self._say("phrase", head=head, mods=mods) if mods else head

    def _every(self, head: str) -> str:
        return self._say("every", t=head)

    def _join(self, texts: Sequence[str], rule: str = "and") -> str:
        text = texts[-1]
        if len(texts) > 2:
            text = self._say(rule, a=self._say("comma", a=texts[0], b=texts[1]), b=text)
        elif len(texts) == 2:
            text = self._say(rule, a=texts[0], b=text)
        return text

    def _modifiers(self, query: Query, place: int) -> str:
        """Conditions on a place and its relation to the next, as they stand beside the noun; empty without any."""
        table = query.places[place].table
        own = [self._who(table, self._condition(query, c)) for c in query.where if c.term.place == place]
        texts = [self._join(own, "or" if query.either else "both")] if own else []
        beyond = any(c.term.place > place for c in query.where)
        is_bare = query.asks == "list" and not query.where and not any(item.place for item in query.items)
        if place + 1 < len(query.places) and not query.by_row and (beyond or is_bare):
            relation = self._who(table, self._relation(query, place))
            texts = [self._say("and_relation", a=texts[0], b=relation)] if texts else [relation]
        return texts[0] if texts else ""

    def _who(self, table: TableProfile, text: str) -> str:
        """People are "who", not "that", most of the time."""
        is_person = self.english and ends_with(self._noun(table, True), "persons")
        return f"who {text[5:]}" if is_person and text.startswith("that ") and self.style < _WHO else text

    def _relation(self, query: Query, place: int) -> str:
        """How rows of a place are told by those of the next: their parent's, or those that refer to them."""
        following = query.places[place + 1]
        target = place + 1
        own = [c for c in query.where if c.term.place == target]
        if not following.up and target + 1 < len(query.places) and query.places[target + 1].up and not own:
            target += 1  # a linking table lies between
        table = query.places[target].table
        conditions = [c for c in query.where if c.term.place == target]
        one = self._noun(table, True)
        if following.up and target + 1 == len(query.places) and len(conditions) == 1 and self.rng.random() < 0.4:
            return self._condition(query, conditions[0], self._say("owner", one=self._parent(query, place + 1)))
        mods = self._modifiers(query, target)
        nouns = self._np(self._noun(table, False), mods)
        if following.up and (key := self._by(query, place + 1)):
            return self._say("relation_key", key=key, one=one, mods=mods, np=nouns)
        if not following.up:
            nouns = self._np(self._noun(table, False) + self._by_key(following), mods)
        rule = "relation_up" if following.up else "relation_linked" if target > place + 1 else "relation_down"
        return self._say(rule, np=nouns, one=self._np(one, mods))

    def _by(self, query: Query, place: int) -> str:
        """What the key to a parent is called where the parent's name would not tell it: "manager", "source airport"."""
        join, table = query.places[place].join, query.places[place].table
        if join is None:
            return ""
        words = [w for w in split_words(join.key).split() if w not in _KEY_WORDS]
        name = " ".join(words)
        bare = counted(split_words(table.name), True)
        if join.rivals and name:
            return _quoted(name)
        return "" if not name or name in bare or (bare.endswith(words[-1]) and len(words) == 1) else name

    def _parent(self, query: Query, place: int) -> str:
        """A joined table in the singular, with what its key calls it where that says more: "destination airport"."""
        noun, key = (
            self._noun(query.places[place].table, True),
            self._by(query, place) if query.places[place].up else "",
        )
        return key if key and key.endswith(noun) else f"{key} {noun}".strip()

    def _by_key(self, place: Place) -> str:
        """By which key rows refer, where several could: "flights (by source airport)"."""
        join = place.join
        return (
            self._say("by_key", key=_quoted(split_words(join.key)))
            if join is not None and join.rivals and not place.up
            else ""
        )

    def _condition(self, query: Query, condition: Condition, owner: str = "") -> str:
        """A condition beside its noun; one on the ``owner`` of what is asked about is a clause ("whose team's name is A")."""
        while True:
            text = self._compare(query, condition, "", owner)
            if not (owner and self.english) or text.startswith(("whose", "where")) or condition.inner:
                return text

    def _compare(self, query: Query, condition: Condition, form: str, owner: str = "") -> str:
        """A condition's words; ``form``: "" beside a noun ("whose age is 3"), "verb_" as a predicate ("have an age of 3")."""
        kind, column = condition.kind, condition.term.column
        assert column is not None
        if condition.inner is not None:
            inner = condition.inner
            last = len(inner.places) - 1
            mods, table = self._modifiers(inner, last), inner.places[0].said or inner.places[last].table
            return self._say(
                f"{form}{kind}", np=self._np(self._noun(table, False) + self._by_key(inner.places[0]), mods)
            )
        words = self._column(query, condition.term)
        shown = {f"v{n or ''}": self._mention(v, column) for n, v in zip(("", 2), condition.values, strict=False)}
        rule = f"{form}{kind}"
        for special in ("name", "place", "age", "price", "year"):
            named = f"{rule}_{special}"
            if (
                not owner
                and self._is_special(special, column, query)
                and self.rules.has(named)
                and self.rng.random() < _SPECIAL
            ):
                rule = named
                break
        if "date" in column.roles and kind == "between":
            rule = f"{form}between_date"
        return self.rules.expand(rule, {"c": f"{owner}{words}", **shown})

    def _is_special(self, special: str, column: ColumnProfile, query: Query) -> bool:
        last = split_words(column.name).rpartition(" ")[2]
        if special == "place":
            return ends_with(column.name, "places")
        return (
            last in {"name": ("name", "title"), "age": ("age",), "price": ("price", "cost"), "year": ("year",)}[special]
        )

    def _noun(self, table: TableProfile, one: bool) -> str:
        name = split_words(table.name) or table.name
        if not self.english or not name.isascii():
            return name
        if name.partition(" ")[0] in NAMES["verbs"]:
            return f'"{name}" record{"s" * (not one)}'
        return counted(written_out(name) if self.style < _WRITTEN_OUT else name, one)

    def _column(self, query: Query, term: Term, many: bool = False) -> str:
        """The column in words, the same throughout a question; ``many``: its plural."""
        column, table = term.column, query.places[term.place].table
        assert column is not None
        place = (table.name.lower(), column.name.lower())
        if place not in self.words:
            name = split_words(column.name) or column.name
            described = self.names.get(place, "")
            if described and self.rng.random() < _DESCRIBED:
                name = described
            elif name.isascii() and self.style < _WRITTEN_OUT:
                name = written_out(name)
            name = _quoted(name)
            self.words[place] = self._short(name, table) if self.english else name
        words = self.words[place]
        return counted(words, False) if many and self.english and words.isascii() and words[-1:].isalpha() else words

    def _short(self, name: str, table: TableProfile) -> str:
        """Without the table's own noun, mostly: "name" for a course's "course name", where no other column is called so."""
        head = f"{counted(split_words(table.name), True)} "
        rest = name.removeprefix(head)
        others = {split_words(column.name) for column in (*table.columns, *table.keys)}
        return rest if rest != name and rest not in others and self.style > _KEPT_PREFIX else name

    def _mention(self, value: Value, column: ColumnProfile) -> str:
        """The value; in quotes where its end is hard to see, sometimes otherwise, without quotes where it contains one."""
        text = str(value)
        if not isinstance(value, str) or "'" in value or '"' in value:
            return text
        is_plain = len(value) > 3 and len(value.split()) <= 2 and value.replace(" ", "").isalnum()
        if is_plain and self.rng.random() > _QUOTED:
            return text
        return f'"{text}"' if self.rng.random() < 0.4 else f"'{text}'"

    def _count(self, number: int) -> str:
        return _NUMERALS[number] if self.english and number in _NUMERALS and self.rng.random() < 0.4 else str(number)


def _quoted(name: str) -> str:
    """In quotes where it could be read as words of the question."""
    is_read_otherwise = name.partition(" ")[0] in NAMES["verbs"] or name in NAMES["read_otherwise"]
    return f'"{name}"' if is_read_otherwise else name
