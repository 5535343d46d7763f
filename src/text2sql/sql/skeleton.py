"""The form of a query without what it speaks of: queries of one form are solved alike, whatever their database.

As in RESDSQL (Li et al. 2023, arXiv 2302.05965): names and literals become ``_``, lists of them one ``_``, and joins, whose
number is a matter of the database and not of the question, disappear.
"""

import re
from functools import lru_cache

from text2sql.sql.statement import read_statement

_KEPT = frozenset(
    "SELECT DISTINCT FROM JOIN ON WHERE GROUP BY HAVING ORDER LIMIT OFFSET DESC AND OR NOT IN LIKE GLOB BETWEEN IS NULL EXISTS "
    "UNION ALL INTERSECT EXCEPT CASE WHEN THEN ELSE END WITH OVER PARTITION CAST".split()
)
_DROPPED = frozenset("AS ASC INNER LEFT OUTER CROSS NATURAL ;".split())
_NAMES = re.compile(r"_(?: (?:\. |, )?_)+")
_JOINED = re.compile(r" JOIN _(?: ON _ = _(?: AND _ = _)*)?")
_SAME = {"<>": "!=", "==": "="}


@lru_cache(maxsize=65536)
def skeleton(sql: str) -> str:
    """``SELECT a, b FROM t JOIN u ON t.x = u.y WHERE c > 3`` as ``SELECT _ FROM _ WHERE _ > _``. Never raises."""
    tokens = read_statement(sql).tokens
    words: list[str] = []
    for place, token in enumerate(tokens):
        text, name = token.text.upper(), token.token_type.name
        called = place + 1 < len(tokens) and tokens[place + 1].token_type.name == "L_PAREN"
        plain = name not in ("IDENTIFIER", "STRING")
        if plain and text in _DROPPED:
            continue
        words += text.split() if plain and (_is_kept(text) or (called and text.isidentifier())) else ["_"]
    found = " ".join(_SAME.get(word, word) for word in words)
    while (shorter := _JOINED.sub("", _NAMES.sub("_", found))) != found:
        found = shorter
    return found


def _is_kept(text: str) -> bool:
    """Whether a token is a word of SQL, or an operator or bracket."""
    return all(word in _KEPT for word in text.split()) or not (text[:1].isalnum() or text[:1] in "_*@?:")
