"""Several limits as one, and what refusals teach."""

from __future__ import annotations

import pytest

from wingbeat.ledgers.quota import INPUT_TOKENS, REQUESTS, Cost, Quota

ONE = Cost(10.0)
BURST = Cost(10.0, burst=True)


def drive(quota: Quota, count: int, now: float, cost: Cost = ONE) -> list[float]:
    """Send as fast as is allowed."""
    times = []
    for _ in range(count):
        now = quota.ready_at(now, cost)
        quota.commit(now, cost)
        times.append(now)
    return times


def rungs(quota: Quota) -> list[bool]:
    """Return which limits have become strict."""
    return [limit.is_strict for limit in quota.limits]


def test_no_limits_admit_at_once() -> None:
    """Without known limits everything goes now."""
    assert drive(Quota(), 1000, 3.0) == [3.0] * 1000


def test_both_limits_hold() -> None:
    """The limit that is nearer decides: six requests use the tokens up, the seventh waits for the next window."""
    quota = Quota(60, 600)
    quota.restart(0.0)
    times = drive(quota, 7, 0.0, Cost(100.0))
    assert times[5] < 51
    assert times[6] == pytest.approx(60.25)


def test_what_never_fits_is_told() -> None:
    """A request above the whole token quota is named as such; one that just fits is not."""
    quota = Quota(10, 1000)
    assert "1,001 input tokens" in (quota.never_fits(1001) or "")
    assert quota.never_fits(1000) is None
    assert Quota(10).never_fits(1e12) is None


@pytest.mark.parametrize(
    ("requests", "tokens", "small"), [(30, 100, True), (31, 100, False), (5, 3001, False), (30, 3000, True)]
)
def test_a_job_is_small_up_to_three_windows(requests: int, tokens: float, small: bool) -> None:
    """A job is small when neither its requests nor its tokens take more than three windows' quota."""
    assert Quota(10, 1000).is_small(requests, tokens) is small


def test_a_single_request_is_small_at_any_limit() -> None:
    """One request is a small job even at one request a minute."""
    assert Quota(1).is_small(1, 0)


def test_nothing_goes_before_the_told_wait_is_over() -> None:
    """A refusal with a wait holds everything until then, and even replies that gave tokens back."""
    quota = Quota(60, 10_000)
    reservations = [quota.commit(0.0, Cost(1000.0, burst=True)) for _ in range(5)]
    assert quota.refused(1.0, 40.0, [INPUT_TOKENS]) == 40.0
    for reservation in reservations:
        quota.settle(reservation, 1)
    assert quota.ready_at(2.0, ONE) == 41.0


def test_after_the_told_wait_requests_go_evenly() -> None:
    """The first request after a pause is followed by others at the limit's pace."""
    quota = Quota(60)
    quota.refused(0.0, 10.0, [])
    times = drive(quota, 4, 0.0)
    assert times == pytest.approx([10.0 + step * 60.25 / 60 for step in range(4)])


