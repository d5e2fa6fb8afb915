"""Which ways of enforcing a limit agree with what was seen."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat.ledgers.hypotheses import Hypothesis, Seen, hypotheses, least_a_minute
from wingbeat.simulator.enforcement import FixedWindow, Meter, SlidingLog, Subsecond, TokenBucket, admit


def see(meter: Meter, sent_at: list[float]) -> list[Seen]:
    """Return what requests sent at these times meet."""
    return [Seen(at, admit(meter, at, 1) is None) for at in sorted(sent_at)]


def holding(found: list[Hypothesis], kind: str, span_s: float, truth: float) -> list[Hypothesis]:
    """Return those of a kind and span that hold the true limit a minute."""
    return [
        each
        for each in found
        if (each.enforcement, each.span_s) == (kind, span_s) and each.low * 0.99 <= truth <= each.high * 1.01
    ]


TIMES = st.lists(st.floats(0.0, 200.0), min_size=30, max_size=120)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(TIMES, st.integers(3, 20), st.sampled_from(["sliding", "fixed", "bucket", "slices"]))
def test_the_truth_is_never_excluded(sent_at: list[float], limit: int, kind: str):
    """Whatever requests meet, the way in which they were really refused agrees with it, and holds the true limit."""
    meters: dict[str, tuple[Meter, str, float]] = {
        "sliding": (SlidingLog(limit, 60.0), "window", 60.0),
        "fixed": (FixedWindow(limit, 60.0, 17.0), "window", 60.0),
        "bucket": (TokenBucket(limit, 60.0), "bucket", 60.0),
        "slices": (Subsecond(60 * (limit // 3), 60.0, 0.4), "rate", 1.0),
    }
    meter, enforcement, span_s = meters[kind]
    seen = see(meter, sent_at)
    if all(each.passed for each in seen):
        return
    truth = 60 * (limit // 3) if kind == "slices" else limit
    assert holding(hypotheses(seen), enforcement, span_s, truth)


@pytest.mark.slow
def test_a_paced_window_is_known_exactly():
    """An even pace that is refused twice tells a sliding window to the request, and a bucket from it."""
    seen = see(SlidingLog(50, 60.0), [number * 0.5 for number in range(300)])
    (first, *_others) = hypotheses(seen, 0.05)
    assert first.enforcement == "window"
    assert (first.low, first.high) == (50, 50)
    seen = see(TokenBucket(50, 60.0), [number * 0.5 for number in range(300)])
    found = hypotheses(seen, 0.05)
    assert {each.enforcement for each in found} == {"bucket"}
    assert found[0].low == pytest.approx(50, rel=0.02)


def test_without_a_refusal_nothing_is_concluded():
    """What was let through alone gives no upper bound."""
    assert hypotheses([Seen(float(number), passed=True) for number in range(100)]) == []
    assert hypotheses([]) == []


def test_what_no_limit_explains_gives_nothing():
    """A refusal after one request, and a hundred let through right after it, are no one limit's."""
    seen = [Seen(0.0, passed=True), Seen(1.0, passed=False), *(Seen(1.5 + 0.05 * n, passed=True) for n in range(100))]
    assert hypotheses(seen, 0.05) == []


def test_what_nobody_knows_widens_the_range():
    """A request that may or may not have been counted moves one bound only."""
    seen = see(SlidingLog(50, 60.0), [number * 0.5 for number in range(150)])
    some = [Seen(each.sent_at, None if place == 20 else each.passed) for place, each in enumerate(seen)]
    (sure, *_more), (unsure, *_others) = hypotheses(seen, 0.05), hypotheses(some, 0.05)
    assert unsure.low <= sure.low
    assert unsure.high >= sure.high


@settings(max_examples=30, deadline=None)
@given(TIMES, st.integers(3, 20), st.sampled_from(["sliding", "fixed", "bucket"]))
def test_the_least_limit_is_no_more_than_the_limit(sent_at: list[float], limit: int, kind: str):
    """However a minute's limit is enforced, what it lets through never shows more than the limit."""
    meters: dict[str, Meter] = {
        "sliding": SlidingLog(limit, 60.0),
        "fixed": FixedWindow(limit, 60.0, 17.0),
        "bucket": TokenBucket(limit, 60.0),
    }
    assert least_a_minute(see(meters[kind], sent_at), 0.05) <= limit * 1.001
