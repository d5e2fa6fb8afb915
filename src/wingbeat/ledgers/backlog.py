"""How many requests wait inside a service, told from how long they wait for their first token."""

from __future__ import annotations

from math import sqrt

from wingbeat.ledgers.reading import LEAST_ANSWERS, Reading

BASE_READINGS = 5
"""Readings from which the wait without a queue is learnt; they end at some 15 in flight."""

DEEPEST_CUT = 0.5
"""A service that has just lost capacity looks worse than it is, since what it had begun before is late as well."""


class Backlog:
    """
    What is known of a service's own queue.

    A request waits a little on an idle service too: for the network, and while its prompt is read. That much is learnt
    first; what comes on top of it is a queue, and by Little's law its part of the latency is the part of the requests
    in flight that wait there.
    """

    __slots__ = ("_error_s", "_first_latencies", "_readings", "base_s")

    def __init__(self) -> None:
        self.base_s: float | None = None
        self._error_s = 0.0
        self._readings = 0
        self._first_latencies: list[float] = []

    def __repr__(self) -> str:
        return f"<Backlog above {self.base_s} s>"

    @property
    def wants_latencies(self) -> bool:
        """True while the latencies of the very first answers are to be told."""
        return len(self._first_latencies) < LEAST_ANSWERS

    def begin(self, latency_s: float) -> None:
        """Take the latency of one of the very first answers."""
        self._first_latencies.append(latency_s)

    def learn_base(self, reading: Reading) -> None:
        """Learn from the first readings how long a request waits on a service that has no queue."""
        wait = reading.wait_s()
        self._readings += 1
        if wait is None or self._readings > BASE_READINGS:
            return
        wait_s, certainty = wait[0], 1.0 / max(wait[1], 1e-3) ** 2
        if self.base_s is not None:
            known = 1.0 / self._error_s**2
            wait_s = (wait_s * certainty + self.base_s * known) / (certainty + known)
            certainty += known
        # A service of few slots has a queue from the start, but its first answers have not waited. The third is
        # taken, since the very shortest may come from a cache.
        self.base_s = max(0.0, min(wait_s, sorted(self._first_latencies)[2]))
        self._error_s = certainty**-0.5

    def correct_base(self, wait: tuple[float, float]) -> None:
        """Take a wait, with its standard error, that turned out to be the service's own."""
        self.base_s, self._error_s = max(0.0, wait[0]), max(wait[1], 1e-3)

    def share(self, reading: Reading, usual: float | None, least: float) -> float:
        """
        Return the part of the requests that wait in the service's queue; 0 when it is not surely above a part.

        Args:
            reading: What the answers say.
            usual: Usual length of an answer, since a young reading holds the short ones only; or None.
            least: The part.
        """
        wait = reading.wait_s()
        if wait is None or self.base_s is None:
            return 0.0
        latency_s, _error = reading.latency_s(usual or reading.length)
        longer_s = wait[0] - self.base_s
        surely_s = longer_s - 2.0 * sqrt(wait[1] ** 2 + self._error_s**2)
        if surely_s < least * latency_s or surely_s < 0.5 * self.base_s:
            return 0.0
        return min(DEEPEST_CUT, longer_s / latency_s)
