"""``python -m sqleval.suite build --db my.sqlite --gold gold.sql --out suite/``: a test suite for one database."""

import argparse
import sqlite3
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sqleval.inputs import InputError, run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (2 when the input has to be corrected)."""
    parser = argparse.ArgumentParser(prog="python -m sqleval.suite", description="Build test suites.")
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("build", help="fuzzed instances of one database").add_argument
    add("--db", type=Path, required=True, help="the SQLite file")
    add("--gold", type=Path, required=True, help="gold queries, one a line (a tab and a name may follow)")
    add("--out", type=Path, required=True, help="folder of the suite; a copy of the database goes there too")
    add("--tries", type=int, default=4, help="instances to choose each from (default: 4)")
    add("--instances", type=int, default=6, help="instances beside the original (default: 6)")
    add("--seed", type=int, default=0)
    return run_command(lambda: _build(parser.parse_args(arguments)))


def _build(args: argparse.Namespace) -> None:
    from sqleval.suite.build import build_suite

    try:
        lines = args.gold.read_text(encoding="utf-8").splitlines()
        golds = [line.split("\t")[0].strip() for line in lines if line.strip()]
        say = partial(print, file=sys.stderr)
        suite = build_suite(
            args.db, golds, args.out, tries=args.tries, count=args.instances, seed=args.seed, progress=say
        )
    except (OSError, UnicodeDecodeError, ValueError, sqlite3.Error) as error:
        raise InputError(str(error)) from error
    counts = (suite.distinguished_by_original, suite.distinguished_by_suite)
    shares = [f"{count / max(suite.neighbours, 1):.1%}" for count in counts]
    sys.stdout.write(
        f"{len(suite.files)} databases in {args.out}: {suite.golds} golds, {suite.neighbours} neighbours; "
        f"the database alone tells {shares[0]} apart, the suite {shares[1]} ({suite.undecided} equal everywhere); "
        f"{suite.fixed} golds have the same answer on all\n"
    )


if __name__ == "__main__":
    sys.exit(main())
