"""Several limits as one: a request is admitted by all of them at the same moment, or by none."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from wingbeat.ledgers.guard import Debit, Guard, likeliest
from wingbeat.ledgers.rate import RateLimit
from wingbeat.ledgers.recent import RecentCount
from wingbeat.model.limit import INPUT_TOKENS, MINUTE_S, OUTPUT_TOKENS, REQUESTS, TOKENS, LearntLimit, LimitHint

SMALL_JOB_WINDOWS = 3
"""A job of at most so many windows' quota starts with half a window's at once: half a minute saved of three. In a
longer one that is not worth the risk that the service enforces its limit over a shorter window."""

BURST_MEMORY_S = 2.0
"""A refusal this soon after a burst is laid to the burst; those of requests already under way are not counted."""

REPEATED_WITHIN_S = 60.0

FIRST_UNTOLD_WAIT_S = 0.25
LONGEST_UNTOLD_WAIT_S = 60.0
"""Pauses after refusals of a known limit that say no wait: doubled from the first to the longest. A lone
refusal is mostly a matter of milliseconds: two seconds at each would cost more of the quota than the refusals."""

BORNE = (0.0, 0.0, 0.002, 0.006)
"""Refused part of a minute's requests that is borne at each pace before the next stricter one is taken. Leaving more of
the quota unused would cost more: a limit of 1,000 a minute that is enforced as 16 a second is best used at 15.8."""

__all__ = ["INPUT_TOKENS", "OUTPUT_TOKENS", "REQUESTS", "TOKENS", "Cost", "Quota", "Reservation"]


class Cost(msgspec.Struct, frozen=True, gc=False):
    """What a request is expected to take: always one request, and its estimated tokens."""

    input_tokens: float
    burst: bool = False
    output_tokens: float = 0.0

    def units(self, resource: str) -> float:
        """Return what it takes of a resource."""
        if resource == REQUESTS:
            return 1.0
        if resource == INPUT_TOKENS:
            return self.input_tokens
        return self.output_tokens if resource == OUTPUT_TOKENS else self.input_tokens + self.output_tokens


class Reservation:
    """Units set aside for one request that was sent ``at`` a time; settle it once the true ones are known."""

    __slots__ = ("at", "cost", "debits")

    def __init__(self, cost: Cost, at: float, debits: list[Debit]) -> None:
        self.cost = cost
        self.at = at
        self.debits = debits


class Quota:
    """
    Admit requests so that no limit of the route is passed; all or nothing, so nothing is held while waiting.

    Limits given here are ceilings. Whatever else the service enforces is learnt: from what it states in headers and
    refusals, and where it says nothing, from the refusals themselves.

    Args:
        requests_per_minute: Most requests a minute, or None when not known.
        input_tokens_per_minute: Most input tokens a minute, or None when not known.
        requests_per_day: Most requests until the day's quota resets, or None for no limit.
        output_tokens_per_minute: Most output tokens a minute, or None when not known.
        input_tokens_per_day: Most input tokens until the day's quota resets, or None for no limit.
        window_s: Seconds of the service's window; a minute everywhere so far.
        start: Limits learnt by earlier runs, from which to start.
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        input_tokens_per_minute: float | None = None,
        requests_per_day: float | None = None,
        *,
        output_tokens_per_minute: float | None = None,
        input_tokens_per_day: float | None = None,
        window_s: float = MINUTE_S,
        start: Sequence[LearntLimit] = (),
    ) -> None:
        self.guards: list[Guard] = [
            Guard(REQUESTS, requests_per_minute, window_s),
            Guard(INPUT_TOKENS, input_tokens_per_minute, window_s),
        ]
        if output_tokens_per_minute is not None:
            self.guards.append(Guard(OUTPUT_TOKENS, output_tokens_per_minute, window_s))
        self.limits: tuple[RateLimit, ...] = ()
        self._list_limits()
        self.requests_per_day = requests_per_day
        self.input_tokens_per_day = input_tokens_per_day
        self.requests_today = 0.0
        self.input_tokens_today = 0.0
        self.paused_until = float("-inf")
        self.unexplained_refusals = 0
        self.refusing_since: float | None = None
        self._refused = RecentCount(REPEATED_WITHIN_S)
        self._deaf_until = float("-inf")
        self._untold_s = FIRST_UNTOLD_WAIT_S
        self._untold_until = float("-inf")
        self._burst_at = float("-inf")
        self._suspect = 0
        self._volumes: deque[list[float]] = deque(maxlen=6)
        self._start(start)

    def __repr__(self) -> str:
        learning = [guard.learning for guard in self.guards if not guard.learning.is_free]
        limits = map(repr, (*self.limits, *learning))
        return f"<Quota {', '.join(limits) or 'unlimited'}>"

    def _start(self, start: Sequence[LearntLimit]) -> None:
        for learnt in start:
            guard = self._guard(learnt.resource)
            if learnt.origin == "user":
                if guard.known is None:
                    guard.stated(learnt.limit, learnt.window_s, origin="user")
            else:
                guard.learning.adopt(learnt.limit * MINUTE_S / learnt.window_s, learnt.enforcement)
        self._list_limits()

    def _guard(self, resource: str) -> Guard:
        """Return what guards a resource, which may be one that no limit was known of."""
        for guard in self.guards:
            if guard.name == resource:
                return guard
        guard = Guard(resource)
        self.guards.append(guard)
        return guard

    def _list_limits(self) -> None:
        self.limits = tuple(guard.known for guard in self.guards if guard.known is not None)

    @property
    def requests(self) -> RateLimit | None:
        """The known limit of requests."""
        return self.guards[0].known

    @property
    def input_tokens(self) -> RateLimit | None:
        """The known limit of input tokens."""
        return self.guards[1].known

    def learnt(self) -> tuple[LearntLimit, ...]:
        """Return what the service has told or shown of its limits."""
        found = (guard.learnt() for guard in self.guards)
        return tuple(learnt for learnt in found if learnt is not None)

    def share(self, cost: Cost) -> float:
        """Return a request's dominant share: the largest part of any limit's window that it takes; 1 without limits."""
        share = 0.0
        for guard in self.guards:
            limit = guard.per_window
            if limit is not None:
                share = max(share, cost.units(guard.name) / limit)
        return share or 1.0

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
        """True when the requests or the tokens of the day are used up."""
        if self.requests_per_day is not None and self.requests_today >= self.requests_per_day:
            return True
        return self.input_tokens_per_day is not None and self.input_tokens_today >= self.input_tokens_per_day

    def day_in_words(self) -> str:
        """Return which allowance of the day is used up, for a person."""
        if self.requests_per_day is not None and self.requests_today >= self.requests_per_day:
            were = "request was" if self.requests_per_day == 1 else "requests were"
            return f"{self.requests_per_day:,.0f} {were} sent, as many as were allowed"
        return f"{self.input_tokens_per_day or 0:,.0f} input tokens were sent, as many as were allowed"

    def is_small(self, requests: float, input_tokens: float) -> bool:
        """True when a job takes three windows' quota or less, so that starting with half a window's is worth it."""
        wanted = {REQUESTS: requests, INPUT_TOKENS: input_tokens}
        for guard in self.guards:
            limit = guard.per_window
            if limit is not None and wanted.get(guard.name, 0.0) > SMALL_JOB_WINDOWS * limit:
                return False
        return True

    def restart(self, now: float) -> None:
        """Start a long job evenly: forget the pace that was saved up."""
        for limit in self.limits:
            limit.restart(now)

    def ready_at(self, now: float, cost: Cost) -> float:
        """Return when a request may go: ``now``, or later."""
        due = max(now, self.paused_until)
        for guard in self.guards:
            if guard.is_open:
                continue
            due = max(due, guard.ready_at(now, cost.units(guard.name)))
        return due

    def commit(self, now: float, cost: Cost) -> Reservation:
        """Set the units of one request aside in every limit; call it at the moment of sending."""
        self.requests_today += 1
        self.input_tokens_today += cost.input_tokens
        burst = cost.burst
        if burst:
            self._burst_at = now
        debits = [guard.commit(now, cost.units(guard.name), burst=burst) for guard in self.guards]
        return Reservation(cost, now, debits)

    def recall(self, then: float, requests: float, input_tokens: float) -> None:
        """Count what another process has sent at an earlier time; call it oldest first, before anything is admitted."""
        for guard, units in ((self.guards[0], requests), (self.guards[1], input_tokens)):
            if units:
                guard.recall(then, units, requests)

    def settle(self, reservation: Reservation, input_tokens: float, output_tokens: float | None = None) -> None:
        """Replace the estimated tokens of an answered request by the true ones; output stays as it is when None."""
        cost = reservation.cost
        self.input_tokens_today += input_tokens - cost.input_tokens
        took = Cost(input_tokens, output_tokens=cost.output_tokens if output_tokens is None else output_tokens)
        for debit in reservation.debits:
            debit.guard.settle(debit, reservation.at, took.units(debit.guard.name))

    def accepted(self, reservation: Reservation | None = None) -> None:
        """Take any sign that the service lets requests through, such as the answer to one."""
        self.refusing_since = None
        self._untold_s = FIRST_UNTOLD_WAIT_S
        if reservation is not None:
            for debit in reservation.debits:
                if not debit.guard.learning.is_free:
                    debit.guard.learning.accepted(reservation.at)

    def hinted(self, hints: Sequence[LimitHint], reservation: Reservation) -> None:
        """Take what the headers of a reply say of the limits."""
        for hint in hints:
            guard = self._guard(hint.resource)
            debit = next((each for each in reservation.debits if each.guard is guard), None)
            unknown = Debit(guard, reservation.cost.units(guard.name), None, None, None)
            guard.hinted(hint, debit or unknown, reservation.at)
        self._list_limits()

    def refused(
        self, now: float, told_s: float | None, resources: Sequence[str], reservation: Reservation | None = None
    ) -> float:
        """
        Take a refusal of the per-minute quota: pause as long as told, and learn from it.

        A refusal of a known limit while our own account shows a tenth of the window unused means that the service
        enforces the limit over a shorter span. One such refusal of a burst, or three within a minute, take the next
        pace. A limit that is refused again and again is not the true one, and is learnt like one that nobody knows.

        Args:
            now: When the refusal arrived.
            told_s: Seconds that the service asked to wait, or None when it said nothing: then a quarter of one,
                doubled at each refusal up to a minute.
            resources: The limits that the service named; empty when it named none.
            reservation: What `commit` returned for the refused request; without it nothing is learnt.

        Returns:
            Seconds for which nothing will go.
        """
        if self.refusing_since is None:
            self.refusing_since = now
        named = [self._guard(resource) for resource in resources]
        blamed = named or self._suspects()
        if reservation is not None:
            # The service may count a request that it refuses, but hardly its tokens.
            for debit in reservation.debits:
                if debit.guard.name != REQUESTS and debit.known is not None:
                    debit.guard.settle(debit, reservation.at, 0.0)
            unknown = [guard for guard in blamed if guard.known is None or not guard.learning.is_free]
            if unknown:
                is_named = bool(named)
                return max(self._learn(guard, now, told_s, reservation, is_named=is_named) for guard in unknown)
        limits = [guard.known for guard in named if guard.known is not None]
        wait_s = self._wait_s(now, told_s)
        for limit in limits or self.limits:
            limit.pause(now + wait_s)
        if not limits:
            self.paused_until = max(self.paused_until, now + wait_s)
        self._tighten_if_unexplained(now, wait_s, limits or self.limits)
        if reservation is not None:
            for guard in blamed:
                if guard.known is not None and guard.overrun(now):
                    self._learn(guard, now, told_s, reservation, is_named=True)
        return wait_s

    def wait(self, now: float, told_s: float) -> float:
        """Let nothing go for as long as the service told, and learn nothing from it; return the seconds."""
        if self.refusing_since is None:
            self.refusing_since = now
        self.paused_until = max(self.paused_until, now + told_s)
        return told_s

    def _wait_s(self, now: float, told_s: float | None) -> float:
        if told_s is not None:
            return told_s
        wait_s = self._untold_s
        if now >= self._untold_until:
            self._untold_s = min(LONGEST_UNTOLD_WAIT_S, wait_s * 2)
            self._untold_until = now + wait_s
        return wait_s

    def _suspects(self) -> list[Guard]:
        """Return whom to blame for a refusal that names no limit: what is known, else what refusals point to."""
        learning = [guard for guard in self.guards if not guard.learning.is_free]
        if learning:
            return learning[:1]
        known = [guard for guard in self.guards if guard.known is not None]
        return known[:1] or [self.guards[self._suspect]]

    def _learn(
        self, guard: Guard, now: float, told_s: float | None, reservation: Reservation, *, is_named: bool
    ) -> float:
        debit = next((each for each in reservation.debits if each.guard is guard), None)
        units = reservation.cost.units(guard.name) if debit is None else debit.units
        entry = None if debit is None else debit.learning
        for each in reservation.debits:
            if each.guard is not guard:
                each.guard.learning.correct(reservation.at, -each.units)
        was_new = guard.learning.is_new(reservation.at)
        wait_s = guard.learning.refused(now, reservation.at, told_s, units, entry)
        if was_new and guard.known is None and not is_named:
            self._compare(guard, reservation.at, now + wait_s)
        return wait_s

    def _compare(self, blamed: Guard, at: float, until: float) -> None:
        """Find out whether it is rather another resource that is refused, by the volumes at each refusal."""
        if len(self.guards) > 2:
            return
        self._volumes.append([guard.learning.passed(at - MINUTE_S, at) for guard in self.guards])
        if len(self._volumes) < 3:
            return
        suspect = likeliest(self._volumes)
        if self.guards[suspect] is blamed or self.guards[suspect].known is not None:
            return
        self._suspect = suspect
        mean = sum(each[suspect] for each in self._volumes) / len(self._volumes)
        self.paused_until = max(self.paused_until, until)
        blamed.learning.forget()
        self.guards[suspect].learning.adopt(mean)

    def _tighten_if_unexplained(self, now: float, wait_s: float, limits: Sequence[RateLimit]) -> None:
        suspects = [limit for limit in limits if limit.has_headroom(now) or limit.rung]
        if not suspects:
            return
        self.unexplained_refusals += 1
        if now < self._deaf_until:
            return
        self._refused.add(now)
        after_burst = now - self._burst_at <= BURST_MEMORY_S
        repeated = self._is_repeated(now, max(limit.rung for limit in suspects))
        if after_burst or repeated:
            self._deaf_until = now + wait_s + BURST_MEMORY_S
            self._refused = RecentCount(REPEATED_WITHIN_S)
            for limit in suspects:
                limit.tighten()

    def _is_repeated(self, now: float, rung: int) -> bool:
        """Tell whether there were three refusals within a minute, and more than are borne at this pace."""
        refused = self._refused.at(now)
        if refused < 3:
            return False
        borne = BORNE[min(rung, len(BORNE) - 1)]
        return not borne or refused > borne * self.guards[0].learning.passed(now - REPEATED_WITHIN_S, now)

    def stated(self, resource: str, limit: float) -> RateLimit | None:
        """Take a per-minute limit that the service stated in a refusal; return ours if that changed anything."""
        guard = self._guard(resource)
        if not guard.stated(limit):
            return None
        self._list_limits()
        return guard.known
