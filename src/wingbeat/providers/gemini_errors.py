"""What a Gemini error body means: which failure it is, for how long, and which limits it names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from wingbeat.model.answer import Failure, FailureKind, QuotaViolation
from wingbeat.providers.waits import header_wait, read_span, text_wait

_LIMIT_ZERO = re.compile(r"\blimit:\s*0\b")

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on bytes that are no JSON, not UTF-8, or nested without end."""

LONGEST_DETAIL = 2000
"""Characters of the service's own words that are kept."""

_PERMANENT_MONEY = ("spending cap", "prepayment credits", "prepaid credits")
"""Texts of 429 that no waiting cures. Source: public bodies of 2025 and 2026."""

_FILE_REFUSED = "permission to access the File"
"""A 403 that is about a file which one request names, not about the key. Source: googleapis/python-genai issue 1218."""

_BY_STATUS = {
    400: FailureKind.INVALID_REQUEST,
    401: FailureKind.INVALID_KEY,
    402: FailureKind.SPENDING_LIMIT,
    403: FailureKind.PERMISSION,
    404: FailureKind.NOT_FOUND,
    408: FailureKind.TIMEOUT,
    409: FailureKind.SERVER_ERROR,
    413: FailureKind.TOO_LARGE,
    429: FailureKind.RATE_LIMITED,
    499: FailureKind.SERVER_ERROR,
    503: FailureKind.OVERLOADED,
    504: FailureKind.TIMEOUT,
    529: FailureKind.OVERLOADED,
}


def malformed(body: bytes) -> Failure:
    """Return the failure of a 200 whose body is no answer."""
    if not body:
        return Failure(FailureKind.MALFORMED_REPLY, "the reply has an empty body", status=200)
    return Failure(FailureKind.MALFORMED_REPLY, f"the reply is not an answer: {_shown(body)}", status=200)


def _shown(body: bytes) -> str:
    """Return the start of a body, safe to print on one line."""
    text = bytes(body[:120]).decode("utf-8", "replace")
    return repr(printable(text))


