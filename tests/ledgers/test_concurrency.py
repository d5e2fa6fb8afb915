"""How many requests may be in flight: a given number, one that is found, and what an overload makes of either."""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.ledgers.concurrency import Concurrency


class Slotted:
    """A service of so many slots, first come first served, and a client that always has more to send."""

    def __init__(
        self, slots: Concurrency, number: int, *, token_s: float = 0.02, first_s: float = 0.2, knows_tokens: bool = True
    ) -> None:
        self.slots = slots
        self.now = 0.0
        self.longer = 1.0
        self._first_s = first_s
        self._free = [0.0] * number
        self._token_s = token_s
        self._knows_tokens = knows_tokens
        self._random = Random(1)
        self._on_way: list[tuple[float, int, float, int]] = []
        self._sent = 0

    def resize(self, number: int) -> None:
        """Take slots away, or add some; what runs goes on."""
        self._free = sorted(self._free)[:number] + [self.now] * (number - len(self._free))
        heapify(self._free)

    def serve(self, until_s: float) -> Slotted:
        """Send and answer until then."""
        while self.now < until_s:
            while self.slots.is_free:
                self.slots.take()
                self._sent += 1
                tokens = max(1, int(self.longer * self._random.lognormvariate(5.2, 1.0)))
                began = max(self.now, self._free[0])
                ends = began + tokens * self._token_s * self._random.lognormvariate(0.0, 0.05) + self._first_s
                heapreplace(self._free, ends)
                heappush(self._on_way, (ends, self._sent, self.now, tokens))
            self.now, _number, sent_at, tokens = heappop(self._on_way)
            self.slots.answered(self.now, sent_at, 100, tokens if self._knows_tokens else 0)
            self.slots.give_back()
        return self


def in_use(slots: Concurrency) -> Concurrency:
    """Take every slot."""
    while slots.is_free:
        slots.take()
    return slots


def fail(slots: Concurrency, now: float, sent_at: float, times: int = 3) -> None:
    """Fail some requests by overload, and send others in their place."""
    for _ in range(times):
        slots.overloaded(now, sent_at)
        slots.give_back()
        if slots.is_free:
            slots.take()


def test_a_given_number_starts_at_once() -> None:
    """The user's word counts from the first request."""
    slots = in_use(Concurrency(64))
    assert (slots.limit, slots.in_flight, slots.peak, slots.state) == (64, 64, 64, "fixed")


def test_a_given_number_never_grows() -> None:
    """Answers do not raise what the user has set."""
    slots = Concurrency(8)
    assert Slotted(slots, 1000).serve(60.0).slots.limit == 8


@pytest.mark.parametrize("limit", [0, -1])
def test_less_than_one_is_refused(limit: int) -> None:
    """Nothing could ever be sent."""
    with pytest.raises(ValueError, match="at least 1"):
        Concurrency(limit)


def test_what_is_to_be_found_starts_at_ten() -> None:
    """The first ten requests go at once."""
    slots = in_use(Concurrency(2000, start=10))
    assert (slots.in_flight, slots.is_found, slots.state) == (10, True, "ramp")


def test_a_service_without_an_edge_is_ramped_to_the_ceiling() -> None:
    """Where more in flight always gives more, only the ceiling ends the growth."""
    slots = Concurrency(200, start=10)
    Slotted(slots, 10_000).serve(400.0)
    assert slots.peak == 200


def test_a_fast_service_reaches_hundreds_within_a_second() -> None:
    """At a millisecond an answer, the ramp takes a fraction of a second."""
    slots = Concurrency(400, start=10)
    Slotted(slots, 10_000, token_s=0.000_005, first_s=0.000_1).serve(0.9)
    assert slots.peak == 400


def test_growth_keeps_to_its_pace() -> None:
    """Within ten seconds of slow answers the limit does not double."""
    slots = Concurrency(2000, start=10)
    Slotted(slots, 10_000).serve(10.0)
    assert slots.limit < 20


