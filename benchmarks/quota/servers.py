"""
Services that refuse what is over their limits, in virtual time: who arrives when, and what is answered.

They share nothing with the client's ledgers. A server is one or more meters (all of them or none count a request), what
it says when it refuses, and what its headers tell; wrappers add other users of the same limit.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Literal, NamedTuple, Protocol

from benchmarks.quota.meters import Bucket, Limit, Meter

from wingbeat.model.limit import LimitHint


class Verdict(NamedTuple):
    """What a server says to one request on its arrival."""

    accepted: bool
    retry_after_s: float | None = None
    hints: tuple[LimitHint, ...] = ()


class RateServer(Protocol):
    """Refuses what is over its limit; arrivals come in order of time."""

    def arrive(self, now: float, cost: float) -> Verdict:
        """Judge a request of ``cost`` units that arrives at ``now``."""
        ...

    def limit_at(self, now: float) -> float:
        """Return the true units a minute that a lone client could sustain."""
        ...


class RateServerWithEnds(RateServer, Protocol):
    """A server that also counts while, or after, it answers."""

    def answering(self, now: float, cost: float, units: float, ends_at: float) -> None:
        """Take note of an accepted request: ``cost`` as it arrived, ``units`` it will take until ``ends_at``."""
        ...


ACCEPTED = Verdict(True)
REFUSED = Verdict(False)

Says = Literal["nothing", "seconds", "whole seconds"]
"""What a refusal says of the wait: no word, the true seconds, or these rounded up to whole ones."""


class Server:
    """
    Accept a request when all meters have room for it, and count it in all of them, or in none.

    Args:
        meters: The limits; the first is the one that `limit_at` states.
        says: What refusals say of the wait.
        resource: What the headers name the first limit; None for a server without headers.
        clock_offset_s: Seconds by which the reset that the headers tell is wrong: the clocks of both sides differ.
    """

    def __init__(
        self,
        *meters: Meter,
        says: Says = "nothing",
        resource: str | None = None,
        clock_offset_s: float = 0.0,
    ) -> None:
        self._meters: Sequence[Meter] = meters
        self._says = says
        self._resource = resource
        self._clock_offset_s = clock_offset_s

    def arrive(self, now: float, cost: float) -> Verdict:
        """Judge a request."""
        wait_s = 0.0
        for meter in self._meters:
            wait_s = max(wait_s, meter.wait_s(now, cost))
        if wait_s == 0.0:
            for meter in self._meters:
                meter.take(now, cost)
            return ACCEPTED if self._resource is None else Verdict(True, None, self._hints(now))
        told_s = None
        if self._says != "nothing" and math.isfinite(wait_s):
            told_s = wait_s if self._says == "seconds" else float(math.ceil(wait_s))
        return Verdict(False, told_s, self._hints(now))

    def _hints(self, now: float) -> tuple[LimitHint, ...]:
        if self._resource is None:
            return ()
        meter = self._meters[0]
        remaining = float(math.floor(meter.remaining(now)))
        reset_s = max(0.0, round(meter.reset_s(now) + self._clock_offset_s, 3))
        return (LimitHint(self._resource, meter.limit_at(now), remaining, reset_s),)

    def limit_at(self, now: float) -> float:
        """Return the limit of the first meter."""
        return self._meters[0].limit_at(now)


class OutsideUser:
    """
    Share a server with somebody who asks at random moments and does not wait for anybody.

    Args:
        server: The server of both.
        takes: Requests a minute of the other user, as they change over time.
        random: Source of the moments.
    """

    def __init__(self, server: RateServer, takes: Limit, random: Random) -> None:
        self._server = server
        self._takes = takes
        self._random = random
        self._next_at = 0.0

    def arrive(self, now: float, cost: float) -> Verdict:
        """Let the other user's requests arrive up to now, then judge ours."""
        while self._next_at <= now:
            per_s = self._takes(self._next_at) / 60.0
            if per_s > 0:
                self._server.arrive(self._next_at, 1.0)
            self._next_at += self._random.expovariate(per_s) if per_s > 0 else 1.0
        return self._server.arrive(now, cost)

    def limit_at(self, now: float) -> float:
        """Return what the other user leaves."""
        return self._server.limit_at(now) - self._takes(now)


