"""Statistics of a run: paired tests and intervals."""

import pytest

from sqleval.report.tally import compare_paired, mcnemar, wilson


def test_paired_statistics() -> None:
    first, second = [1.0] * 50 + [0.0] * 50, [1.0] * 70 + [0.0] * 30
    found = compare_paired(first, second)
    assert found.difference == pytest.approx(0.2) and (found.only_first, found.only_second) == (0, 20)
    assert 0.1 < found.low < 0.2 < found.high < 0.3 and found.p_value == pytest.approx(2 / 2**20)
    assert compare_paired(first, first).p_value == 1.0
    assert mcnemar(5, 5) == 1.0
    with pytest.raises(ValueError, match="equal length"):
        compare_paired([1.0], [])
    low, high = wilson(50, 100)
    assert (round(low, 3), round(high, 3)) == (0.404, 0.596)
