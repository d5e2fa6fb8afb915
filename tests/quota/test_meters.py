"""Each meter admits what its definition says, and tells the wait truly."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from benchmarks.quota.meters import (
    Bucket,
    FixedWindow,
    Gcra,
    Meter,
    OnePerRequest,
    SlidingCounter,
    SlidingLog,
    constant,
    stepped,
)
from hypothesis import given
from hypothesis import strategies as st

METERS: dict[str, Callable[[], Meter]] = {
    "bucket": lambda: Bucket(constant(60)),
    "small bucket": lambda: Bucket(constant(600), 1.0),
    "fixed": lambda: FixedWindow(constant(60), 60.0, 17.0),
    "floored": lambda: FixedWindow(constant(100), 1.0, 0.3, whole=True),
    "log": lambda: SlidingLog(constant(60)),
    "counter": lambda: SlidingCounter(constant(60), phase_s=31.0),
    "gcra": lambda: Gcra(constant(60), 2.5),
}


def offer(meter: Meter, times: list[float], cost: float = 1.0) -> list[float]:
    """Offer a request at each time; return the times at which it was admitted."""
    admitted = []
    for now in times:
        if meter.wait_s(now, cost) == 0.0:
            meter.take(now, cost)
            admitted.append(now)
    return admitted


def crowd(until: float, per_s: int) -> list[float]:
    """Return times of far more requests than any limit admits."""
    return [number / per_s for number in range(int(until * per_s))]


def most_in(times: list[float], span_s: float) -> int:
    """Return the most times in any span, whose start counts and whose end does not."""
    return max(sum(begins <= at < begins + span_s for at in times) for begins in times)


def test_a_bucket_holds_a_window_and_refills_evenly() -> None:
    """A bucket of 60 a minute admits 60 at once and one a second from then on."""
    admitted = offer(Bucket(constant(60)), crowd(30.0, 10))
    assert sum(at < 7.0 for at in admitted) == 66
    assert len(admitted) == 60 + 29


def test_a_bucket_of_a_second_holds_a_sixtieth() -> None:
    """A bucket that holds one second of 600 a minute admits ten at once."""
    meter = Bucket(constant(600), 1.0)
    assert len(offer(meter, [0.0] * 50)) == 10


def test_a_bucket_holds_at_least_one_request() -> None:
    """A bucket that would hold less than one request holds one."""
    assert len(offer(Bucket(constant(5), 1.0), [0.0] * 3)) == 1


def test_a_fixed_window_admits_double_across_an_edge() -> None:
    """A fixed window admits its limit in every window, so twice that within a moment across an edge."""
    meter = FixedWindow(constant(60), 60.0, 30.0)
    admitted = offer(meter, [29.9] * 100 + [30.1] * 100)
    assert admitted.count(29.9) == 60
    assert admitted.count(30.1) == 60


def test_a_floored_window_loses_the_rest() -> None:
    """One hundred a minute, floored into seconds, is one a second."""
    meter = FixedWindow(constant(100), 1.0, whole=True)
    assert len(offer(meter, crowd(60.0, 10))) == 60
    assert meter.limit_at(0.0) == 60.0


def test_a_sliding_log_never_admits_more_in_any_span() -> None:
    """No span of a minute holds more than the limit, and each of them can be used up."""
    admitted = offer(SlidingLog(constant(60)), crowd(200.0, 7))
    assert most_in(admitted, 60.0) == 60
    assert len(admitted) >= 180


def test_a_sliding_counter_refuses_a_client_at_the_limit() -> None:
    """A steady client at exactly the limit is refused about once a minute; one just below it never."""
    at_limit = [0.5 + number for number in range(1200)]
    assert 10 <= 1200 - len(offer(SlidingCounter(constant(60)), at_limit)) <= 40
    below = [0.5 + number * 60 / 59 for number in range(1200)]
    assert len(offer(SlidingCounter(constant(60)), below)) == 1200


def test_gcra_lets_its_tolerance_through_at_once() -> None:
    """With a tolerance of 2.5 distances, three requests pass at once and then one at each distance."""
    meter = Gcra(constant(60), 2.5)
    assert len(offer(meter, [0.0] * 10)) == 3
    assert offer(meter, crowd(60.0, 10)[1:]) == [0.5 + number for number in range(60)]


@pytest.mark.parametrize("name", METERS)
@given(seed=st.integers(0, 2**32), pace=st.floats(0.5, 20.0))
def test_the_wait_told_is_true(name: str, seed: int, pace: float) -> None:
    """A refused request passes after exactly the wait that was told, and not a moment before."""
    random, meter, now = Random(seed), METERS[name](), 0.0
    for _ in range(200):
        now += random.expovariate(pace)
        wait_s = meter.wait_s(now, 1.0)
        if wait_s > 1e-3:
            assert meter.wait_s(now + wait_s * 0.99 - 1e-6, 1.0) > 0.0
            now += wait_s + 1e-6
            assert meter.wait_s(now, 1.0) == 0.0
        meter.take(now, 1.0)


@pytest.mark.parametrize("name", METERS)
@given(seed=st.integers(0, 2**32))
def test_asking_takes_nothing(name: str, seed: int) -> None:
    """Two meters of a kind admit the same, however often one of them is asked for what it would say."""
    random, asked, left = Random(seed), METERS[name](), METERS[name]()
    now = 0.0
    for _ in range(150):
        now += random.expovariate(2.0)
        asked.wait_s(now, 3.0)
        asked.remaining(now)
        asked.reset_s(now)
        assert offer(asked, [now]) == offer(left, [now])


@pytest.mark.parametrize("name", METERS)
@given(seed=st.integers(0, 2**32))
def test_what_remains_is_what_passes(name: str, seed: int) -> None:
    """As many whole requests pass at once as the meter says remain."""
    random, meter = Random(seed), METERS[name]()
    now = 0.0
    for _ in range(40):
        now += random.expovariate(0.5)
        remaining = meter.remaining(now)
        taken = random.randint(0, 5)
        assert len(offer(meter, [now] * taken)) == min(taken, int(remaining + 1e-6))


def test_a_bucket_says_when_it_is_full() -> None:
    """The reset that a bucket tells is what is missing, over the refill."""
    meter = Bucket(constant(600))
    offer(meter, [0.0] * 100)
    assert meter.reset_s(0.0) == pytest.approx(10.0)
    assert meter.remaining(0.0) == pytest.approx(500.0)


def test_a_limit_changes_at_its_time() -> None:
    """A stepped limit has the value of the last step before a moment."""
    limit = stepped(100.0, (60.0, 50.0), (120.0, 200.0))
    assert [limit(now) for now in (0.0, 59.9, 60.0, 119.0, 120.0, 999.0)] == [100, 100, 50, 50, 200, 200]


def test_a_halved_bucket_holds_and_refills_half() -> None:
    """After its limit is halved a full bucket holds half and refills at half the rate."""
    meter = Bucket(stepped(60.0, (100.0, 30.0)))
    assert meter.remaining(99.0) == 60.0
    assert meter.remaining(100.0) == 30.0
    meter.take(100.0, 30.0)
    assert meter.remaining(110.0) == pytest.approx(5.0)


def test_requests_are_counted_whatever_they_cost() -> None:
    """A meter of requests takes one unit of each."""
    meter = OnePerRequest(SlidingLog(constant(2)))
    assert len(offer(meter, [0.0, 1.0, 2.0], cost=5000.0)) == 2
