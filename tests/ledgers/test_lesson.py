"""What a refusal teaches."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.ledgers.lesson import Climb, Episode, Keep, Measure, Phase, first_lesson, lesson

CRUISING = Episode(
    phase=Phase.CRUISE,
    pace=10.0,
    base=10.0,
    blocked_s=0.3,
    volume=600.0,
    window_volume=600.0,
    since_last=None,
    since_last_s=1e9,
    last_volume=None,
    phase_units=100.0,
    refused_units=1.0,
    refusals=1,
    request_units=1.0,
    window_s=60.0,
)


def learn(is_windowed: bool = False, last_rate: float = 0.0, **circumstances: object) -> object:
    """Draw the lesson of an episode that differs from the plain one in some circumstances."""
    return lesson(msgspec.structs.replace(CRUISING, **circumstances), last_rate, is_windowed=is_windowed)


def test_an_accident_costs_a_little() -> None:
    """A lone refusal long after the last one is laid to the network: a thousandth less."""
    assert learn() == Keep(9.99)


def test_a_long_block_shows_the_volume_of_a_window() -> None:
    """What was let through before the service blocked is the window's limit, and a little less is used."""
    assert learn(blocked_s=8.0, volume=590.0, window_volume=590.0) == Keep(pytest.approx(0.98 * 590 / 60), 590.0)


def test_a_block_of_a_quarter_window_starts_a_climb() -> None:
    """Blocked for very long, the limit has changed: what is allowed now is sought from below."""
    assert learn(blocked_s=30.0, window_volume=300.0) == Climb(pytest.approx(4.9), 300.0)


def test_a_climb_goes_on_while_windows_show_more() -> None:
    """A block at a tenth more than the last one shows means that the limit is not yet found."""
    assert isinstance(learn(phase=Phase.CLIMB, blocked_s=5.0, last_rate=5.0), Climb)
    assert isinstance(learn(phase=Phase.CLIMB, blocked_s=5.0, last_rate=9.5), Keep)


def test_a_bucket_shows_its_refill_between_two_refusals() -> None:
    """Ninety let through in nine seconds since the last refusal: the bucket gives ten a second."""
    found = learn(pace=10.05, since_last=90.0, since_last_s=9.0, last_volume=500.0)
    assert found == Keep(pytest.approx(0.98 * 10.0))


def test_a_short_measure_is_trusted_in_part() -> None:
    """Between two refusals within five seconds the pause weighs on the measure: an eighth less at most."""
    found = learn(since_last=9.0, since_last_s=2.0, last_volume=500.0)
    assert found == Keep(pytest.approx(8.8))


def test_a_large_request_that_is_refused_says_little() -> None:
    """Of tokens enforced over short spans a long prompt is refused at any rate: next to nothing is given up."""
    found = learn(refused_units=5.0, since_last=9.0, since_last_s=2.0, last_volume=500.0)
    assert found == Keep(pytest.approx(9.99))


def test_a_window_is_stepped_down_by_what_was_refused() -> None:
    """Of a windowed limit twice the refused part is given up."""
    found = learn(is_windowed=True, since_last=100.0, since_last_s=10.0, last_volume=500.0)
    assert found == Keep(pytest.approx(9.8))


def test_two_refusals_at_one_volume_show_a_limit() -> None:
    """The same volume twice is no chance, however short the block."""
    found = learn(is_windowed=True, pace=11.0, since_last=700.0, since_last_s=65.0, last_volume=601.0)
    assert found == Keep(pytest.approx(9.8), 600.0)


def test_a_failed_probe_changes_nothing() -> None:
    """What was kept to before a probe stands when it fails."""
    found = learn(phase=Phase.PROBE, pace=10.5, base=10.0, volume=610.0)
    assert found == Keep(10.0)


def test_a_failed_probe_keeps_what_its_window_has_shown() -> None:
    """A probe that failed late has shown more to be possible than was kept to."""
    found = learn(phase=Phase.PROBE, pace=15.0, base=10.0, volume=720.0)
    assert found == Keep(pytest.approx(0.98 * 12.0))


def test_a_probe_that_went_well_for_long_is_kept() -> None:
    """One refusal in five hundred requests of a probe costs less than going back would."""
    found = learn(phase=Phase.PROBE, pace=10.5, base=10.0, volume=610.0, phase_units=500.0)
    assert found == Keep(pytest.approx(10.5 * (1 - 2 / 500)))


def test_doubling_ends_between_two_stages() -> None:
    """A refused stage of doubling is followed by a climb from below it."""
    found = learn(phase=Phase.MEASURE, pace=40.0, since_last=100.0, since_last_s=8.0)
    assert found == Climb(pytest.approx(0.45 * 40.0))


def test_doubling_that_fails_at_once_starts_lower() -> None:
    """Refused before a few requests went, doubling starts again from less."""
    assert learn(phase=Phase.MEASURE, pace=4.0, since_last=2.0, since_last_s=1.0) == Measure(pytest.approx(2.8))


def test_the_first_refusal_of_a_full_bucket_gives_its_limit() -> None:
    """Twelve hundred let through in twelve seconds by a bucket of a thousand a minute."""
    first = msgspec.structs.replace(CRUISING, phase=Phase.FREE, pace=0.0, volume=1200.0)
    assert first_lesson(first, 12.0, burst=50.0) == Measure(pytest.approx(1000 / 60))


def test_the_first_refusal_of_a_window_gives_its_volume() -> None:
    """A first refusal that lasts shows a window, and a climb checks it."""
    first = msgspec.structs.replace(CRUISING, phase=Phase.FREE, pace=0.0, blocked_s=35.0, window_volume=100.0)
    assert first_lesson(first, 20.0, burst=5.0) == Climb(pytest.approx(0.98 * 100 / 60), 100.0)


positive = st.floats(0.01, 1e6)


@given(
    st.sampled_from([Phase.MEASURE, Phase.CLIMB, Phase.CRUISE, Phase.PROBE]),
    positive,
    st.floats(0.0, 100.0),
    st.floats(0.0, 1e7),
    st.floats(0.0, 1e7),
    st.none() | st.floats(0.0, 1e7),
    st.floats(0.0, 240.0),
    st.none() | st.floats(0.0, 1e7),
    st.integers(1, 1000),
    st.floats(0.1, 1e4),
    st.booleans(),
)
def test_a_refusal_never_teaches_to_send_more(
    phase: Phase,
    pace: float,
    blocked_s: float,
    volume: float,
    window_volume: float,
    since_last: float | None,
    since_last_s: float,
    last_volume: float | None,
    refusals: int,
    request_units: float,
    is_windowed: bool,
) -> None:
    """Whatever the circumstances, what is kept to after a refusal is below what was refused, and is above zero."""
    episode = Episode(
        phase=phase,
        pace=pace,
        base=pace / 1.05 if phase is Phase.PROBE else pace,
        blocked_s=blocked_s,
        volume=volume,
        window_volume=window_volume,
        since_last=since_last,
        since_last_s=since_last_s,
        last_volume=last_volume,
        phase_units=volume,
        refused_units=request_units,
        refusals=refusals,
        request_units=request_units,
        window_s=60.0,
    )
    found = lesson(episode, 0.0, is_windowed=is_windowed)
    assert found.rate >= 0.0
    if isinstance(found, Keep):
        assert found.rate <= pace
