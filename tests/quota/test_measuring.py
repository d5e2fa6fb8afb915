"""What the bench measures: from logs made by hand, and from short runs that repeat."""

from __future__ import annotations

import asyncio
from random import Random

import msgspec
import pytest
from benchmarks.quota.delays import Delays, Profile, StallingLoop, network_s
from benchmarks.quota.measuring import Storm, Trace, first_second, measure, reached_s, recovery, used, violations
from benchmarks.quota.meters import SlidingLog, constant
from benchmarks.quota.scenario import Bar, Knows, Scenario, bucket, fixed
from benchmarks.quota.servers import Server
from benchmarks.quota.table import missed_bars
from benchmarks.quota.wire import Ask, Log, Wire

from wingbeat.model.answer import Completion, Failure, FailureKind
from wingbeat.testing import run_virtual

KNOWN = Scenario(row="t", name="test", server=bucket(600), knows=Knows(600), bar=Bar(), minutes=4.0)


def log_of(*times: float) -> Log:
    """Return a log of accepted requests."""
    log = Log()
    for at in times:
        log.note(at, 1.0, Log.ACCEPTED)
    return log


def test_an_arrival_above_the_limit_of_any_minute_is_a_violation() -> None:
    """Arrivals are counted that bring the last minute above the limit, and none that keep it."""
    assert violations(log_of(0.0, 1.0, 60.0, 61.0), 2) == 0
    assert violations(log_of(0.0, 1.0, 59.0, 60.5), 2) == 2


def test_used_is_of_what_the_server_admits() -> None:
    """What is used is counted from the measured minute on, against the limit as it changes."""
    trace = Trace([0.0] * 120 + [10.0] * 60 + [5.0] * 60, [0.0] * 240, [600.0] * 180 + [300.0] * 60)
    assert used(trace, KNOWN) == 1.0


def test_a_limit_is_reached_at_the_end_of_the_first_full_minute() -> None:
    """The first minute at 95 % of the limit ends when a limit counts as reached."""
    assert reached_s(Trace([0.0] * 30 + [10.0] * 90, [0.0] * 120, [600.0] * 120), 0.95) == 87.0
    assert reached_s(Trace([9.0] * 120, [0.0] * 120, [600.0] * 120), 0.95) is None


def test_a_client_is_back_when_neither_too_much_nor_too_little_goes() -> None:
    """Refusals beyond the band keep a client out of it although the server admits just its limit."""
    limit = [600.0] * 100 + [300.0] * 200
    stormy = Trace([5.0] * 300, [5.0] * 150 + [0.0] * 150, limit)
    assert recovery(stormy, 100.0).seconds == 44.0
    assert recovery(stormy, 100.0).refused == pytest.approx(0.2)
    assert recovery(Trace([0.0] * 300, [0.0] * 300, limit), 100.0).seconds is None


def test_the_first_second_after_a_pause_follows_the_longest_gap() -> None:
    """What arrives in the second after the longest gap is measured, as a part of a second's limit."""
    scenario = msgspec.structs.replace(KNOWN, pause_at_s=10.0)
    log = log_of(*(10.0 + number / 10 for number in range(5)), *(40.0 + number / 11 for number in range(40)))
    assert first_second(log, scenario) == pytest.approx(1.1)


@pytest.mark.parametrize(("profile", "least", "most"), [("lan", 0.02, 0.025), ("wan", 0.08, 0.13), ("bad", 0.08, 0.25)])
def test_delays_keep_to_their_profile(profile: Profile, least: float, most: float) -> None:
    """Every delay lies within the bounds of its profile."""
    random = Random(1)
    assert all(least <= network_s(profile, random) <= most for _ in range(2000))


def test_a_stalled_loop_is_late_and_the_server_is_not() -> None:
    """While the client's loop is held up, what was under way arrives at its own time."""

    async def main() -> tuple[Log, float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StallingLoop)
        wire = Wire(Server(SlidingLog(constant(60))), Delays("lan", Random(1)), Random(1))
        loop.call_at(0.001, loop.stall, 0.5)
        late: list[float] = []
        loop.call_at(0.1, lambda: late.append(loop.time()))
        assert isinstance(await wire.call(Ask(1.0, 10, 10), 60.0), Completion)
        return wire.log, late[0]

    with asyncio.Runner(loop_factory=StallingLoop) as runner:
        log, late = runner.run(main())
    assert log.at[0] < 0.03
    assert late > 0.5


def test_a_refusal_comes_back_as_a_value_with_what_was_told() -> None:
    """A refused request fails with the wait that the server told, after the time that refusals take."""

    async def main() -> tuple[Completion | Failure, float]:
        server = Server(SlidingLog(constant(1)), says="seconds")
        wire = Wire(server, Delays("lan", Random(1)), Random(1))
        server.arrive(0.0, 1.0)
        return await wire.call(Ask(1.0, 10, 10), 60.0), asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=StallingLoop) as runner:
        result, ended_at = runner.run(main())
    assert isinstance(result, Failure)
    assert result.kind is FailureKind.RATE_LIMITED
    assert result.retry_after_s == pytest.approx(59.97, abs=0.02)
    assert 0.15 < ended_at < 0.2


@pytest.mark.slow
def test_the_same_seed_gives_the_same_measure() -> None:
    """Two runs of one seed agree second by second; another seed differs."""
    scenario = msgspec.structs.replace(KNOWN, server=fixed(600), minutes=3.0)
    first, again, other = (measure(scenario, seed) for seed in (1, 1, 2))
    assert first.trace == again.trace
    assert first.trace != other.trace


def test_a_storm_ends_the_run() -> None:
    """A run is drained once more was sent than is allowed, and not before."""

    class Draining:
        drained_at: float | None = None

        def drain(self) -> None:
            self.drained_at = asyncio.get_running_loop().time()

    async def main() -> tuple[bool, bool, float | None]:
        log, run = Log(), Draining()
        storm = Storm(log, 10.0, run)  # type: ignore[arg-type]
        log.note(0.0, 10.0, Log.REFUSED)
        await asyncio.sleep(4.5)
        before = storm.is_on
        log.note(4.5, 1.0, Log.REFUSED)
        await asyncio.sleep(1.0)
        return before, storm.is_on, run.drained_at

    assert run_virtual(main()) == (False, True, 5.0)


def test_bars_are_held_to_the_worst_run() -> None:
    """One run that falls short misses the bar for all."""
    scenario = msgspec.structs.replace(KNOWN, minutes=3.0, bar=Bar(used=0.9, refused=0.0))
    run = measure(scenario, 1)
    assert missed_bars(scenario.bar, [run]) == []
    assert missed_bars(scenario.bar, [run, run._replace(used=0.5, refused=0.01)]) == ["refused 0 %", "used 90.0 %"]
