"""What the official evaluator does to SQL text before it runs: tokens, DISTINCT, first statement, plugged values.

Kept apart from execution because these rewritings are part of the protocol: a published figure contains them. Token
boundaries decide verdicts: a quoted "distinct" stays, ``T1.name`` is three tokens, ``-5`` is one number.
"""

import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from itertools import pairwise, product, takewhile
from typing import NamedTuple

_LETTER = "A-Za-zÀ-Üà-ü"
_PATTERN = re.compile(
    rf"""
      (?P<comment>(?:--|\#\ )[^\r\n]*(?:\r\n|\r|\n|$) | /\*.*?\*/)
    | (?P<newline>\r\n|\r|\n)
    | (?P<space>\s)
    | (?P<other>:= | :: | \* | \? | %(?:\(\w+\))?s | (?<!\w)[$:]\w+ | \\\w+)
    | (?P<name>`(?:``|[^`])*` | ´(?:´´|[^´])*´ | (?:@|\#\#|\#)[{_LETTER}]\w+
        | [{_LETTER}]\w*(?=\s*\.) | (?<=\.)[{_LETTER}]\w* | [{_LETTER}]\w*(?=\())
    | (?P<number>-?0[xX][\dA-Fa-f]+ | -?\d+(?:\.\d+)?[eE]-?\d+
        | -?(?:\d+\.\d*|\.\d+)(?![_{_LETTER}]) | -?\d+(?![_{_LETTER}]))
    | (?P<string>'(?:''|\\'|[^'])*')
    | (?P<quoted>"(?:""|\\"|[^"])*")
    | (?P<bracketed>(?<![\w\])])\[[^\]\[]+\])
    | (?P<word>\w[$\#\w]*)
    | (?P<punctuation>[;:()\[\],.])
    | (?P<operator>[<>=~!]+ | [+/@\#%^&|-]+)
    | (?P<error>.)
    """,
    re.VERBOSE | re.DOTALL,
)


# Text without quotes, comments, brackets and odd characters needs no tokens to find the word.
_ODD = re.compile(r"['\"`´\[#/\\@$:?À-Üà-ü-]")
_DISTINCT = re.compile(r"\bdistinct\b(?![$#])", re.IGNORECASE)


class Token(NamedTuple):
    """A piece of SQL text and its kind (a group name of the pattern)."""

    kind: str
    text: str


def tokenize(sql: str) -> list[Token]:
    """All tokens of ``sql``; their texts join to ``sql`` again."""
    return [Token(m.lastgroup or "error", m.group()) for m in _PATTERN.finditer(sql)]


def first_statement(sql: str) -> list[Token]:
    """Tokens up to and with the first semicolon outside brackets, and the spaces and line comments after it."""
    tokens = tokenize(sql)
    depth, before = 0, set[str]()
    for place, (kind, text) in enumerate(tokens):
        if kind == "punctuation":
            depth += (text == "(") - (text == ")")
            if text == ";" and depth <= 0:
                return [*tokens[: place + 1], *takewhile(_trails, tokens[place + 1 :])]
        elif kind == "word":
            word = text.lower()
            # The body of a trigger holds semicolons; officially only CREATE makes BEGIN and CASE count.
            opens = word == "begin" or (word == "case" and "begin" in before)
            depth += (opens and "create" in before) - (word == "end")
            before.add(word)
    return tokens


def _trails(token: Token) -> bool:
    return token.kind == "space" or (token.kind == "comment" and not token.text.startswith("/*"))


@lru_cache(maxsize=65536)
def without_distinct(sql: str) -> str:
    """The first statement of ``sql`` with every word DISTINCT taken out."""
    if ";" not in sql.rstrip("; ") and sql.count(";") <= 1:
        if not _DISTINCT.search(sql):
            return sql
        if not _ODD.search(sql):
            return _DISTINCT.sub("", sql)
    return "".join(text for _, text in first_statement(sql) if text.lower() != "distinct")


_THIS_YEAR = re.compile(r"YEAR\s*\(\s*CURDATE\s*\(\s*\)\s*\)\s*", re.IGNORECASE)
_QUOTED = re.compile(r"""('[^']*'|"[^"]*")""")
_SPACE = " \t\n\r\f"
_SPACES = re.compile(f"[{_SPACE}]+")
_SLOT = "VALUERARE"
_FLOAT = re.compile(r"[-+]?\d*\.\d+")
_INTEGER = re.compile(r"[^tT]\d+")
_NUMBERED_TABLE = re.compile(r"[Tt]\d+\.")
_SPACED_TABLE = re.compile(r"(T\d+\.)\s")


