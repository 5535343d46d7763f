"""Normal forms of questions and SQL, to find duplicates and leaks and to divide rows into splits."""

import re
import unicodedata
from hashlib import blake2b
from itertools import dropwhile, islice
from typing import Literal, get_args

LeakRule = Literal["question", "sql", "near", "database"]
LEAK_RULES: tuple[LeakRule, ...] = get_args(LeakRule)
_WORD = re.compile(r"[^\W_]+")
_HAN = re.compile(r"([\u3400-\u9fff\uf900-\ufaff])")
_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|\d+(?:\.\d+)?|\w+|<>|[!<>=]=|\|\||[^\s\w]""",
    re.DOTALL,
)
_HARD = re.compile(r"""["`\[;]|--|/\*|<>|==""")
_STRING = re.compile(r"('(?:[^']|'')*')")
_SIMPLE = re.compile(r"\d+(?:\.\d+)?|\w+|[!<>]=|\|\||[^\s\w]")
_BEFORE_LITERAL = frozenset(("=", "==", "!=", "<>", "<", ">", "<=", ">=", "like", "between", "glob"))
_SAME = {"<>": "!=", "==": "="}


def question_words(question: str) -> list[str]:
    """Words of a question in one case and width, without punctuation; a Chinese character is a word."""
    if not question.isascii():
        question = _HAN.sub(r" \1 ", unicodedata.normalize("NFKC", question))
    return _WORD.findall(question.casefold())


def normal_question(question: str) -> str:
    """The words with single spaces between them."""
    return " ".join(question_words(question))


def normal_sql(sql: str) -> str:
    """SQL in one case and spacing, without comments; literals stay as they are."""
    if not _HARD.search(sql):
        pieces = _STRING.split(sql)
        pieces[::2] = [" ".join(_SIMPLE.findall(piece.lower())) for piece in pieces[::2]]
        return " ".join(piece for piece in pieces if piece)
    return " ".join(whole for whole, _ in _tokens(sql))


def bare_sql(sql: str) -> str:
    """:func:`normal_sql` with ``?`` for every literal.

    Text in double quotes counts as a literal where a value is compared, as SQLite reads it there, else as a name.
    """
    return " ".join(bare for _, bare in _tokens(sql))


def _tokens(sql: str) -> list[tuple[str, str]]:
    """Each token in its normal form, and that without literals."""
    found: list[tuple[str, str]] = []
    bare: list[str] = []
    before = ""
    for token in _TOKEN.findall(sql):
        first = token[0]
        if first == "'" or first.isdigit():
            found.append((token, "?"))
        elif first == '"' and (before in _BEFORE_LITERAL or (before in ("(", ",") and _in_values(bare))):
            found.append(("'" + token[1:-1] + "'", "?"))
        elif token == ";" or token.startswith(("--", "/*")):
            continue
        else:
            word = token[1:-1] if first in '"`[' and len(token) > 1 else token
            word = _SAME.get(word, word.lower())
            found.append((word, word))
        before = found[-1][1]
        bare.append(before)
    return found


def _in_values(bare: list[str]) -> bool:
    """Whether the next token stands in the list of ``IN (...)``: only literals and commas since its bracket."""
    return [*islice(dropwhile({"?", ","}.__contains__, reversed(bare)), 2)] == ["(", "in"]


def tables_read(sql: str) -> int:
    """How many different tables a query in normal form reads, by name; names that WITH defines do not count."""
    words = sql.split()
    found: set[str] = set()
    for place, word in enumerate(words):
        if word in ("from", "join"):
            place += 1
            while place < len(words) and words[place] not in ("(", "select"):
                found.add(words[place])
                place += 1
                place += words[place : place + 1] == ["as"]
                if words[place : place + 1] != [","]:
                    place += 1  # an alias, or the word after the list
                if words[place : place + 1] != [","]:
                    break
                place += 1
    return sum(f" {name} as ( " not in f" {sql} " for name in found)


def digest(*texts: str) -> int:
    """A 63-bit number for texts: equal texts give equal numbers."""
    return int.from_bytes(blake2b("\0".join(texts).encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 1
