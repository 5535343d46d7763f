"""When two results are the same answer: the official rules of Spider and BIRD, and a strict one.

All functions take lists of row tuples and are pure. The Spider rule looks for a permutation of the prediction's
columns; columns are matched by their values first, so that wide results do not mean trying every permutation.
"""

from collections import Counter
from collections.abc import Sequence

from sqleval.outcome import Cell, Overlap, Row, Rows
from sqleval.protocol import Protocol

Result = Sequence[Row]


def equal(protocol: Protocol, gold: Result, pred: Result, ordered: bool) -> bool:
    """Whether two results are the same answer by a protocol; BIRD's graded ones ask for BIRD's equality."""
    if protocol.spider:
        return spider_equal(gold, pred, ordered)
    return strict_equal(gold, pred, ordered) if protocol.name == "strict" else bird_equal(gold, pred)


def spider_equal(gold: Result, pred: Result, ordered: bool) -> bool:
    """The official test-suite rule: some permutation of columns makes the rows equal, as a list or as a multiset.

    Two empty results are equal whatever their columns. ``6`` equals ``6.0``, with the official oddity that two
    values of a row may differ so only while they sort alike as text (see :func:`_unordered`).
    """
    if gold is pred or (not gold and not pred):
        return True
    if len(gold) != len(pred) or len(gold[0]) != len(pred[0]):
        return False
    same = gold == pred or (not ordered and Counter(gold) == Counter(pred))
    if len(gold[0]) == 1:
        return same
    if not same and not _some_permutation(gold, pred, ordered):
        return False
    return _same_as_text(gold, pred, ordered)


def _some_permutation(gold: Result, pred: Result, ordered: bool) -> bool:
    gold_columns, pred_columns = list(zip(*gold, strict=True)), list(zip(*pred, strict=True))
    if ordered:
        return Counter(gold_columns) == Counter(pred_columns)
    gold_bags = [frozenset(Counter(column).items()) for column in gold_columns]
    pred_bags = [frozenset(Counter(column).items()) for column in pred_columns]
    if Counter(gold_bags) != Counter(pred_bags):
        return False
    candidates = [[i for i, bag in enumerate(pred_bags) if bag == wanted] for wanted in gold_bags]
    return _extend([], [], gold_columns, pred_columns, candidates)


def _extend(
    chosen: list[int],
    done: list[int],
    gold: list[tuple[Cell, ...]],
    pred: list[tuple[Cell, ...]],
    candidates: list[list[int]],
) -> bool:
    """Depth-first choice of a prediction column for the gold column with the fewest candidates left."""
    if len(done) == len(gold):
        return True
    left = [i for i in range(len(gold)) if i not in done]
    target = min(left, key=lambda i: len(candidates[i]))
    wanted = Counter(zip(*(gold[i] for i in (*done, target)), strict=True))
    tried: set[tuple[Cell, ...]] = set()
    for choice in candidates[target]:
        if choice in chosen or pred[choice] in tried:
            continue
        tried.add(pred[choice])
        rows = zip(*(pred[i] for i in (*chosen, choice)), strict=True)
        if Counter(rows) == wanted and _extend([*chosen, choice], [*done, target], gold, pred, candidates):
            return True
    return False


def _same_as_text(gold: Result, pred: Result, ordered: bool) -> bool:
    """The official first filter, which only floats can fail once the rows are known to be equal."""
    if not any(float in map(type, row) for result in (gold, pred) for row in result):
        return True
    one, other = map(_unordered, gold), map(_unordered, pred)
    return list(one) == list(other) if ordered else set(one) == set(other)


def _unordered(row: Row) -> Row:
    return tuple(sorted(row, key=lambda cell: f"{cell!s}{type(cell)}"))


def bird_equal(gold: Result, pred: Result) -> bool:
    """BIRD's execution accuracy: equal sets of row tuples; order and duplicates do not count, column order does."""
    return set(gold) == set(pred)


def strict_equal(gold: Result, pred: Result, ordered: bool) -> bool:
    """Columns in order, rows as a list or a multiset, and types respected: ``6`` is not ``6.0``."""
    if len(gold) != len(pred):
        return False
    one, other = ([tuple((type(cell), cell) for cell in row) for row in result] for result in (gold, pred))
    return one == other if ordered else Counter(one) == Counter(other)


def bird_soft_f1(gold: Result, pred: Result) -> float:
    """BIRD's soft F1 in [0, 1]: rows without duplicates are paired in order, cells are matched inside each pair.

    Formula: BIRD mini-dev, ``evaluation_f1``; a cell matches when its value occurs anywhere in the paired row.
    """
    if not gold and not pred:
        return 1.0
    gold_rows, pred_rows = list(dict.fromkeys(gold)), list(dict.fromkeys(pred))
    both = pred_only = gold_only = 0.0
    for gold_row, pred_row in zip(gold_rows, pred_rows, strict=False):
        width = len(gold_row)
        found = sum(cell in gold_row for cell in pred_row)
        both += found / width
        pred_only += (len(pred_row) - found) / width
        gold_only += sum(cell not in pred_row for cell in gold_row) / width
    gold_only += max(len(gold_rows) - len(pred_rows), 0)
    pred_only += max(len(pred_rows) - len(gold_rows), 0)
    precision = both / (both + pred_only) if both + pred_only else 0.0
    recall = both / (both + gold_only) if both + gold_only else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


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
