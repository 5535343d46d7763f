"""On how many pairs the evaluator gives the verdict of the official one.

``python benchmarks/agreement.py`` reads every file of official verdicts and prints a line for each file and mode: pairs on
which the official tool gave a verdict, how many agree, and the others by reason (the classes of DEVIATIONS.md).
Each of those is judged again with ``--official-quirks``, which must reproduce the official verdict. Ends with 1 when one
has no listed reason or is not reproduced. ``tree`` is exact match, component scores and hardness together.
"""

import argparse
import gzip
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqleval import Evaluator, Protocol, Verdict, hardness
from sqleval.compare.rewrite import tidy
from sqleval.exact.match import foreign_key_map
from sqleval.inputs import Task
from sqleval.protocol import Settings
from sqleval.score import Matcher

ROOT = Path(__file__).resolve().parents[1]
SPIDER_MODES = {
    "exec": Protocol("spider-exec"),
    "exec_keep_distinct": Protocol("spider-exec", keep_distinct=True),
    "exec_plug_value": Protocol("spider-exec", plug_value=True),
    "exec_plug_value_keep_distinct": Protocol("spider-exec", plug_value=True, keep_distinct=True),
}
Rows = Sequence[dict[str, Any]]


@dataclass
class Count:
    """Pairs with an official verdict, how many agree, and the other rows by reason ("" for none that is known)."""

    pairs: int = 0
    agree: int = 0
    others: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    reproduced: int = 0

    def add(self, row: dict[str, Any], same: bool, reason: str) -> None:
        """Count one row."""
        self.pairs += 1
        self.agree += same
        if not same:
            self.others.setdefault(reason, []).append(row)

    @property
    def good(self) -> bool:
        """Whether every disagreement is of a listed class and reproduced with the quirks."""
        return "" not in self.others and self.reproduced == self.pairs - self.agree


def main() -> int:
    """Compare, print, and tell by the exit code whether anything is unexplained."""
    args = arguments()
    total, good = Counter[str](), True
    for path in files(args.shared / "verdicts", args.files):
        rows = [row for row in read_rows(path) if row["db_id"] not in args.without]
        for mode, count in counts(args, path, rows):
            good = good and count.good
            total[f"{mode} pairs"] += count.pairs
            total[f"{mode} agree"] += count.agree
            say(f"{path.name.removesuffix('.jsonl.gz')} {mode}: {described(count)}")
            for row in count.others.get("", [])[: args.show]:
                say("  unexplained: " + json.dumps({k: row.get(k) for k in ("db_id", "gold", "pred", mode)}))
    for mode in sorted(name.removesuffix(" pairs") for name in total if name.endswith(" pairs")):
        say(f"all {mode}: {total[mode + ' agree']} of {total[mode + ' pairs']}")
    return 0 if good else 1


def arguments() -> argparse.Namespace:
    """Flags of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("TEXT2SQL_SHARED", ROOT.parent / "shared"))
    parser.add_argument(
        "--shared", type=Path, default=shared, help="folder with verdicts, spider, spider_suite and bird"
    )
    parser.add_argument("--files", default="*", help="only files whose name matches this pattern")
    parser.add_argument("--modes", nargs="*", help="only these modes (exec, ..., ex, tree)")
    parser.add_argument("--without", nargs="*", default=[], help="databases to leave out")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--show", type=int, default=5, help="unexplained pairs to print for each file and mode")
    args = parser.parse_args()
    if not (args.shared / "verdicts").is_dir():
        parser.error(f"{args.shared}: no verdicts there; set TEXT2SQL_SHARED or --shared")
    return args


def say(text: str) -> None:
    """One line of output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def described(count: Count) -> str:
    """``1033 of 1034; empty: 1 (1 reproduced with quirks)``."""
    text = f"{count.agree} of {count.pairs}"
    if count.others:
        reasons = ", ".join(f"{reason or 'UNEXPLAINED'} {len(rows)}" for reason, rows in sorted(count.others.items()))
        text += f"; {reasons}; {count.reproduced} reproduced with --official-quirks"
    return text


