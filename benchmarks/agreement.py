"""On how many pairs the evaluator gives the verdict of the official one.

``python benchmarks/agreement.py`` reads every file of official verdicts and prints a line for each file and mode: pairs on
which the official tool gave a verdict, how many agree, and the others by reason (the classes of DEVIATIONS.md).
Each of those is judged again with ``--official-quirks``, which must reproduce the official verdict. Ends with 1 when one
has no listed reason or is not reproduced. ``tree`` is exact match, component scores and hardness together.
"""

import gzip
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from frame import SHARED, Shared, run, say

from sqleval import Evaluator, Protocol, Verdict, hardness
from sqleval.compare.rewrite import tidy
from sqleval.exact.match import foreign_key_map
from sqleval.inputs import Task
from sqleval.protocol import Settings
from sqleval.score import Matcher
from text2sql.errors import UserError

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


@dataclass(frozen=True)
class Runner:
    """How the evaluator runs: worker processes, and seconds of one query."""

    jobs: int
    timeout: float

    def verdicts(self, root: Path, rows: Rows, protocol: Protocol) -> list[Verdict]:
        """The evaluator's verdicts on rows."""
        with Evaluator(root, protocol, self.jobs, self.timeout, cache=None) as evaluator:
            return evaluator.score_batch([(row["db_id"], row["gold"], row["pred"]) for row in rows])


def main(
    files: Annotated[str, typer.Option(help="Only files whose name matches this pattern.")] = "*",
    modes: Annotated[
        list[str] | None, typer.Option(help="Only this mode (exec, ..., ex, tree); may be repeated.")
    ] = None,
    without: Annotated[list[str] | None, typer.Option(help="A database to leave out; may be repeated.")] = None,
    jobs: int = os.cpu_count() or 1,
    timeout: float = 60.0,
    show: Annotated[int, typer.Option(help="Unexplained pairs to print for each file and mode.")] = 5,
    shared: Shared = SHARED,
) -> None:
    """Compare, print, and tell by the exit code whether anything is unexplained."""
    if not (shared / "verdicts").is_dir():
        raise UserError(f"{shared}: no verdicts there; set TEXT2SQL_SHARED or --shared")
    total, good = Counter[str](), True
    for path in verdict_files(shared / "verdicts", files):
        rows = [row for row in read_rows(path) if row["db_id"] not in (without or ())]
        for mode, count in counts(shared, path, rows, modes, Runner(jobs, timeout)):
            good = good and count.good
            total[f"{mode} pairs"] += count.pairs
            total[f"{mode} agree"] += count.agree
            say(f"{path.name.removesuffix('.jsonl.gz')} {mode}: {described(count)}")
            for row in count.others.get("", [])[:show]:
                say("  unexplained: " + json.dumps({k: row.get(k) for k in ("db_id", "gold", "pred", mode)}))
    for mode in sorted(name.removesuffix(" pairs") for name in total if name.endswith(" pairs")):
        say(f"all {mode}: {total[mode + ' agree']} of {total[mode + ' pairs']}")
    raise typer.Exit(int(not good))


def described(count: Count) -> str:
    """``1033 of 1034; empty: 1 (1 reproduced with quirks)``."""
    text = f"{count.agree} of {count.pairs}"
    if count.others:
        reasons = ", ".join(f"{reason or 'UNEXPLAINED'} {len(rows)}" for reason, rows in sorted(count.others.items()))
        text += f"; {reasons}; {count.reproduced} reproduced with --official-quirks"
    return text


def verdict_files(folder: Path, pattern: str) -> list[Path]:
    """Files of verdicts, those of single rows of hard cases last."""
    return sorted(path for path in folder.rglob("*.jsonl.gz") if path.match(pattern))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows with the prediction as the official tool reads it: Spider's cuts the line at the first tab."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    if path.parent.name != "bird":
        for row in rows:
            row["pred"] = row["pred"].strip().split("\t")[0]
    return rows


def counts(
    shared: Path, path: Path, rows: Rows, chosen: Sequence[str] | None, runner: Runner
) -> Iterable[tuple[str, Count]]:
    """Every mode that the file has verdicts for, one after the other."""
    root, modes = shared / "spider/database", SPIDER_MODES
    if path.parent.name == "bird":
        root, modes = shared / "bird/dev_databases", {"ex": Protocol("bird-ex")}
    elif path.parent.name.endswith("_suite"):
        root = shared / "spider_suite/database"
        modes = {mode: replace(protocol, name="spider-test-suite") for mode, protocol in modes.items()}
    for mode, protocol in modes.items():
        if mode in rows[0] and mode in (chosen or [mode]):
            yield mode, execution(root, rows, mode, protocol, runner)
    if "exact" in rows[0] and "tree" in (chosen or ["tree"]):
        yield "tree", trees(shared, rows)


def execution(root: Path, rows: Rows, mode: str, protocol: Protocol, runner: Runner) -> Count:
    """Execution verdicts of one mode; rows on which the official tool crashed or was stopped are left out."""
    rows = [row for row in rows if row[mode] is not None and f"{mode}_error" not in row]
    count = Count()
    for row, verdict in zip(rows, runner.verdicts(root, rows, protocol), strict=True):
        count.add(row, int(verdict.correct) == row[mode], reason(row, verdict, protocol))
    rest = [row for found in count.others.values() for row in found]
    again = runner.verdicts(root, rest, replace(protocol, official_quirks=True))
    count.reproduced = sum(int(verdict.correct) == row[mode] for row, verdict in zip(rest, again, strict=True))
    return count


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
    run(main, __doc__)
