"""What is kept of a route's limits between runs, how far it is trusted, and what a run starts with: values only."""

from __future__ import annotations

import datetime
import enum
import math
from collections.abc import Iterable, Sequence
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from wingbeat.ledgers.limits import DEFAULT_CONCURRENCY, Limits
from wingbeat.model.limit import (
    DAY_S,
    INPUT_TOKENS,
    MINUTE_S,
    OUTPUT_TOKENS,
    REQUESTS,
    TOKENS,
    Enforcement,
    LearntLimit,
    Origin,
)

IN_FLIGHT = "in_flight"
"""What a limit of requests at once counts; its window is 0 s."""

FRESH_FOR = datetime.timedelta(days=1)
"""Limits are changed by people, with a plan or a tier, and seldom twice a day."""

STALE_AFTER = datetime.timedelta(days=30)
"""Tiers rise by themselves with what was paid in a month, and a model's limits with its age: what is older is as good
as unknown, and finding out anew takes minutes."""

LONGEST_RATE_S = 3600.0

DROPPED_AFTER = datetime.timedelta(days=365)

MOST_ROUTES = 200
"""Routes that are kept, the latest; those that the user has set limits for are not counted. Local servers on a port
of their own would otherwise add one at every start."""


class Trust(enum.Enum):
    """How far a learnt limit is believed by its age; the value is the part of it that a run starts with."""

    FRESH = 1.0
    """All of it. A route that is told a limit to start with stays 2 % below and tries for more by itself."""
    OLD = 0.5
    """Half of it: few limits are cut further than that, and from there one doubling finds the old one again."""
    STALE = 0.0
    """Not used, but still shown."""


def trust(learnt_at: datetime.datetime, now: datetime.datetime) -> Trust:
    """Say how far a limit learnt at one time is believed at another; one from the future counts as just learnt."""
    age = now - learnt_at
    if age < FRESH_FOR:
        return Trust.FRESH
    return Trust.OLD if age <= STALE_AFTER else Trust.STALE


class RouteId(msgspec.Struct, frozen=True):
    """
    Which quota it is: providers count by account and model.

    Args:
        api: Kind of API.
        host: Host of the base URL, with its port unless it is the usual one.
        key: Digest of the key, by a salt that lies beside it; empty for a service without keys.
        model: The model's own name.
    """

    api: str
    host: str
    key: str
    model: str


class KnownLimit(msgspec.Struct, frozen=True):
    """
    One limit of a route as it is kept.

    Args:
        resource: What it counts; ``in_flight`` for requests at once.
        limit: Most units in its window.
        window_s: Seconds of the window; 0 for ``in_flight``.
        enforcement: How the service was seen to enforce it.
        origin: Who says so. The user's own never ages.
        learnt_at: When it was learnt or set, in UTC.
    """

    resource: str
    limit: Annotated[float, msgspec.Meta(gt=0)]
    window_s: Annotated[float, msgspec.Meta(ge=0)]
    enforcement: Enforcement
    origin: Origin
    learnt_at: Annotated[datetime.datetime, msgspec.Meta(tz=True)]

    @property
    def is_set(self) -> bool:
        """True when the user has set it."""
        return self.origin == "user"

    @property
    def is_rate(self) -> bool:
        """True when requests can be paced by it; what counts over longer than an hour is an amount to be used up."""
        return 0 < self.window_s <= LONGEST_RATE_S

    @property
    def place(self) -> tuple[bool, str, bool]:
        """What it replaces: a route has one learnt and one set rate of a resource, whatever its window."""
        return self.is_set, self.resource, self.is_rate

    def learnt(self, part: float = 1.0) -> LearntLimit:
        """Return it, or a part of it, as a route takes it."""
        return LearntLimit(self.resource, self.limit * part, self.window_s, self.enforcement, self.origin)

    def trust(self, now: datetime.datetime) -> Trust | None:
        """Say how far it is believed; None for the user's own, which is not a matter of belief."""
        return None if self.is_set else trust(self.learnt_at, now)

    def part(self, now: datetime.datetime) -> float:
        """
        Return the part of it that a run starts with.

        Of requests in flight half is enough: what is good is found by doubling, and is less when fewer prompts or
        longer answers are asked for.
        """
        believed = self.trust(now)
        if believed is None:
            return 1.0
        return min(believed.value, Trust.OLD.value) if self.resource == IN_FLIGHT else believed.value


