"""How long a service asks to wait, in headers and in words. No clock is read: dates count from the reply's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

LONGEST_READ = 8000
"""Characters of an error text that are searched, so that no text takes long."""

_LONGEST_DATE = 64
_LONGEST_BELIEVED_S = 1e9

_UNITS_S = {
    "n": 1e-9,
    "u": 1e-6,
    "µ": 1e-6,
    "μ": 1e-6,
    "ms": 1e-3,
    "mil": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
}
"""Seconds of each unit by how its name begins; the longest beginning counts."""

_UNIT = r"milliseconds?|ms|[nuµμ]s|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d"
_PART = rf"([0-9]{{1,15}}(?:\.[0-9]{{1,15}})?) ?({_UNIT})(?![a-z])"
_UNGROUPED = rf"[0-9]{{1,15}}(?:\.[0-9]{{1,15}})? ?(?:{_UNIT})(?![a-z])"
_parts = re.compile(_PART, re.IGNORECASE | re.ASCII)
_span = re.compile(rf"(?:{_UNGROUPED} ?)+", re.IGNORECASE | re.ASCII)
_told = re.compile(rf"\b(?:re)?try(?: again)? (?:in|after) ((?:{_UNGROUPED} ?)+)", re.IGNORECASE | re.ASCII)

_WAIT_HEADERS = (("retry-after-ms", 1000.0), ("x-ms-retry-after-ms", 1000.0), ("retry-after", 1.0))
"""Headers that tell a wait, the most precise first, and what each counts in a second."""


def read_span(text: str) -> float | None:
    """
    Read a span of time written as Go does (``6m0s``, ``17ms``, ``1h2m3s``) or in words (``20 seconds``).

    Returns:
        Seconds, or None for what is no span, or none that a service means.
    """
    return _seconds(text) if _span.fullmatch(text.strip()) else None


def _seconds(span: str) -> float | None:
    total = 0.0
    for number, unit in _parts.findall(span):
        name = unit.lower()
        size = _UNITS_S.get(name[:3]) or _UNITS_S.get(name[:2]) or _UNITS_S[name[0]]
        total += float(number) * size
    return believable(total)


def believable(seconds: float) -> float | None:
    """Return the wait, or None for one that no service means."""
    return seconds if 0 <= seconds < _LONGEST_BELIEVED_S else None


@lru_cache(maxsize=64)
def read_instant(text: str) -> float | None:
    """Return the Unix time of an HTTP date or an RFC 3339 time; None for other text. No zone means UTC."""
    if len(text) > _LONGEST_DATE:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (TypeError, ValueError, IndexError, OverflowError):
            return None
    try:
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def text_wait(text: str) -> float | None:
    """
    Return the seconds that an error text asks to wait (``Please try again in 1m12s``), or None.

    Source: recorded refusals of Gemini (``retry in 12.3s``), OpenAI and Groq (``try again in 644ms``), and Azure
    (``retry after 6 seconds``).
    """
    found = _told.search(text, 0, LONGEST_READ)
    return None if found is None else _seconds(found[1])


def header_wait(headers: Mapping[str, str]) -> float | None:
    """
    Return the seconds that the headers of a reply ask to wait, or None.

    A date counts from the reply's own ``date``, so that a clock that is wrong here does no harm. A precise form of
    zero counts only where no other says more: Azure sends ``retry-after-ms: 0`` beside ``retry-after: 1``.
    """
    told: float | None = None
    for name, parts_of_second in _WAIT_HEADERS:
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = believable(float(value) / parts_of_second)
        except ValueError:
            seconds = _until(value, headers.get("date"))
        if seconds:
            return seconds
        told = seconds if told is None else told
    return told


def _until(value: str, date: str | None) -> float | None:
    """Read a wait that is not a bare number: a span, or a date relative to the reply's own."""
    span = read_span(value)
    if span is not None:
        return span
    then, now = read_instant(value), read_instant(date or "")
    return None if then is None or now is None else believable(max(0.0, then - now))


def read_wait(headers: Mapping[str, str], text: str) -> float | None:
    """
    Return the seconds that a refusal asks to wait, or None. Never raises.

    Args:
        headers: The reply's headers, names in lower case.
        text: The message in its body; where both tell a wait this one is taken, since Retry-After is cut to seconds.
    """
    told = text_wait(text)
    return header_wait(headers) if told is None else told
