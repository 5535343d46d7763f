"""Schema linking: which tables and columns a question needs, so that a small model is shown those and few others.

Here are its recipe keys alone, because the linker takes longer to import.
"""

from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from text2sql.recipe import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LinkOptions:
    """At most ``tables`` tables and ``columns`` columns of each, keys and joining tables not counted.

    ``embedder``: a sentence-transformers folder, or with ``base_url`` a served model; without it, scores are lexical.
    ``weight``: what similarity counts beside lexical scores. ``keep_gold``: splits whose rows keep the gold query's
    columns in any case, because an answer over columns that the prompt hides teaches guessing.
    """

    tables: Annotated[int, Field(ge=1)] = 5
    columns: Annotated[int, Field(ge=1)] = 8
    embedder: str | None = None
    base_url: str | None = None
    weight: float = 1.0
    keep_gold: list[str] = field(default_factory=lambda: ["train"])

    def __post_init__(self) -> None:
        if self.base_url and not self.embedder:
            raise ValueError("base_url needs the served model's name as embedder")
