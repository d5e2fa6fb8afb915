"""Several rate limits as one: a request is admitted by all of them at the same moment, or by none."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from wingbeat.ledgers.rate import TOKEN_EAGERNESS, RateLimit
from wingbeat.ledgers.window import Entry

REQUESTS = "requests"
INPUT_TOKENS = "input_tokens"

SMALL_JOB_WINDOWS = 3
"""A job of at most so many windows' quota starts with half a window's at once: half a minute saved of three. In a
longer one that is not worth the risk that the service enforces its limit over a shorter window."""

BURST_MEMORY_S = 2.0
"""A refusal this soon after a burst is laid to the burst; those of requests already under way are not counted."""

REPEATED_WITHIN_S = 60.0

FIRST_UNTOLD_WAIT_S = 2.0
LONGEST_UNTOLD_WAIT_S = 60.0
"""Pauses after refusals that say no wait: doubled from the first to the longest."""


class Cost(msgspec.Struct, frozen=True, gc=False):
    """What a request is expected to take: always one request, and its estimated input tokens."""

    input_tokens: float
    burst: bool = False


class Reservation:
    """Units set aside for one request; settle it once the true ones are known."""

    __slots__ = ("cost", "entries")

    def __init__(self, cost: Cost, entries: list[tuple[RateLimit, Entry]]) -> None:
        self.cost = cost
        self.entries = entries


class Quota:
    """
    Admit requests so that no limit of the route is passed; all or nothing, so nothing is held while waiting.

    Args:
        requests_per_minute: Most requests a minute, or None for no limit.
        input_tokens_per_minute: Most input tokens a minute, or None for no limit.
        requests_per_day: Most requests until the day's quota resets, or None for no limit.
        window_s: Seconds of the service's window; a minute everywhere so far.
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        input_tokens_per_minute: float | None = None,
        requests_per_day: float | None = None,
        *,
        window_s: float = 60.0,
    ) -> None:
        self.requests = None if requests_per_minute is None else RateLimit(REQUESTS, requests_per_minute, window_s)
        self.input_tokens = None if input_tokens_per_minute is None else _token_limit(input_tokens_per_minute, window_s)
        self.limits: tuple[RateLimit, ...] = tuple(x for x in (self.requests, self.input_tokens) if x is not None)
        self.requests_per_day = requests_per_day
        self.requests_today = 0.0
        self.paused_until = float("-inf")
        self.unexplained_refusals = 0
        self.refusing_since: float | None = None
        self._refused_at: deque[float] = deque(maxlen=3)
        self._deaf_until = float("-inf")
        self._untold_s = FIRST_UNTOLD_WAIT_S
        self._untold_until = float("-inf")
        self._burst_at = float("-inf")

    def __repr__(self) -> str:
        return f"<Quota {', '.join(map(repr, self.limits)) or 'unlimited'}>"

    def share(self, cost: Cost) -> float:
        """Return a request's dominant share: the largest part of any limit's window that it takes; 1 without limits."""
        shares = [(1.0 if limit.name == REQUESTS else cost.input_tokens) / limit.limit for limit in self.limits]
        return max(shares, default=1.0)

    def never_fits(self, input_tokens: float) -> str | None:
        """Return why a request can never be admitted, or None when it can."""
        if self.input_tokens is not None and input_tokens > self.input_tokens.limit:
            return (
                f"about {input_tokens:,.0f} input tokens are more than the whole quota of "
                f"{self.input_tokens.limit:,.0f} a minute"
            )
        return None

    @property
    def day_is_spent(self) -> bool:
        """True when the requests of the day are used up."""
        return self.requests_per_day is not None and self.requests_today >= self.requests_per_day

    def is_small(self, requests: float, input_tokens: float) -> bool:
        """True when a job takes three windows' quota or less, so that starting with half a window's is worth it."""
        wanted = {REQUESTS: requests, INPUT_TOKENS: input_tokens}
        return all(wanted[limit.name] <= SMALL_JOB_WINDOWS * limit.limit for limit in self.limits)

    def restart(self, now: float) -> None:
        """Start a long job evenly: forget the pace that was saved up."""
        for limit in self.limits:
            limit.restart(now)

    def ready_at(self, now: float, cost: Cost) -> float:
        """Return when a request may go: ``now``, or later."""
        due = max(now, self.paused_until)
        if self.requests is not None:
            due = max(due, self.requests.ready_at(now, 1.0))
        if self.input_tokens is not None:
            due = max(due, self.input_tokens.ready_at(now, cost.input_tokens))
        return due

    def commit(self, now: float, cost: Cost) -> Reservation:
        """Set the units of one request aside in every limit; call it at the moment of sending."""
        self.requests_today += 1
        entries: list[tuple[RateLimit, Entry]] = []
        if self.requests is not None:
            entries.append((self.requests, self.requests.commit(now, 1.0, burst=cost.burst)))
        if self.input_tokens is not None:
            entry = self.input_tokens.commit(now, cost.input_tokens, burst=cost.burst)
            entries.append((self.input_tokens, entry))
        if cost.burst:
            self._burst_at = now
        return Reservation(cost, entries)

    def recall(self, then: float, requests: float, input_tokens: float) -> None:
        """Count what another process has sent at an earlier time; call it oldest first, before anything is admitted."""
        for limit, units in ((self.requests, requests), (self.input_tokens, input_tokens)):
            if limit is not None and units:
                limit.recall(then, units)

    def settle(self, reservation: Reservation, input_tokens: float) -> None:
        """Replace the estimated input tokens of an answered request by the true ones."""
        difference = input_tokens - reservation.cost.input_tokens
        if difference:
            for limit, entry in reservation.entries:
                if limit.name == INPUT_TOKENS:
                    limit.settle(entry, difference)

    def accepted(self) -> None:
        """Take any sign that the service lets requests through."""
        self.refusing_since = None
        self._untold_s = FIRST_UNTOLD_WAIT_S

    def refused(self, now: float, told_s: float | None, resources: Sequence[str]) -> float:
        """
        Take a refusal of the per-minute quota: pause as long as told, and grow stricter if it was not explained.

        A refusal while our own account shows a tenth of the window unused means that the service enforces the
        limit over a shorter span. One such refusal of a burst, or three within a minute, take the next pace.

        Args:
            now: When the refusal arrived.
            told_s: Seconds that the service asked to wait, or None when it said nothing: then two seconds,
                doubled at each refusal up to a minute.
            resources: The limits that the service named; empty when it named none.

        Returns:
            Seconds for which nothing will go.
        """
        if self.refusing_since is None:
            self.refusing_since = now
        if told_s is None:
            wait_s = self._untold_s
            if now >= self._untold_until:
                self._untold_s = min(LONGEST_UNTOLD_WAIT_S, self._untold_s * 2)
                self._untold_until = now + wait_s
        else:
            wait_s = told_s
        named = [limit for limit in self.limits if limit.name in resources]
        for limit in named or self.limits:
            limit.pause(now + wait_s)
        if not named:
            self.paused_until = max(self.paused_until, now + wait_s)
        self._tighten_if_unexplained(now, wait_s, named or self.limits)
        return wait_s

    def _tighten_if_unexplained(self, now: float, wait_s: float, limits: Sequence[RateLimit]) -> None:
        suspects = [limit for limit in limits if limit.has_headroom(now)]
        if not suspects:
            return
        self.unexplained_refusals += 1
        if now < self._deaf_until:
            return
        self._refused_at.append(now)
        after_burst = now - self._burst_at <= BURST_MEMORY_S
        repeated = len(self._refused_at) == 3 and now - self._refused_at[0] <= REPEATED_WITHIN_S
        if after_burst or repeated:
            self._deaf_until = now + wait_s + BURST_MEMORY_S
            self._refused_at.clear()
            for limit in suspects:
                limit.tighten()

    def stated(self, resource: str, limit: float) -> RateLimit | None:
        """Take a per-minute limit that the service stated in a refusal; return ours if that changed anything."""
        ours = self.requests if resource == REQUESTS else self.input_tokens
        if limit <= 0 or (ours is not None and ours.limit <= limit):
            return None
        if ours is not None:
            ours.resize(limit)
            return ours
        if resource == REQUESTS:
            ours = self.requests = RateLimit(resource, limit)
        else:
            ours = self.input_tokens = _token_limit(limit)
        self.limits = (*self.limits, ours)
        return ours


def _token_limit(limit: float, window_s: float = 60.0) -> RateLimit:
    return RateLimit(INPUT_TOKENS, limit, window_s, eagerness=TOKEN_EAGERNESS)
