"""All that limits one resource: the limit that is known, what refusals teach, and what headers tell."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from wingbeat.ledgers.learner import LearningLimit
from wingbeat.ledgers.mirror import Mirror
from wingbeat.ledgers.rate import STRICTER_PACES, TOKEN_EAGERNESS, RateLimit
from wingbeat.ledgers.recent import RecentCount
from wingbeat.ledgers.window import Entry
from wingbeat.model.limit import DAY_S, MINUTE_S, REQUESTS, LearntLimit, LimitHint, Origin

WINDOWS_S = (1.0, 10.0, 30.0, MINUTE_S, 3600.0, DAY_S)
"""Windows that are told apart by how long a remainder takes to fill up."""

WINDOW_VOTES = 3
"""Replies that have to speak of the same window before it is believed to be other than a minute."""

OVERRUN = 0.03
OVERRUN_MOMENTS = 5
OVERRUN_WITHIN_S = 60.0
"""A known limit that is refused at so many moments within a minute, and such a part of all, is not the true one. A
burst that comes of a stall is refused at one moment, however large it is."""


class Debit:
    """What one request takes of one resource, and where it is written down; settle it once the truth is known."""

    __slots__ = ("guard", "known", "learning", "level", "units")

    def __init__(
        self, guard: Guard, units: float, known: Entry | None, learning: Entry | None, level: float | None
    ) -> None:
        self.guard = guard
        self.units = units
        self.known = known
        self.learning = learning
        self.level = level


class Guard:
    """
    Let a request go when everything that limits one resource lets it go.

    What is known comes first: a limit given by the user is a ceiling, one that the service states is taken as it is
    said. What is not known is learnt, and so is a limit that turns out to be wrong.

    Args:
        name: What is limited.
        ceiling: Most units in a window, as the user says, or None.
        window_s: Seconds of the window.
    """

    __slots__ = (
        "_ceiling",
        "_refused",
        "_votes",
        "_window_s",
        "known",
        "learning",
        "mirror",
        "name",
        "origin",
    )

    def __init__(self, name: str, ceiling: float | None = None, window_s: float = MINUTE_S) -> None:
        self.name = name
        self.known = None if ceiling is None else _rate_limit(name, ceiling, window_s)
        self.learning = LearningLimit(name)
        self.mirror: Mirror | None = None
        self.origin: Origin = "user"
        self._ceiling = ceiling
        self._window_s = window_s
        self._refused = RecentCount(OVERRUN_WITHIN_S)
        self._votes: deque[float] = deque(maxlen=WINDOW_VOTES)

    def __repr__(self) -> str:
        return f"<Guard {self.known or self.learning!r}>"

    @property
    def per_window(self) -> float | None:
        """Units that are kept to in a window, or None while nothing is limited."""
        learnt = self.learning.per_window
        known = None if self.known is None else self.known.limit
        return known if learnt is None else learnt if known is None else min(known, learnt)

    @property
    def is_open(self) -> bool:
        """True while nothing limits the resource."""
        return self.known is None and self.mirror is None and self.learning.is_free

    def ready_at(self, now: float, units: float) -> float:
        """Return when a request may go: ``now``, or later."""
        due = now if self.known is None else self.known.ready_at(now, units)
        if not self.learning.is_free:
            due = max(due, self.learning.ready_at(now, units))
        if self.mirror is not None:
            due = max(due, self.mirror.ready_at(now, units))
        return due

    def commit(self, now: float, units: float, *, burst: bool) -> Debit:
        """Count a request as sent at ``now``."""
        known = None if self.known is None else self.known.commit(now, units, burst=burst)
        learning = self.learning.commit(now, units, burst=burst)
        level = None if self.mirror is None else self.mirror.sent(now, units)
        return Debit(self, units, known, learning, level)

    def settle(self, debit: Debit, sent_at: float, units: float) -> None:
        """Replace the units that a request was expected to take by the true ones."""
        difference = units - debit.units
        if not difference:
            return
        debit.units = units
        if debit.known is not None and self.known is not None:
            self.known.settle(debit.known, difference)
        self.learning.correct(sent_at, difference)
        self.learning.settle(debit.learning, difference)
        if debit.level is not None and self.mirror is not None:
            self.mirror.settle(difference)

    def recall(self, then: float, units: float, requests: float) -> None:
        """Count what another process has sent at an earlier time: so many requests together."""
        if self.known is not None:
            self.known.recall(then, units)
        self.learning.recall(then, units, requests)

    def overrun(self, now: float) -> bool:
        """Count one refusal of the known limit; True when there are so many that it can't be the true one."""
        self._refused.add(now)
        if self._refused.moments(now) < OVERRUN_MOMENTS:
            return False
        assert self.known is not None
        if self.known.rung < len(STRICTER_PACES) and self.known.has_headroom(now):
            return False  # enforced over a shorter span, it seems: a stricter pace comes first
        refused = self._refused.at(now) * self._request_units()
        return refused > OVERRUN * (self.learning.passed(now - OVERRUN_WITHIN_S, now) + refused)

    def _request_units(self) -> float:
        return 1.0 if self.name == REQUESTS else self.learning.request_units

    def stated(self, limit: float, window_s: float = MINUTE_S, *, origin: Origin = "told") -> bool:
        """
        Take a limit that the service states, up to the user's own; True if that changed anything.

        One stated in a refusal replaces what was thought to be more; one in a header is true either way.
        """
        if limit <= 0:
            return False
        if origin == "user":
            self._ceiling, self._window_s = limit, window_s
        elif self._ceiling is not None and limit / window_s >= self._ceiling / self._window_s:
            limit, window_s = self._ceiling, self._window_s
        known = self.known
        if known is not None and (known.limit, known.window_s) == (limit, window_s):
            return False
        if known is not None and origin == "told" and limit / window_s > known.limit / known.window_s:
            return False
        if known is not None and known.window_s == window_s:
            known.resize(limit)
        else:
            if known is not None:
                known.close()
            self.known = _rate_limit(self.name, limit, window_s)
        self.origin = origin
        self.learning.forget()
        return True

    def hinted(self, hint: LimitHint, debit: Debit, sent_at: float) -> None:
        """Take what the headers of a reply say, which belongs to the request of ``debit``, sent at a time."""
        if hint.limit is None or hint.limit <= 0:
            return
        window_s = self._voted_window_s(hint)
        if window_s > 2 * MINUTE_S:
            self._forget_headers()  # an hour's or a day's: no pace is kept to it
            return
        self.stated(hint.limit, window_s, origin="headers")
        if hint.remaining is None:
            return
        mirror = self.mirror
        if mirror is None or (mirror.limit, mirror.window_s) != (hint.limit, window_s):
            self.mirror = Mirror(hint.limit, window_s, sent_at, hint.limit - hint.remaining)
        elif debit.level is not None:
            mirror.told(hint.remaining, debit.level)

    def _voted_window_s(self, hint: LimitHint) -> float:
        """
        Return the window that all of the last few replies speak of which say anything; a minute while they differ.

        A fixed window tells the time to its end, whatever is used, and so seems to be of another length each time.
        """
        window_s = hinted_window_s(hint)
        if window_s is not None:
            self._votes.append(window_s)
        agreed = len(self._votes) == WINDOW_VOTES and len(set(self._votes)) == 1
        return self._votes[-1] if agreed else MINUTE_S

    def _forget_headers(self) -> None:
        self.mirror = None
        if self.known is None or self.origin != "headers":
            return
        self.known.close()
        self.known = None if self._ceiling is None else _rate_limit(self.name, self._ceiling, self._window_s)
        self.origin = "user"

    def learnt(self) -> LearntLimit | None:
        """Return what is known of the limit from the service, or None."""
        learnt = self.learning.learnt()
        if learnt is not None or self.known is None or self.origin == "user":
            return learnt
        enforcement = "bucket" if self.mirror is not None else "unknown"
        return LearntLimit(self.name, self.known.limit, self.known.window_s, enforcement, self.origin)  # type: ignore[arg-type]


