"""The source ``toy``: builds the databases of ``data/toy`` with their test suites; ``text2sql.synth`` writes questions."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from text2sql.data.databases import gold_failure
from text2sql.data.options import CommonOptions, Count
from text2sql.data.source import MadeRow, Rejected, Unit
from text2sql.recipe import STRICT
from text2sql.schema.tables_json import write_tables_json
from text2sql.synth import generate
from text2sql.toy import DatabaseSpec, build_database, load_specs

_SUITE_SCALES = (0.5, 1.5, 0.75, 1.2)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class QuestionSet:
    """``count`` questions about each database of the split ``databases``, in a register of phrasings."""

    databases: Literal["train", "val", "test"]
    count: Count
    register: str = "natural"
    language: str = "en"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ToyOptions(CommonOptions):
    """``toy_databases``: folder of the databases' descriptions; ``questions`` by split; ``suite``: further instances of each."""

    toy_databases: Path
    questions: dict[str, QuestionSet]
    suite: int = 4

    def __post_init__(self) -> None:
        for split, asked in self.questions.items():
            if asked.databases == "test" and split in ("train", "val"):
                raise ValueError(f"questions.{split}: test databases are held out and may not be trained on")


class ToySource:
    """The toy databases, split by database, so that no schema of a test split is in training data."""

    def __init__(self, options: ToyOptions) -> None:
        self.options = options
        self.specs = load_specs(options.toy_databases)
        self.database_root = options.output / "database"
        self.database_roots = [self.database_root]
        self.splits = tuple(options.questions)
        self.jobs = 1  # seconds of work in all
        self.training_splits = tuple(split for split, asked in options.questions.items() if asked.databases != "test")

    def inputs(self) -> list[Path]:
        """The YAML descriptions."""
        return sorted(self.options.toy_databases.glob("*.yaml"))

    def units(self) -> Iterator[Unit]:
        """A unit a split and database, after all databases are built (seconds, so not worth resuming)."""
        for spec in self.specs:
            self._build(spec)
        pairs = product(self.options.questions.items(), self.specs)
        work = [(split, spec) for (split, asked), spec in pairs if spec.split == asked.databases]
        for number, (split, spec) in enumerate(work, 1):
            yield Unit(spec.db_id, split, number / len(work), spec)

    def make(self, unit: Unit) -> Iterator[MadeRow | Rejected]:
        """The questions of a split about one database."""
        asked, spec = self.options.questions[unit.split], unit.work
        path = self._instances(spec)[0]
        chosen = {"register": asked.register, "language": asked.language}
        for example in generate(path, spec.db_id, asked.count, self.options.seed, **chosen):
            failure = gold_failure(path, example.sql)
            if failure is None:
                yield MadeRow(replace(example, split=unit.split))
            else:
                yield Rejected(example.question_id, spec.db_id, example.question, example.sql, *failure)

    def finish(self, bases: Path) -> list[Path]:
        """Write tables.json; the outputs are that file and the databases."""
        tables = self.options.output / "tables.json"
        write_tables_json(self.database_root, [spec.db_id for spec in self.specs], tables)
        return [tables, *(path for spec in self.specs for path in self._instances(spec))]

    def _instances(self, spec: DatabaseSpec) -> list[Path]:
        names = [spec.db_id, *(f"{spec.db_id}_{number}" for number in range(1, self.options.suite + 1))]
        return [self.database_root / spec.db_id / f"{name}.sqlite" for name in names]

    def _build(self, spec: DatabaseSpec) -> None:
        paths = self._instances(spec)
        for stale in set((self.database_root / spec.db_id).glob("*.sqlite")) - set(paths):
            stale.unlink()
        for number, path in enumerate(paths):
            scale = _SUITE_SCALES[(number - 1) % len(_SUITE_SCALES)] if number else 1.0
            build_database(spec, path, self.options.seed + number, scale)
