"""What the exceptions and results of the vendors' own clients tell a run."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest

from wingbeat.calls import FunctionCaller, classify_exception
from wingbeat.model.answer import Completion, FailureKind, QuotaViolation
from wingbeat.model.limit import LimitHint

OPENAI_BODY = {
    "message": "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29937, Requested 385. "
    "Please try again in 644ms.",
    "type": "tokens",
    "param": None,
    "code": "rate_limit_exceeded",
}
OPENAI_HEADERS = {
    "X-RateLimit-Limit-Tokens": "30000",
    "X-RateLimit-Remaining-Tokens": "63",
    "X-RateLimit-Reset-Tokens": "59.874s",
    "Retry-After": "1",
}
OPENAI_HINTS = (LimitHint("tokens", 30_000.0, 63.0, 59.874),)
OPENAI_LIMIT = QuotaViolation("tokens per min (TPM)", "tokens", 60.0, 30_000.0)

ANTHROPIC_BODY = {
    "type": "error",
    "error": {
        "type": "rate_limit_error",
        "message": "This request would exceed your organization's rate limit of 40,000 input tokens per minute.",
    },
    "request_id": "req_0",
}
ANTHROPIC_HEADERS = {
    "date": "Mon, 02 Jun 2025 15:14:45 GMT",
    "retry-after": "16",
    "anthropic-ratelimit-input-tokens-limit": "40000",
    "anthropic-ratelimit-input-tokens-remaining": "0",
    "anthropic-ratelimit-input-tokens-reset": "2025-06-02T15:15:48Z",
}
ANTHROPIC_HINTS = (LimitHint("input_tokens", 40_000.0, 0.0, 63.0),)


class Response:
    """A reply as httpx gives it, as far as it is looked at."""

    def __init__(self, headers: Any, content: bytes = b"") -> None:
        self.headers = UserDict(headers)
        self.content = content


class RateLimitError(Exception):
    """An error with the fields that openai 3.54 and anthropic 2.12 give theirs."""

    def __init__(self, body: Any, headers: dict[str, str], status_code: int = 429, **fields: Any) -> None:
        super().__init__(f"Error code: {status_code} - {body}")
        self.status_code = status_code
        self.body = body
        self.response = Response(headers)
        for name, value in fields.items():
            setattr(self, name, value)


def test_an_error_of_openais_client() -> None:
    """Its body comes without its envelope; wait, limit and hints are read all the same."""
    failure = classify_exception(RateLimitError(OPENAI_BODY, OPENAI_HEADERS, code="rate_limit_exceeded", type="tokens"))
    assert (failure.kind, failure.retry_after_s) == (FailureKind.RATE_LIMITED, 0.644)
    assert (failure.violations, failure.hints) == ((OPENAI_LIMIT,), OPENAI_HINTS)


def test_an_error_of_anthropics_client() -> None:
    """Its body comes whole, and a part of it as ``details``."""
    error = RateLimitError(ANTHROPIC_BODY, ANTHROPIC_HEADERS, type="rate_limit_error", details=None)
    failure = classify_exception(error)
    assert (failure.kind, failure.retry_after_s) == (FailureKind.RATE_LIMITED, 16.0)
    assert (failure.violations[0].limit, failure.hints) == (40_000.0, ANTHROPIC_HINTS)


def test_details_that_are_a_part_of_the_body_do_not_hide_it() -> None:
    """A spent account is told by the body's code, whatever else the error carries."""
    details = {"error_code": "enforced_spend_limit_reached"}
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": "Spent.", "details": details}}
    failure = classify_exception(RateLimitError(body, {}, details=details, error_code=details["error_code"]))
    assert failure.kind is FailureKind.SPENDING_LIMIT


def test_an_error_amid_a_stream_is_read_by_its_type() -> None:
    """An error event in an answer of status 200 is judged by the type in its body."""
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert classify_exception(RateLimitError(body, {}, status_code=200)).kind is FailureKind.OVERLOADED


@pytest.mark.parametrize(
    ("words", "kind", "wait_s"),
    [
        (OPENAI_BODY["message"], FailureKind.RATE_LIMITED, 0.644),
        ("Error code: 429 - {'error': {'code': 'insufficient_quota'}}", FailureKind.SPENDING_LIMIT, None),
        ("Request too large for gpt-4o", FailureKind.TOO_LARGE, None),
        ("429 Too Many Requests", FailureKind.RATE_LIMITED, None),
    ],
)
def test_a_client_that_keeps_only_the_words(words: str, kind: FailureKind, wait_s: float | None) -> None:
    """Where a wrapper drops the body, its message is read."""
    error = RateLimitError(None, {})
    error.args = (f"wrapper.RateLimitError: {words}",)
    failure = classify_exception(error)
    assert (failure.kind, failure.retry_after_s) == (kind, wait_s)


async def returned(value: Any) -> Completion:
    """Have a function return a value, and give the completion of it."""

    async def call(_item: Any) -> Any:
        return value

    result = await FunctionCaller(call).call(None, 5.0)
    assert isinstance(result, Completion)
    return result


async def test_a_result_with_headers_tells_limits() -> None:
    """A raw response, as openai's and anthropic's ``with_raw_response`` return it, gives its hints on."""
    value = Response(OPENAI_HEADERS)
    result = await returned(value)
    assert (result.value, result.hints) == (value, OPENAI_HINTS)


class Odd:
    """Something whose headers can't even be looked at."""

    @property
    def headers(self) -> Any:
        """Fail."""
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value", ["text", {"headers": OPENAI_HEADERS}, None, 5, Odd(), Response({}), Response({"a": 1})]
)
async def test_other_results_tell_nothing(value: Any) -> None:
    """Results without headers, or with headers of something else, give no hints and are kept as they are."""
    result = await returned(value)
    assert (result.value, result.hints) == (value, ())


def test_the_clients_own_errors() -> None:
    """What openai and anthropic really raise, where they are installed, is read like their likenesses here."""
    httpx = pytest.importorskip("httpx")
    vendors = {
        "openai": ({"error": OPENAI_BODY}, OPENAI_HEADERS, OPENAI_HINTS),
        "anthropic": (ANTHROPIC_BODY, ANTHROPIC_HEADERS, ANTHROPIC_HINTS),
    }
    for name, (body, headers, hints) in vendors.items():
        vendor = pytest.importorskip(name)
        request = httpx.Request("POST", "https://localhost/")
        response = httpx.Response(429, headers=headers, json=body, request=request)
        error_body = body["error"] if name == "openai" else body
        failure = classify_exception(vendor.RateLimitError("refused", response=response, body=error_body))
        assert failure.kind is FailureKind.RATE_LIMITED
        assert failure.hints == hints
        assert failure.violations