class Shut:
    """
    Refuse everything for a while, telling a fixed wait; otherwise as the server.

    Args:
        server: The server at other times.
        begins: When it shuts.
        ends: When it opens.
        told_s: What its refusals say of the wait.
    """

    def __init__(self, server: RateServer, begins: float, ends: float, told_s: float) -> None:
        self._server = server
        self._begins = begins
        self._ends = ends
        self._refusal = Verdict(False, told_s)

    def arrive(self, now: float, cost: float) -> Verdict:
        """Judge a request."""
        return self._refusal if self._begins <= now < self._ends else self._server.arrive(now, cost)

    def limit_at(self, now: float) -> float:
        """Return the server's limit."""
        return self._server.limit_at(now)


class HoldsMost:
    """
    Hold the most output tokens that a request may take from its arrival, and give back what it did not (as Azure does).

    Args:
        limit: Tokens a minute.
        most: Tokens that are held for a request of ``cost`` tokens.
        says: What refusals say of the wait.
    """

    def __init__(self, limit: Limit, most: Callable[[float], float], *, says: Says = "nothing") -> None:
        self._bucket = Bucket(limit)
        self._server = Server(self._bucket, says=says)
        self._most = most
        self._held: list[tuple[float, float]] = []

    def arrive(self, now: float, cost: float) -> Verdict:
        """Judge a request by the most that it may take."""
        while self._held and self._held[0][0] <= now:
            ends_at, spare = heapq.heappop(self._held)
            self._bucket.take(ends_at, -spare)
        return self._server.arrive(now, self._most(cost))

    def answering(self, now: float, cost: float, units: float, ends_at: float) -> None:
        """Give the rest back at the end of the answer."""
        del now
        heapq.heappush(self._held, (ends_at, self._most(cost) - units))

    def limit_at(self, now: float) -> float:
        """Return the tokens of a minute."""
        return self._bucket.limit_at(now)


class CountsAsProduced:
    """
    Count output tokens while they are produced, and refuse new requests while nothing is left (as Anthropic does).

    Args:
        limit: Output tokens a minute; the bucket holds a minute's worth and may be overdrawn by answers under way.
        says: What refusals say of the wait.
    """

    def __init__(self, limit: Limit, *, says: Says = "nothing") -> None:
        self._limit = limit
        self._says = says
        self._level = limit(0.0)
        self._at = 0.0
        self._per_s = 0.0
        self._ends: list[tuple[float, float]] = []

    def _advance(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            ends_at, per_s = heapq.heappop(self._ends)
            self._flow(ends_at)
            self._per_s -= per_s
        self._flow(now)

    def _flow(self, now: float) -> None:
        limit = self._limit(now)
        self._level = min(limit, self._level + (now - self._at) * (limit / 60.0 - self._per_s))
        self._at = now

    def arrive(self, now: float, cost: float) -> Verdict:
        """Accept while anything is left."""
        del cost
        self._advance(now)
        if self._level > 0.0:
            return ACCEPTED
        wait_s = (1.0 - self._level) * 60.0 / self._limit(now)
        if self._says == "nothing":
            return REFUSED
        return Verdict(False, wait_s if self._says == "seconds" else float(math.ceil(wait_s)))

    def answering(self, now: float, cost: float, units: float, ends_at: float) -> None:
        """Produce the answer evenly until its end."""
        del cost
        self._advance(now)
        per_s = units / max(1e-3, ends_at - now)
        self._per_s += per_s
        heapq.heappush(self._ends, (ends_at, per_s))

    def limit_at(self, now: float) -> float:
        """Return the tokens of a minute."""
        return self._limit(now)