def tidy(sql: str, keep_distinct: bool) -> str:
    """Join split comparisons (``> =``) and, unless ``keep_distinct``, drop DISTINCT and all but the first statement."""
    for spaced in ("> =", "< =", "! ="):
        sql = sql.replace(spaced, spaced[0] + "=")
    return sql if keep_distinct else without_distinct(sql)


def fix_year(sql: str) -> str:
    """Replace MySQL's current year by the constant that the official evaluator uses."""
    return _THIS_YEAR.sub("2020", sql)


def canonical(sql: str) -> str:
    """Text equal for statements that differ only in letter case, spaces and one final semicolon outside quotes.

    Statements that are equal by this give the same rows. Text with comments or beyond ASCII is left as it is.
    """
    if not sql.isascii() or "--" in sql or "/*" in sql or "`" in sql or "[" in sql:
        return sql
    pieces = _QUOTED.split(sql.strip(_SPACE).removesuffix(";").rstrip(_SPACE))
    return "".join(piece if number % 2 else _SPACES.sub(" ", piece.lower()) for number, piece in enumerate(pieces))


def is_ordered(sql: str) -> bool:
    """Whether row order counts officially: the gold holds the words ``order by`` anywhere."""
    return "order by" in sql.lower()


def ends_ordered(sql: str) -> bool:
    """Whether the outermost query has an ORDER BY, whatever strings, comments and subqueries hold."""
    depth, before = 0, ""
    for kind, text in tokenize(sql):
        if kind in ("space", "newline", "comment"):
            continue
        depth += (text == "(") - (text == ")")
        if depth == 0 and before == "order" and text.lower() == "by":
            return True
        before = text.lower()
    return False


def fill_placeholder(sql: str, columns: Collection[str], everywhere: bool) -> str:
    """Put ``1`` where a model left Spider's value placeholder: the word ``value``, bare or alone in quotes.

    Names and longer texts are left alone: one of the database's ``columns`` (lower case), a qualified name, an
    alias, a string that says more. ``everywhere`` replaces the letters wherever they stand, as officially.
    """
    if "value" not in sql:
        return sql
    if everywhere:
        return sql.replace("value", "1")
    tokens = tokenize(sql)
    solid = [i for i, token in enumerate(tokens) if token.kind not in ("space", "newline", "comment")]
    words = pairwise(tokens[i].text.lower() for i in solid)
    is_name = "value" in columns or any(one == "as" and other in ("value", '"value"') for one, other in words)
    texts = [token.text for token in tokens]
    for before, here, after in zip([None, *solid], solid, [*solid[1:], None], strict=False):
        around = {texts[i] for i in (before, after) if i is not None}
        if tokens[here].kind == "string" or (tokens[here].kind == "quoted" and not is_name):
            if texts[here][1:-1].strip() == "value":
                texts[here] = texts[here].replace("value", "1")
        elif texts[here] == "value" and not is_name and "." not in around and (after is None or texts[after] != "("):
            texts[here] = "1"
    return "".join(texts)


@lru_cache(maxsize=8192)
def slots_and_values(sql: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words of a query with its literals turned into slots, and the literals found, without repeats.

    The words are lower case; literals keep their case. The rules by which a word counts as a literal are the
    official ones, down to their surprises: an alias like ``c1`` is one.
    """
    text = sql.strip().replace(";", "").replace("\t", "")
    text = " ".join(token.text for token in first_statement(text) if token.kind != "space")
    text = _SPACED_TABLE.sub(r"\1", text)
    values = [token.text for token in first_statement(text) if token.kind in ("string", "quoted")]
    for value in values:
        text = text.replace(value.strip(), _SLOT)
    words = text.split()
    for pattern in (_FLOAT, _INTEGER):
        numbers = {number.strip() for number in pattern.findall(" ".join(words) if pattern is _INTEGER else text)}
        values += [word for word in words if word in numbers]
        words = [_SLOT if word in numbers else word for word in words]
    split: list[str] = []
    for word in words:
        parts = word.replace(".", " . ").split() if _NUMBERED_TABLE.search(word) else [word]
        split += [part if part == _SLOT else part.lower() for part in parts]
    return tuple(split), tuple(dict.fromkeys(values))


def plugged(gold: str, pred: str) -> Iterator[str]:
    """Every text that puts the gold's literals into the slots of the prediction, in all combinations."""
    words, _ = slots_and_values(pred)
    _, values = slots_and_values(gold)
    places = [i for i, word in enumerate(words) if word.lower() == _SLOT.lower()]
    for choice in product(values, repeat=len(places)):
        filled = list(words)
        for place, value in zip(places, choice, strict=True):
            filled[place] = value
        yield " ".join(filled)
