"""What the service let through, by time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wingbeat.ledgers.history import GRAIN_S, KEPT_S, History


def test_units_are_counted_between_two_times() -> None:
    """The start of a span is left out, its end is counted."""
    history = History()
    for time in (0.0, 1.0, 2.0, 3.0):
        history.add(time, 10.0)
    assert history.between(0.0, 2.0) == 20.0


def test_a_refused_request_is_taken_out() -> None:
    """What was refused counts no more, wherever in the history it lies."""
    history = History()
    for time in (0.0, 1.0, 2.0):
        history.add(time, 10.0)
    history.remove(1.0, 10.0)
    assert history.between(-1.0, 5.0) == 20.0
    assert history.between(0.5, 1.5) == 0.0


def test_old_units_are_forgotten() -> None:
    """Memory does not grow with the length of a run."""
    history = History()
    for step in range(5000):
        history.add(step * 1.0, 1.0)
    assert len(list(history)) <= KEPT_S + 2


def test_requests_of_one_moment_share_an_entry() -> None:
    """Memory does not grow with the rate either."""
    history = History()
    for step in range(10_000):
        history.add(step * 1e-4, 1.0)
    assert len(list(history)) <= 1.0 / GRAIN_S + 2
    assert history.between(-1.0, 2.0) == 10_000


@given(st.lists(st.tuples(st.floats(0.06, 5.0), st.integers(1, 9)), min_size=1, max_size=40), st.data())
def test_the_count_is_that_of_a_plain_list(steps: list[tuple[float, int]], data: st.DataObject) -> None:
    """Requests further apart than the grain are counted exactly, in any span."""
    history, plain, now = History(), [], 0.0
    for pause, units in steps:
        now += pause
        history.add(now, units)
        plain.append((now, units))
    start = data.draw(st.floats(0.0, now))
    end = data.draw(st.floats(start, now))
    assert history.between(start, end) == sum(units for time, units in plain if start < time <= end)
