"""When a late request is worth a second one, and what pays for it. It must not know what a request is."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

from wingbeat.ledgers.watch import Watch

COST_SHARE = 0.05
"""Part of what answers cost that second requests may cost. Source: Dean and Barroso, "The Tail at Scale", CACM 2013:
hedging what is slower than 95 % costs about so much; it is the most, not the aim."""

LATE_QUANTILE = 0.98
"""A first token later than so many of the recent ones is late: about 2 % of requests are."""

ENOUGH_ANSWERS = 100
"""Answers before which nothing is late: the 98th percentile of fewer is one or two answers."""

REMEMBERED_ANSWERS = 500
"""Recent answers that the percentile is taken over, exactly: ten of them are later."""

SHORTEST_STALL_S = 3.0
STALL_GAPS = 20.0
"""An answer that has begun has stalled after so many usual gaps between its parts, and three seconds at least."""


class Hedging:
    """
    Tell which requests are late, and pay for their hedges from a twentieth of what answers cost.

    A request is late when its first token is later than 98 in 100 of the recent ones, or when its tokens stop. What
    hedges cost in all stays within the share at every moment, as long as each costs no more than was set aside for
    it: there is no start reserve, and none is needed, since nothing is late before the hundredth answer.

    Args:
        cost_share: Part of the cost of answers that hedges may cost.
    """

    __slots__ = ("_cost_share", "_first_tokens", "_gaps", "_reserved", "answers_cost", "hedges_cost")

    def __init__(self, cost_share: float = COST_SHARE) -> None:
        self._cost_share = cost_share
        self._first_tokens = _Recent(REMEMBERED_ANSWERS)
        self._gaps = _Recent(REMEMBERED_ANSWERS)
        self._reserved = 0.0
        self.answers_cost = 0.0
        self.hedges_cost = 0.0

    def __repr__(self) -> str:
        late_s = self.late_first_token_s
        late = "nothing late yet" if late_s is None else f"late after {late_s:.2f} s"
        return f"<Hedging {late}, {self.available:.4g} to spend>"

    @property
    def available(self) -> float:
        """What a hedge may cost now, in the unit that answers are told in."""
        return self.answers_cost * self._cost_share - self.hedges_cost - self._reserved

    @property
    def late_first_token_s(self) -> float | None:
        """Seconds after which a first token is late, or None while too few answers are known."""
        return self._first_tokens.quantile(LATE_QUANTILE) if self._first_tokens.count >= ENOUGH_ANSWERS else None

    @property
    def stall_s(self) -> float:
        """Seconds without a token after which an answer that has begun has stalled."""
        gap_s = self._gaps.quantile(0.5) if self._gaps.count else 0.0
        return max(SHORTEST_STALL_S, STALL_GAPS * gap_s)

    def late_at(self, watch: Watch) -> float:
        """Return when a request is late unless a part of its answer comes first; infinity while nothing is."""
        late_s = self.late_first_token_s
        if late_s is None:
            return float("inf")
        if watch.last_at is None:
            return watch.sent_at + late_s
        return watch.last_at + self.stall_s

    def observe(self, watch: Watch, now: float) -> None:
        """
        Learn from a first request: answered, or given up for its hedge's answer.

        One that was given up before its first token took at least until now; left out, the late ones would be
        missing from what tells late.
        """
        first_s = watch.first_token_s
        self._first_tokens.add(now - watch.sent_at if first_s is None else first_s)
        if watch.gap_s is not None:
            self._gaps.add(watch.gap_s)

    def answered(self, cost: float) -> None:
        """Count what an answer cost, that of its hedge left out: a share of it may be spent on hedges."""
        self.answers_cost += cost

    def reserve(self, cost: float) -> bool:
        """Set the most that a hedge may cost aside; False, and nothing set aside, when the share does not cover it."""
        if not 0 < cost <= self.available:
            return False
        self._reserved += cost
        return True

    def settle(self, reserved: float, cost: float) -> None:
        """Turn what was set aside into what the hedge cost; 0 for one that was not sent, or was no extra."""
        self._reserved = max(0.0, self._reserved - reserved)
        self.hedges_cost += cost


class _Recent:
    """The last values, and exact quantiles over them."""

    __slots__ = ("_last", "_most", "_ordered")

    def __init__(self, most: int) -> None:
        self._most = most
        self._last: deque[float] = deque()
        self._ordered: list[float] = []

    @property
    def count(self) -> int:
        """How many values are remembered."""
        return len(self._last)

    def add(self, value: float) -> None:
        """Take the next value, and forget the oldest when there are too many."""
        if len(self._last) == self._most:
            oldest = self._last.popleft()
            del self._ordered[bisect_left(self._ordered, oldest)]
        self._last.append(value)
        insort(self._ordered, value)

    def quantile(self, share: float) -> float:
        """Return the smallest value that at least ``share`` of all are not above."""
        place = -int(-share * len(self._ordered) // 1)
        return self._ordered[min(max(place, 1), len(self._ordered)) - 1]
