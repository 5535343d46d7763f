"""How similar a wrong result is to the gold's, for partial credit.

Computed in the process that ran the query, where the rows are, so that it is not run again.
"""

from collections import Counter

from sqleval.outcome import Overlap, Rows

MOST_ROWS = 10_000


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
