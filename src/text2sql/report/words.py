"""Fills the templates of ``words.yaml`` in with the ledger's figures, so that no figure in a README is typed by hand."""

import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from text2sql import ledger
from text2sql.errors import UserError
from text2sql.ledger import Row

Language = Literal["en", "zh"]

WORDS: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(
    Path(__file__).with_name("words.yaml").read_text(encoding="utf-8")
)


class _Figures(string.Formatter):
    """Replaces fields by figures of ``rows``, or of the rows ``own`` where a field names no experiment.

    Raises:
        KeyError: a figure has not been measured.
    """

    def __init__(self, rows: Sequence[Row], own: Sequence[Row] = ()) -> None:
        self.rows, self.own = rows, own

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        *place, metric = field_name.split()
        group = ledger.latest(self.rows, *place) if place else self.own
        if group and metric in ("n", "split"):
            return getattr(group[-1], metric), field_name
        summary = ledger.summarize(group, metric)
        if summary is None:
            raise KeyError(field_name)
        return summary.mean, field_name


def sentences(name: str, rows: Sequence[Row], language: Language) -> str:
    """The sentences called ``name`` without those that have a figure which is not measured."""
    found = []
    for text in WORDS["sentences"][name][language]:
        try:
            found.append(_Figures(rows).format(text))
        except KeyError:
            continue
    return ("" if language == "zh" else " ").join(found)


def measurement_row(group: Sequence[Row]) -> list[str]:
    """What was measured, the result, the command and the machine, of an experiment's latest rows.

    Raises:
        UserError: ``words.yaml`` has no words for it, or they name a figure that the rows do not have.
    """
    newest = group[-1]
    try:
        words = WORDS["measurements"][newest.experiment]
        cells = [_Figures((), group).format(words[part]) for part in ("what", "result")]
    except KeyError as error:
        raise UserError(
            f"{newest.experiment}: words.yaml of text2sql.report lacks it, or the row lacks {error}"
        ) from None
    command = newest.command if newest.command.startswith("python ") else f"python benchmarks/{newest.command}"
    return [*cells, f"`{command}`", newest.machine]