@pytest.mark.slow
@pytest.mark.parametrize("number", [4, 40, 150])
def test_the_knee_is_found(number: int) -> None:
    """On a service of so many slots the limit settles near that number."""
    slots = Concurrency(2000, start=10)
    service = Slotted(slots, number)
    limits = [service.serve(600.0 + 20.0 * look).slots.limit for look in range(30)]
    assert 0.85 * number <= sorted(limits)[15] <= max(1.15 * number, number + 3)


@pytest.mark.slow
def test_the_knee_is_found_without_tokens() -> None:
    """Where lengths are unknown the requests per second have to do, and the limit keeps the service busy."""
    slots = Concurrency(2000, start=10)
    Slotted(slots, 40, knows_tokens=False).serve(900.0)
    assert 20 <= slots.limit <= 160


@pytest.mark.slow
def test_a_lost_half_is_followed() -> None:
    """When half the slots go, the limit falls to near the rest within a minute."""
    slots = Concurrency(2000, start=10)
    service = Slotted(slots, 150).serve(600.0)
    service.resize(75)
    assert service.serve(660.0).slots.limit <= 1.2 * 75


@pytest.mark.slow
def test_a_doubled_service_is_found() -> None:
    """When the slots double, the limit follows within some minutes."""
    slots = Concurrency(2000, start=10)
    service = Slotted(slots, 60).serve(400.0)
    service.resize(120)
    service.serve(1000.0)
    assert slots.limit >= 96


@pytest.mark.slow
def test_long_answers_are_no_pressure() -> None:
    """Answers ten times as long do not lower the limit: the service has slots enough."""
    slots = Concurrency(100, start=10)
    service = Slotted(slots, 10_000).serve(300.0)
    assert slots.limit >= 90
    service.longer = 10.0
    assert service.serve(2000.0).slots.limit >= 80


def test_what_is_not_used_does_not_grow() -> None:
    """Answers prove nothing while fewer requests are in flight than could be."""
    slots = Concurrency(2000, start=10)
    for number in range(1000):
        slots.take()
        slots.answered(number * 0.1, number * 0.1 - 1.0, 10, 100)
        slots.give_back()
    assert slots.limit == 10


def test_a_refusal_for_quota_ends_the_ramp() -> None:
    """From the first refusal on the limit is what was in use, and no more."""
    slots = Concurrency(2000, start=10)
    Slotted(slots, 10_000).serve(60.0)
    slots.in_flight = 30
    slots.quota_refused(60.0)
    assert (slots.limit, slots.quota_rules) == (30, True)


def test_after_a_refusal_it_grows_slowly_where_it_is_in_the_way() -> None:
    """A limit that blocks although a rate limit rules grows more slowly than it would by itself."""
    fast, slow = Concurrency(2000, start=10), Concurrency(2000, start=10)
    slow.quota_refused(0.0)
    Slotted(fast, 10_000).serve(60.0)
    Slotted(slow, 10_000).serve(60.0)
    assert 10 < slow.limit < fast.limit


def test_where_a_rate_limit_rules_it_never_falls() -> None:
    """The pace keeps what is in flight low; that goodput does not suffer is no reason for fewer."""
    slots = Concurrency(2000, start=10)
    slots.quota_refused(0.0)
    Slotted(slots, 10_000).serve(60.0)
    slots.in_flight = 0
    before = slots.limit
    for _ in range(2000):
        slots.take()
        slots.answered(100.0, 99.0, 10, 10)
        slots.give_back()
    assert slots.limit == before


def test_a_given_number_is_not_moved_by_refusals() -> None:
    """A rate limit is paced by the quota; the user's number stays."""
    slots = in_use(Concurrency(64))
    slots.quota_refused(1.0)
    assert slots.limit == 64


@pytest.mark.parametrize("start", [None, 10])
def test_an_overload_cuts_to_seven_tenths(start: int | None) -> None:
    """Three failures on end leave seven tenths of what was in flight."""
    slots = in_use(Concurrency(10, start=start))
    fail(slots, 1.0, 0.0)
    assert (slots.limit, slots.state) == (7, "regrowing")


