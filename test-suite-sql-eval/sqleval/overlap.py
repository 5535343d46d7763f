"""How near a wrong result is to the gold's, for those who give partial credit.

Worked out where the result is, in the process that ran the query: the rows stay there, and nobody runs it again.
"""

from collections import Counter
from dataclasses import dataclass

from sqleval.outcome import Rows

MOST_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Overlap:
    """Shares of 1, all of bags: a row or cell counts as often as it is there.

    ``rows`` is the Jaccard similarity of the rows, over the columns that both results name. ``precision`` is the share of
    the prediction's cells that the gold holds, ``recall`` that of the gold's cells that the prediction holds, and
    ``cardinality`` the smaller row count over the larger (QATCH); these three are 0 where either has no rows.
    """

    rows: float
    precision: float
    recall: float
    cardinality: float


def overlap(gold: Rows, found: Rows) -> Overlap | None:
    """The overlap of two results; None where one has more than 10,000 rows."""
    if max(len(gold.rows), len(found.rows)) > MOST_ROWS:
        return None
    rows = _rows(gold, found)
    if not gold.rows or not found.rows:
        return Overlap(rows, 0.0, 0.0, 0.0)
    one, other = Counter(cell for row in gold.rows for cell in row), Counter(cell for row in found.rows for cell in row)
    both = (one & other).total()
    few, many = sorted((len(gold.rows), len(found.rows)))
    return Overlap(rows, both / other.total(), both / one.total(), few / many)


def _rows(gold: Rows, found: Rows) -> float:
    places = {name.lower(): i for i, name in reversed(list(enumerate(found.columns)))}
    common = [(i, places[name.lower()]) for i, name in enumerate(gold.columns) if name.lower() in places]
    if not common:
        return 0.0
    one = Counter(tuple(row[i] for i, _ in common) for row in gold.rows)
    other = Counter(tuple(row[j] for _, j in common) for row in found.rows)
    union = (one | other).total()
    return (one & other).total() / union if union else 0.0
