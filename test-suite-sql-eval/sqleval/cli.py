"""The evaluator's command line: the official flags and table, and further formats and outputs."""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sqleval.exact.match import foreign_key_map
from sqleval.files import written_whole
from sqleval.inputs import InputError, Task, read_tasks, run_command
from sqleval.protocol import NAMES, Protocol, Settings
from sqleval.report.summary import example_lines, official_table, summary
from sqleval.report.tally import Comparison, Scored, compare_paired, groups, turns
from sqleval.score import score_tasks

log = logging.getLogger("sqleval")


def parser() -> argparse.ArgumentParser:
    """All flags; those of the official evaluator keep their names and meanings."""
    p = argparse.ArgumentParser(prog="evaluation.py", description="Score text-to-SQL predictions.")
    add = p.add_argument
    gold = "SQL<tab>db_id lines (blank line between interactions), JSON or JSONL"
    add("--gold", type=Path, required=True, help=gold)
    add("--pred", type=Path, required=True, help="one SQL a line, JSON or JSONL (question_id, db_id, pred)")
    add("--db", type=Path, required=True, help="folder of databases: <db_id>/<db_id>.sqlite and suite instances")
    add("--table", type=Path, help="tables.json; needed for exact match")
    add("--etype", choices=("all", "exec", "match"), default="exec")
    add("--plug_value", action="store_true", help="put the gold's literals into the prediction")
    add("--keep_distinct", action="store_true", help="leave DISTINCT in both queries")
    shown = "show progress even when not on a terminal"
    add("--progress_bar_for_each_datapoint", action="store_true", help=shown)
    suite = "default: spider-test-suite where a database has several instances, else spider-exec"
    add("--protocol", choices=NAMES, help=suite)
    add("--official-quirks", action="store_true", help="reproduce the official tool's mistakes (DEVIATIONS.md)")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes (default: one a core)")
    add("--timeout", type=float, default=30.0, help="seconds for each prediction (default: 30)")
    add("--no-cache", action="store_true", help="do not keep gold results on disk")
    add("--output", type=Path, help="summary as JSON")
    add("--per-example", type=Path, help="one JSON object a line")
    add("--html", type=Path, help="report for a browser, one file")
    add("--compare", type=Path, help="second prediction file: paired bootstrap and McNemar's test")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (2 when the run cannot go on)."""
    return run_command(lambda: _run(parser().parse_args(arguments)))


def _run(args: argparse.Namespace) -> None:
    start = time.monotonic()
    if args.etype != "exec" and args.table is None:
        raise InputError("--etype match and all need --table tables.json")
    if args.jobs < 0 or args.timeout <= 0:
        raise InputError("--jobs must not be negative, and --timeout must be above 0 seconds")
    keys = _foreign_keys(args.table) if args.table else None
    tasks = read_tasks(args.gold, args.pred)
    others = read_tasks(args.gold, args.compare) if args.compare else []
    protocol = _protocol(args, tasks)
    if args.etype != "exec":
        unknown = sorted({task.db_id for task in tasks} - set(keys or ()))
        if unknown:
            raise InputError(f"{args.table}: no schema for {', '.join(unknown[:5])}")
    cache = None if args.no_cache else "default"
    settings = Settings(args.db, protocol, args.etype, args.jobs, args.timeout, cache, keys)
    show = _progress(len(tasks) + len(others), args.progress_bar_for_each_datapoint)
    scored = score_tasks(tasks, settings, show)
    other = score_tasks(others, settings, show) if others else []
    show(0)
    for item in scored:
        if item.verdict and item.verdict.outcome == "gold_error":
            text = f"the gold does not run on {item.task.db_id} ({item.verdict.message}), counted as wrong"
            log.warning("%s:%d: %s", args.gold, item.task.line, text)
    first, second = ([item.value(protocol) for item in system] for system in (other, scored))
    _report(args, settings, scored, compare_paired(first, second) if other else None, start)


def _report(
    args: argparse.Namespace, settings: Settings, scored: Sequence[Scored], comparison: Comparison | None, start: float
) -> None:
    levels = groups(scored, settings.protocol.value)
    several = turns(scored, settings.protocol.value) if levels["joint_all"].count > 1 else None
    sys.stdout.write(official_table(levels, several, settings.etype) + "\n")
    sys.stdout.write(f"\nprotocol: {settings.protocol.label}\n")
    files = {"gold": args.gold, "pred": args.pred}
    if comparison:
        files["compare"] = args.compare
        what = "exact match" if args.etype == "match" else "execution"
        sys.stdout.write(f"{what}: {comparison.described(args.pred.name, args.compare.name)}\n")
    report = summary(scored, settings, files, comparison, time.monotonic() - start)
    if args.output:
        _write(args.output, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    if args.per_example:
        _write(args.per_example, "".join(example_lines(scored, settings.protocol.graded)))
    if args.html:
        from sqleval.report.page import html_report

        _write(args.html, html_report(scored, settings, report))


def _write(path: Path, text: str) -> None:
    try:
        with written_whole(path) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    sys.stderr.write(f"written: {path}\n")


def _foreign_keys(path: Path) -> dict[str, Mapping[str, str]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {str(entry["db_id"]): foreign_key_map(entry) for entry in entries}
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path}: not a tables.json in Spider's format ({error})") from error


def _protocol(args: argparse.Namespace, tasks: Sequence[Task]) -> Protocol:
    name = args.protocol
    if name is None:
        folders = {args.db / task.db_id for task in tasks}
        suite = any(sum(1 for _ in folder.glob("*.sqlite")) > 1 for folder in folders)
        name = "spider-test-suite" if suite else "spider-exec"
    try:
        return Protocol(name, args.plug_value, args.keep_distinct, args.official_quirks)
    except ValueError as error:
        raise InputError(str(error)) from error


def _progress(total: int, always: bool) -> Callable[[int], None]:
    """Counter on standard error, shown on a terminal or when asked for; called with 0 it ends the line."""
    if not (always or sys.stderr.isatty()):
        return lambda done: None
    evaluated, shown_at = 0, 0.0

    def show(done: int) -> None:
        nonlocal evaluated, shown_at
        evaluated += done
        if time.monotonic() - shown_at > 0.1 or not done:
            shown_at = time.monotonic()
            sys.stderr.write(f"\r{evaluated}/{total} evaluated" + ("\n" if not done else ""))
            sys.stderr.flush()

    return show
