"""What a scenario is: one server, what its client knows, and the bar it is held to; and makers of plain servers."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec
from benchmarks.quota.delays import REFUSAL_S, Profile, reply_s
from benchmarks.quota.meters import Bucket, FixedWindow, SlidingCounter, SlidingLog, constant
from benchmarks.quota.servers import RateServer, Says, Server
from benchmarks.quota.wire import Asks, Weather, plain

MakeServer = Callable[[Random], RateServer]


class Knows(msgspec.Struct, frozen=True):
    """The limits that a client is told, in units a minute; None for one it is not told."""

    requests: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None


NOTHING = Knows()


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a run must show; None where nothing is asked.

    Args:
        used: Least part of what the server would have admitted.
        refused: Most part of the requests that may be refused.
        reached_95_s: Latest end of the first minute at 95 % of the limit.
        recovered_s: Most seconds until back in band, for each change of the limit.
        refused_after_change: Most part refused in the five minutes after a change.
        wasted: Most requests lost to a brown-out, as a part of normal traffic.
        first_second: Most sent in the first second after a pause, as a part of the limit.
    """

    used: float | None = None
    refused: float | None = None
    reached_95_s: float | None = None
    recovered_s: tuple[float, ...] = ()
    refused_after_change: float | None = None
    wasted: float | None = None
    first_second: float | None = None


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """
    One server, one client, one bar.

    Args:
        row: The row of the bench that it belongs to.
        name: Its name, unique.
        server: Makes the server from a seed.
        knows: What the client is told.
        bar: What it must show.
        minutes: Length of the run.
        measured_from_min: When measuring begins.
        network: Delay profile.
        concurrency: Most requests in flight; as many lanes.
        finds_concurrency: Whether a client that knows no limit finds out how many may be in flight, as by default.
        asks: What the records ask for.
        answers_s: Draws the time of an answer.
        refusal_s: The time of a refusal; None when it takes as long as an answer.
        changes_s: When the limit changes.
        weather: How requests fail before they are judged.
        brown_out_s: When the weather is bad.
        pause_at_s: When the server refuses everything for a moment.
        may_exceed: Whether more than the limit in some minute is no violation: the limit is of another kind.
    """

    row: str
    name: str
    server: MakeServer
    knows: Knows = NOTHING
    bar: Bar
    minutes: float = 30.0
    measured_from_min: float = 2.0
    network: Profile = "wan"
    concurrency: int = 2000
    finds_concurrency: bool = True
    asks: Asks = Asks(plain)
    answers_s: Callable[[Random], float] = reply_s
    refusal_s: float | None = REFUSAL_S
    changes_s: tuple[float, ...] = ()
    weather: Weather | None = None
    brown_out_s: tuple[float, float] | None = None
    pause_at_s: float | None = None
    may_exceed: bool = False

    @property
    def counts_requests(self) -> bool:
        """True when the measured units are requests, not tokens."""
        return self.knows.input_tokens is None and self.knows.output_tokens is None

    def shortened(self, minutes: float) -> Scenario:
        """Return the scenario with a shorter run, where nothing is to happen or to be measured later."""
        least = max([self.measured_from_min, *(changed_s / 60.0 for changed_s in self.changes_s)]) + 5.0
        return msgspec.structs.replace(self, minutes=min(self.minutes, max(minutes, least)))


UNTOLD: Says = "nothing"
TOLD: Says = "seconds"


def bucket(limit: float, window_s: float = 60.0, says: Says = UNTOLD) -> MakeServer:
    """Make a server with a bucket that holds so many seconds' worth."""
    return lambda _random: Server(Bucket(constant(limit), window_s), says=says)


def fixed(limit: float, window_s: float = 60.0, says: Says = UNTOLD, *, whole: bool = False) -> MakeServer:
    """Make a server with fixed windows of a random phase."""
    return lambda random: Server(
        FixedWindow(constant(limit), window_s, random.uniform(0.0, window_s), whole=whole), says=says
    )


def sliding(limit: float, window_s: float = 60.0, says: Says = UNTOLD) -> MakeServer:
    """Make a server with a sliding log."""
    return lambda _random: Server(SlidingLog(constant(limit), window_s), says=says)


def counter(limit: float, says: Says = UNTOLD) -> MakeServer:
    """Make a server with a sliding counter of a random phase."""
    return lambda random: Server(SlidingCounter(constant(limit), phase_s=random.uniform(0.0, 60.0)), says=says)
