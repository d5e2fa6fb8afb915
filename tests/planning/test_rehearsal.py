"""One virtual run against the model of a service."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.planning.jobs import setting, sizes_of

from wingbeat.errors import QuotaExhausted
from wingbeat.job.sizes import RowSize
from wingbeat.ledgers.concurrency import START
from wingbeat.model.limit import LearntLimit
from wingbeat.modelled import Replies
from wingbeat.rehearsal import MOST_MOMENTS, rehearse
from wingbeat.testing import run_virtual


def test_replies_come_when_they_are_due_whatever_the_order_of_asking():
    """Callers wake in the order of their due times, each at its own."""

    async def main() -> list[tuple[str, float]]:
        replies, woken = Replies(), []

        async def wait(name: str, seconds: float) -> None:
            await replies.after(seconds)
            woken.append((name, asyncio.get_running_loop().time()))

        await asyncio.gather(wait("late", 3.0), wait("early", 1.0), wait("middle", 2.0))
        return woken

    assert run_virtual(main()) == [("early", 1.0), ("middle", 2.0), ("late", 3.0)]


def test_a_cancelled_caller_does_not_hold_the_others_up():
    """Who has stopped waiting is passed over."""

    async def main() -> float:
        replies = Replies()
        gone, there = replies.after(1.0), replies.after(2.0)
        gone.cancel()
        await there
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(2.0)


def test_every_row_ends_and_none_is_refused():
    """The engine keeps within a quota that the service enforces as stated."""
    done = rehearse(setting(rpm=600, tpm=100_000), sizes_of(1_200).rows(1_200), seed=1)
    assert (done.statistics.answered, done.statistics.failed, done.statistics.refused) == (1_200, 0, 0)
    assert done.stopped is None


def test_the_same_seed_gives_the_same_run():
    """Another seed draws other latencies and lengths."""
    rows = sizes_of(200).rows(200)
    first, again, other = (rehearse(setting(concurrency=20), rows, seed=seed) for seed in (3, 3, 4))
    assert first.duration_s == again.duration_s
    assert first.moments == again.moments
    assert first.duration_s != other.duration_s


def test_answers_keep_to_the_limit_of_their_row():
    """No answer is longer than its row allows."""
    done = rehearse(setting(concurrency=50), [RowSize(10.0, 20)] * 100, seed=0)
    assert 1_000 < done.statistics.output_tokens <= 2_000


def test_output_lengths_have_the_mean_that_is_expected():
    """The log-normal draw is centred on the mean, not on the median."""
    done = rehearse(setting(concurrency=100, outputs=300.0), [RowSize(10.0)] * 3_000, seed=0)
    assert done.statistics.output_tokens / 3_000 == pytest.approx(300.0, rel=0.03)


def test_a_latency_of_the_simulator_is_taken():
    """What `--simulator` says of latency holds in the rehearsal too."""
    done = rehearse(
        setting(model="sim/gemini-2.5-flash", simulator="latency=2", concurrency=10), [RowSize(1.0)] * 30, seed=0
    )
    assert done.duration_s == pytest.approx(6.0)


def test_a_service_that_allows_less_refuses():
    """A quota of the simulator's own below the stated limits is met as refusals, and every row still ends."""
    given = setting(model="sim/gemini-2.5-flash", simulator="latency=0.1,rpm=60", rpm=600)
    done = rehearse(given, [RowSize(1.0)] * 200, seed=0)
    assert done.statistics.refused > 0
    assert done.statistics.answered == 200


def test_replies_that_take_too_long_fail():
    """An answer beyond `--timeout` is a failed attempt, as over the wire."""
    given = setting(model="sim/gemini-2.5-flash", simulator="latency=5", timeout_s=1.0, max_attempts=1)
    done = rehearse(given, [RowSize(1.0)] * 3, seed=0)
    assert (done.statistics.answered, done.statistics.failed) == (0, 3)


def test_a_service_that_ends_the_day_stops_the_run():
    """A day's quota of the simulator's own stops the rehearsal as it would stop the run."""
    given = setting(model="sim/gemini-2.5-flash", simulator="latency=0.1,rpd=20", concurrency=4)
    done = rehearse(given, [RowSize(1.0)] * 100, seed=0)
    assert isinstance(done.stopped, QuotaExhausted)
    assert done.statistics.answered == 20


def test_without_any_limit_only_what_a_run_starts_with_is_planned():
    """How far the concurrency would rise is not known, so it stays where a run starts; what was learnt is taken."""
    assert rehearse(setting(), [RowSize(1.0)] * 100, seed=0).statistics.peak_in_flight == START
    learnt = msgspec.structs.replace(setting(), start_in_flight=25)
    assert rehearse(learnt, [RowSize(1.0)] * 100, seed=0).statistics.peak_in_flight == 25


def test_a_learnt_limit_is_enforced_by_the_service():
    """What earlier runs have learnt is known of the service, although the user has not said it."""
    learnt = LearntLimit("requests", 90.0)
    with_learnt = msgspec.structs.replace(setting(concurrency=10), start=(learnt,))
    assert with_learnt.known.rpm == 90.0
    assert with_learnt.limits.rpm is None


@pytest.mark.parametrize(
    ("limits", "binding"),
    [
        ({"rpm": 60}, "requests"),
        ({"tpm": 6_000}, "tokens"),
        ({"otpm": 20_000}, "output"),
        ({"concurrency": 3}, "concurrency"),
    ],
)
def test_what_binds_is_seen(limits: dict[str, float], binding: str):
    """The limit that lanes wait for most of the time is the one that was set low."""
    done = rehearse(setting(**limits), [RowSize(100.0)] * 300, seed=0)
    bound = done.bound_s()
    assert bound[binding] > 0.9 * bound.total()
    assert bound.total() == pytest.approx(done.duration_s)


def test_nothing_binds_a_few_rows():
    """Rows that all go at once take as long as the slowest reply."""
    done = rehearse(setting(rpm=1_000), [RowSize(10.0)] * 20, seed=0)
    assert set(done.bound_s()) == {"replies"}


def test_hours_are_kept_in_few_moments():
    """A long run is looked at less often, so that what is kept of it stays small."""
    done = rehearse(setting(rpm=10), [RowSize(1.0)] * 300, seed=0)
    assert done.duration_s > 1_700
    assert MOST_MOMENTS <= len(done.moments) <= 2 * MOST_MOMENTS
    assert done.moments[-1].answered == 300


def test_hedging_is_rehearsed_too():
    """With `--hedge` answers come in parts, and every row still has one outcome."""
    done = rehearse(setting(concurrency=20, hedge=True), [RowSize(10.0)] * 300, seed=0)
    assert done.statistics.answered == 300