class KnownRoute(msgspec.Struct, frozen=True):
    """A route and its limits, those set by the user first."""

    route: RouteId
    limits: Annotated[tuple[KnownLimit, ...], msgspec.Meta(min_length=1)]

    @property
    def latest(self) -> datetime.datetime:
        """When the newest of its limits was learnt or set."""
        return max(known.learnt_at for known in self.limits)


def service_host(base_url: str) -> str:
    """Return the host of a base URL, and its port unless it is the usual one; a name and password are left out."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    return host if parts.port in (None, usual) else f"{host}:{parts.port}"


def known(limit: LearntLimit, at: datetime.datetime) -> KnownLimit:
    """Return a limit as it is kept."""
    return KnownLimit(
        limit.resource,
        limit.limit,
        0.0 if limit.resource == IN_FLIGHT else limit.window_s,
        limit.enforcement,
        limit.origin,
        at.replace(microsecond=0),
    )


_ORDER = (REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS, TOKENS, IN_FLIGHT)


def _place(limit: KnownLimit) -> tuple[bool, int, float]:
    position = _ORDER.index(limit.resource) if limit.resource in _ORDER else len(_ORDER)
    return not limit.is_set, position, limit.window_s


def merged(routes: Iterable[KnownRoute], route: RouteId, limits: Sequence[KnownLimit]) -> tuple[KnownRoute, ...]:
    """
    Put a route's limits among those that are kept.

    A learnt limit takes the place of a learnt one, whoever said that: the last to know is right most often, and a
    wrong value is found out by the next run. A set limit takes the place of a set one. Neither touches the other.
    """
    others = []
    kept: dict[tuple[bool, str, bool], KnownLimit] = {}
    for each in routes:
        if each.route == route:
            kept.update((limit.place, limit) for limit in each.limits)
        else:
            others.append(each)
    kept.update((limit.place, limit) for limit in limits)
    if kept:
        others.append(KnownRoute(route, tuple(sorted(kept.values(), key=_place))))
    return tuple(others)


def pruned(routes: Iterable[KnownRoute], now: datetime.datetime) -> tuple[KnownRoute, ...]:
    """Drop what was learnt a year ago or more, and the oldest routes beyond those that are kept."""
    left = []
    for each in routes:
        limits = tuple(limit for limit in each.limits if limit.is_set or now - limit.learnt_at < DROPPED_AFTER)
        if limits:
            left.append(KnownRoute(each.route, limits))
    learnt_only = [each for each in left if not any(limit.is_set for limit in each.limits)]
    extra = sorted(learnt_only, key=lambda each: each.latest, reverse=True)[MOST_ROUTES:]
    return tuple(each for each in left if each not in extra)


class Start(msgspec.Struct, frozen=True):
    """
    What a run starts with.

    Args:
        limits: What the user allows: as given to the run, and else as set for the route.
        learnt: Limits to start at and to find out more about.
        in_flight: Requests in flight to start at, where how many are good is found out; None when nothing is known.
        basis: What of all that is kept was used, as it is kept.
    """

    limits: Limits
    learnt: tuple[LearntLimit, ...] = ()
    in_flight: int | None = None
    basis: tuple[KnownLimit, ...] = ()

    def is_news(self, limit: LearntLimit) -> bool:
        """
        Tell whether a limit says more than what the run was started with.

        One that comes back unchanged was not put to the test: kept again, half of an old limit would be taken for the
        limit, and half of that the next time.
        """
        return limit.origin != "user" and not any(
            limit.resource == begun.resource
            and math.isclose(limit.limit * begun.window_s, begun.limit * limit.window_s, rel_tol=1e-6)
            for begun in self.learnt
        )


SETTABLE: dict[tuple[str, float], str] = {
    (REQUESTS, MINUTE_S): "rpm",
    (INPUT_TOKENS, MINUTE_S): "tpm",
    (OUTPUT_TOKENS, MINUTE_S): "otpm",
    (REQUESTS, DAY_S): "rpd",
    (INPUT_TOKENS, DAY_S): "tpd",
    (IN_FLIGHT, 0.0): "concurrency",
}
"""What the user can set for a route, and the field of `Limits` that it completes where there is one."""


def start_of(route: KnownRoute | None, limits: Limits, now: datetime.datetime, *, fresh: bool = False) -> Start:
    """
    Work out what a run starts with.

    What is given to the run wins over what was set for the route. Both are ceilings: a learnt limit counts only below
    them, and an old one not at all, since the user has spoken after it was learnt or knows better.

    Args:
        route: What is kept of the route, or None.
        limits: What was given to the run.
        now: The time, with its zone.
        fresh: Ignore what was learnt; what the user has set still holds.
    """
    if route is None:
        return Start(limits)
    limits, learnt, basis = _completed(limits, route.limits)
    for limit in route.limits:
        believed = limit.trust(now)
        if fresh or believed is None or believed is Trust.STALE or not limit.is_rate:
            continue
        per_minute = limit.limit * limit.part(now) * MINUTE_S / limit.window_s
        ceiling = getattr(limits, SETTABLE.get((limit.resource, MINUTE_S), ""), None)
        if ceiling is not None and (believed is Trust.OLD or per_minute >= ceiling):
            continue
        learnt.append(limit.learnt(limit.part(now)))
        basis.append(limit)
    limits = _with_room(limits, basis)
    found = None if fresh or limits.fixed_in_flight is not None else _found_in_flight(route, now)
    if found is None:
        return Start(limits, tuple(learnt), basis=tuple(basis))
    in_flight = min(int(found.limit * found.part(now)), limits.most_in_flight // 2)
    return Start(limits, tuple(learnt), max(1, in_flight), (*basis, found))


def _found_in_flight(route: KnownRoute, now: datetime.datetime) -> KnownLimit | None:
    """Return the requests in flight that an earlier run has found good, unless that is too long ago."""
    for limit in route.limits:
        if limit.resource == IN_FLIGHT and limit.trust(now) in (Trust.FRESH, Trust.OLD):
            return limit
    return None


def _completed(limits: Limits, kept: Sequence[KnownLimit]) -> tuple[Limits, list[LearntLimit], list[KnownLimit]]:
    """Complete the run's limits by those set for its route; return what has no field there, and all that is used."""
    fields = Limits.__struct_fields__
    missing: dict[str, float] = {}
    unplaced, used = [], []
    for limit in kept:
        name = SETTABLE.get((limit.resource, limit.window_s), "")
        if not limit.is_set or getattr(limits, name, None) is not None:
            continue
        used.append(limit)
        if name in fields:
            missing[name] = int(limit.limit) if name == "concurrency" else limit.limit
        else:
            unplaced.append(limit.learnt())
    return msgspec.structs.replace(limits, **missing), unplaced, used


def _with_room(limits: Limits, basis: Sequence[KnownLimit]) -> Limits:
    """Let as many be in flight as a limit given by the user would, so that what was learnt can be used."""
    rates = (limit.limit * MINUTE_S / limit.window_s for limit in basis if limit.place == (False, REQUESTS, True))
    rpm = next(rates, None)
    if rpm is None or limits.concurrency is not None or limits.rpm is not None:
        return limits
    return msgspec.structs.replace(limits, concurrency=max(DEFAULT_CONCURRENCY, Limits(rpm=rpm).most_in_flight))
