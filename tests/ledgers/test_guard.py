"""All that limits one resource."""

from __future__ import annotations

import pytest

from wingbeat.ledgers.guard import Debit, Guard, hinted_window_s, likeliest
from wingbeat.model.limit import REQUESTS, TOKENS, LimitHint


def nothing(guard: Guard) -> Debit:
    """Return the debit of a request that was sent before anything was known."""
    return Debit(guard, 1.0, None, None, None)


@pytest.mark.parametrize(
    ("limit", "remaining", "reset_s", "window_s"),
    [
        # Recorded headers of OpenAI, 2023 to 2025.
        (3000, 2999, 0.020, 60.0),
        (60_000, 55_904, 4.096, 60.0),
        (200_000, 199_938, 0.018, 60.0),
        (10_000, 9_999, 8.64, 86_400.0),
        # Nothing used, or less than the unit of time shows.
        (10_000, 10_000, 0.0, None),
        (250_000, 249_989, 0.002, None),
        # No window that anybody has.
        (100, 50, 100.0, None),
    ],
)
def test_the_window_follows_from_how_a_remainder_fills_up(
    limit: float, remaining: float, reset_s: float, window_s: float | None
) -> None:
    """What is missing of a limit, and the time until it is back, give the window."""
    assert hinted_window_s(LimitHint(REQUESTS, limit, remaining, reset_s)) == window_s


def test_a_limit_in_a_header_is_kept_to() -> None:
    """From the first reply that tells a limit, requests are paced by it."""
    guard = Guard(REQUESTS)
    guard.hinted(LimitHint(REQUESTS, 60, 59, 1.0), nothing(guard), 0.0)
    guard.commit(10.0, 1.0, burst=False)
    assert guard.known is not None
    guard.known.restart(10.0)
    guard.commit(10.0, 1.0, burst=False)
    assert guard.ready_at(10.0, 1.0) > 10.5


def test_a_header_that_tells_a_new_limit_is_believed() -> None:
    """A limit that the service raises or lowers is taken at once."""
    guard = Guard(REQUESTS)
    for limit in (1000, 500, 2000):
        guard.hinted(LimitHint(REQUESTS, limit, limit - 1, 60 / limit), nothing(guard), 0.0)
        assert guard.per_window == limit


def test_the_users_limit_is_a_ceiling() -> None:
    """A header never raises what the user has set, but may lower it."""
    guard = Guard(REQUESTS, 100)
    guard.hinted(LimitHint(REQUESTS, 1000, 999, 0.06), nothing(guard), 0.0)
    assert guard.per_window == 100
    guard.hinted(LimitHint(REQUESTS, 50, 49, 1.2), nothing(guard), 0.0)
    assert guard.per_window == 50


def test_a_limit_of_the_day_sets_no_pace() -> None:
    """OpenAI's first tiers tell requests a day in the header that others use for the minute."""
    guard = Guard(REQUESTS)
    for used in (1, 2, 3):
        guard.hinted(LimitHint(REQUESTS, 10_000, 10_000 - used, 8.64 * used), nothing(guard), 0.0)
    assert guard.is_open


def test_a_fixed_window_is_not_taken_for_a_shorter_one() -> None:
    """The time to the end of a fixed window says nothing of its length: replies that disagree mean a minute."""
    guard = Guard(REQUESTS)
    for used, left_s in ((80, 10.0), (81, 9.0), (85, 5.0)):
        guard.hinted(LimitHint(REQUESTS, 100, 100 - used, left_s), nothing(guard), 0.0)
    assert guard.known is not None
    assert (guard.known.limit, guard.known.window_s) == (100, 60.0)


def test_a_limit_of_the_second_needs_replies_that_agree() -> None:
    """Three replies that speak of the same short window are believed."""
    guard = Guard(REQUESTS)
    for used in (10, 25, 40):
        guard.hinted(LimitHint(REQUESTS, 100, 100 - used, used / 100), nothing(guard), 0.0)
    assert guard.known is not None
    assert guard.known.window_s == 1.0


def test_a_header_never_lifts_the_users_limit_by_its_window() -> None:
    """Sixty in ten seconds are more than a hundred a minute, which the user has set."""
    guard = Guard(REQUESTS, 100)
    for used in (10, 20, 30):
        guard.hinted(LimitHint(REQUESTS, 60, 60 - used, used / 6 + 0.001), nothing(guard), 0.0)
    assert guard.known is not None
    assert guard.known.limit / guard.known.window_s <= 100 / 60


def test_what_settles_late_does_not_touch_a_new_account() -> None:
    """A request that was counted under another limit is settled without effect on the one that has taken its place."""
    guard = Guard(TOKENS, 60_000)
    debit = guard.commit(0.0, 5_000.0, burst=True)
    for used in (100, 200, 300):
        guard.hinted(LimitHint(TOKENS, 500, 500 - used, used / 500), debit, 0.0)
    assert guard.known is not None
    assert guard.known.window_s == 1.0
    guard.settle(debit, 0.0, 1.0)
    assert guard.known.used >= 0.0


def test_somebody_else_is_seen_in_the_remainder() -> None:
    """Units that others have used are waited for, as the service would refuse."""
    guard = Guard(TOKENS)
    guard.hinted(LimitHint(TOKENS, 60_000, 59_000, 1.0), nothing(guard), 0.0)
    debit = guard.commit(100.0, 1000.0, burst=True)
    guard.hinted(LimitHint(TOKENS, 60_000, 1_000, 59.0), debit, 100.0)
    assert guard.ready_at(100.0, 11_000.0) == pytest.approx(110.0, abs=0.5)


def test_a_stated_limit_is_told_as_such() -> None:
    """What the service said in a refusal is known by its word; what the user said is not learnt."""
    guard = Guard(REQUESTS)
    assert guard.stated(10.0)
    learnt = guard.learnt()
    assert learnt is not None
    assert (learnt.limit, learnt.origin) == (10.0, "told")
    assert Guard(REQUESTS, 10).learnt() is None


def test_many_refusals_of_a_known_limit_prove_it_wrong() -> None:
    """Five refusals in a minute that are more than three in a hundred are no accident."""
    guard = Guard(REQUESTS, 100)
    for step in range(100):
        guard.commit(step / 10, 1.0, burst=False)
    assert [guard.overrun(10.0 + step) for step in range(5)] == [False] * 4 + [True]


def test_the_same_volume_at_each_refusal_gives_the_limit_away() -> None:
    """Requests that vary a lot while their tokens are the same each time are limited by tokens."""
    assert likeliest([[50, 1000], [90, 1010], [20, 990]]) == 1
    assert likeliest([[60, 1000], [61, 3000], [60, 500]]) == 0
    assert likeliest([[50, 1000], [90, 1010]]) == 0


def test_rare_refusals_never_add_up_to_a_wrong_limit() -> None:
    """One refusal in seventy requests, hour after hour, leaves a known limit as it is."""
    guard = Guard(REQUESTS, 1000)
    proved_wrong = []
    for step in range(40_000):
        now = step * 0.06
        guard.commit(now, 1.0, burst=False)
        if step % 70 == 0:
            proved_wrong.append(guard.overrun(now))
    assert not any(proved_wrong)
