"""How long things take between client and service: drawn once from a seed, then taken in turn, so that runs repeat."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import cycle
from random import Random
from typing import Literal

from wingbeat.testing import VirtualTimeLoop

Profile = Literal["lan", "wan", "bad"]

LAG_S = 0.004
"""An event loop sends so much later than it decided, at most."""

STALL_S = 0.5
STALLS_EVERY_S = 300.0
"""Now and then a process does nothing for a while: garbage, a page fault, another process."""

REFUSAL_S = 0.15
"""From arrival to a refusal; it takes no work."""

_DRAWS = 8191
_OTHER_DRAWS = 4093
"""Lengths of the tables; primes, so that their sums repeat only after 33 million draws."""


def network_s(profile: Profile, random: Random) -> float:
    """Draw one delay from sending to arrival."""
    if profile == "lan":
        return random.uniform(0.020, 0.025)
    if profile == "wan":
        return random.uniform(0.080, 0.130)
    return 0.080 + min(0.170, random.lognormvariate(-3.9, 1.0))


def reply_s(random: Random) -> float:
    """Draw one time from arrival to the whole answer: two seconds in the mean, sometimes ten."""
    return min(30.0, max(0.3, random.lognormvariate(0.58, 0.5)))


def drawn(draw: Callable[[Random], float], random: Random, number: int = _DRAWS) -> Iterator[float]:
    """Yield a table of draws, over and over."""
    return cycle([draw(random) for _ in range(number)])


class Delays:
    """
    The delays of one run.

    Args:
        profile: The network between client and service.
        random: Source of all draws.
        answers_s: Draws the time that an answer takes.
        refusal_s: The time that a refusal takes, or None when it takes as long as an answer.
    """

    def __init__(
        self,
        profile: Profile,
        random: Random,
        *,
        answers_s: Callable[[Random], float] = reply_s,
        refusal_s: float | None = REFUSAL_S,
    ) -> None:
        self._network = drawn(lambda source: network_s(profile, source), random)
        self._lag = drawn(lambda source: source.uniform(0.0, LAG_S), random, _OTHER_DRAWS)
        self._answers = drawn(answers_s, random)
        self._refusal_s = refusal_s

    def to_arrival_s(self) -> float:
        """Return the seconds from the decision to send until the request is counted."""
        return next(self._lag) + next(self._network)

    def to_answer_s(self) -> float:
        """Return the seconds from arrival to the answer."""
        return next(self._answers)

    def to_refusal_s(self) -> float:
        """Return the seconds from arrival to a refusal."""
        return next(self._answers) if self._refusal_s is None else self._refusal_s


class StallingLoop(VirtualTimeLoop):
    """A loop in virtual time that can be held up: nothing runs meanwhile, and all that was due is late."""

    def __init__(self) -> None:
        self._held_up_s = 0.0
        super().__init__()

    def time(self) -> float:
        """Return virtual seconds since the loop was made, stalls included."""
        return super().time() + self._held_up_s

    def stall(self, seconds: float) -> None:
        """Hold the loop up."""
        self._held_up_s += seconds


def stall_now_and_then(loop: asyncio.AbstractEventLoop, until: float, random: Random) -> None:
    """Hold the loop up once in every five minutes, at random moments."""
    assert isinstance(loop, StallingLoop)
    begins = 0.0
    while begins < until:
        loop.call_at(begins + random.uniform(0.0, STALLS_EVERY_S), loop.stall, STALL_S)
        begins += STALLS_EVERY_S
