"""Which limits the words of a refusal name, whichever service spoke; what follows is decided elsewhere."""

from __future__ import annotations

import re

from wingbeat.model.answer import QuotaViolation
from wingbeat.model.limit import DAY_S, INPUT_TOKENS, MINUTE_S, OUTPUT_TOKENS, REQUESTS, TOKENS
from wingbeat.providers.waits import LONGEST_READ, text_wait

_SPANS_S = {
    "sec": 1.0,
    "min": MINUTE_S,
    "per-minute": MINUTE_S,
    "hou": 3600.0,
    "day": DAY_S,
    "dai": DAY_S,
    "mon": 30 * DAY_S,
}
"""Seconds of a window by how its name begins."""

_RESOURCES = {
    "requests": REQUESTS,
    "call": REQUESTS,
    "tokens": TOKENS,
    "token": TOKENS,
    "request tokens": TOKENS,
    "input tokens": INPUT_TOKENS,
    "output tokens": OUTPUT_TOKENS,
}

_NUMBER = r"[0-9][0-9,]{0,20}(?:\.[0-9]{1,6})?"
_SPAN = r"second|sec|minute|min|hour|day|month"

_stated = re.compile(
    rf"\bon (?P<name>(?P<what>(?:[a-z]{{1,12}} )?[a-z]{{1,12}}) per (?P<span>{_SPAN})(?: \([a-z]{{2,6}}\))?)?\s*[:.]\s*"
    rf"limit:? (?P<limit>{_NUMBER})(?: / [a-z]{{1,8}})?"
    rf"(?:,? used:? ~?(?P<used>{_NUMBER}))?(?:,? requested:? ~?(?P<requested>{_NUMBER}))?",
    re.IGNORECASE | re.ASCII,
)
"""OpenAI and Groq. Source: public 429 bodies of 2023 to 2026; one of Groq's leaves the limit's name out."""

_exceeding = re.compile(
    rf"\brate limit(?: for [^.]{{1,120}}?)? of (?P<limit>{_NUMBER}) "
    rf"(?P<name>(?:[a-z]{{1,12}} ){{0,3}}?(?P<what>(?:input |output )?tokens|requests) per (?P<span>{_SPAN}))",
    re.IGNORECASE | re.ASCII,
)
"""Anthropic since 2025. Source: public 429 bodies of 2025 and 2026."""

_exceeded = re.compile(
    r"\bnumber of (?P<what>(?:request |input |output )?tokens|requests) has exceeded your "
    r"(?P<name>(?P<span>per-minute|daily) rate limit)",
    re.IGNORECASE | re.ASCII,
)
"""Anthropic in 2024, without a value. Source: public 429 bodies."""

_azure = re.compile(r"\bexceeded (?P<name>(?P<what>token|call) rate limit)", re.IGNORECASE | re.ASCII)
"""
Azure, without a value or a window. Source: public 429 bodies of 2023 to 2025; the rate is watched over one or ten
seconds, says learn.microsoft.com.
"""

_FORMS = (_stated, _exceeding, _exceeded, _azure)

TOO_LARGE_WORDS = "Request too large"
"""How OpenAI and Groq begin when a request can never fit; the code is that of an ordinary refusal."""


def read_limit_text(text: str) -> tuple[QuotaViolation, ...]:
    """
    Return the limits that the words of a refusal name, each once; none for other words. Never raises.

    A window is not believed when the wait told beside it is more than twice as long: OpenAI has said ``per min`` of
    limits of a month. Source: openai-dotnet issue 404.
    """
    found: dict[tuple[str | None, str], QuotaViolation] = {}
    wait_s = text_wait(text)
    for form in _FORMS:
        for match in form.finditer(text, 0, LONGEST_READ):
            violation = _violation(match.groupdict(), wait_s)
            found.setdefault((violation.resource, violation.quota_id), violation)
    return tuple(found.values())


def _violation(told: dict[str, str | None], wait_s: float | None) -> QuotaViolation:
    name = " ".join((told["name"] or "").split())
    span = (told.get("span") or "").lower()
    window_s = _SPANS_S.get(span) or _SPANS_S.get(span[:3])
    if window_s is not None and wait_s is not None and wait_s > 2 * window_s:
        window_s = None
    resource = _RESOURCES.get(" ".join((told["what"] or "").lower().split()))
    return QuotaViolation(name, resource, window_s, _number(told.get("limit")))


def _number(text: str | None) -> float | None:
    """Read a number with commas between its thousands."""
    if text is None:
        return None
    value = float(text.replace(",", ""))
    return value if value < 1e15 else None


def is_too_large(text: str) -> bool:
    """True when the words of a refusal say that this request never fits, however long one waits."""
    if TOO_LARGE_WORDS in text[:LONGEST_READ]:
        return True
    found = _stated.search(text, 0, LONGEST_READ)
    if found is None:
        return False
    limit, requested = _number(found["limit"]), _number(found["requested"])
    return limit is not None and requested is not None and requested > limit > 0
