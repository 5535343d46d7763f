"""Writes a meaning as a question: noun phrases from the places and conditions, put into a sentence by the rules of a language."""

import random
import re
from collections.abc import Sequence

from text2sql.synth.meaning import Condition, Query, Term, Value
from text2sql.synth.profile import ColumnProfile, TableProfile
from text2sql.synth.rules import Rules
from text2sql.synth.words import NAMES, counted, ends_with, split_words, written_out

_HAN = "\u3400-\u9fff\u3000-\u303f\uff00-\uffef"
_BETWEEN_HAN = re.compile(f"(?<=[{_HAN}]) +(?=[{_HAN}])")
_NUMERALS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
_WRITTEN_OUT, _SPECIAL, _QUOTED, _DESCRIBED, _PREDICATES, _KEPT_PREFIX = 0.75, 0.45, 0.35, 0.6, 0.25, 0.35
Names = dict[tuple[str, str], str]


class Speaker:
    """Says meanings about one database in one language and register.

    ``names``: words for columns, by table and column in lower case, for example out of comments; they are used beside the names.
    """

    def __init__(self, language: str, register: str, rng: random.Random, names: Names | None = None) -> None:
        self.rules, self.rng, self.names = Rules(language, register, rng), rng, names or {}
        self.english = language == "en"

    def question(self, query: Query) -> str:
        """A question or command that means the query; another one each time."""
        self.words: dict[tuple[str, str], str] = {}
        self.style = self.rng.random()
        parts = self._parts(query)
        return self._sentence(self.rules.expand(self._frame(query, parts), parts))

    def _frame(self, query: Query, parts: dict[str, str]) -> str:
        """The sentence's rule: the kind of question, and where there is one its special form for rows, figures or a single item."""
        asks = query.asks
        if query.combine:
            unique = len(query.items) > 0 and any(_is_unique(item.column) for item in query.items)
            same = query.other is not None and len(query.other.places) > len(query.places)
            return f"{asks}_{'rows' if unique and same else 'values'}"
        if query.group is not None:
            figure = query.order or (query.having.term if query.having else None)
            kind = "_figure" if asks in ("most", "having") and figure is not None and figure.function != "count" else ""
            some = "_some" if asks == "most" and not kind and query.limit > 1 else ""
            return f"{asks}{kind}{'_row' if query.by_row else ''}{some}"
        if asks == "count":
            if query.items[0].distinct and not self._is_key(query):
                return "count_values"
        if asks == "top":
            return "top" if query.limit == 1 else "top_some"
        if asks in ("list", "sort", "distinct", "count") and parts["verbs"] and self.rng.random() < _PREDICATES:
            return "count_verbs" if asks == "count" else "list_verbs"
        return "list" if asks in ("distinct", "sort") else asks

    @staticmethod
    def _is_key(query: Query) -> bool:
        return query.items[0].column == query.places[0].table.key

    # --- parts of a sentence -------------------------------------------------------------------------------------

    def _parts(self, query: Query) -> dict[str, str]:
        table = query.places[0].table
        told = [item for item in query.items if not item.function]
        figures = [item for item in query.items if item.function]
        last = len(query.places) - 1 if query.by_row else 0
        counted_place = query.places[last].table
        mods = self._modifiers(query, last)
        head, one = self._noun(counted_place, False), self._noun(counted_place, True)
        parts = {
            "t": self._noun(table, False), "one": self._noun(table, True), "many": head, "single": one, "mods": mods,
            "np": self._np(head, mods), "all": self._np(head if mods else self._every(head), mods),
            "each": self._np(one, mods), "k": self._count(query.limit), "order": "", "where": "",
            "with_any": "" if not query.by_row or self._is_whole(query) else self._say("with_any", t=head, one=one),
        }  # fmt: skip
        parts |= self._items(query, told, figures, parts)
        if query.group is not None and not query.by_row:
            parts |= {"g": self._column(query, query.group), "gs": self._column(query, query.group, many=True)}
        if query.order is not None:
            parts |= self._order(query, parts)
        if query.having is not None:
            parts |= self._having(query)
        if query.other is not None:
            other = self._modifiers(query.other, 0)
            parts |= {"np2": self._np(head, other), "mods2": other.strip(), "mods": mods.strip()}
            parts["rel2"] = self._relation(query.other, 0) if len(query.other.places) > 1 else ""
            parts["rel"] = self._relation(query, 0) if len(query.places) > 1 else ""
        parts["verbs"] = self._verbs(query)
        return parts

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

    def _items(self, query: Query, told: list[Term], figures: list[Term], parts: dict[str, str]) -> dict[str, str]:
        """What is returned: ``items`` and ``the_items`` (with what belongs to the joined table), and ``figures``."""
        several = bool(query.combine) or (query.limit != 1 and not query.by_row and self.rng.random() < 0.5)
        many = self.english and several
        own = [self._column(query, item, many=many) for item in told if not item.place]
        far = [self._column(query, item) for item in told if item.place]
        different = self._say("different") if query.distinct else ""
        found = {"items": different + self._join(own) if own else "", "tail": "", "many_items": "are" if many or len(own) > 1 else "is"}
        if far:
            noun = self._noun(query.places[1].table, True)
            found["tail"] = self._say("tail", items=self._join(far), one=noun)
        names = [self._figure(query, item) for item in figures]
        found |= {"figures": self._join(names) if names else "", "is_figures": "are" if len(names) > 1 else "is"}
        counts = [item for item in figures if item.function == "count"]
        more = "extra" if counts and query.asks in ("most", "having") else "none"
        told = "figure" if figures and not counts and query.asks == "most" else "none"
        for name in ("", "_ask"):
            found[f"extra{name}"] = self._say(f"{more}{name}", many=parts["many"])
            found[f"and_figure{name}"] = self._say(f"{told}{name}", figure=found["figures"])
        if query.asks == "count" and query.items[0].column is not None:
            found["c"] = self._column(query, query.items[0], many=True)
        return found

    def _figure(self, query: Query, term: Term) -> str:
        if term.column is None or term.function == "count":
            return self._say("number_word")
        return self._say(f"function_{term.function}", c=self._column(query, term))

    def _order(self, query: Query, parts: dict[str, str]) -> dict[str, str]:
        assert query.order is not None
        term, way = query.order, "most" if query.descending else "least"
        if term.function:
            figure = self._figure(query, term)
            if query.limit:
                words = {name: self._say(f"{name}_{way}") for name in ("extreme", "common", "beaten")}
                return {"x": self._say(f"count_{way}"), "figure": figure, **words}
            return {"order": self._say(f"order_count_{way}")}
        column, source = self._column(query, term), query.places[term.place].table
        child = self._noun(source, True) if term.place and not query.places[term.place].up else ""
        if term.place and not child:
            column = self._say("column_of", c=column, one=self._noun(source, True))
        if not query.limit:
            kind = "number" if term.column and term.column.roles & {"number", "date"} else "text"
            return {"order": self._say(f"order_{kind}_{way}", c=column)}
        date = "date_" if term.column and "date" in term.column.roles else ""
        found = {"x_words": self._say(f"superlative_{date}{way}", c=column), "among": f" {parts['mods']}" if parts["mods"] else ""}
        found["number"] = f"{parts['k']} " if query.limit > 1 else ""
        found["number_zh"] = f"{parts['k']} 个 " if query.limit > 1 else ""
        found["among_zh"] = f"{parts['mods']} 的 {parts['t']} 中 " if parts["mods"] else ""
        adjective = self._adjective(split_words(term.column.name) if term.column else "", query.descending)
        rule = "by_child" if child else "by_adjective" if adjective and not term.place and self.rng.random() < 0.5 else "by_column"
        noun = parts["one"] if query.limit == 1 else parts["t"]
        found["superlative"] = self.rules.expand(rule, {**found, "one": noun, "adjective": adjective, "child": child})
        return found

    def _adjective(self, name: str, descending: bool) -> str:
        found = self.rules.table("adjectives").get(name.rpartition(" ")[2])
        return found[0 if descending else 1] if found else ""

    def _having(self, query: Query) -> dict[str, str]:
        condition = query.having
        assert condition is not None
        value = condition.values[0]
        if condition.term.function == "count":
            return {"amount": self._say(f"amount_{condition.kind}", k=self._count(int(value)))}
        return {"figure": self._figure(query, condition.term), "compared": self._say(f"compared_{condition.kind}", v=str(value))}

    # --- noun phrases --------------------------------------------------------------------------------------------

    def _modifiers(self, query: Query, place: int) -> str:
        """Conditions on a place and its relation to the next, as they stand beside the noun; empty without any."""
        table = query.places[place].table
        own = [self._who(table, self._condition(query, c)) for c in query.where if c.term.place == place]
        texts = [self._join(own, "or" if query.either else "both")] if own else []
        if place + 1 < len(query.places) and not query.by_row and any(c.term.place > place for c in query.where):
            relation = self._who(table, self._relation(query, place))
            texts = [self._say("and_relation", a=texts[0], b=relation)] if texts else [relation]
        return texts[0] if texts else ""

    def _who(self, table: TableProfile, text: str) -> str:
        """People are "who", not "that", most of the time."""
        is_person = self.english and ends_with(self._noun(table, True), "persons")
        return f"who {text[5:]}" if is_person and text.startswith("that ") and self.style < 0.8 else text

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
            return self._condition(query, conditions[0], self._say("owner", one=self._by(query, place + 1) or one))
        mods = self._modifiers(query, target)
        nouns = self._np(self._noun(table, False), mods)
        if following.up and (key := self._by(query, place + 1)):
            return self._say("relation_key", key=key, one=one, mods=mods, np=nouns)
        rule = "relation_up" if following.up else "relation_linked" if target > place + 1 else "relation_down"
        return self._say(rule, np=nouns, one=self._np(one, mods))

    def _by(self, query: Query, place: int) -> str:
        """What the key to a parent is called where the parent's name would not tell it: "manager", "source airport"."""
        join, table = query.places[place].join, query.places[place].table
        if join is None:
            return ""
        words = [w for w in split_words(join.key).split() if w not in ("id", "ids", "no", "code", "fk")]
        name = " ".join(words)
        bare = counted(split_words(table.name), True)
        return "" if not name or name in bare or bare.endswith(words[-1]) and len(words) == 1 else name

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
            mods = self._modifiers(inner, 0)
            table = inner.places[0].table
            return self._say(f"{form}{kind}", np=self._np(self._noun(table, False), mods), one=self._np(self._noun(table, True), mods))
        words = self._column(query, condition.term)
        shown = {f"v{n or ''}": self._mention(v, column) for n, v in zip(("", 2), condition.values, strict=False)}
        rule = f"{form}{kind}"
        for special in ("name", "place", "age", "price", "year"):
            named = f"{rule}_{special}"
            if not owner and self._is_special(special, column, query) and self.rules.has(named) and self.rng.random() < _SPECIAL:
                rule = named
                break
        if "date" in column.roles and kind == "between":
            rule = f"{form}between_date"
        return self.rules.expand(rule, {"c": f"{owner}{words}", **shown})

    def _is_special(self, special: str, column: ColumnProfile, query: Query) -> bool:
        last = split_words(column.name).rpartition(" ")[2]
        if special == "place":
            return ends_with(column.name, "places")
        return last in {"name": ("name", "title"), "age": ("age",), "price": ("price", "cost"), "year": ("year",)}[special]

    def _verbs(self, query: Query) -> str:
        """The conditions as predicates of the noun ("are older than 30"); empty where they cannot be said so."""
        if not query.where or query.by_row or len(query.places) > 1 or query.group is not None:
            return ""
        texts = [self._compare(query, c, "verb_" if self.english else "") for c in query.where]
        return self._join(texts, "or" if query.either else "both_verbs")

    # --- words ---------------------------------------------------------------------------------------------------

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
            if name.partition(" ")[0] in NAMES["verbs"] or name in NAMES["read_otherwise"]:
                name = f'"{name}"'
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
        is_plain = 3 < len(value) and len(value.split()) <= 2 and value.replace(" ", "").isalnum()
        if is_plain and self.rng.random() > _QUOTED:
            return text
        return f'"{text}"' if self.rng.random() < 0.4 else f"'{text}'"

    def _count(self, number: int) -> str:
        return _NUMERALS[number] if self.english and number in _NUMERALS and self.rng.random() < 0.4 else str(number)

    def _is_whole(self, query: Query) -> bool:
        join = query.places[1].join
        return len(query.places) == 2 and join is not None and join.whole and not query.where

    def _sentence(self, text: str) -> str:
        """Mend what parts leave when joined: doubled articles and spaces, the first letter's case, the mark at the end."""
        text = " ".join(text.replace("the the ", "the ").split())
        if not self.english:
            return _BETWEEN_HAN.sub("", text)
        text = re.sub(r"\b(a) (?=[aeio])", "an ", text)
        text = re.sub(r"(?<=\? )[a-z]", lambda found: found[0].upper(), text)
        text = re.sub(r"[ ,]+(?=[,.?:;](?: |$))", "", text)
        return text[0].upper() + text[1:]


def _is_unique(column: ColumnProfile | None) -> bool:
    return column is not None and len(set(column.values)) == len(column.values) and not column.has_nulls
