"""The evaluator's command line: the official flags and table, and what the official one lacks."""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sqleval.errors import InputError
from sqleval.exact import foreign_key_map
from sqleval.inputs import Task, read_tasks
from sqleval.protocol import NAMES, Protocol
from sqleval.report import GRADED, example_lines, summary, write_whole
from sqleval.run import Settings, score_tasks, value_of
from sqleval.stats import Comparison, compare_paired
from sqleval.table import official_table
from sqleval.tally import Scored, groups, turns

log = logging.getLogger("sqleval")


def parser() -> argparse.ArgumentParser:
    """All flags; those of the official evaluator keep their names and meanings."""
    p = argparse.ArgumentParser(prog="evaluation.py", description="Score text-to-SQL predictions.")
    p.add_argument(
        "--gold", type=Path, required=True, help="SQL<tab>db_id lines (blank line between interactions), JSON or JSONL"
    )
    p.add_argument("--pred", type=Path, required=True, help="one SQL a line, JSON or JSONL (question_id, db_id, pred)")
    p.add_argument(
        "--db", type=Path, required=True, help="folder of databases: <db_id>/<db_id>.sqlite and suite instances"
    )
    p.add_argument("--table", type=Path, help="tables.json; needed for exact match")
    p.add_argument("--etype", choices=("all", "exec", "match"), default="exec")
    p.add_argument("--plug_value", action="store_true", help="put the gold's literals into the prediction")
    p.add_argument("--keep_distinct", action="store_true", help="leave DISTINCT in both queries")
    p.add_argument(
        "--progress_bar_for_each_datapoint", action="store_true", help="show progress even when not on a terminal"
    )
    p.add_argument(
        "--protocol",
        choices=NAMES,
        help="default: spider-test-suite where a database has several instances, else spider-exec",
    )
    p.add_argument(
        "--official-quirks", action="store_true", help="reproduce the official tool's mistakes (DEVIATIONS.md)"
    )
    p.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes (default: one a core)")
    p.add_argument("--timeout", type=float, default=30.0, help="seconds for each prediction (default: 30)")
    p.add_argument("--no-cache", action="store_true", help="do not keep gold results on disk")
    p.add_argument("--output", type=Path, help="summary as JSON")
    p.add_argument("--per-example", type=Path, help="one JSON object a line")
    p.add_argument("--html", type=Path, help="report for a browser, one file")
    p.add_argument("--compare", type=Path, help="second prediction file: paired bootstrap and McNemar's test")
    return p  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (2 when the run cannot go on)."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        _run(parser().parse_args(arguments))
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    return 0


def _run(args: argparse.Namespace) -> None:
    start = time.monotonic()
    settings = _settings(args)
    tasks = read_tasks(args.gold, args.pred)
    others = read_tasks(args.gold, args.compare) if args.compare else []
    settings = _with_protocol(settings, args, tasks)
    show = _progress(len(tasks) + len(others), args.progress_bar_for_each_datapoint)
    scored = score_tasks(tasks, settings, show)
    other = score_tasks(others, settings, show) if others else []
    show(0)
    _warn_about_golds(scored, args.gold)
    comparison = _compare(other, scored, settings) if other else None
    value = value_of(settings.protocol)
    levels = groups(scored, value)
    several = turns(scored, value) if levels["joint_all"].count > 1 else None
    sys.stdout.write(official_table(levels, several, settings.etype) + "\n")
    sys.stdout.write(f"\nprotocol: {settings.protocol.label}\n")
    if comparison:
        sys.stdout.write(_told(comparison, args) + "\n")
    files = {"gold": args.gold, "pred": args.pred, **({"compare": args.compare} if args.compare else {})}
    report = summary(scored, settings, files, comparison, time.monotonic() - start)
    if args.output:
        write_whole(args.output, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    if args.per_example:
        lines = example_lines(scored, settings.protocol.name in GRADED)
        write_whole(args.per_example, "".join(line + "\n" for line in lines))
    if args.html:
        from sqleval.page import html_report

        write_whole(args.html, html_report(scored, settings, report))


def _settings(args: argparse.Namespace) -> Settings:
    if args.etype != "exec" and args.table is None:
        raise InputError("--etype match and all need --table tables.json")
    if args.jobs < 0 or args.timeout <= 0:
        raise InputError("--jobs must not be negative, and --timeout must be above 0 seconds")
    keys = None
    if args.table is not None:
        try:
            entries = json.loads(args.table.read_text(encoding="utf-8"))
            keys = {str(entry["db_id"]): foreign_key_map(entry) for entry in entries}
        except OSError as error:
            raise InputError(f"{args.table}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise InputError(f"{args.table}: not a tables.json in Spider's format ({error})") from error
    cache = None if args.no_cache else "default"
    return Settings(args.db, Protocol(), args.etype, args.jobs, args.timeout, cache, keys)


def _with_protocol(settings: Settings, args: argparse.Namespace, tasks: Sequence[Task]) -> Settings:
    name = args.protocol
    if name is None:
        folders = {args.db / task.db_id for task in tasks}
        suite = any(sum(1 for _ in folder.glob("*.sqlite")) > 1 for folder in folders)
        name = "spider-test-suite" if suite else "spider-exec"
    try:
        protocol = Protocol(name, args.plug_value, args.keep_distinct, args.official_quirks)
    except ValueError as error:
        raise InputError(str(error)) from error
    if settings.keys is not None and settings.etype != "exec":
        unknown = sorted({task.db_id for task in tasks} - set(settings.keys))
        if unknown:
            raise InputError(f"{args.table}: no schema for {', '.join(unknown[:5])}")
    return replace(settings, protocol=protocol)


def _progress(total: int, always: bool) -> Callable[[int], None]:
    """Counter on standard error, shown on a terminal or when asked for; called with 0 it ends the line."""
    if not (always or sys.stderr.isatty()):
        return lambda done: None
    state = {"done": 0, "said": 0.0}

    def show(done: int) -> None:
        state["done"] += done
        if time.monotonic() - state["said"] > 0.1 or not done:
            state["said"] = time.monotonic()
            sys.stderr.write(f"\r{int(state['done'])}/{total} evaluated" + ("\n" if not done else ""))
            sys.stderr.flush()

    return show


def _warn_about_golds(scored: Sequence[Scored], gold: Path) -> None:
    for item in scored:
        if item.verdict and item.verdict.outcome == "gold_error":
            text = f"the gold does not run on {item.task.db_id} ({item.verdict.message}), counted as wrong"
            log.warning("%s:%d: %s", gold, item.task.line, text)


def _compare(first: Sequence[Scored], second: Sequence[Scored], settings: Settings) -> Comparison:
    value = value_of(settings.protocol)

    def single(item: Scored) -> float:
        return value(item.verdict) if item.verdict else float(item.exact or 0)

    return compare_paired([single(item) for item in first], [single(item) for item in second])


def _told(found: Comparison, args: argparse.Namespace) -> str:
    what = "exact match" if args.etype == "match" else "execution"
    return (
        f"{what}: {args.pred.name} {found.second:.3f}, {args.compare.name} {found.first:.3f}; "
        f"difference {found.difference:+.3f}, 95% interval [{found.low:+.3f}, {found.high:+.3f}] (paired bootstrap); "
        f"only {args.pred.name} right: {found.only_second}, only {args.compare.name} right: {found.only_first}, "
        f"McNemar p = {found.p_value:.4g}"
    )