def files(folder: Path, pattern: str) -> list[Path]:
    """Files of verdicts, those of single rows of hard cases last."""
    return sorted(
        path for path in folder.rglob("*.jsonl.gz") if path.name.removesuffix(".jsonl.gz") and path.match(pattern)
    )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows with the prediction as the official tool reads it: Spider's cuts the line at the first tab."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    if path.parent.name != "bird":
        for row in rows:
            row["pred"] = row["pred"].strip().split("\t")[0]
    return rows


def counts(args: argparse.Namespace, path: Path, rows: Rows) -> Iterable[tuple[str, Count]]:
    """Every mode that the file has verdicts for, one after the other."""
    root, modes = args.shared / "spider/database", SPIDER_MODES
    if path.parent.name == "bird":
        root, modes = args.shared / "bird/dev_databases", {"ex": Protocol("bird-ex")}
    elif path.parent.name.endswith("_suite"):
        root = args.shared / "spider_suite/database"
        modes = {mode: replace(protocol, name="spider-test-suite") for mode, protocol in modes.items()}
    for mode, protocol in modes.items():
        if mode in rows[0] and (args.modes is None or mode in args.modes):
            yield mode, execution(root, rows, mode, protocol, args.jobs, args.timeout)
    if "exact" in rows[0] and (args.modes is None or "tree" in args.modes):
        yield "tree", trees(args.shared, rows)


def execution(root: Path, rows: Rows, mode: str, protocol: Protocol, jobs: int = 2, timeout: float = 60.0) -> Count:
    """Execution verdicts of one mode; rows on which the official tool crashed or was stopped are left out."""
    rows = [row for row in rows if row[mode] is not None and f"{mode}_error" not in row]
    count = Count()
    for row, verdict in zip(rows, verdicts(root, rows, protocol, jobs, timeout), strict=True):
        count.add(row, int(verdict.correct) == row[mode], reason(row, verdict, protocol))
    rest = [row for found in count.others.values() for row in found]
    again = verdicts(root, rest, replace(protocol, official_quirks=True), jobs, timeout)
    count.reproduced = sum(int(verdict.correct) == row[mode] for row, verdict in zip(rest, again, strict=True))
    return count


def verdicts(root: Path, rows: Rows, protocol: Protocol, jobs: int, timeout: float) -> list[Verdict]:
    """Our verdicts."""
    with Evaluator(root, protocol, jobs, timeout, cache=None) as evaluator:
        return evaluator.score_batch([(row["db_id"], row["gold"], row["pred"]) for row in rows])


def reason(row: dict[str, Any], verdict: Verdict, protocol: Protocol) -> str:
    """The class of DEVIATIONS.md that a disagreement belongs to, "" when none."""
    text = tidy(row["pred"], protocol.keep_distinct).strip(" ;\t\n")
    if verdict.error_class == "forbidden":
        return "not a query"
    if verdict.error_class == "syntax" and (not text or text.startswith(("--", "/*"))):
        return "no answer"
    if verdict.error_class in ("timeout", "too_large"):
        return "out of time or memory"
    return "value inside a text" if "value" in row["pred"] else ""


def trees(shared: Path, rows: Rows) -> Count:
    """Exact match, component scores and hardness, all of which must be the official ones."""
    entries = json.loads((shared / "spider/tables.json").read_text(encoding="utf-8"))
    keys = {entry["db_id"]: foreign_key_map(entry) for entry in entries}
    folder = shared / "spider/database"
    plain, quirky = (
        Matcher(Settings(folder, Protocol(official_quirks=quirks), "match", 0, 0.0, None, keys))
        for quirks in (False, True)
    )
    count = Count()
    for number, row in enumerate(rows):
        task = Task(number, row["db_id"], row["gold"], row["pred"], 0, number, number)
        same = tree(plain, task) == official_tree(row)
        count.add(row, same, "value inside a text" if "value" in row["pred"] else "")
        count.reproduced += not same and tree(quirky, task) == official_tree(row)
    return count


def tree(matcher: Matcher, task: Task) -> tuple[object, ...]:
    """Exact match, components and hardness as ours."""
    exact, parts = matcher.match(task)
    shown = {name: [part.score] * 3 + [part.gold_total, part.pred_total] for name, part in parts.items()}
    return int(exact), shown, hardness(task.gold)


def official_tree(row: dict[str, Any]) -> tuple[object, ...]:
    """The same of the official tool."""
    return row["exact"], row["partial"], row["hardness"]


if __name__ == "__main__":
    sys.exit(main())
