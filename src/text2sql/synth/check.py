"""Reads a question back against its query, independently of the grammar: is every part of the query said?"""

import re

from sqlglot import exp

from text2sql.sql import read_statement
from text2sql.synth.trace import compared, is_named
from text2sql.synth.words import split_words, written_out

_NUMERALS = {"2": "two", "3": "three", "4": "four", "5": "five", "6": "six"}
_ONE_ROW = "1"


def unsaid(question: str, sql: str, names: dict[tuple[str, str], str] | None = None) -> list[str]:
    """What of the query the question does not say: values that conditions compare with, limits, and columns asked for.

    ``names``: other words for columns, by table and column in lower case.
    """
    tree = read_statement(sql).tree
    if tree is None:
        return [sql]
    asked = question.casefold()
    values = [str(node.this).strip("%") for node in compared(tree)]
    values += [str(limit.expression.this) for limit in tree.find_all(exp.Limit)]
    missing = [value for value in values if value not in _said_otherwise(tree) and not _is_said(value, asked)]
    other: dict[str, list[str]] = {}
    for (_, column), words in (names or {}).items():
        other.setdefault(column, []).append(words)
    for select in tree.find_all(exp.Select):
        if select.find_ancestor(exp.Subquery, exp.In) is None:
            for column in (node for item in select.expressions for node in item.find_all(exp.Column)):
                forms = [
                    column.name,
                    split_words(column.name),
                    written_out(split_words(column.name)),
                    *other.get(column.name.lower(), []),
                ]
                missing += [] if any(_has_word(form, asked) for form in forms) else [column.name]
    return missing


def _said_otherwise(tree: exp.Expression) -> set[str]:
    """Numbers that need no mention: the one row of a superlative, and flags."""
    flags = {str(node.expression.this) for node in tree.find_all(exp.EQ) if str(node.expression.this) in ("0", "1")}
    return {_ONE_ROW, *flags}


def _is_said(value: str, asked: str) -> bool:
    return is_named(value, asked) or value.casefold() in asked or _NUMERALS.get(value, value) in asked


def _has_word(name: str, asked: str) -> bool:
    """Whether a word of the name, in any inflection, is in the question."""
    words = re.findall(r"\w+", name.casefold())
    return any(word[: max(2, len(word) - 2)] in asked for word in words)
