"""When the next request of a probe goes, in plain numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.ledgers.ramp import Go, Over, Part, Ramp, Settings, Trial, Wait


def send_until(ramp: Ramp, now: float, until: float) -> tuple[float, list[Trial]]:
    """Do as the ramp says, answer nothing, and return the time and what was sent."""
    sent = []
    while now < until:
        match ramp.next(now):
            case Go():
                sent.append(ramp.sent(now))
            case Wait(due):
                assert due > now
                now = min(due, until)
            case Over():
                break
    return now, sent


def answer(ramp: Ramp, trials: list[Trial], now: float) -> None:
    """Answer them all."""
    for trial in trials:
        ramp.passed(trial, now)


def test_the_ramp_begins_when_the_burst_is_answered():
    """Ten go at one moment; the eleventh waits for their answers, so that a refusal is the burst's own."""
    ramp = Ramp(Settings())
    now, burst = send_until(ramp, 0.0, 5.0)
    assert [(trial.sent_at, trial.part) for trial in burst] == [(0.0, Part.BURST)] * 10
    answer(ramp, burst, now)
    assert isinstance(ramp.next(now), Go)
    assert ramp.part is Part.RAMP


def test_a_burst_without_answers_is_not_waited_for_for_ever():
    """After thirty seconds the ramp begins all the same."""
    ramp = Ramp(Settings())
    _now, sent = send_until(ramp, 0.0, 40.0)
    assert sent[10].sent_at == pytest.approx(30.0)


def test_each_step_is_faster_by_the_factor():
    """A step sends at its pace for as long as it lasts."""
    ramp = Ramp(Settings(burst=0, start_per_minute=60.0, step=2.0, hold_s=10.0))
    _now, sent = send_until(ramp, 0.0, 30.0)
    for step, requests in enumerate((10, 20, 40)):
        assert sum(trial.step == step for trial in sent) == pytest.approx(requests, abs=1)


@given(
    st.builds(
        Settings,
        max_requests=st.integers(1, 300),
        burst=st.integers(0, 50),
        start_per_minute=st.floats(1.0, 6000.0),
        step=st.floats(1.01, 10.0),
        hold_s=st.floats(0.1, 60.0),
    )
)
def test_a_quarter_is_kept_back_whatever_the_settings(settings: Settings):
    """While nothing is refused no more than three quarters are sent, and then it waits for answers and is over."""
    ramp = Ramp(settings)
    now, sent = send_until(ramp, 0.0, 1e6)
    assert len(sent) <= max(settings.ramp_requests, 1)
    answer(ramp, [trial for trial in sent if trial.end is None], now)
    assert isinstance(ramp.next(now + 1.0), Over)


def test_a_late_refusal_opens_the_learning():
    """A refusal that comes when all was sent is learnt from, with what was kept back."""
    ramp = Ramp(Settings(max_requests=20, burst=0, start_per_minute=600.0))
    now, sent = send_until(ramp, 0.0, 5.0)
    assert len(sent) == 15
    assert isinstance(ramp.next(now), Wait)
    assert ramp.refused(sent[-1], now, told_s=10.0) == pytest.approx(10.0)
    assert ramp.part is Part.LEARN
    answer(ramp, sent[:-1], now)
    assert ramp.next(now) == Wait(now + 10.0)
    assert isinstance(ramp.next(now + 10.0), Go)


def test_learning_ends_in_time():
    """However long a service asks to wait, a probe is over when its time for learning is."""
    ramp = Ramp(Settings(burst=1, learn_for_s=30.0))
    trial = ramp.sent(0.0)
    ramp.refused(trial, 1.0, told_s=500.0)
    assert ramp.next(1.0) == Wait(31.0)
    assert isinstance(ramp.next(31.0), Over)
    assert ramp.cause == "time"
