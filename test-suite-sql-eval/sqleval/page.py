"""The report for a browser: one file, no network, every failure with what it returned and what it should have.

Results are run again for display, first rows only, and only for statements that ended in time before.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from sqleval.outcome import Failure, Outcome
from sqleval.rewrite import fix_year, tidy
from sqleval.run import Settings
from sqleval.sandbox import Connection, Limits
from sqleval.tally import Scored

_HEAD_ROWS = 8
_MOST_CELL = 80

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #2a7d4f; --bad: #b3372f; --soft: #8881; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p.about { color: #777; margin: .2rem 0 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; } th, td { border-bottom: 1px solid var(--line); padding: .25rem .7rem; text-align: left; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.bar { background: var(--soft); height: .8rem; position: relative; width: 14rem; }
.bar i { background: var(--good); display: block; height: 100%; }
.bar b { border: solid currentColor; border-width: 0 1px; height: 100%; opacity: .6; position: absolute; top: 0; }
.lists { display: flex; flex-wrap: wrap; gap: 0 3rem; }
.tools { display: flex; flex-wrap: wrap; gap: .6rem; margin: .5rem 0; }
.tools select, .tools input { font: inherit; padding: .2rem .4rem; } .tools input { flex: 1; min-width: 12rem; }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .4rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } summary small { color: #777; }
.pair { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); margin: .5rem 0; }
.pair > div { min-width: 0; } .pair h3 { font-size: .85rem; margin: .3rem 0; }
pre { background: var(--soft); margin: 0; overflow-wrap: anywhere; padding: .5rem; white-space: pre-wrap; }
.rows { font-size: .85rem; margin-top: .4rem; overflow-x: auto; } .error { color: var(--bad); } .null { color: #888; }
"""

_SCRIPT = """
const cards = [...document.querySelectorAll('details.failure')], shown = document.getElementById('shown');
const pick = id => document.getElementById(id);
function filter() {
  const level = pick('level').value, kind = pick('kind').value, text = pick('text').value.toLowerCase();
  let count = 0;
  for (const card of cards) {
    const fits = (!level || card.dataset.level === level) && (!kind || card.dataset.kind === kind)
      && (!text || card.textContent.toLowerCase().includes(text));
    card.hidden = !fits;
    count += fits;
  }
  shown.textContent = count + ' of ' + cards.length;
}
for (const id of ['level', 'kind', 'text']) pick(id).addEventListener('input', filter);
filter();
"""


def html_report(scored: Sequence[Scored], settings: Settings, summary: dict[str, Any]) -> str:
    """The whole page as text."""
    failures = [item for item in scored if not _right(item)]
    about = f"protocol {summary['protocol']} · {summary['n']} questions · {summary['files']['pred']['name']} against "
    about += f"{summary['files']['gold']['name']} · timeout {summary['timeout']:g} s · SQLite {summary['sqlite']}"
    if settings.protocol.name == "spider-test-suite":
        about += " · results shown are the original database's; a wrong one may differ on another instance only"
    kinds = sorted({_kind(item) for item in failures})
    levels = list(dict.fromkeys(item.level for item in failures))
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<title>{escape(summary['files']['pred']['name'])}: evaluation</title><style>{_STYLE}</style>",
        f"<h1>Evaluation report</h1><p class=about>{escape(about)}</p>",
        _scores(summary),
        _comparison(summary),
        "<div class=lists>",
        _list("Errors", Counter(_kind(i) for i in failures)),
        _list("Missing columns", _missing(scored, "no_such_column")),
        _list("Missing tables", _missing(scored, "no_such_table")),
        "</div>",
        f"<h2>Failures (<span id=shown>{len(failures)}</span>)</h2><div class=tools>",
        _choice("level", "every level", levels),
        _choice("kind", "every kind", kinds),
        "<input id=text type=search placeholder='search questions and SQL' aria-label=search></div>",
        *_cards(failures, settings),
        f"<script>{_SCRIPT}</script></html>\n",
    ]
    return "\n".join(parts)


def _right(item: Scored) -> bool:
    return item.verdict.correct if item.verdict is not None else bool(item.exact)


def _kind(item: Scored) -> str:
    if item.verdict is None:
        return "no exact match"
    if item.verdict.outcome == "mismatch":
        return "wrong result"
    return (
        f"gold: {item.verdict.error_class}" if item.verdict.outcome == "gold_error" else str(item.verdict.error_class)
    )


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


def _choice(name: str, every: str, values: Sequence[str]) -> str:
    options = "".join(f"<option>{escape(value)}</option>" for value in values)
    return f"<select id={name} aria-label={name}><option value=''>{every}</option>{options}</select>"


def _cards(failures: Sequence[Scored], settings: Settings) -> Iterable[str]:
    limits = Limits(timeout=settings.timeout)
    opened: dict[str, Connection] = {}
    for item in failures:
        db_id = item.task.db_id
        if db_id not in opened:
            opened[db_id] = Connection(settings.folder / db_id / f"{db_id}.sqlite", limits)
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
    outcome: Outcome = connection.run(sql, enough=lambda count, latest: count > _HEAD_ROWS)
    if isinstance(outcome, Failure):
        return f"<p class=error>{escape(outcome.message)}</p>"
    head = "".join(f"<th>{escape(name)}" for name in outcome.columns)
    rows = "".join("<tr>" + "".join(map(_cell, row)) for row in outcome.rows[:_HEAD_ROWS])
    more = (
        "more rows follow"
        if len(outcome.rows) > _HEAD_ROWS
        else f"{len(outcome.rows)} row{'s' * (len(outcome.rows) != 1)}"
    )
    return f"<div class=rows><table><tr>{head}{rows}</table><small>{more}</small></div>"


def _cell(value: object) -> str:
    if value is None:
        return "<td class=null>NULL"
    text = repr(value) if isinstance(value, bytes) else str(value)
    text = text if len(text) <= _MOST_CELL else text[:_MOST_CELL] + "…"
    return f"<td{' class=n' if isinstance(value, int | float) else ''}>{escape(text)}"
