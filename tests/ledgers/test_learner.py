"""Find an unknown limit: against servers that know nothing of the ledgers."""

from __future__ import annotations

import heapq
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledgers.servers import Bucket, Fixed, Sliding

from wingbeat.ledgers.learner import LearningLimit
from wingbeat.ledgers.lesson import Phase
from wingbeat.model.limit import REQUESTS

DELAY_S = 0.1
REFUSED_AFTER_S = 0.15
ANSWERED_AFTER_S = 2.0


class Drive:
    """
    Send as fast as a limit allows, at most so many at once while it is free, and note what the server did.

    Args:
        server: What admits.
        tells: Seconds of wait told in a refusal, or None.
        seed: Seeds the delays.
    """

    def __init__(self, server: Bucket | Fixed | Sliding, *, tells: float | None = None, seed: int = 1) -> None:
        self.limit = LearningLimit(REQUESTS)
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.sent: list[float] = []
        self._server = server
        self._tells = tells
        self._random = Random(seed)
        self._in_flight = 0
        self._most = 10.0

    def run(self, until: float) -> Drive:
        """Send for so many seconds."""
        events: list[tuple[float, int, str, float, object]] = []
        now, count = 0.0, 0
        while now < until:
            due = max(now, self.limit.ready_at(now, 1.0)) if self._in_flight < self._most else float("inf")
            if events and events[0][0] <= due:
                now, _, kind, sent_at, entry = heapq.heappop(events)
                count += 1
                if kind == "arrival":
                    passed = self._server.admits(now, 1.0)
                    (self.accepted if passed else self.refused).append(now)
                    after_s = ANSWERED_AFTER_S * self._random.uniform(0.5, 1.5) if passed else REFUSED_AFTER_S
                    heapq.heappush(events, (now + after_s, count, "answer" if passed else "refusal", sent_at, entry))
                    continue
                self._in_flight -= 1
                if kind == "answer":
                    self.limit.accepted(sent_at)
                    self._most += 0.1
                else:
                    self.limit.refused(now, sent_at, self._tells, 1.0, entry)  # type: ignore[arg-type]
                continue
            now = due
            if self.limit.ready_at(now, 1.0) > now:
                continue
            count += 1
            entry = self.limit.commit(now, 1.0)
            self.sent.append(now)
            self._in_flight += 1
            delay_s = DELAY_S + self._random.uniform(0.0, 0.05)
            heapq.heappush(events, (now + delay_s, count, "arrival", now, entry))
        return self

    def used(self, per_minute: float, start: float, end: float) -> float:
        """Return the part of a limit that was used between two times."""
        return sum(start < time <= end for time in self.accepted) / (per_minute * (end - start) / 60)


def test_nothing_is_limited_before_the_first_refusal() -> None:
    """A limit that was never refused lets everything go, and knows nothing."""
    limit = LearningLimit(REQUESTS)
    for step in range(1000):
        now = step / 1000
        assert limit.ready_at(now, 1.0) == now
        limit.commit(now, 1.0)
    assert limit.is_free
    assert limit.learnt() is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Bucket, Fixed, Sliding])
@pytest.mark.parametrize("per_minute", [60, 300])
def test_an_unknown_limit_is_found_and_used(kind: type[Bucket], per_minute: int) -> None:
    """From the fifth minute on at least 95 % of a limit is used that nobody has told, with few refusals."""
    drive = Drive(kind(per_minute, 60.0, 17.0)).run(1200.0)
    assert drive.used(per_minute, 300.0, 1200.0) >= 0.95
    assert len(drive.refused) <= 0.02 * len(drive.sent)
    learnt = drive.limit.learnt()
    assert learnt is not None
    assert learnt.limit == pytest.approx(per_minute, rel=0.08)


def test_a_window_is_told_from_a_bucket() -> None:
    """A service that blocks for long is seen to count over windows, one that refills to be a bucket."""
    window = Drive(Sliding(100, 60.0, 0.0)).run(400.0).limit.learnt()
    bucket = Drive(Bucket(100, 60.0, 0.0)).run(400.0).limit.learnt()
    assert window is not None
    assert bucket is not None
    assert (window.enforcement, bucket.enforcement) == ("window", "bucket")


