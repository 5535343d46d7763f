"""Hardness: on Spider's grammar, and on tokens for queries outside it."""

import pytest

from sqleval import hardness
from sqleval.exact.hardness import UNREADABLE, level, outline


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) FROM singer", "easy"),
        ("SELECT name FROM singer WHERE age > 20", "easy"),
        ("SELECT name, age FROM singer ORDER BY age", "medium"),
        ("SELECT name FROM a WHERE id IN (SELECT id FROM b)", "hard"),
        ("SELECT a FROM t GROUP BY a HAVING count(*) > 1 ORDER BY count(*) DESC LIMIT 1 ", "hard"),
        ("SELECT a FROM t WHERE x = 1 UNION SELECT a FROM u WHERE y LIKE 'z' OR q = 2", "hard"),
        ("SELECT a, b FROM t JOIN u ON t.i = u.i WHERE x IN (SELECT x FROM v) ORDER BY a LIMIT 3", "extra"),
        ("not sql at all (", "extra"),
    ],
)
def test_hardness(sql: str, expected: str) -> None:
    assert hardness(sql) == expected


def test_hardness_outside_spiders_grammar() -> None:
    assert hardness("SELECT CASE WHEN a > 1 THEN 'x' ELSE 'y' END FROM t") in ("easy", "medium")
    assert hardness("WITH c AS (SELECT a FROM t) SELECT a FROM c WHERE a IN (1, 2)") in ("hard", "extra")
    for sql in ("SELECT a FROM t WHERE b = 1", "SELECT count(*), max(a) FROM t GROUP BY b ORDER BY c LIMIT 1"):
        assert level(*outline(sql)) == hardness(sql)


@pytest.mark.parametrize(
    ("sql", "counts"),
    [
        ("SELECT a, b FROM t, u LEFT JOIN v ON 1 WHERE a BETWEEN 1 AND 2", (3, 0, 1)),
        ("SELECT a FROM t WHERE a BETWEEN 1 AND 2 AND b LIKE 'and (or'", (2, 0, 1)),
        ("SELECT sum(a) OVER (ORDER BY b), max(c) FROM t GROUP BY 1, 2", (2, 0, 3)),
        ("SELECT a FROM t WHERE b IN (SELECT c FROM u WHERE d = (SELECT 1) OR e) LIMIT 1", (2, 1, 0)),
        ("WITH c AS (SELECT a FROM t) SELECT a FROM c UNION SELECT b, d FROM t WHERE b ORDER BY 1", (1, 2, 0)),
        ("DELETE FROM t", UNREADABLE),
        ("SELECT 'a", UNREADABLE),
        ("", UNREADABLE),
    ],
)
def test_outline_counts_what_is_outside_nested_queries(sql: str, counts: tuple[int, int, int]) -> None:
    assert outline(sql) == counts
