"""What a data recipe may say: the keys of every source, and those of sources that read files."""

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from text2sql.data.normal import LEAK_RULES, LeakRule
from text2sql.linking import LinkOptions
from text2sql.prompts import AnswerFormat
from text2sql.recipe import STRICT
from text2sql.schema.model import Style
from text2sql.values import ValueOptions

Format = Literal["messages", "alpaca", "ranking", "grpo"]
VAL = "val"
"""The split that the recipe's key ``val_databases`` makes."""
WHOLE = "all"
"""The split of rows that the recipe's key ``split`` divides."""
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


def _as_list(entry: Any) -> Any:
    return [entry] if isinstance(entry, str) else entry or []


Paths = Annotated[list[str], BeforeValidator(_as_list)]
Folders = Annotated[list[Path], BeforeValidator(_as_list)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SuiteOptions:
    """Test suites of the databases that are trained on (:mod:`text2sql.data.suites`).

    ``instances``: beside each database, each the best of ``tries``; ``golds``: of each database so many,
    evenly spread, are told apart from all their neighbours, the others from a constant. ``splits``: whose databases (None: all
    that are trained on). ``max_mb`` of disk for all together.
    """

    instances: Count = 8
    tries: Count = 3
    golds: Count = 60
    splits: list[str] | None = None
    max_mb: Count = 2000


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CommonOptions:
    """Recipe keys of every source.

    ``name`` is the prefix of the LLaMA-Factory data sets (``<name>_train``). ``formats``: which training files are
    written (``ranking`` takes rows with a worse query, from the column ``rejected``); ``answer_format``: the form of
    the answers in them; ``system_prompt``: the first message, where not that of the format (inference and GRPO have both
    keys too). ``max_prompt_chars`` leaves examples with a longer prompt out of the training files, never out of the
    examples that evaluation reads. ``tokenizer``: a model's folder, for lengths in tokens in the report. ``jobs``:
    processes (0: one for each core). ``seed`` shuffles the training file and whatever the source draws.
    ``suites``: build test suites for rewards (None: none). ``issues``: modules with issues of your own.
    ``references``: a retrieval recipe, whose examples every prompt then shows (:mod:`text2sql.rag`).
    """

    source: str
    name: str
    output: Path
    formats: list[Format] = field(default_factory=lambda: ["messages"])
    answer_format: AnswerFormat = "plain"
    system_prompt: str | None = None
    max_prompt_chars: Count | None = None
    tokenizer: Path | None = None
    jobs: Annotated[int, Field(ge=0)] = 0
    seed: int = 42
    suites: SuiteOptions | None = None
    issues: list[str] = field(default_factory=list)
    references: Path | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Decontaminate:
    """``against``: evaluation files; ``rules`` and ``near`` as in :mod:`text2sql.data.leakage`; ``splits``: whose rows."""

    against: list[Path]
    rules: list[LeakRule] = field(default_factory=lambda: list(LEAK_RULES))
    near: Annotated[float, Field(ge=0.5, le=1)] = 0.7
    splits: list[str] = field(default_factory=lambda: ["train"])


Chance = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VaryOptions:
    """``copies`` of each training row, the first as it is; the others change each thing with its chance.

    ``reorder``: the order of tables, and that of columns; ``leave_out``: unused tables, each with even chance; ``add``:
    one or two tables of another database; ``plain``: nothing but names, types and keys, without values and descriptions;
    ``whole``: all of the schema, where the recipe has ``linking``. One epoch over the copies takes the place of as many
    epochs.
    """

    copies: Annotated[int, Field(ge=2)] = 3
    reorder: Chance = 0.7
    leave_out: Chance = 0.3
    add: Chance = 0.2
    plain: Chance = 0.2
    whole: Chance = 0.5


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FileOptions(CommonOptions):
    """``files``: paths (relative to ``folder``; ``*`` allowed) by split. ``columns``: a row's part -> its column.

    Schemas come from ``database_root`` (``<db_id>/<db_id>.sqlite`` in one or several folders), the row's own tables,
    ``tables`` (Spider's tables.json) or ``schema`` (one file for all rows); text in words is looked up in ``described``
    (see :mod:`text2sql.data.describe`), and passed over where a schema comes from elsewhere. ``schema_style`` says how
    they look, ``descriptions`` adds what tells more of a column than its name (BIRD's files, readable names in ``tables``),
    ``linking`` cuts them to what a question needs, ``values`` shows stored values that it means (of database files only).
    ``vary`` writes more than one copy of the rows of splits whose name begins with train.
    ``split`` (shares by name, such as ``{train: 0.8, val: 0.1, test: 0.1}``) divides the rows, which ``files`` has under
    one name then, by ``split_by``; ``val_databases`` instead moves the rows of so many databases from train to val, because
    random rows about databases that are trained on say little about others. ``subset``: how many rows of each difficulty
    are read. ``duplicates: drop`` leaves out a question asked before about the same database. Without ``database_root``
    the format ``grpo`` has databases built in ``output/database``, empty ones filled with drawn rows unless
    ``fill_databases`` is false. ``timeout``: seconds of one gold query. ``unit_rows``: how many rows a killed run may
    repeat.
    """

    files: dict[str, Paths] = field(default_factory=dict)
    folder: Path = Path()
    columns: dict[str, str | int] = field(default_factory=dict)
    database_root: Folders = field(default_factory=list)
    tables: Path | None = None
    schema: Path | None = None
    described: Path | None = None
    schema_style: Style = "ddl"
    descriptions: bool = False
    linking: LinkOptions | None = None
    values: ValueOptions | None = None
    vary: VaryOptions | None = None
    decontaminate: Decontaminate | None = None
    split: dict[str, Share] | None = None
    split_by: Literal["database", "random"] = "database"
    val_databases: Annotated[int, Field(ge=0)] = 0
    subset: dict[str, Count] | None = None
    duplicates: Literal["drop", "keep"] = "drop"
    fill_databases: bool = True
    timeout: Annotated[float, Field(gt=0)] = 10.0
    unit_rows: Count = 1000