def test_refusals_of_one_moment_are_one_lesson() -> None:
    """Requests that were under way when the first refusal came are no further news."""
    limit = LearningLimit(REQUESTS)
    for _ in range(50):
        limit.commit(0.0, 1.0)
    waits = [limit.refused(0.3, 0.0, None, 1.0, None) for _ in range(40)]
    assert waits == [1.0] * 40
    assert limit.ready_at(0.3, 1.0) == 1.3


def test_a_limit_learnt_before_is_kept_to_from_the_start() -> None:
    """An adopted limit paces the first requests, and is probed a minute later."""
    limit = LearningLimit(REQUESTS)
    limit.adopt(60.0)
    now, times = 0.0, []
    for _ in range(40):
        now = limit.ready_at(now, 1.0)
        limit.commit(now, 1.0)
        times.append(now)
    assert times[-1] == pytest.approx(39 / 0.98, rel=0.02)
    assert limit.phase is Phase.CRUISE
    assert limit.ready_at(61.0, 1.0) == 61.0
    assert limit.phase is Phase.PROBE


def test_a_small_job_uses_what_was_saved_up() -> None:
    """Under a limit learnt before, half a window's requests of a small job go at once."""
    limit = LearningLimit(REQUESTS)
    limit.adopt(20.0, "window")
    for _ in range(10):
        assert limit.ready_at(3.0, 1.0) == 3.0
        limit.commit(3.0, 1.0, burst=True)


def test_a_small_job_starts_with_ten_where_bursts_may_be_refused() -> None:
    """Under a limit that was seen to be enforced over short spans, ten requests go at once and no more."""
    limit, now, times = LearningLimit(REQUESTS), 3.0, []
    limit.adopt(600.0, "rate")
    for _ in range(30):
        now = limit.ready_at(now, 1.0)
        limit.commit(now, 1.0, burst=True)
        times.append(now)
    assert 9 <= times.count(3.0) <= 11
    assert times[-1] > 4.5


def test_what_was_not_tried_proves_nothing() -> None:
    """A probe in which hardly anybody wanted to send does not raise the limit."""
    limit = LearningLimit(REQUESTS)
    limit.adopt(600.0)
    now = 0.0
    while now < 1000.0:
        now = limit.ready_at(now, 1.0)
        limit.commit(now, 1.0)
        now += 1.0
    learnt = limit.learnt()
    assert learnt is not None
    assert learnt.limit == pytest.approx(600.0)


def test_a_known_limit_ends_the_learning() -> None:
    """Forgetting sets a limit free again."""
    limit = LearningLimit(REQUESTS)
    limit.commit(0.0, 1.0)
    limit.refused(0.2, 0.0, 10.0, 1.0, None)
    limit.forget()
    assert limit.ready_at(0.3, 1.0) == 0.3


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["send", "refuse", "answer", "wait", "lose"]), st.floats(0.0, 20.0)), max_size=120
    )
)
def test_it_never_blocks_for_ever(steps: list[tuple[str, float]]) -> None:
    """Whatever is sent, refused, answered or lost without a word, a later request may always go within two minutes."""
    limit, now = LearningLimit(REQUESTS), 0.0
    under_way: list[float] = []
    for what, seconds in steps:
        if what == "wait":
            now += seconds
        elif what == "send":
            if limit.ready_at(now, 1.0) <= now:
                limit.commit(now, 1.0)
                under_way.append(now)
        elif under_way:
            sent_at = under_way.pop(0)
            if what == "refuse":
                limit.refused(now, sent_at, seconds if seconds > 10 else None, 1.0, None)
            elif what == "answer":
                limit.accepted(sent_at)
    end = now + 120.0
    while limit.ready_at(now, 1.0) > now:
        later = limit.ready_at(now, 1.0)
        assert later <= end
        now = later
