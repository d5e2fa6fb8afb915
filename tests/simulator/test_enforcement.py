import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.simulator.enforcement import FixedWindow, Meter, SlidingLog, Subsecond, TokenBucket, admit

KINDS = {
    "fixed": lambda limit: FixedWindow(limit, 60.0, 13.0),
    "sliding": lambda limit: SlidingLog(limit, 60.0),
    "bucket": lambda limit: TokenBucket(limit, 60.0),
    "subsecond": lambda limit: Subsecond(limit, 60.0, 0.4),
}
limits = st.integers(1, 200)
arrivals = st.lists(st.tuples(st.floats(0, 30), st.integers(1, 40)), min_size=1, max_size=60)


def replay(meter: Meter, steps: list[tuple[float, int]], start: float = 1000.0) -> list[tuple[float, int]]:
    """Offer every step and return what was admitted."""
    now = start
    admitted = []
    for gap, cost in steps:
        now += gap
        if admit(meter, now, cost) is None:
            admitted.append((now, cost))
    return admitted


def test_fixed_window_admits_twice_the_limit_across_an_edge():
    """A fixed window lets the limit through just before an edge, and again just after it."""
    meter = FixedWindow(3, 60.0)
    assert [admit(meter, 59.9, 1) for _ in range(3)] == [None] * 3
    assert admit(meter, 59.9, 1) == pytest.approx(0.1, abs=1e-5)
    assert [admit(meter, 60.0, 1) for _ in range(3)] == [None] * 3


def test_sliding_log_remembers_across_an_edge():
    """A sliding log admits again only when an old entry has left the window."""
    meter = SlidingLog(2, 60.0)
    assert admit(meter, 50.0, 1) is None
    assert admit(meter, 59.0, 1) is None
    assert admit(meter, 61.0, 1) == pytest.approx(49.0, abs=1e-5)
    assert admit(meter, 110.0, 1) is None


def test_token_bucket_starts_full_and_refills():
    """A token bucket lets a whole window through at once, and then the refill."""
    meter = TokenBucket(60, 60.0)
    assert admit(meter, 5.0, 60) is None
    assert admit(meter, 5.0, 1) == pytest.approx(1.0, abs=1e-5)
    assert admit(meter, 6.0, 1) is None


def test_subsecond_loses_quota_by_rounding():
    """A limit of 1,000 a minute in slices of a second lets 16 through in each, 960 in a minute."""
    meter = Subsecond(1000, 60.0)
    admitted = sum(admit(meter, 1000 + tick / 100, 1) is None for tick in range(6000))
    assert admitted == 960


def test_subsecond_below_sixty_spaces_requests():
    """A limit of 15 a minute lets one request through in each 4 seconds."""
    meter = Subsecond(15, 60.0)
    assert sum(admit(meter, tick / 10, 1) is None for tick in range(600)) == 15
    assert admit(Subsecond(15, 60.0), 0.0, 1) is None


def test_subsecond_lets_a_large_cost_use_up_later_slices():
    """A cost of three slices is let in when the slice is untouched, and blocks the two after it."""
    meter = Subsecond(600, 60.0)
    assert admit(meter, 0.0, 30) is None
    assert admit(meter, 0.0, 10) == pytest.approx(3.0, abs=1e-5)
    assert admit(meter, 2.5, 10) == pytest.approx(0.5, abs=1e-5)
    assert admit(meter, 3.0, 10) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_cost_above_the_limit_never_fits(kind: str):
    """What is larger than the limit waits for ever, and so does everything when the limit is 0."""
    assert admit(KINDS[kind](10), 5.0, 11) == math.inf
    assert admit(KINDS[kind](0), 5.0, 1) == math.inf


@pytest.mark.parametrize("kind", KINDS)
@given(limit=limits, steps=arrivals)
def test_the_wait_told_is_true(kind: str, limit: int, steps: list[tuple[float, int]]):
    """What is refused with a wait is admitted when it asks again exactly that much later."""
    meter = KINDS[kind](limit)
    now = 86_400_000.25
    for gap, cost in steps:
        now += gap
        wait = admit(meter, now, cost)
        if wait is None:
            continue
        if wait == math.inf:
            assert cost > limit
            continue
        now += wait
        assert admit(meter, now, cost) is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fixed", "sliding"])
@given(limit=limits, steps=arrivals)
def test_windows_agree_with_a_brute_force_count(kind: str, limit: int, steps: list[tuple[float, int]]):
    """Both windows admit exactly what a recount of everything admitted so far would admit."""
    meter = KINDS[kind](limit)
    now, admitted = 1000.0, []
    for gap, cost in steps:
        now += gap
        if kind == "fixed":
            edge = 13.0 + math.floor((now - 13.0) / 60) * 60
            used = sum(units for at, units in admitted if at >= edge)
        else:
            used = sum(units for at, units in admitted if at + 60 > now)
        expected = used + cost <= limit
        assert (admit(meter, now, cost) is None) == expected
        if expected:
            admitted.append((now, cost))


@given(limit=limits, steps=arrivals)
def test_bucket_keeps_its_bound_in_every_interval(limit: int, steps: list[tuple[float, int]]):
    """Between any two admissions a bucket lets through at most its capacity and the refill."""
    admitted = replay(TokenBucket(limit, 60.0), steps)
    for first in range(len(admitted)):
        total = 0
        for at, cost in admitted[first:]:
            total += cost
            assert total <= limit + (at - admitted[first][0]) * limit / 60 + 1e-3


@given(limit=st.integers(60, 2000), gaps=st.lists(st.floats(0, 0.3), max_size=120))
def test_subsecond_keeps_its_bound_in_every_slice(limit: int, gaps: list[float]):
    """No slice lets through more than a sixtieth of the limit, rounded down."""
    admitted = replay(Subsecond(limit, 60.0, 0.4), [(gap, 1) for gap in gaps])
    slices: dict[int, int] = {}
    for at, cost in admitted:
        slices[math.floor(at - 0.4)] = slices.get(math.floor(at - 0.4), 0) + cost
    assert all(used <= limit // 60 for used in slices.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_request_changes_nothing(kind: str):
    """Asking in vain neither uses the limit up nor puts the wait off."""
    meter = KINDS[kind](60)
    while admit(meter, 1000.0, 1) is None:
        pass
    waits = [admit(meter, 1000.0, 1) for _ in range(5)]
    assert len(set(waits)) == 1