def test_untold_waits_double_to_a_minute() -> None:
    """Refusals that say no wait pause for a quarter of a second, doubled up to sixty, once for each pause."""
    quota = Quota(60)
    now, waits = 0.0, []
    for _ in range(11):
        waits.append(quota.refused(now, None, []))
        now += waits[-1]
    assert waits == [0.25, 0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_refusals_of_one_moment_do_not_double_the_wait() -> None:
    """Many requests refused together are one refusal as far as the pause goes."""
    quota = Quota(60)
    for step in range(50):
        quota.refused(step / 1000, None, [])
    assert quota.ready_at(0.1, ONE) <= 0.1 + 4.0


def test_an_answer_ends_the_doubling() -> None:
    """After an answer the next untold wait is short again."""
    quota = Quota(60)
    for now in (0.0, 10.0, 30.0):
        quota.refused(now, None, [])
    quota.accepted()
    assert quota.refused(100.0, None, []) == 0.25
    assert quota.refusing_since == 100.0


def test_one_refusal_of_a_burst_tightens() -> None:
    """A refusal right after a burst, with most of the window unused, takes the next pace."""
    quota = Quota(60)
    quota.commit(0.0, BURST)
    quota.refused(0.5, 1.0, [REQUESTS])
    assert rungs(quota) == [True]


def test_one_unexplained_refusal_without_a_burst_changes_nothing() -> None:
    """A single refusal of an even stream does not make the limit strict, nor do two."""
    quota = Quota(60)
    quota.commit(0.0, ONE)
    quota.refused(0.5, 1.0, [REQUESTS])
    quota.commit(5.0, ONE)
    quota.refused(5.5, 1.0, [REQUESTS])
    assert rungs(quota) == [False]


def test_three_unexplained_refusals_within_a_minute_tighten() -> None:
    """The third refusal in a minute that our own account can't explain takes the next pace."""
    quota = Quota(60)
    for now in (0.0, 20.0, 40.0):
        quota.commit(now, ONE)
        quota.refused(now + 0.1, 1.0, [REQUESTS])
    assert rungs(quota) == [True]


def test_three_refusals_spread_over_more_than_a_minute_change_nothing() -> None:
    """Rare refusals are borne."""
    quota = Quota(60)
    for now in (0.0, 40.0, 80.0, 120.0):
        quota.commit(now, ONE)
        quota.refused(now + 0.1, 1.0, [REQUESTS])
    assert rungs(quota) == [False]


def test_explained_refusals_change_nothing() -> None:
    """Refusals while our own account is nearly full are no reason to grow stricter."""
    quota = Quota(10)
    for _ in range(10):
        quota.commit(0.0, BURST)
    for step in range(10):
        quota.refused(0.1 + step, 1.0, [REQUESTS])
    assert rungs(quota) == [False]
    assert quota.unexplained_refusals == 0


def test_refusals_under_way_do_not_tighten_twice() -> None:
    """Refusals of requests sent before the stricter pace are not laid to it."""
    quota = Quota(600)
    for _ in range(50):
        quota.commit(0.0, BURST)
    times = drive(quota, 3, 0.0)
    for step in range(40):
        quota.refused(0.1 + step / 100, 1.0, [REQUESTS])
    other = Quota(600)
    other.commit(0.0, BURST)
    other.refused(0.1, 1.0, [REQUESTS])
    start = 1000.0
    for each in (quota, other):
        each.restart(start)
    assert drive(quota, 5, start) == pytest.approx(drive(other, 5, start))
    assert times


def test_a_limit_learnt_from_refusals_is_not_blamed_for_them() -> None:
    """Requests sent before the service stated its limit do not make that limit strict."""
    quota = Quota()
    for _ in range(60):
        quota.commit(0.0, ONE)
    for _ in range(50):
        quota.stated(REQUESTS, 10.0)
        quota.refused(0.3, 42.0, [REQUESTS])
    assert rungs(quota) == [False]
    assert drive(quota, 2, 1.0)[1] == pytest.approx(42.3 + 6.025)


@pytest.mark.parametrize(
    ("known", "stated", "changed", "after"),
    [(None, 10.0, True, 10.0), (60, 10.0, True, 10.0), (10, 60.0, False, 10.0), (10, 10.0, False, 10.0)],
)
def test_only_a_smaller_stated_limit_is_taken(known: float | None, stated: float, changed: bool, after: float) -> None:
    """A limit that the service states replaces an unknown or a larger one."""
    quota = Quota(known)
    assert (quota.stated(REQUESTS, stated) is not None) is changed
    assert quota.requests is not None
    assert quota.requests.limit == after
    assert len(quota.limits) == 1


def test_a_stated_limit_of_nothing_is_no_limit() -> None:
    """A stated limit of zero is not taken."""
    quota = Quota()
    assert quota.stated(REQUESTS, 0.0) is None
    assert quota.limits == ()


def test_the_day_is_spent_with_its_last_request() -> None:
    """The requests of the day are counted when they go."""
    quota = Quota(requests_per_day=2)
    quota.commit(0.0, ONE)
    assert not quota.day_is_spent
    quota.commit(0.0, ONE)
    assert quota.day_is_spent
