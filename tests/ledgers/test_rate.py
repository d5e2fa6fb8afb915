"""One limit and several together, against servers that count what arrives."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledgers.servers import SERVERS, Bucket, Fixed, Sliding, most_in_a_span

from wingbeat.ledgers.quota import INPUT_TOKENS, REQUESTS, Cost, Quota
from wingbeat.ledgers.rate import JITTER_S, STRICTER_PACES, RateLimit


def sends(limit: RateLimit, count: int, now: float = 0.0, cost: float = 1.0, *, burst: bool = False) -> list[float]:
    """Send as fast as is allowed."""
    times = []
    for _ in range(count):
        now = limit.ready_at(now, cost)
        limit.commit(now, cost, burst=burst)
        times.append(now)
    return times


def test_a_small_job_goes_at_once() -> None:
    """Five requests at ten a minute are all ready at the same moment."""
    assert sends(RateLimit(REQUESTS, 10), 5, now=7.0, burst=True) == [7.0] * 5


@pytest.mark.parametrize("limit", [2, 10, 60, 600])
def test_half_a_window_goes_at_once_after_idling(limit: int) -> None:
    """A client that was idle for a window may send half of one in a moment, and hardly more."""
    ledger = RateLimit(REQUESTS, limit)
    sends(ledger, 3, burst=True)
    times = sends(ledger, limit // 2 + 2, now=200.0, burst=True)
    assert times[: limit // 2] == [200.0] * (limit // 2)
    assert times[-1] > 200.0


def test_a_long_job_starts_without_a_burst() -> None:
    """After a restart the first requests are as far apart as all later ones."""
    ledger = RateLimit(REQUESTS, 60)
    ledger.restart(100.0)
    times = sends(ledger, 10, now=100.0)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps == pytest.approx([60.25 / 60] * 9)


def test_a_large_request_is_not_starved() -> None:
    """A large request goes once the debt of those before it is repaid, whatever its size; the next one pays for it."""
    ledger = RateLimit(INPUT_TOKENS, 60_000)
    ledger.restart(0.0)
    ledger.commit(0.0, 100, burst=False)
    due = ledger.ready_at(0.0, 30_000)
    assert due == pytest.approx(100 / 60_000 * 60.25)
    ledger.commit(due, 30_000, burst=False)
    assert ledger.ready_at(due, 1) == pytest.approx(due + 30_000 / 60_000 * 60.25)


def test_a_limit_of_nothing_is_refused() -> None:
    """A limit must be above zero."""
    with pytest.raises(ValueError, match="above zero"):
        RateLimit(REQUESTS, 0)


def test_a_limit_below_one_still_lets_requests_go() -> None:
    """At one request in two minutes, requests go two minutes apart."""
    times = sends(RateLimit(REQUESTS, 0.5), 3)
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([110.5, 120.5])


def test_nothing_goes_while_paused_even_when_a_reply_gives_tokens_back() -> None:
    """A reply that took fewer tokens than estimated does not shorten a pause."""
    ledger = RateLimit(INPUT_TOKENS, 1000)
    entry = ledger.commit(0.0, 900, burst=False)
    ledger.pause(30.0)
    ledger.settle(entry, -890)
    assert ledger.ready_at(1.0, 1) == 30.0


def test_a_pause_ends_evenly() -> None:
    """After a pause requests go at an even pace, without what could have been saved up meanwhile."""
    ledger = RateLimit(REQUESTS, 60)
    ledger.commit(0.0, 1, burst=True)
    ledger.pause(50.0)
    times = sends(ledger, 4, now=50.0)
    assert times == pytest.approx([50.0 + step * 60.25 / 60 for step in range(4)])


def test_a_shorter_pause_does_not_cut_a_longer_one_short() -> None:
    """Of two pauses the later end holds."""
    ledger = RateLimit(REQUESTS, 60)
    ledger.pause(50.0)
    ledger.pause(10.0)
    assert ledger.ready_at(0.0, 1) == 50.0


def test_each_rung_is_stricter() -> None:
    """Every tightening saves up less and leaves more of the rate unused, until there is none further."""
    ledger = RateLimit(REQUESTS, 600)
    widths = []
    while ledger.tighten():
        ledger.restart(1000.0 * (1 + len(widths)))
        start = 1000.0 * (1 + len(widths))
        widths.append(sends(ledger, 20, now=start)[-1] - start)
    assert len(widths) == len(STRICTER_PACES)
    assert widths == sorted(widths)
    assert not ledger.tighten()


def test_a_smaller_limit_holds_at_once() -> None:
    """After a resize what was already sent counts against the new limit."""
    ledger = RateLimit(REQUESTS, 100)
    sends(ledger, 10, burst=True)
    ledger.resize(10)
    assert ledger.ready_at(1.0, 1) == 60.0 + JITTER_S


jobs = st.lists(
    st.tuples(
        st.integers(1, 25),  # requests at once
        st.sampled_from([0.0, 0.0, 0.3, 5.0, 61.0]),  # idle before them
        st.booleans(),  # a small job
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(jobs, st.integers(0, 2**16), st.sampled_from([4, 10, 37]), st.sampled_from([600.0, 2500.0]))
def test_a_client_that_obeys_is_never_refused(
    plan: list[tuple[int, float, bool]], seed: int, requests: int, tokens: float
) -> None:
    """No span has more than the limit as the server counts, and no kind of server refuses, whatever the sizes."""
    random = Random(seed)
    quota = Quota(requests, tokens)
    arrivals: list[tuple[float, float]] = []
    open_ones = []
    now = 0.0
    for count, idle_s, burst in plan:
        now += idle_s
        for _ in range(count):
            cost = Cost(min(tokens, random.lognormvariate(4, 1.5)), burst)
            due = quota.ready_at(now, cost)
            while due > now:
                now = due
                due = quota.ready_at(now, cost)
            true = cost.input_tokens * random.uniform(0.3, 1.0)
            open_ones.append((quota.commit(now, cost), true))
            arrivals.append((now + random.choice([0.0, 0.249999, random.uniform(0, 0.249)]), true))
            if random.random() < 0.6:
                reservation, spent = open_ones.pop(random.randrange(len(open_ones)))
                quota.settle(reservation, spent)
    arrivals.sort()
    assert most_in_a_span([(time, 1.0) for time, _ in arrivals], 60.0) <= requests
    assert most_in_a_span(arrivals, 60.0) <= tokens + 1e-6
    for kind in SERVERS:
        for phase in (0.0, random.uniform(0, 60)):
            counter, meter = kind(requests, 60.0, phase), kind(tokens, 60.0, phase)
            assert all(counter.admits(time, 1.0) and meter.admits(time, cost) for time, cost in arrivals), kind.__name__


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Bucket, Fixed, Sliding])
@pytest.mark.parametrize("rate", [10, 60, 1000])
def test_twenty_minutes_use_the_whole_quota(kind: type[Bucket], rate: int) -> None:
    """A full queue uses at least 99 % of the quota in twenty minutes, without one refusal."""
    random = Random(rate)
    limit = RateLimit(REQUESTS, rate)
    limit.restart(0.0)
    times = sends(limit, min(rate, 300) * 20)
    server = kind(rate, 60.0, 17.3)
    assert all(server.admits(time, 1.0) for time in sorted(time + random.uniform(0, 0.25) for time in times))
    assert len(times) >= 0.99 * rate * times[-1] / 60