def hinted_window_s(hint: LimitHint) -> float | None:
    """
    Return the window that a remainder and its time to fill up speak of, or None when they leave several possible.

    A bucket that lacks ``limit - remaining`` of ``limit`` is full again after that part of its window. Times are told
    to the millisecond or to the second, and remainders of large limits may be rounded to the thousand.
    """
    if not hint.limit or hint.remaining is None or hint.reset_s is None:
        return None
    used = hint.limit - hint.remaining
    if used <= 0 or hint.reset_s <= 0:
        return None
    unit_s = 1.0 if hint.reset_s == int(hint.reset_s) else 0.001
    is_rounded = hint.limit >= 10_000 and hint.remaining % 1000 == 0
    blur = 500.0 if is_rounded else 0.0
    least_s = hint.limit * (hint.reset_s - unit_s) / (used + blur)
    most_s = hint.limit * (hint.reset_s + unit_s) / (used - blur) if used > blur else float("inf")
    possible = [window_s for window_s in WINDOWS_S if 0.95 * least_s <= window_s <= 1.05 * most_s]
    return possible[0] if len(possible) == 1 else None


def _rate_limit(name: str, limit: float, window_s: float) -> RateLimit:
    return RateLimit(name, limit, window_s, eagerness=1.0 if name == REQUESTS else TOKEN_EAGERNESS)


def likeliest(volumes: Sequence[Sequence[float]]) -> int:
    """
    Return which resource a service that names none is refusing.

    The binding limit is refused at about the same volume each time, the others at volumes that happen to go with it.

    Args:
        volumes: For each refusal, the units of each resource in the window before it, requests first; oldest first.
    """
    if len(volumes) < 3:
        return 0
    spreads = []
    for values in zip(*volumes, strict=True):
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        spreads.append(variance**0.5 / mean if mean > 0 else float("inf"))
    best = min(range(len(spreads)), key=spreads.__getitem__)
    return best if spreads[best] < 0.5 * spreads[0] else 0
