"""The form of a query, by which solved examples are compared."""

import pytest

from text2sql.sql.skeleton import skeleton


@pytest.mark.parametrize(
    ("sql", "form"),
    [
        (
            "SELECT a, b FROM t AS x JOIN u ON x.i = u.j JOIN w ON w.k = u.k AND w.l = u.l WHERE c > 3",
            "SELECT _ FROM _ WHERE _ > _",
        ),
        ("select count(*) from t y where `n` = 'it''s' or n <> 2 ;", "SELECT COUNT ( _ ) FROM _ WHERE _ = _ OR _ != _"),
        ("SELECT n FROM t ORDER BY a ASC, b DESC LIMIT 1", "SELECT _ FROM _ ORDER BY _ DESC LIMIT _"),
        ("SELECT n FROM t WHERE i NOT IN (SELECT j FROM u)", "SELECT _ FROM _ WHERE _ NOT IN ( SELECT _ FROM _ )"),
        ("", ""),
    ],
)
def test_the_form_of_a_query_is_without_names_literals_and_joins(sql: str, form: str) -> None:
    assert skeleton(sql) == form


@pytest.mark.parametrize("broken", ["SELECT '", "((((", "SELECT a FROM", "\0", "drop table x -- y"])
def test_broken_text_has_a_form_too(broken: str) -> None:
    assert isinstance(skeleton(broken), str)
