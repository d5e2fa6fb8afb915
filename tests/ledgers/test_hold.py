"""The pause after a refusal."""

from __future__ import annotations

from wingbeat.ledgers.hold import Hold


def test_a_told_wait_is_kept() -> None:
    """Nothing goes before the wait that the service told is over."""
    hold = Hold(10.0, 9.9, 42.0, 0.1)
    assert hold.ready_at(11.0, 0.3) == 52.0
    assert hold.ready_at(60.0, 0.3) == 60.0


def test_refusals_under_way_extend_a_told_wait() -> None:
    """A later refusal of an earlier request may tell a longer wait, and never shortens it."""
    hold = Hold(10.0, 9.9, 5.0, 0.1)
    hold.refused(10.1, 9.95, 8.0)
    hold.refused(10.2, 9.96, 1.0)
    assert hold.until == 18.1


def test_the_first_refused_request_counts() -> None:
    """The pause is dated to the first request refused, whichever refusal comes first."""
    hold = Hold(10.0, 9.9, None, 0.1)
    hold.refused(10.1, 9.7, None)
    assert hold.refused_at == 9.7


def test_one_request_asks_at_a_time() -> None:
    """While a lone request is not judged no other may go."""
    hold = Hold(10.0, 9.9, None, 0.1)
    asked = hold.ready_at(10.0, 0.3)
    hold.ask(asked)
    assert hold.ready_at(asked, 0.3) > asked
    assert hold.passed_at(asked + 0.1, 0.3) is None


def test_silence_means_that_it_passed() -> None:
    """A lone request counts as let through once its refusal would have come, long before its answer."""
    hold = Hold(10.0, 9.9, None, 0.1)
    hold.ask(11.0)
    assert hold.passed_at(11.0 + 1.5 * 0.3 + 0.11, 0.3) == 11.0


def test_its_answer_means_that_it_passed() -> None:
    """The answer of the lone request ends the pause; that of an earlier request does not."""
    hold = Hold(10.0, 9.9, None, 0.1)
    hold.ask(11.0)
    assert hold.answered_at(9.0) is None
    assert hold.answered_at(11.0) == 11.0


def test_untold_waits_grow() -> None:
    """Each lone request that is refused makes the next wait longer, up to a dozen seconds."""
    hold, now, waits = Hold(0.0, -0.1, None, 0.1), 0.0, []
    for _ in range(8):
        waits.append(hold.until - now)
        now = hold.until
        hold.ask(now)
        hold.refused(now, now, None)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (1.0, 12.0)


def test_a_believed_wait_is_not_asked_about() -> None:
    """Where told waits have proved true, the pause simply ends."""
    hold = Hold(10.0, 9.9, 5.0, 0.1, is_believed=True)
    assert hold.passed_at(14.9, 0.3) is None
    assert hold.passed_at(15.1, 0.3) == 15.0


def test_a_slow_limit_is_asked_slowly() -> None:
    """At five requests a minute the first lone request waits for as long as one request takes, up to eight seconds."""
    assert Hold(0.0, -0.1, None, 5.0).until == 6.0
    assert Hold(0.0, -0.1, None, 60.0).until == 8.0


def test_the_end_lies_between_the_last_two_askings() -> None:
    """Without a told wait the service let requests through some time after the last lone request that it refused."""
    hold = Hold(0.0, -0.1, None, 0.1)
    hold.ask(1.0)
    hold.refused(1.2, 1.0, None)
    hold.ask(3.0)
    assert hold.ended_at(3.0) == 2.0
    assert Hold(0.0, -0.1, 5.0, 0.1).ended_at(5.0) == 5.0
