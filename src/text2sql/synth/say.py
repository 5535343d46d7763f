"""Writes a meaning as a question: its phrases are put into a sentence by the rules of a language."""

import re

from text2sql.synth.meaning import Query, Term
from text2sql.synth.phrases import Names, Phrases
from text2sql.synth.profile import ColumnProfile
from text2sql.synth.words import ends_with, split_words

__all__ = ["Names", "Speaker"]

_HAN = "\u3400-\u9fff\u3000-\u303f\uff00-\uffef"
_BETWEEN_HAN = re.compile(f"(?<=[{_HAN}]) +(?=[{_HAN}])")
_PREDICATES = 0.25


class Speaker(Phrases):
    """Says meanings about one database in one language and register."""

    def question(self, query: Query) -> str:
        """A question or command that means the query; another one each time."""
        self.begin()
        parts = self._parts(query)
        return self._sentence(self.rules.expand(self._frame(query, parts), parts))

    def _frame(self, query: Query, parts: dict[str, str]) -> str:
        """The sentence's rule: the kind of question, and where there is one its form for rows, figures or a single item."""
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
        if asks == "count" and query.items[0].distinct and not self._is_key(query):
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
        key = self._by_key(query.places[1]) if last else ""
        head, one = self._noun(counted_place, False) + key, self._noun(counted_place, True)
        parts = {
            "each_of": self._say("each_of_all" if query.distinct else "each_of", np=self._np(head, mods)),
            "t": self._noun(table, False), "one": self._noun(table, True), "many": head, "single": one, "mods": mods,
            "np": self._np(head, mods), "all": self._say("phrase_all", head=head, mods=mods) if mods else self._every(head),
            "each": self._np(one, mods), "k": self._count(query.limit), "order": "", "where": "",
            "its": self._say("theirs" if self.english and ends_with(self._noun(table, True), "persons") else "its"),
            "with_any": "" if not query.by_row or self._is_whole(query)
            else self._say("with_such" if query.where else "with_any", t=self._noun(counted_place, False), one=one),
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

    def _items(self, query: Query, told: list[Term], figures: list[Term], parts: dict[str, str]) -> dict[str, str]:
        """What is returned: ``items`` and ``the_items`` (with what belongs to the joined table), and ``figures``."""
        several = bool(query.combine) or (query.limit != 1 and not query.by_row and self.rng.random() < 0.5)
        many = self.english and several
        own = [self._column(query, item, many=many) for item in told if not item.place]
        far = [self._column(query, item) for item in told if item.place]
        different = self._say("different") if query.distinct else ""
        found = {
            "items": different + self._join(own) if own else "",
            "tail": "",
            "many_items": "are" if many or len(own) > 1 else "is",
        }
        if far:
            noun = self._parent(query, 1)
            found["tail"] = self._say("tail", items=self._join(far), one=noun)
        names = [self._figure(query, item) for item in figures]
        found |= {"figures": self._join(names) if names else "", "is_figures": "are" if len(names) > 1 else "is"}
        counts = [item for item in figures if item.function == "count"]
        more = "extra" if counts and query.asks in ("most", "having") else "none"
        more_figure = "figure" if figures and not counts and query.asks == "most" else "none"
        for name in ("", "_ask"):
            found[f"extra{name}"] = self._say(f"{more}{name}", many=parts["many"])
            found[f"and_figure{name}"] = self._say(f"{more_figure}{name}", figure=found["figures"])
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
            rule = "order_count" if term.function == "count" else "order_number"
            return {"order": self._say(f"{rule}_{way}", c=figure)}
        column, source = self._column(query, term), query.places[term.place].table
        place = query.places[term.place]
        child = self._noun(source, True) + self._by_key(place) if term.place and not place.up else ""
        if term.place and not child:
            column = self._say("column_of", c=column, one=self._parent(query, term.place))
        if not query.limit:
            kind = "number" if term.column and term.column.roles & {"number", "date"} else "text"
            return {"order": self._say(f"order_{kind}_{way}", c=column)}
        date = "date_" if term.column and "date" in term.column.roles else ""
        found = {
            "x_words": self._say(f"superlative_{date}{way}", c=column),
            "among": self._say("among", np=parts["np"]) if parts["mods"] else "",
        }
        found["number"] = f"{parts['k']} " if query.limit > 1 else ""
        found["number_zh"] = f"{parts['k']} 个 " if query.limit > 1 else ""
        found["among_zh"] = f"{parts['mods']} 的 {parts['t']} 中 " if parts["mods"] else ""
        adjective = self._adjective(split_words(term.column.name) if term.column else "", query.descending)
        if child:
            found["x_words"] = self._say("of_child", child=child, x_words=found["x_words"])
        rule = "by_adjective" if adjective and not term.place and self.rng.random() < 0.5 else "by_column"
        noun = parts["one"] if query.limit == 1 else parts["t"]
        found["superlative"] = self.rules.expand(rule, {**found, "one": noun, "adjective": adjective})
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
        return {
            "figure": self._figure(query, condition.term),
            "compared": self._say(f"compared_{condition.kind}", v=str(value)),
        }

    def _verbs(self, query: Query) -> str:
        """The conditions as predicates of the noun ("are older than 30"); empty where they cannot be said so."""
        if not query.where or query.by_row or len(query.places) > 1 or query.group is not None:
            return ""
        texts = [self._compare(query, c, "verb_" if self.english else "") for c in query.where]
        return self._join(texts, "or" if query.either else "both_verbs")

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
