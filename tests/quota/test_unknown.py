"""The engine without known limits against servers that tell nothing: row 8 and the unseen ones, in short."""

from __future__ import annotations

import pytest
from benchmarks.quota.measuring import measure
from benchmarks.quota.scenarios import named

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    [
        "? bucket n, 1,000 rpm, untold",
        "? bucket n/6, 1,000 rpm, told",
        "? bucket n/60, 1,000 rpm, untold",
        "? fixed 60 s, 1,000 rpm, untold",
        "? fixed 60 s, 100 rpm, told",
        "? sliding log, 1,000 rpm, told",
        "? gcra, tolerance 4.3 s, 1,000 rpm",
        "? fixed 30 s, 1,000 rpm",
        "? 300 a minute and 10 a second",
        "? outside user takes 30 %: bucket, no headers",
    ],
)
def test_an_unknown_limit_is_learnt(name: str) -> None:
    """From the fifth minute on nine tenths of the limit are used, and few requests of the whole run are refused."""
    measured = measure(named(name).shortened(12.0), 1)
    assert measured.used >= 0.93
    assert measured.refused <= 0.015
    assert measured.lost == 0
    assert measured.stopped is None


def test_a_limit_that_drops_is_noticed() -> None:
    """A limit that drops at a random minute costs few refusals, and what is left is used."""
    measured = measure(named("? drops at a random minute").shortened(20.0), 2)
    assert measured.used >= 0.9
    assert measured.refused <= 0.015
