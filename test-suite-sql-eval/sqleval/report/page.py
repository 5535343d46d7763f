"""The report for a browser: one file, no network, every failure with what it returned and what it should have.

Results are run again for display, first rows only, and only for statements that ended in time before.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from jinja2 import Environment

from sqleval.compare.rewrite import fix_year, tidy
from sqleval.files import database_path
from sqleval.outcome import Outcome
from sqleval.protocol import Settings
from sqleval.report.tally import Scored
from sqleval.run.sandbox import Connection, Limits

_HEAD_ROWS = 8


def html_report(scored: Sequence[Scored], settings: Settings, summary: dict[str, Any]) -> str:
    """The whole page as text."""
    failures = [item for item in scored if not item.right]
    text = Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8")
    return (
        Environment(autoescape=True, keep_trailing_newline=True)
        .from_string(text)
        .render(
            summary,
            several=settings.protocol.name == "spider-test-suite",
            kinds=Counter(map(_kind, failures)),
            columns=_missing(scored, "no_such_column"),
            tables=_missing(scored, "no_such_table"),
            count=len(failures),
            levels=dict.fromkeys(item.level for item in failures),
            cards=_cards(failures, settings),
            head_rows=_HEAD_ROWS,
        )
    )


def _kind(item: Scored) -> str:
    if item.verdict is None:
        return "no exact match"
    if item.verdict.outcome == "mismatch":
        return "wrong result"
    return "gold: " * (item.verdict.outcome == "gold_error") + str(item.verdict.error_class)


def _missing(scored: Iterable[Scored], error: str) -> Counter[str]:
    verdicts = (item.verdict for item in scored)
    return Counter(v.name.lower() for v in verdicts if v and v.outcome == "error" and v.error_class == error and v.name)


def _cards(
    failures: Sequence[Scored], settings: Settings
) -> Iterator[tuple[Scored, str, Outcome | None, Outcome | None]]:
    """Each failure with its kind and the results of gold and prediction, None for what is not run again."""
    limits = Limits(timeout=settings.timeout)
    with ExitStack() as stack:
        paths = {item.task.db_id: database_path(settings.folder, item.task.db_id) for item in failures}
        opened = {db_id: stack.enter_context(closing(Connection(path, limits))) for db_id, path in paths.items()}
        for item in failures:
            db, outcome = opened[item.task.db_id], item.verdict and item.verdict.outcome
            gold = _head(db, item.task.gold, settings) if outcome in ("mismatch", "error") else None
            yield item, _kind(item), gold, _head(db, item.task.pred, settings) if outcome == "mismatch" else None


def _head(connection: Connection, sql: str, settings: Settings) -> Outcome:
    if settings.protocol.spider:
        sql = fix_year(tidy(sql, settings.protocol.keep_distinct))
    return connection.run(sql, enough=lambda count, latest: count > _HEAD_ROWS)
