"""Limits as people say them: what they are, who says so, how old they are, and which of them are news."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, assert_never

import msgspec

from wingbeat.model.limit import (
    DAY_S,
    INPUT_TOKENS,
    MINUTE_S,
    OUTPUT_TOKENS,
    Enforcement,
    LearntLimit,
    Origin,
)
from wingbeat.report.words import count

_RESOURCES = {INPUT_TOKENS: "input tokens", OUTPUT_TOKENS: "output tokens", "in_flight": "in flight"}
_WINDOWS = {1.0: "s", MINUTE_S: "min", 3600.0: "h", DAY_S: "day"}

TOLD_AGAIN_AT = 0.1
"""A limit is told again when it has changed by a tenth: while one is sought its value moves all the time."""


class Limit(Protocol):
    """A limit to be said, as it is learnt or as it is kept."""

    @property
    def resource(self) -> str: ...
    @property
    def limit(self) -> float: ...
    @property
    def window_s(self) -> float: ...
    @property
    def enforcement(self) -> Enforcement: ...
    @property
    def origin(self) -> Origin: ...


def amount_text(limit: Limit) -> str:
    """Return a limit's amount; one that was measured with the three digits that are known of it."""
    number = limit.limit
    if limit.origin == "measured" and number >= 1000:
        number = round(number, 2 - math.floor(math.log10(number)))
    elif number > 10:
        number = round(number)
    millions = number / 1e6
    return f"{millions:,.10g} M" if number >= 1e6 and round(millions, 2) == millions else count(number)


def limit_text(limit: Limit) -> str:
    """Return a limit as ``1,000 requests/min``, ``1.2 M input tokens/min`` or ``64 in flight``."""
    resource = _RESOURCES.get(limit.resource, limit.resource)
    per = "" if limit.window_s == 0 else f"/{_WINDOWS.get(limit.window_s) or f'{limit.window_s:g} s'}"
    return f"{amount_text(limit)} {resource}{per}"


def enforcement_text(enforcement: Enforcement) -> str:
    """Say how a limit is enforced; nothing when that is not known."""
    match enforcement:
        case "window":
            return "window"
        case "bucket":
            return "bucket"
        case "rate":
            return "enforced over short spans"
        case "unknown":
            return ""
    assert_never(enforcement)


def origin_text(origin: Origin) -> str:
    """Say whose word a limit is."""
    match origin:
        case "user":
            return "set by you"
        case "told":
            return "told in a refusal"
        case "headers":
            return "told in headers"
        case "measured":
            return "measured"
    assert_never(origin)


def limits_text(limits: Sequence[Limit]) -> str:
    """Return limits as ``1,000 requests/min (window), 1.2 M input tokens/min``."""
    said = []
    for limit in limits:
        how = enforcement_text(limit.enforcement)
        said.append(f"{limit_text(limit)} ({how})" if how else limit_text(limit))
    return ", ".join(said)


def age_text(age_s: float) -> str:
    """Return an age as ``just now``, ``5 minutes ago`` or ``2 days ago``."""
    for unit, seconds in (("day", DAY_S), ("hour", 3600.0), ("minute", 60.0)):
        number = int(age_s // seconds)
        if number >= 1:
            return f"{number:,} {unit}{'' if number == 1 else 's'} ago"
    return "just now"


class Basis(msgspec.Struct, frozen=True):
    """
    A limit that a run starts with although it was not given.

    Args:
        limit: The limit as it was learnt or set.
        age_s: Seconds since then.
        part: The part of it that the run starts with.
    """

    limit: LearntLimit
    age_s: float
    part: float


def basis_text(basis: Sequence[Basis]) -> str:
    """Return ``learnt 2 days ago: 1,000 requests/min; started at half``; limits of one source and age together."""
    groups: dict[tuple[str, str], list[LearntLimit]] = {}
    for each in basis:
        heading = "set for this model" if each.limit.origin == "user" else f"learnt {age_text(each.age_s)}"
        ending = "; started at half" if each.part == 0.5 else ""
        groups.setdefault((heading, ending), []).append(each.limit)
    return "; ".join(f"{heading}: {limits_text(limits)}{ending}" for (heading, ending), limits in groups.items())


class News:
    """Says which limits have not been told yet, or have changed since; each change is told once."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, float], LearntLimit] = {}

    def of(self, learnt: Sequence[LearntLimit]) -> tuple[LearntLimit, ...]:
        """Return those to be told now, and count them as told."""
        found = tuple(limit for limit in learnt if self._is_new(limit))
        self._told.update(((limit.resource, limit.window_s), limit) for limit in found)
        return found

    def _is_new(self, limit: LearntLimit) -> bool:
        before = self._told.get((limit.resource, limit.window_s))
        if before is None:
            return True
        same_words = (before.enforcement, before.origin) == (limit.enforcement, limit.origin)
        return not same_words or abs(limit.limit - before.limit) > TOLD_AGAIN_AT * before.limit
