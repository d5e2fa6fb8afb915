"""What became of a request: a completion, a failure, and the outcome that a record ends with."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from wingbeat.model.limit import LimitHint


class Usage(msgspec.Struct, frozen=True, gc=False):
    """
    Tokens that one answer took, named as in the OpenTelemetry GenAI conventions.

    Args:
        input_tokens: Prompt tokens, cached ones included.
        output_tokens: Answer tokens, thinking included.
        thinking_tokens: Part of ``output_tokens`` spent on thinking.
        cached_tokens: Part of ``input_tokens`` read from the service's prompt cache.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int = 0
    cached_tokens: int = 0


class Completion(msgspec.Struct, frozen=True):
    """
    An answer, whole or cut short or withheld, as the service gave it.

    Args:
        text: The answer's text; empty when it was withheld, None when the answer is no text.
        finish_reason: Why it ended, in the service's own word (``STOP``, ``MAX_TOKENS``, ``SAFETY`` …).
        usage: Tokens it took.
        model: The model version that the service says answered.
        response_id: The service's own identifier, or None.
        withheld: True when the service blocked or refused the answer.
        value: What a call of the user's own returned; None for answers over the wire.
        hints: What the reply's headers say of the service's limits.
    """

    text: str | None
    finish_reason: str | None
    usage: Usage
    model: str | None = None
    response_id: str | None = None
    withheld: bool = False
    value: Any = None
    hints: tuple[LimitHint, ...] = ()


class FailureKind(StrEnum):
    """Every way in which an attempt can fail; the retry rules are written against these."""

    RATE_LIMITED = "rate_limited"
    """The quota of the minute refused the request."""
    DAY_QUOTA = "day_quota"
    """The quota of the day is used up."""
    NO_QUOTA = "no_quota"
    """The key's plan has no quota for this model at all."""
    SPENDING_LIMIT = "spending_limit"
    """The account may not spend more."""
    INVALID_KEY = "invalid_key"
    """The service does not know the key, or the key was turned off."""
    PERMISSION = "permission"
    """The key may not use this service, model or place."""
    NOT_FOUND = "not_found"
    """There is no such model, or no such API version."""
    INVALID_REQUEST = "invalid_request"
    """The service refuses this request as it is."""
    TOO_LARGE = "too_large"
    """The request can never fit: into the model, or into the quota of a minute."""
    OVERLOADED = "overloaded"
    """The service has no capacity now (503 and the like)."""
    SERVER_ERROR = "server_error"
    """The service failed (500 and the like)."""
    TIMEOUT = "timeout"
    """No reply came within the time allowed, at the service or here."""
    CONNECTION = "connection"
    """The connection could not be made, or was lost."""
    MALFORMED_REPLY = "malformed_reply"
    """The reply is truncated, empty, not JSON, or JSON of another shape."""
    EMPTY_ANSWER = "empty_answer"
    """The model ended without saying anything."""
    INVALID_INPUT = "invalid_input"
    """The row itself can't be asked; nothing was sent."""
    DEADLINE = "deadline"
    """The record's own time was used up before there was an answer."""
    CALL_ERROR = "call_error"
    """A call of the user's own raised something that is neither an HTTP status nor a lost connection."""


class QuotaViolation(msgspec.Struct, frozen=True):
    """
    One limit that the service says was passed.

    Args:
        quota_id: The service's name for the limit.
        resource: ``requests``, ``input_tokens``, ``output_tokens`` or ``tokens``, or None when the name tells none.
        window_s: Seconds of its window (60 or 86,400), or None when unknown.
        limit: Its value in units per window, or None when not said.
    """

    quota_id: str
    resource: str | None
    window_s: float | None
    limit: float | None


class Failure(msgspec.Struct, frozen=True):
    """
    Why an attempt has no completion. A value, never raised.

    Args:
        kind: Which of the closed set it is.
        detail: One line for a person, in the service's words where it spoke.
        retry_after_s: Seconds that the service asked to wait, or None.
        provider_code: The service's own code (``RESOURCE_EXHAUSTED``, …), or None.
        status: HTTP status, or None when no reply came.
        violations: The limits that were passed, as far as the service named them.
        usage: Tokens that were billed although there is no answer, or None.
        hints: What the reply's headers say of the service's limits.
    """

    kind: FailureKind
    detail: str
    retry_after_s: float | None = None
    provider_code: str | None = None
    status: int | None = None
    violations: tuple[QuotaViolation, ...] = ()
    usage: Usage | None = None
    hints: tuple[LimitHint, ...] = ()


class ErrorDetail(msgspec.Struct, frozen=True):
    """The failure that a record ended with: ``kind`` is a `FailureKind`, ``message`` is for a person."""

    kind: str
    message: str


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    What a record ended with: one answer, or one error.

    Args:
        id: The row's identifier, or None when it had none.
        index: Its position in the input, from 0.
        text: The answer, or None when there is none.
        finish_reason: Why the answer ended, in the service's own word.
        usage: Tokens of the answer, or None when there is none.
        cost_usd: Its price in US dollars, or None when no price is known.
        latency_s: Seconds from sending the attempt that answered (or failed last) to its reply.
        attempts: Requests sent for it.
        model: Route and model that answered; ``sim/…`` for simulated answers.
        error: Why there is no answer, or None.
        value: What a call of the user's own returned (`wingbeat.map` only).
        columns: Input columns carried along, or None.
    """

    id: str | int | None
    index: int
    text: str | None
    finish_reason: str | None
    usage: Usage | None
    cost_usd: float | None
    latency_s: float | None
    attempts: int
    model: str
    error: ErrorDetail | None
    value: Any = None
    columns: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """True when there is an answer (a withheld or shortened one counts)."""
        return self.error is None
