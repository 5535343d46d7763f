"""Words of a Spider query, split where the official evaluator splits them.

Exact match is defined by a small grammar over English word tokens, so a query whose words fall apart differently
("a=b" is one word, "a = b" three) gets another verdict. The rules here give the same words as the Treebank word
tokenizer on text without quotes, which is all that the grammar ever passes to it.
"""

import re

_ALONE = re.compile(r"`+|[;@#$%&?!*\[\](){}<>«»“”‘’„]|--|\.{2,}")
_SEPARATOR = re.compile(r"([:,])(?=\D|$)")
_LAST_STOP = re.compile(r"(?<=[^.])\.(?=[\])}>»”’ ]*+\s*+$)")
_CONTRACTIONS = re.compile(r"(?i)\b(can)(not)\b|\b(gim|lem)(me)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b")
_COMPARISONS = frozenset("!><")


class GrammarError(ValueError):
    """The query is outside Spider's SQL subset, or names what the schema lacks."""


def split_words(text: str) -> list[str]:
    """Lower-cased words of ``text``, which holds no quotes."""
    text = _LAST_STOP.sub(" . ", text)
    text = _SEPARATOR.sub(r" \1 ", text)
    text = _ALONE.sub(r" \g<0> ", text)
    text = _CONTRACTIONS.sub(lambda m: " ".join(part for part in m.groups() if part), text)
    return text.lower().split()


def query_words(sql: str) -> list[str]:
    """Words of a query; a quoted string is one word that keeps its case and has double quotes.

    Single quotes count as double ones. ``! =``, ``> =`` and ``< =`` become one word.

    Raises:
        GrammarError: the number of quotes is odd.
    """
    pieces = sql.replace("'", '"').split('"')
    if len(pieces) % 2 == 0:
        raise GrammarError("unclosed quote")
    # Strings become placeholders before splitting, so that text glued to a string stays glued, as it officially does.
    strings = {f"__val_{i}__": f'"{piece}"' for i, piece in enumerate(pieces) if i % 2}
    bare = "".join(f"__val_{i}__" if i % 2 else piece for i, piece in enumerate(pieces))
    words: list[str] = []
    for word in split_words(bare):
        if word == "=" and words and words[-1] in _COMPARISONS:
            words[-1] += "="
        else:
            words.append(strings.get(word, word))
    return words
