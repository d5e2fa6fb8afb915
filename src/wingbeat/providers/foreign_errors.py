"""What an error body in the form of OpenAI or of Anthropic means; of those who copy OpenAI's form too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from wingbeat.model.answer import Failure, FailureKind, QuotaViolation
from wingbeat.model.limit import DAY_S
from wingbeat.providers.gemini_errors import kind_of_status, one_line, printable, read_json
from wingbeat.providers.limit_texts import is_too_large, read_limit_text
from wingbeat.providers.waits import read_wait

_MONEY_CODES = frozenset(
    [
        "insufficient_quota",
        "credit_balance_exhausted",
        "billing_hard_limit_reached",
        "billing_error",
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
    ]
)
"""Codes and types that no waiting cures, whatever their status. Source: the error pages of both, 2026."""

_MONEY_WORDS = ("credit balance is too low", "reached your specified API usage limits")
"""Anthropic's texts of status 400 for the same. Source: public error bodies of 2025 and 2026."""

_BY_CODE = {
    "context_length_exceeded": FailureKind.TOO_LARGE,
    "model_not_found": FailureKind.NOT_FOUND,
    "invalid_api_key": FailureKind.INVALID_KEY,
    "capacity_exceeded": FailureKind.OVERLOADED,
    "server_is_overloaded": FailureKind.OVERLOADED,
}
"""Codes that say more than the status beside them: OpenAI's, and Groq's 498."""

_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that an error would have had, had it not come amid a stream. Source: Anthropic's error page."""

_LONGEST_WAIT_FOR_DAY_S = 3600.0
"""A day's limit that is refilled all the time is waited for like a minute's; this long and longer, it is not."""


class _Error(msgspec.Struct):
    """The members of an error that are well-formed."""

    message: str
    codes: tuple[str, ...]
    """Anthropic's ``error_code``, then OpenAI's ``code``, then the ``type`` of both, as far as there."""


def _read(body: bytes) -> _Error | None:
    """Read an error in one of the forms; None for another, Gemini's included."""
    value = read_json(body)
    error: Any = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, str):
        return _Error(error, ())
    if not isinstance(error, dict) or isinstance(error.get("status"), str):
        return None
    details = error.get("details")
    candidates = (
        details.get("error_code") if isinstance(details, dict) else None,
        error.get("code"),
        error.get("type"),
    )
    codes = tuple(code for code in candidates if isinstance(code, str) and code)
    message = error.get("message")
    return _Error(message if isinstance(message, str) else "", codes) if codes else None


def classify_foreign(status: int | None, headers: Mapping[str, str], body: bytes) -> Failure | None:
    """
    Classify an error in the form of OpenAI or Anthropic. Never raises.

    Args:
        status: HTTP status of the error, or None where it came in the middle of a stream.
        headers: Headers of the reply, names in lower case.
        body: Its body.

    Returns:
        The failure, or None for a body of another form, or one without a status of which no type is known.
    """
    error = _read(body)
    if error is None:
        return None
    if status is None:
        status = next((_STATUS_OF_TYPE[code] for code in error.codes if code in _STATUS_OF_TYPE), None)
        if status is None:
            return None
    wait_s = read_wait(headers, error.message)
    violations: tuple[QuotaViolation, ...] = ()
    if status in (413, 429):
        violations = read_limit_text(error.message)
    kind = _kind(status, error, violations, wait_s)
    code = printable(error.codes[0][:100]) if error.codes else None
    return Failure(kind, one_line(error.message, status), wait_s, code, status, violations)


def _kind(status: int, error: _Error, violations: tuple[QuotaViolation, ...], wait_s: float | None) -> FailureKind:
    """
    Tell the failures of one status apart.

    The cases, in order:
        1. Money: no waiting cures it.
        2. A code that says more than the status.
        3. A refusal for quota, by what its words say.
        4. All else, by the status.
    """
    if not _MONEY_CODES.isdisjoint(error.codes) or any(words in error.message for words in _MONEY_WORDS):
        return FailureKind.SPENDING_LIMIT
    for code in error.codes:
        if code in _BY_CODE:
            return _BY_CODE[code]
    kind = kind_of_status(status)
    return refusal_kind(error.message, violations, wait_s) if kind is FailureKind.RATE_LIMITED else kind


def refusal_kind(text: str, violations: tuple[QuotaViolation, ...], wait_s: float | None) -> FailureKind:
    """
    Tell the kinds of 429 apart by their words.

    Args:
        text: The service's words.
        violations: The limits that they name.
        wait_s: Seconds that the service asked to wait, or None.
    """
    if any(item.limit == 0 for item in violations):
        return FailureKind.NO_QUOTA
    if is_too_large(text):
        return FailureKind.TOO_LARGE
    names_day = any(item.window_s is not None and item.window_s >= DAY_S for item in violations)
    if names_day and (wait_s is None or wait_s > _LONGEST_WAIT_FOR_DAY_S):
        return FailureKind.DAY_QUOTA
    return FailureKind.RATE_LIMITED
