"""Normal forms by which questions and SQL are compared: for duplicates, for leakage, for splitting."""

import re
import unicodedata
from hashlib import blake2b

_WORD = re.compile(r"[^\W_]+")
_HAN = re.compile(r"([\u3400-\u9fff\uf900-\ufaff])")
_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|\d+(?:\.\d+)?|\w+|<>|[!<>=]=|\|\||[^\s\w]""",
    re.DOTALL,
)
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


def normal_sql(sql: str) -> tuple[str, str]:
    """SQL in one case and spacing without comments; and the same with ``?`` for every literal.

    Text in double quotes counts as a literal where a value is compared, as SQLite reads it there, else as a name.
    """
    whole: list[str] = []
    bare: list[str] = []
    before = ""
    for token in _TOKEN.findall(sql):
        first = token[0]
        if first == "'" or first.isdigit():
            whole.append(token)
            bare.append("?")
        elif first == '"' and (before in _BEFORE_LITERAL or (before in "(," and bare and _in_values(bare))):
            whole.append("'" + token[1:-1] + "'")
            bare.append("?")
        elif token == ";" or token.startswith(("--", "/*")):
            continue
        else:
            word = token[1:-1] if first in '"`[' and len(token) > 1 else token
            word = _SAME.get(word, word.lower())
            whole.append(word)
            bare.append(word)
        before = bare[-1]
    return " ".join(whole), " ".join(bare)


def _in_values(bare: list[str]) -> bool:
    """Whether the next token stands in the list of ``IN (...)``: only literals and commas since its bracket."""
    for place in range(len(bare) - 1, -1, -1):
        if bare[place] == "(":
            return place > 0 and bare[place - 1] == "in"
        if bare[place] not in ("?", ","):
            return False
    return False


def digest(*texts: str) -> int:
    """A 63-bit number for texts: equal texts give equal numbers."""
    return int.from_bytes(blake2b("\0".join(texts).encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 1
