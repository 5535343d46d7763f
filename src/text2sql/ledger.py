"""The results ledger: one line for each measured run, appended by the code that measured it; READMEs are rendered from it.

Rows are never edited. Measured again, an experiment gets another row, and readers take the latest of each seed.
"""

import fcntl
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import AfterValidator, Field, FiniteFloat, TypeAdapter, ValidationError

from text2sql.errors import UserError, first_complaint

LEDGER = Path("results/ledger.jsonl")

_MEASURED = ("src", "recipes", "test-suite-sql-eval")
_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+\Z")


def _dotted(name: str) -> str:
    if not _NAME.match(name):
        raise ValueError(f"an experiment's name is dotted lower case, like toy.lora_qv_sft, not {name!r}")
    return name


def _fractions(metrics: dict[str, float]) -> dict[str, float]:
    for name, value in metrics.items():
        if "accuracy" in name and not 0 <= value <= 1:
            raise ValueError(f"metric {name!r} is a fraction from 0 to 1, not {value}")
    return metrics


ExperimentName = Annotated[str, AfterValidator(_dotted)]


@pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid", strict=True))
class Row:
    """One measurement. ``metrics`` holds fractions, not percent; ``machine`` is in words; ``command`` repeats the run.

    Raises:
        pydantic.ValidationError: a field that later readers could not use; the message names it.
    """

    experiment: ExperimentName
    profile: Annotated[str, Field(min_length=1)]
    seed: int
    split: str
    n: Annotated[int, Field(gt=0)]
    protocol: str
    decoding: str
    metrics: Annotated[dict[str, FiniteFloat], Field(min_length=1), AfterValidator(_fractions)]
    command: str
    git: str
    data_hash: str
    machine: str
    seconds: FiniteFloat


@dataclass(frozen=True)
class Summary:
    """A metric over the seeds of one experiment: mean, sample standard deviation (0 for one seed), and the seeds."""

    mean: float
    spread: float
    seeds: tuple[int, ...]


def new_row(
    experiment: str,
    *,
    profile: str,
    seed: int,
    split: str,
    n: int,
    metrics: dict[str, float],
    data_hash: str,
    seconds: float,
    protocol: str = "",
    decoding: str = "",
) -> Row:
    """A row whose command, git revision and machine are filled in from where it is made.

    Raises:
        UserError: a field is not valid.
    """
    made = (_command(), git_revision(), data_hash, machine(), round(seconds, 2))
    try:
        return Row(experiment, profile, seed, split, n, protocol, decoding, metrics, *made)
    except ValidationError as error:
        raise UserError(f"no ledger row for {experiment}: {first_complaint(error)}") from error


def append(path: Path, row: Row) -> None:
    """Add a row; several processes may do so at once, and a line torn by a crash is closed first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if size := file.seek(0, os.SEEK_END):
            file.seek(size - 1)
            file.write(b"" if file.read(1) == b"\n" else b"\n")
        file.write(json.dumps(asdict(row), ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[Row]:
    """All rows, oldest first; none where there is no file.

    Raises:
        UserError: a line is not a valid row; file and line are named.
    """
    if not path.is_file():
        return []
    rows, adapter = [], TypeAdapter(Row)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            try:
                rows.append(adapter.validate_json(line))
            except ValidationError as error:
                raise UserError(f"{path}:{number}: not a ledger row ({first_complaint(error)})") from error
    return rows


def publish(source: Path, target: Path, experiment: str) -> int:
    """Append the rows of an experiment that ``target`` lacks; returns how many. For figures that are whole only together.

    Raises:
        UserError: ``source`` has no row of that experiment.
    """
    measured = [row for row in read(source) if row.experiment == experiment]
    if not measured:
        raise UserError(f"{source}: no row of {experiment}; nothing was measured")
    known = read(target)
    new = [row for row in measured if row not in known]
    for row in new:
        append(target, row)
    return len(new)


def latest(rows: Sequence[Row], experiment: str, split: str | None = None) -> list[Row]:
    """The newest row of each seed of an experiment, in the order of seeds.

    Only rows that may be averaged: same split, protocol, decoding and n as the newest one.
    """
    own = [row for row in rows if row.experiment == experiment and split in (None, row.split)]
    alike = [row for row in own if _kind(row) == _kind(own[-1])]
    return [row for _, row in sorted({row.seed: row for row in alike}.items())]


def _kind(row: Row) -> tuple[object, ...]:
    return row.profile, row.split, row.protocol, row.decoding, row.n


def summarize(rows: Sequence[Row], metric: str) -> Summary | None:
    """Mean and spread of a metric over rows of :func:`latest`; None where none has it."""
    found = [(row.seed, row.metrics[metric]) for row in rows if metric in row.metrics]
    if not found:
        return None
    values = [value for _, value in found]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return Summary(statistics.fmean(values), spread, tuple(seed for seed, _ in found))


def git_revision() -> str:
    """The short revision of this checkout, with ``-dirty`` where code or recipes differ from it."""
    home = Path(__file__).parent
    try:
        revision = _run(["git", "-C", str(home), "rev-parse", "--short=10", "HEAD"])
        top = _run(["git", "-C", str(home), "rev-parse", "--show-toplevel"])
        changed = _run(["git", "-C", top, "status", "--porcelain", "-uno", "--", *_MEASURED])
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return revision + ("-dirty" if changed else "")


def machine() -> str:
    """Cores, memory and GPUs in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    words = f"{len(os.sched_getaffinity(0))} CPU cores, {memory:.0f} GB memory"
    try:
        names = _run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]).splitlines()
    except (OSError, subprocess.CalledProcessError):
        return words
    counted = [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)]
    return ", ".join([words, *counted])


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _command() -> str:
    """The running command without this machine's paths: inside the repository relative, elsewhere the last part."""
    spec: Any = getattr(sys.modules["__main__"], "__spec__", None)
    program = Path(sys.argv[0]).name
    if spec is not None and spec.name:
        program = f"python -m {spec.name.removesuffix('.__main__')}"
    return " ".join([program, *map(_without_paths, sys.argv[1:])])


def _without_paths(argument: str) -> str:
    key, equals, value = argument.rpartition("=")
    if not value.startswith("/"):
        return argument
    path, root = Path(value), Path.cwd()
    return key + equals + (str(path.relative_to(root)) if path.is_relative_to(root) else path.name)
