"""Stored values that a question means: a small model writes a literal rightly when the prompt shows how it is stored.

Here are its recipe keys alone; :mod:`~text2sql.values.index` builds and asks the index, :mod:`~text2sql.values.match`
chooses and shows.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from text2sql.recipe import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ValueOptions:
    """At most ``most`` values for a question, in at most ``tokens`` tokens; the least likely are left out first.

    ``folder``: where the indexes of databases are kept (default: text2sql/values in the user's cache folder).
    """

    most: Annotated[int, Field(ge=1)] = 10
    tokens: Annotated[int, Field(ge=10)] = 150
    folder: Path | None = None
