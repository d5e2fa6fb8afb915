"""What a reply tells of the service's rate limits: in its headers here, in its words and waits beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeVar

import msgspec

from wingbeat.model.answer import Completion, Failure
from wingbeat.model.limit import INPUT_TOKENS, MINUTE_S, OUTPUT_TOKENS, REQUESTS, TOKENS, LimitHint
from wingbeat.providers.limit_texts import read_limit_text
from wingbeat.providers.waits import believable, read_instant, read_span, read_wait

__all__ = ["MARKERS", "read_hints", "read_limit_text", "read_wait", "tells_limits", "with_hints"]

MARKERS = (
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-input-tokens-limit",
    "x-ratelimit-limit-tokens-minute",
    "x-ratelimit-limit",
    "ratelimit-limit",
    "ratelimit",
)
"""Headers of which a service that tells its limits sends at least one; looked up by name, since that is fastest."""

_RESOURCES = {
    "requests": REQUESTS,
    "req": REQUESTS,
    "tokens": TOKENS,
    "input-tokens": INPUT_TOKENS,
    "output-tokens": OUTPUT_TOKENS,
}

_FIELDS = frozenset({"limit", "remaining", "reset", "renewalperiod"})

_FIRST_INSTANT = 1e9
_FIRST_INSTANT_MS = 1e12
"""A reset from these values on is no span but a Unix time, in seconds or in milliseconds."""

_LONGEST_COUNT = 15

_number = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{0,15})?)\s*(?:[,;]|$)")
_parameter = re.compile(r"\b([a-z]{1,12})\s*=\s*\"?([0-9]{1,15}|[a-z-]{1,40})", re.IGNORECASE | re.ASCII)
_policy_name = re.compile(r"\s*\"?([^\";,=]{1,100})\"?\s*;")

Result = TypeVar("Result", Completion, Failure, Completion | Failure)

_Told = dict[str, dict[str, str]]
"""Raw values by resource, then by field."""


def tells_limits(headers: Mapping[str, str]) -> bool:
    """True when the headers hold rate limits. Takes less than a microsecond."""
    for name in MARKERS:  # noqa: SIM110 - a generator costs as much as all the look-ups
        if name in headers:
            return True
    return False


def read_hints(headers: Mapping[str, str], now_unix: float | None = None) -> tuple[LimitHint, ...]:
    """
    Return the limits that the headers of a reply tell, one a resource. Never raises.

    The kinds, in order of precedence:
        1. OpenAI's ``x-ratelimit-limit-tokens`` and the like, as Azure, Groq and Cerebras send them too.
        2. Anthropic's ``anthropic-ratelimit-input-tokens-remaining`` and the like.
        3. The IETF draft's ``ratelimit`` and ``ratelimit-policy``, or the older ``ratelimit-limit`` and the like.

    A limit whose header names another window than a minute (``…-tokens-month``, ``w=3600``) is left out: a hint has
    no room for it. One whose window is not named may still be a day's, as OpenAI's and Groq's requests are: there
    ``reset_s`` is ``(limit - remaining) / limit`` of the window. Where Azure names another, ``reset_s`` is made so.

    Args:
        headers: The reply's headers, names in lower case.
        now_unix: Unix time now, for resets that are a time of day in a reply without a ``date``; None leaves them out.

    Source: recorded headers of OpenAI, Azure, Groq, Cerebras and Anthropic;
    draft-ietf-httpapi-ratelimit-headers 06, 07 and 10.
    """
    told: _Told = {}
    plain: dict[str, str] = {}
    for name, value in headers.items():
        if "ratelimit" not in name:
            continue
        resource, field = _meaning(name)
        if resource is not None:
            told.setdefault(resource, {})[field] = value
        elif field:
            plain.setdefault(field, value)
    if plain and REQUESTS not in told:
        _read_draft(plain, told)
    if not told:
        return ()
    date = headers.get("date")
    hints = (_hint(resource, values, date, now_unix) for resource, values in told.items())
    return tuple(hint for hint in hints if hint is not None)


@lru_cache(maxsize=128)
def _meaning(name: str) -> tuple[str | None, str]:
    """
    Return which resource a header is about, and what it tells of it.

    The resource is None for the draft's fields, which name none; the field is empty for a header that is not read.
    """
    if name.startswith("anthropic-ratelimit-"):
        what, _, field = name[20:].rpartition("-")
    elif name.startswith("x-ratelimit-"):
        field, _, what = name[12:].partition("-")
        what = what.removesuffix("-minute")
    else:
        field, what = name.removeprefix("ratelimit-"), ""
    if not what:
        return None, field
    return (_RESOURCES[what], field) if field in _FIELDS and what in _RESOURCES else (None, "")


def with_hints(result: Result, headers: Mapping[str, str]) -> Result:
    """Return the result with what its reply's headers tell of limits."""
    hints = read_hints(headers) if headers else ()
    return msgspec.structs.replace(result, hints=hints) if hints else result