def read_json(body: bytes) -> Any:
    """
    Read JSON as leniently as can be done without guessing; None for bytes that are none.

    What msgspec refuses and answers may still hold (NaN, half a surrogate pair, a byte that is not UTF-8) is left to
    the standard library.
    """
    try:
        return msgspec.json.decode(body)
    except UNREADABLE:
        pass
    try:
        return json.loads(bytes(body).decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


class _Status(msgspec.Struct):
    """The members of google.rpc.Status that are well-formed; the rest is left out."""

    code: int
    message: str
    status: str | None
    details: list[dict[str, Any]]


def _read_status(http_status: int, body: bytes) -> _Status | None:
    """Read the error envelope, bare or in an array of one (streams, compatible paths); None for other bytes."""
    value = read_json(body)
    if isinstance(value, list) and value:
        value = value[0]
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return None
    code, message, status, details = (error.get(name) for name in ("code", "message", "status", "details"))
    return _Status(
        code=code if isinstance(code, int) and 100 <= code <= 599 else http_status,
        message=message if isinstance(message, str) else "",
        status=status if isinstance(status, str) else None,
        details=[item for item in details if isinstance(item, dict)] if isinstance(details, list) else [],
    )


def classify_error(http_status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """
    Classify a reply that is not an answer. Never raises.

    Args:
        http_status: Status of the reply; 200 when an error came inside an answer's place.
        headers: Its headers, names in lower case.
        body: Its body.
    """
    error = _read_status(http_status, body)
    if error is None:
        kind = kind_of_status(http_status)
        return Failure(kind, f"HTTP {http_status}: {_shown(body)}", header_wait(headers), status=http_status)
    kind = kind_of_status(error.code)
    wait_s = _told_wait(error, headers)
    violations: tuple[QuotaViolation, ...] = ()
    if kind is FailureKind.RATE_LIMITED:
        violations = tuple(_violations(error))
        kind = _quota_kind(error, violations)
    elif kind is FailureKind.INVALID_REQUEST:
        kind = _invalid_kind(error)
    elif kind is FailureKind.PERMISSION and _FILE_REFUSED in error.message:
        kind = FailureKind.INVALID_REQUEST
    code = None if error.status is None else printable(error.status)
    return Failure(kind, one_line(error.message, error.code), wait_s, code, error.code, violations)


def kind_of_status(status: int) -> FailureKind:
    """Return what an HTTP status alone says."""
    kind = _BY_STATUS.get(status)
    if kind is not None:
        return kind
    if status >= 500:
        return FailureKind.SERVER_ERROR
    if status >= 400:
        return FailureKind.INVALID_REQUEST
    return FailureKind.MALFORMED_REPLY


def one_line(message: str, code: int) -> str:
    """Return a service's words as one printable line of bounded length."""
    text = " ".join(message[: 4 * LONGEST_DETAIL].split())[:LONGEST_DETAIL]
    shown = printable(text)
    return shown or f"HTTP {code} without a message"


def printable(text: str) -> str:
    """Return a text without what a terminal or UTF-8 can't take: escapes, half surrogate pairs."""
    return "".join(char if char.isprintable() else " " for char in text)


def _invalid_kind(error: _Status) -> FailureKind:
    """Tell a refused key, a refused country and an overlong prompt from an ordinary bad request."""
    if any(item.get("reason") == "API_KEY_INVALID" for item in error.details) or "API key not valid" in error.message:
        return FailureKind.INVALID_KEY
    if error.status == "FAILED_PRECONDITION" or "User location is not supported" in error.message:
        return FailureKind.PERMISSION
    if "exceeds the maximum number of tokens" in error.message:
        return FailureKind.TOO_LARGE
    return FailureKind.INVALID_REQUEST


def _quota_kind(error: _Status, violations: tuple[QuotaViolation, ...]) -> FailureKind:
    """
    Tell the kinds of 429 apart; the order matters, since a day's violation still carries a short retryDelay.

    Source: recorded 429 bodies of the Gemini API, and gemini-cli's ``googleQuotaErrors.ts`` (August 2026).
    """
    if any(text in error.message for text in _PERMANENT_MONEY):
        return FailureKind.SPENDING_LIMIT
    if _LIMIT_ZERO.search(error.message) or any(item.limit == 0 for item in violations):
        return FailureKind.NO_QUOTA
    if any(item.window_s == 86_400.0 for item in violations):
        return FailureKind.DAY_QUOTA
    return FailureKind.RATE_LIMITED


def _violations(error: _Status) -> list[QuotaViolation]:
    found = []
    for item in error.details:
        kind = _text(item.get("@type"))
        if kind.endswith("google.rpc.QuotaFailure"):
            raw = item.get("violations")
            found += [_violation(x) for x in raw if isinstance(x, dict)] if isinstance(raw, list) else []
        elif kind.endswith("google.rpc.ErrorInfo") and isinstance(item.get("metadata"), dict):
            metadata = item["metadata"]
            if "quota_limit" in metadata:
                value = {"quotaId": metadata["quota_limit"], "quotaValue": metadata.get("quota_limit_value")}
                found.append(_violation(value))
    return found


def _violation(raw: dict[str, Any]) -> QuotaViolation:
    """Read one violation. ``quotaValue`` is left out when the limit is 0 or unknown, so None is not 0."""
    metric = _text(raw.get("quotaMetric"))
    quota_id = _text(raw.get("quotaId")) or metric
    names = quota_id + metric
    if "Token" in names or "token" in names:
        resource: str | None = "input_tokens"
    else:
        resource = "requests" if "equest" in names else None
    window_s = 86_400.0 if "PerDay" in quota_id else 60.0 if "PerMinute" in quota_id else None
    try:
        limit = float(raw["quotaValue"])
    except (KeyError, TypeError, ValueError, OverflowError):
        limit = None
    return QuotaViolation(quota_id, resource, window_s, limit if limit is None or 0 <= limit < 1e15 else None)


def _told_wait(error: _Status, headers: Mapping[str, str]) -> float | None:
    """
    Return the wait that the service asked for, in seconds.

    The message is precise; ``retryDelay`` is cut to whole seconds, so one is added.
    Source: recorded 429 bodies of the Gemini API.
    """
    told_s = text_wait(error.message)
    if told_s is not None:
        return told_s
    for item in error.details:
        if _text(item.get("@type")).endswith("google.rpc.RetryInfo"):
            delay = item.get("retryDelay")
            delay_s = read_span(delay) if isinstance(delay, str) else None
            if delay_s is not None:
                return delay_s + 1.0
    return header_wait(headers)


def _text(value: Any) -> str:
    return printable(value) if isinstance(value, str) else ""
