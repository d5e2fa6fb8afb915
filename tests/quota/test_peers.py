"""Other clients in virtual time: each runs with its own code, does what it is known for, and is skipped when absent."""

import statistics
from random import Random

import msgspec
import pytest
from benchmarks.quota import peers
from benchmarks.quota.measuring import Trace
from benchmarks.quota.peers import (
    PEERS,
    ConcurrencyRule,
    Learner,
    Limiter,
    NotPlayed,
    Played,
    backoff_s,
    is_comparable,
    play,
)
from benchmarks.quota.scenario import NOTHING, Bar, Knows, MakeServer, Scenario, bucket, sliding
from benchmarks.quota.wire import Ask, Asks
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.testing import run_virtual

LIMIT = 120.0

LIMITERS = [peer for peer in PEERS if isinstance(peer, Limiter)]
LEARNERS = [peer for peer in PEERS if isinstance(peer, Learner)]


def scenario(server: MakeServer, *, knows: Knows = NOTHING, asks: Asks | None = None) -> Scenario:
    """Make a scenario of four minutes; what is measured begins after the first."""
    made = Scenario(
        row="t",
        name="test",
        server=server,
        knows=knows,
        bar=Bar(),
        minutes=4.0,
        measured_from_min=1.0,
        concurrency=100,
    )
    return made if asks is None else msgspec.structs.replace(made, asks=asks)


def played(peer: Limiter | Learner, where: Scenario, seed: int = 1) -> Played:
    """Run a peer that is installed."""
    if peer.package is not None:
        pytest.importorskip(peer.package)
    result = play(peer, where, seed)
    assert isinstance(result, Played)
    return result


@pytest.mark.slow
@pytest.mark.parametrize("peer", LIMITERS, ids=lambda peer: peer.name)
def test_limiters_use_a_known_limit(peer: Limiter) -> None:
    """A limiter that is told the limit uses nearly all of a bucket that holds a minute's worth."""
    result = played(peer, scenario(bucket(LIMIT), knows=Knows(LIMIT)))
    assert result.used > 0.9
    assert result.reached_95_s is not None


@pytest.mark.parametrize("peer", LIMITERS, ids=lambda peer: peer.name)
def test_limiters_need_the_limit(peer: Limiter) -> None:
    """A limiter is not run where the limit is unknown, and it says why."""
    pytest.importorskip(peer.package)
    assert play(peer, scenario(bucket(LIMIT)), 1) == NotPlayed("n/a: needs the limit")


@pytest.mark.slow
@pytest.mark.parametrize("peer", LEARNERS, ids=lambda peer: peer.name)
def test_learners_find_a_limit_by_being_refused(peer: Learner) -> None:
    """A client that is told nothing comes to use a good part of the limit, at the price of refusals."""
    result = played(peer, scenario(bucket(LIMIT, 10.0)))
    assert result.used > 0.5
    assert result.refusals > 0
    assert result.refused == pytest.approx(result.refusals / (result.refusals + sum(result.trace.accepted)))


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_runs_repeat(peer: Limiter | Learner) -> None:
    """The same seed gives the same run, second by second."""
    where = scenario(sliding(LIMIT), knows=Knows(LIMIT) if isinstance(peer, Limiter) else NOTHING)
    assert played(peer, where).trace == played(peer, where).trace


@pytest.mark.slow
def test_a_full_bucket_lets_aiolimiter_burst() -> None:
    """aiolimiter sends a minute's worth at once, so that a bucket of one second refuses most of the first minute."""
    peer = next(peer for peer in LIMITERS if peer.name == "aiolimiter")
    trace: Trace = played(peer, scenario(bucket(LIMIT, 1.0), knows=Knows(LIMIT))).trace
    assert sum(trace.refused[:10]) > LIMIT / 4


