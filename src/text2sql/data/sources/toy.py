"""The toy world: builds the databases of ``data/toy`` and their suites, and has ``text2sql.synth`` ask."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pydantic.dataclasses import dataclass

from text2sql.data.gold import gold_failure
from text2sql.data.sources.base import CommonOptions, Made, Rejected, Unit
from text2sql.data.tables import write_tables
from text2sql.errors import UserError
from text2sql.recipe import STRICT, options_from
from text2sql.synth import generate
from text2sql.toy import DatabaseSpec, build_database, load_world

_SUITE_SCALES = (0.5, 1.5, 0.75, 1.2)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class QuestionSet:
    """``count`` questions about each database of the split ``databases``, in a register of phrasings."""

    databases: str
    count: int
    register: str = "natural"
    language: str = "en"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Options(CommonOptions):
    """``questions``: a :class:`QuestionSet` by split; ``suite``: how many further instances of a database."""

    world: Path
    questions: dict[str, object]
    suite: int = 4


class ToySource:
    """Described databases, split by database, so that no test schema was ever trained on."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.specs = load_world(options.world)
        self.root = options.output / "database"
        self.sets = {split: _question_set(split, entry) for split, entry in options.questions.items()}
        self.splits = tuple(self.sets)
        self.jobs = 1  # seconds of work in all
        self.taught = tuple(split for split, asked in self.sets.items() if asked.databases != "test")

    def inputs(self) -> list[Path]:
        """The YAML descriptions."""
        return sorted(self.options.world.glob("*.yaml"))

    def units(self) -> Iterator[Unit]:
        """A unit a split and database, after all databases are built (seconds, so not worth resuming)."""
        for spec in self.specs:
            self._build(spec)
        work = [
            (split, spec) for split, asked in self.sets.items() for spec in self.specs if spec.split == asked.databases
        ]
        for number, (split, spec) in enumerate(work, 1):
            yield Unit(spec.db_id, split, number / len(work), spec)

    def make(self, unit: Unit) -> Iterator[Made | Rejected]:
        """The questions of a split about one database."""
        asked, spec = self.sets[unit.split], unit.work
        path = self._instances(spec)[0]
        chosen = {"register": asked.register, "language": asked.language}
        for example in generate(path, spec.db_id, asked.count, self.options.seed, **chosen):
            failure = gold_failure(path, example.sql)
            if failure is None:
                yield Made(replace(example, split=unit.split))
            else:
                yield Rejected(example.question_id, spec.db_id, example.question, example.sql, *failure)

    def finish(self) -> list[Path]:
        """Write tables.json; the outputs are that file and the databases."""
        tables = self.options.output / "tables.json"
        write_tables(self.root, [spec.db_id for spec in self.specs], tables)
        return [tables, *(path for spec in self.specs for path in self._instances(spec))]

    def _instances(self, spec: DatabaseSpec) -> list[Path]:
        names = [spec.db_id, *(f"{spec.db_id}_{number}" for number in range(1, self.options.suite + 1))]
        return [self.root / spec.db_id / f"{name}.sqlite" for name in names]

    def _build(self, spec: DatabaseSpec) -> None:
        paths = self._instances(spec)
        for stale in set((self.root / spec.db_id).glob("*.sqlite")) - set(paths):
            stale.unlink()
        for number, path in enumerate(paths):
            scale = _SUITE_SCALES[(number - 1) % len(_SUITE_SCALES)] if number else 1.0
            build_database(spec, path, self.options.seed + number, scale)


def _question_set(split: str, entry: object) -> QuestionSet:
    where = f"questions.{split}"
    if not isinstance(entry, dict):
        raise UserError(f"{where}: expected keys such as databases and count, found {entry!r}")
    asked = options_from(QuestionSet, entry, where)
    if asked.count < 1:
        raise UserError(f"{where}: count should be 1 or more, not {asked.count}")
    if asked.databases not in ("train", "val", "test"):
        raise UserError(f"{where}: databases is one of train, val, test, not {asked.databases!r}")
    if asked.databases == "test" and split in ("train", "val"):
        raise UserError(f"{where}: test databases are held out and may not be trained on")
    return asked


def open_source(options: Options) -> ToySource:
    """The source of a recipe."""
    return ToySource(options)
