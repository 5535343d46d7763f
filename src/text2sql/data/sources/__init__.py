"""Data sources, one module each, found by the recipe's ``source``."""

import importlib
import pkgutil
from typing import Any

from text2sql.data.sources.base import CommonOptions, Format, Made, Rejected, Source, Unit
from text2sql.errors import UserError
from text2sql.recipe import options_from

__all__ = ["CommonOptions", "Format", "Made", "Rejected", "Source", "Unit", "open_source"]


def open_source(values: dict[str, Any], where: str) -> tuple[CommonOptions, Source]:
    """The options and the source that a recipe's keys ask for.

    Raises:
        UserError: no such source, keys that it does not know, or numbers that make no sense.
    """
    known = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")
    name = values.get("source")
    if name not in known:
        raise UserError(f"{where}: source is one of {', '.join(known)}, not {name!r}")
    module = importlib.import_module(f"{__name__}.{name}")
    options: CommonOptions = options_from(module.Options, values, where)
    if options.jobs < 0 or (options.max_prompt_chars is not None and options.max_prompt_chars < 1):
        raise UserError(f"{where}: jobs is 0 or more, and max_prompt_chars 1 or more")
    source: Source = module.open_source(options)
    return options, source
