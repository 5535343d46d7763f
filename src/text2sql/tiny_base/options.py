"""The keys of ``recipes/tiny/base/prepare.yaml``."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from text2sql.recipe import STRICT


def _in_order(numbers: tuple[int, int]) -> tuple[int, int]:
    if not 0 < numbers[0] <= numbers[1]:
        raise ValueError(f"should be the lowest and highest number, from 1 on, not {list(numbers)}")
    return numbers


Range = Annotated[tuple[int, int], AfterValidator(_in_order)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Lesson:
    """A part of the curriculum: ``conversations`` of several ``turns`` (questions), each over a random schema.

    ``natural`` and ``chinese``: shares of conversations whose questions are natural rather than plain, and Chinese rather
    than English. The schema has ``tables``, each with ``columns`` that are not keys. ``short_keys``: share of tables whose
    key abbreviates the table's name (``dept_id``, ``dep_no``). ``invented``: share of attribute words that are invented; of
    table nouns, a tenth more. ``pieced``: share of invented words that are joined from the tokenizer's pieces.
    ``camel``: share of schemas with CamelCase names.
    """

    conversations: int
    tables: Range
    columns: Range
    turns: Range
    natural: float = 0.0
    chinese: float = 0.0
    short_keys: float = 0.0
    pieced: float = 0.0
    invented: float = 0.3
    camel: float = 0.15


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Corpus:
    """A file of conversations, lesson after lesson."""

    path: Path
    lessons: list[Lesson]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Options:
    """``shape``: keys of Qwen3's configuration. The tokenizer is trained on the first corpus.

    ``toy_databases``: folder of descriptions; tables of its validation and test databases lend no names.
    """

    corpora: list[Corpus]
    model: Path
    shape: dict[str, int]
    vocab_size: int = 2048
    toy_databases: Path | None = None
    seed: int = 1