@pytest.mark.slow
def test_a_sliding_log_admits_what_pyrate_limiter_sends() -> None:
    """pyrate-limiter keeps the very log that the server keeps, so only its network's jitter is refused."""
    peer = next(peer for peer in LIMITERS if peer.name == "pyrate-limiter")
    assert played(peer, scenario(sliding(LIMIT), knows=Knows(LIMIT))).refused < 0.1


def test_a_missing_peer_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer whose package is not installed is reported as such."""
    monkeypatch.setattr(peers, "find_spec", lambda _name: None)
    assert play(LIMITERS[0], scenario(bucket(LIMIT), knows=Knows(LIMIT)), 1) == NotPlayed("not installed")


def test_only_requests_are_compared() -> None:
    """Scenarios that count tokens, or whose requests differ in cost, are for no peer."""
    limiter, learner = LIMITERS[0], LEARNERS[0]
    assert is_comparable(scenario(bucket(LIMIT), knows=Knows(LIMIT)), limiter)
    assert is_comparable(scenario(bucket(LIMIT)), learner)
    assert not is_comparable(scenario(bucket(LIMIT), knows=Knows(LIMIT)), learner)
    assert not is_comparable(scenario(bucket(LIMIT), knows=Knows(LIMIT, 1e6)), limiter)
    assert not is_comparable(scenario(bucket(LIMIT), asks=Asks(lambda _random: Ask(2.0, 1, 1))), learner)


@given(told=st.floats(0.0, 1e4), refusals=st.integers(0, 10_000), seed=st.integers(0, 99))
def test_a_wait_that_is_told_is_kept(told: float, refusals: int, seed: int) -> None:
    """A refused request is sent again after what the refusal tells, however often it was refused."""
    assert backoff_s(told, refusals, Random(seed)) == told


@given(refusals=st.integers(0, 10_000), seed=st.integers(0, 99))
def test_backoff_doubles_up_to_a_minute(refusals: int, seed: int) -> None:
    """Untold waits are drawn below 1, 2, 4 … s, and never above a minute."""
    assert 0.0 <= backoff_s(None, refusals, Random(seed)) <= min(60.0, 2.0 ** min(refusals, 16))


def test_backoff_is_drawn_from_the_whole_range() -> None:
    """Full jitter: waits are spread evenly from nothing up to the bound."""
    random = Random(1)
    draws = [backoff_s(None, 3, random) for _ in range(2000)]
    assert statistics.fmean(draws) == pytest.approx(4.0, rel=0.05)
    assert min(draws) < 0.1 < 7.9 < max(draws)


async def _answered(rule: ConcurrencyRule, number: int) -> None:
    """Fill the places and answer so many of their requests."""
    while number > 0:
        batch = min(number, int(rule.limit))
        for _ in range(batch):
            await rule.admit(again=False)
        for _ in range(batch):
            rule.note(accepted=True)
        number -= batch


def test_clean_rounds_double_the_concurrency() -> None:
    """Before the first refusal every clean round doubles the places, up to the most."""

    async def main() -> list[float]:
        rule = ConcurrencyRule(lambda: 0.0, most=100)
        limits = []
        for _ in range(4):
            await _answered(rule, int(rule.limit))
            limits.append(rule.limit)
        return limits

    assert run_virtual(main()) == [40.0, 80.0, 100.0, 100.0]


def test_refusals_cut_the_concurrency_once_in_a_while() -> None:
    """Of refusals in a row only the first cuts, until 15 s have passed; afterwards growth is slow."""

    async def main() -> list[float]:
        now = 0.0
        rule = ConcurrencyRule(lambda: now, most=100)
        limits = []
        for now in (0.0, 14.0, 15.0):  # noqa: B007  the clock reads it
            await rule.admit(again=False)
            rule.note(accepted=False)
            await rule.admit(again=True)
            rule.note(accepted=True)
            limits.append(round(rule.limit, 6))
        await _answered(rule, 13)
        limits.append(round(rule.limit, 6))
        return limits

    assert run_virtual(main()) == [16.0, 16.0, 12.8, 13.8]
