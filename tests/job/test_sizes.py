"""The sample of row sizes that a plan keeps of its input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.job.sizes import RowSize, SizeSample


def filled(tokens: list[float], most: int) -> SizeSample:
    """Return a sample of rows with these sizes."""
    sizes = SizeSample(most)
    for each in tokens:
        sizes.add(each, None)
    return sizes


def test_a_short_input_is_kept_whole_and_in_order():
    """As long as there is room, every row's size and limit comes back as it was."""
    sizes = SizeSample(10)
    sizes.add(5.0, None)
    sizes.add(2.5, 100)
    assert sizes.rows(10) == [RowSize(5.0, None), RowSize(2.5, 100)]


def test_a_long_input_is_kept_in_its_order():
    """A sorted input gives a sorted sample, from its beginning to its end."""
    kept = [size.input_tokens for size in filled([float(n) for n in range(1, 20_001)], 500).rows(100)]
    assert len(kept) == 100
    assert kept == sorted(kept)
    assert kept[0] < 1_500
    assert kept[-1] > 18_500


@given(st.lists(st.floats(1, 1e5), min_size=1, max_size=200), st.integers(1, 50), st.integers(1, 50))
def test_the_mean_is_that_of_all_rows(tokens: list[float], most: int, count: int):
    """However few rows are kept, their mean is the input's own."""
    rows = filled(tokens, most).rows(count)
    assert 1 <= len(rows) <= min(count, most, len(tokens))
    mean = sum(row.input_tokens for row in rows) / len(rows)
    assert mean == pytest.approx(sum(tokens) / len(tokens))


def test_the_same_input_gives_the_same_sample():
    """Nothing but the input and the seed decides."""
    tokens = [float(n % 97 + 1) for n in range(5_000)]
    assert filled(tokens, 100).rows(50) == filled(tokens, 100).rows(50)


def test_every_row_has_the_same_chance():
    """Rows of the first tenth are a tenth of the sample, give or take."""
    sizes = SizeSample(2_000)
    for number in range(40_000):
        sizes.add(1.0, 1 if number < 4_000 else 2)
    first = sum(row.max_output_tokens == 1 for row in sizes.rows(2_000))
    assert 150 < first < 250