def test_what_was_sent_before_a_cut_does_not_count_again() -> None:
    """All requests of one overload together cut once."""
    slots = in_use(Concurrency(100))
    fail(slots, 1.0, 0.0, times=80)
    assert slots.limit == 70


def test_a_cut_is_followed_by_another_only_later() -> None:
    """Requests sent after the cut that fail at once wait for the next epoch; then the limit is cut again."""
    slots = in_use(Concurrency(100))
    fail(slots, 1.0, 0.5, times=31)
    fail(slots, 1.2, 1.1)
    assert slots.limit == 70
    fail(slots, 2.5, 2.0, times=1)
    assert slots.limit == 49


def test_rare_failures_cut_nothing() -> None:
    """A service that fails one request in a hundred is not overloaded by us."""
    slots = in_use(Concurrency(50))
    for number in range(1, 2000):
        now = float(number)
        if number % 100:
            slots.answered(now, now - 0.5, 10, 10)
        else:
            slots.overloaded(now, now - 0.5)
    assert slots.limit == 50


@pytest.mark.parametrize("start", [None, 10])
def test_it_regrows_after_an_overload(start: int | None) -> None:
    """Once answers come again, the limit is soon back near where it was."""
    slots = Concurrency(40, start=start)
    Slotted(slots, 10_000).serve(200.0)
    before = slots.limit
    in_use(slots)
    for second in range(10):
        fail(slots, 200.0 + 20.0 * second, 199.0 + 20.0 * second)
    assert slots.limit <= before // 4
    slots.in_flight = 0
    service = Slotted(slots, 10_000)
    service.now = 400.0
    assert service.serve(440.0).slots.limit >= 0.85 * before


def test_its_state_can_be_read() -> None:
    """The representation says what is in flight, of how many, and what the limit is doing."""
    slots = Concurrency(2000, start=10)
    slots.take()
    assert repr(slots) == "<Concurrency 1/10, ramp>"
    assert repr(Concurrency(5)) == "<Concurrency 0/5>"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["answer", "answer", "answer", "fail", "refuse", "lose"]),
        st.floats(0.0, 5.0),
        st.floats(0.001, 400.0),
        st.integers(0, 5000),
    ),
    max_size=200,
)


@given(STEPS, st.integers(1, 300), st.one_of(st.none(), st.integers(1, 300)))
def test_the_limit_stays_in_its_bounds(
    steps: list[tuple[str, float, float, int]], ceiling: int, start: int | None
) -> None:
    """Whatever comes, the limit is at least one and at most the ceiling, and what is in flight is never negative."""
    slots, now = Concurrency(ceiling, start=start), 0.0
    for what, passed_s, latency_s, tokens in steps:
        now += passed_s
        in_use(slots)
        if what == "answer":
            slots.answered(now, now - latency_s, 0, tokens, latency_s / 2 if tokens % 2 else None)
        elif what == "fail":
            slots.overloaded(now, now - latency_s)
        elif what == "refuse":
            slots.quota_refused(now)
        slots.give_back()
        assert 1 <= slots.limit <= ceiling
        assert slots.in_flight >= 0


@given(st.lists(st.tuples(st.floats(0.0, 0.5), st.floats(0.0, 0.9)), min_size=1, max_size=100))
def test_one_cut_an_epoch(failures: list[tuple[float, float]]) -> None:
    """However many fail, no second is worth more than one cut."""
    slots, now, cuts = in_use(Concurrency(1000)), 0.0, []
    for passed_s, latency_s in failures:
        now += passed_s
        before = slots.limit
        slots.overloaded(now, now - latency_s)
        if slots.limit < before:
            cuts.append(now)
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(cuts))


@given(st.lists(st.tuples(st.floats(0.01, 20.0), st.integers(0, 3000)), max_size=300), st.integers(2, 100))
def test_an_unused_limit_never_grows(answers: list[tuple[float, int]], start: int) -> None:
    """One request at a time never raises a limit of two or more."""
    slots, now = Concurrency(2000, start=start), 0.0
    for latency_s, tokens in answers:
        slots.take()
        now += latency_s
        slots.answered(now, now - latency_s, 0, tokens)
        slots.give_back()
        assert slots.limit <= start
