"""The report for a browser: one file, no network, every failure with what it returned and what it should have.

Results are run again for display, first rows only, and only for statements that ended in time before.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from sqleval.compare.rewrite import fix_year, tidy
from sqleval.files import database_path
from sqleval.outcome import Failure
from sqleval.protocol import Settings
from sqleval.report.tally import Scored
from sqleval.run.sandbox import Connection, Limits

_HEAD_ROWS = 8
_MOST_CELL = 80
_PAGE = Path(__file__).with_name("page.html")


def html_report(scored: Sequence[Scored], settings: Settings, summary: dict[str, Any]) -> str:
    """The whole page as text."""
    failures = [item for item in scored if not item.right]
    about = f"protocol {summary['protocol']} · {summary['n']} questions · {summary['files']['pred']['name']} against "
    about += f"{summary['files']['gold']['name']} · timeout {summary['timeout']:g} s · SQLite {summary['sqlite']}"
    if settings.protocol.name == "spider-test-suite":
        about += " · results shown are the original database's; a wrong one may differ on another instance only"
    kinds = Counter(map(_kind, failures))
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(
        pred=escape(summary["files"]["pred"]["name"]),
        about=escape(about),
        scores=_scores(summary),
        comparison=_comparison(summary),
        errors=_list("Errors", kinds),
        columns=_list("Missing columns", _missing(scored, "no_such_column")),
        tables=_list("Missing tables", _missing(scored, "no_such_table")),
        count=len(failures),
        levels=_choice("level", dict.fromkeys(item.level for item in failures)),
        kinds=_choice("kind", sorted(kinds)),
        cards="".join(f"{card}\n" for card in _cards(failures, settings)),
    )


def _kind(item: Scored) -> str:
    if item.verdict is None:
        return "no exact match"
    if item.verdict.outcome == "mismatch":
        return "wrong result"
    return "gold: " * (item.verdict.outcome == "gold_error") + str(item.verdict.error_class)


def _scores(summary: dict[str, Any]) -> str:
    rows = []
    for metric, title in (("exec", "execution"), ("exact", "exact match")):
        for level, found in summary["scores"].items():
            if metric not in found or not found["count"]:
                continue
            share = found[metric]
            low, high = found.get(f"{metric}_interval") or (share, share)
            bar = f"<div class=bar><i style='width:{min(share, 1):.1%}'></i>"
            bar += f"<b style='left:{low:.1%};width:{max(high - low, 0):.1%}'></b></div>"
            interval = f"{low:.3f} to {high:.3f}" if f"{metric}_interval" in found else ""
            cells = f"<td>{title}<td>{escape(level)}<td class=n>{found['count']}<td class=n>{share:.3f}<td class=n>{interval}"
            rows.append(f"<tr>{cells}<td>{bar}")
    head = "<tr><th>score<th>level<th class=n>questions<th class=n>value<th class=n>95% interval<th>"
    return f"<h2>Scores</h2><table id=scores>{head}{''.join(rows)}</table>"


def _comparison(summary: dict[str, Any]) -> str:
    found = summary["comparison"]
    if not found:
        return ""
    return (
        f"<h2>Compared with {escape(summary['files']['compare']['name'])}</h2><p>Difference {found['difference']:+.3f}, "
        f"95% interval {found['low']:+.3f} to {found['high']:+.3f} (paired bootstrap); right here only: {found['only_second']}, "
        f"there only: {found['only_first']}; McNemar p = {found['p_value']:.4g}.</p>"
    )


def _missing(scored: Iterable[Scored], error: str) -> Counter[str]:
    verdicts = (item.verdict for item in scored)
    return Counter(v.name.lower() for v in verdicts if v and v.outcome == "error" and v.error_class == error and v.name)


def _list(title: str, counts: Counter[str]) -> str:
    if not counts:
        return ""
    rows = "".join(f"<tr><td>{escape(name)}<td class=n>{count}" for name, count in counts.most_common(15))
    return f"<div><h2>{title}</h2><table>{rows}</table></div>"


def _choice(name: str, values: Iterable[str]) -> str:
    options = "".join(f"<option>{escape(value)}</option>" for value in values)
    return f"<select id={name} aria-label={name}><option value=''>every {name}</option>{options}</select>"


def _cards(failures: Sequence[Scored], settings: Settings) -> Iterable[str]:
    limits = Limits(timeout=settings.timeout)
    opened: dict[str, Connection] = {}
    for item in failures:
        db_id = item.task.db_id
        if db_id not in opened:
            opened[db_id] = Connection(database_path(settings.folder, db_id), limits)
        yield _card(item, opened[db_id], settings)
    for connection in opened.values():
        connection.close()


def _card(item: Scored, connection: Connection, settings: Settings) -> str:
    task, verdict = item.task, item.verdict
    ran = verdict is not None and verdict.outcome == "mismatch"
    shown_gold = verdict is not None and verdict.outcome != "gold_error"
    title = escape(task.question or task.gold)
    meta = f"{task.index} · {escape(task.db_id)} · {escape(item.level)} · {escape(_kind(item))}"
    message = f"<p class=error>{escape(verdict.message)}</p>" if verdict and verdict.message else ""
    gold = _result(connection, task.gold, settings) if shown_gold else ""
    pred = _result(connection, task.pred, settings) if ran else ""
    return (
        f"<details class=failure data-level='{escape(item.level)}' data-kind='{escape(_kind(item))}'>"
        f"<summary>{title} <small>{meta}</small></summary>{message}<div class=pair>"
        f"<div><h3>Gold</h3><pre>{escape(task.gold)}</pre>{gold}</div>"
        f"<div><h3>Prediction</h3><pre>{escape(task.pred)}</pre>{pred}</div></div></details>"
    )


def _result(connection: Connection, sql: str, settings: Settings) -> str:
    if settings.protocol.spider:
        sql = fix_year(tidy(sql, settings.protocol.keep_distinct))
    outcome = connection.run(sql, enough=lambda count, latest: count > _HEAD_ROWS)
    if isinstance(outcome, Failure):
        return f"<p class=error>{escape(outcome.message)}</p>"
    head = "".join(f"<th>{escape(name)}" for name in outcome.columns)
    rows = "".join("<tr>" + "".join(map(_cell, row)) for row in outcome.rows[:_HEAD_ROWS])
    count = len(outcome.rows)
    more = "more rows follow" if count > _HEAD_ROWS else f"{count} row{'s' * (count != 1)}"
    return f"<div class=rows><table><tr>{head}{rows}</table><small>{more}</small></div>"


def _cell(value: object) -> str:
    if value is None:
        return "<td class=null>NULL"
    text = repr(value) if isinstance(value, bytes) else str(value)
    text = text if len(text) <= _MOST_CELL else text[:_MOST_CELL] + "…"
    return f"<td{' class=n' if isinstance(value, int | float) else ''}>{escape(text)}"