def _hint(resource: str, values: dict[str, str], date: str | None, now_unix: float | None) -> LimitHint | None:
    """Read one limit; None when neither it nor what is left of it is said. Azure has sent -1 for unknown."""
    limit = _count(values.get("limit"))
    remaining = _count(values.get("remaining"))
    if not limit:
        limit = None
    if limit is None and remaining is None:
        return None
    period_s = _count(values.get("renewalperiod"))
    if period_s and limit is not None and remaining is not None:
        # Azure's resets are whole numbers, of milliseconds in some replies and of seconds in others.
        reset_s: float | None = max(0.0, limit - remaining) / limit * period_s
    else:
        reset_s = _reset_s(values.get("reset"), date, now_unix)
    return LimitHint(resource, limit, remaining, reset_s)


def _count(value: str | None) -> float | None:
    """Read a count: a number, or the first of a list as the draft once had it; None for others."""
    if value is None:
        return None
    if value.isdigit() and value.isascii() and len(value) <= _LONGEST_COUNT:
        return float(value)
    found = _number.match(value)
    return None if found is None else float(found[1])


def _reset_s(value: str | None, date: str | None, now_unix: float | None) -> float | None:
    """Read a reset: a span, seconds, or an instant, which counts from the reply's own date."""
    if value is None:
        return None
    number = _count(value)
    if number is None:
        span = read_span(value)
        if span is not None:
            return span
        instant = read_instant(value)
    elif number < _FIRST_INSTANT:
        return number
    else:
        instant = number if number < _FIRST_INSTANT_MS else number / 1000.0
    now = read_instant(date) if date is not None else None
    if now is None:
        now = now_unix
    return None if instant is None or now is None else believable(max(0.0, instant - now))


def _read_draft(plain: dict[str, str], told: _Told) -> None:
    """Read the draft's fields, of any of its versions, into ``told``; they count requests."""
    policies = _policies(plain.get("policy") or plain.get("ratelimit-policy") or "")
    if "ratelimit" not in plain:
        windows = {policy["w"] for policy in policies.values() if "w" in policy}
        if windows <= {_MINUTE}:
            told[REQUESTS] = plain
        return
    for name, item in _policies(plain["ratelimit"]).items():
        policy = policies.get(name) or (next(iter(policies.values())) if len(policies) == 1 else {})
        if policy.get("w", _MINUTE) != _MINUTE or policy.get("qu", "requests") != "requests":
            continue
        values = {
            "limit": item.get("limit") or policy.get("q") or policy.get("limit"),
            "remaining": item.get("r") or item.get("remaining"),
            "reset": item.get("t") or item.get("reset"),
        }
        told[REQUESTS] = {field: value for field, value in values.items() if value is not None}
        return


_MINUTE = str(int(MINUTE_S))


def _policies(field: str) -> dict[str, dict[str, str]]:
    """Read a structured field: the parameters of each of its items, by name; unnamed ones are one item."""
    found: dict[str, dict[str, str]] = {}
    for item in field[:2000].split(","):
        name = _policy_name.match(item)
        parameters = {key.lower(): value for key, value in _parameter.findall(item)}
        found.setdefault("" if name is None else name[1], {}).update(parameters)
    return found
