"""What the error bodies of OpenAI, Anthropic and those who copy them mean."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat.model.answer import Failure, FailureKind, QuotaViolation
from wingbeat.providers.foreign_errors import classify_foreign

TPM = "Rate limit reached for gpt-4o in organization org-0 on tokens per min (TPM): Limit 30000, Used 29937, Requested "
TPD = (
    "Rate limit reached for model `m` in organization `o` on tokens per day (TPD): Limit 100000, Used 97050, Requested "
)


def openai(message: str, kind: str = "invalid_request_error", code: Any = None) -> dict[str, Any]:
    """Return a body in OpenAI's form."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(message: str, kind: str = "rate_limit_error", **details: str) -> dict[str, Any]:
    """Return a body in Anthropic's form."""
    error: dict[str, Any] = {"type": kind, "message": message}
    if details:
        error["details"] = details
    return {"type": "error", "error": error, "request_id": "req_0"}


def classify(status: int | None, body: Any, **headers: str) -> Failure | None:
    """Classify a body that is given as a value."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return classify_foreign(status, named, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, openai(TPM + "385. Please try again in 644ms.", "tokens", "rate_limit_exceeded"), "rate_limited"),
        (429, openai(TPM + "30001. Please try again in 60s.", "tokens", "rate_limit_exceeded"), "too_large"),
        (
            429,
            openai("Request too large for m on tokens per min: Limit 3, Requested 4.", "tokens", "rate_limit_exceeded"),
            "too_large",
        ),
        (413, openai("Request too large for model m", "tokens", "rate_limit_exceeded"), "too_large"),
        (429, openai(TPD + "3619. Please try again in 9m38.016s.", "tokens", "rate_limit_exceeded"), "rate_limited"),
        (429, openai(TPD + "9191. Please try again in 1h53m56.832s.", "tokens", "rate_limit_exceeded"), "day_quota"),
        (429, openai(TPD + "9191.", "tokens", "rate_limit_exceeded"), "day_quota"),
        (429, openai("You exceeded your current quota.", "insufficient_quota", "insufficient_quota"), "spending_limit"),
        (429, openai("No credits.", "insufficient_quota", "credit_balance_exhausted"), "spending_limit"),
        (429, openai("Slower.", "rate_limit_error", "slow_down"), "rate_limited"),
        (503, openai("Overloaded.", "service_unavailable_error", "server_is_overloaded"), "overloaded"),
        (498, openai("No capacity.", "x", "capacity_exceeded"), "overloaded"),
        (500, openai("The server had an error.", "server_error"), "server_error"),
        (401, openai("Incorrect API key provided.", code="invalid_api_key"), "invalid_key"),
        (404, openai("The model does not exist.", code="model_not_found"), "not_found"),
        (400, openai("The requested model does not exist.", code="model_not_found"), "not_found"),
        (400, openai("Too long.", code="context_length_exceeded"), "too_large"),
        (400, openai("Invalid 'temperature'."), "invalid_request"),
        (429, {"error": {"code": "429", "message": "have exceeded token rate limit of your tier."}}, "rate_limited"),
        (503, {"error": "server busy, please try again.  maximum pending requests exceeded"}, "overloaded"),
        (429, anthropic("This request would exceed your account's rate limit."), "rate_limited"),
        (429, anthropic("Too quick.", error_code="ramp_limit_exceeded"), "rate_limited"),
        (429, anthropic("Spent.", error_code="enforced_spend_limit_reached"), "spending_limit"),
        (429, anthropic("Spent.", error_code="contract_spend_limit_reached"), "spending_limit"),
        (429, anthropic("Number of request tokens has exceeded your daily rate limit"), "day_quota"),
        (429, anthropic("exceed your organization's rate limit of 0 fast mode input tokens per minute."), "no_quota"),
        (400, anthropic("Your credit balance is too low to go on.", "invalid_request_error"), "spending_limit"),
        (
            400,
            anthropic("You have reached your specified API usage limits.", "invalid_request_error"),
            "spending_limit",
        ),
        (402, anthropic("Pay.", "billing_error"), "spending_limit"),
        (413, anthropic("Big.", "request_too_large"), "too_large"),
        (529, anthropic("Overloaded", "overloaded_error"), "overloaded"),
        (401, anthropic("invalid x-api-key", "authentication_error"), "invalid_key"),
        (504, anthropic("Slow.", "timeout_error"), "timeout"),
        (None, anthropic("Overloaded", "overloaded_error"), "overloaded"),
        (None, openai("The server had an error.", "server_error"), "server_error"),
        (None, anthropic("Slower.", "rate_limit_error"), "rate_limited"),
    ],
)
def test_each_known_body_is_read_as_its_kind(status: int | None, body: Any, kind: str) -> None:
    """Recorded bodies of OpenAI, Azure, Groq, Ollama and Anthropic are told apart."""
    failure = classify(status, body)
    assert failure is not None
    assert failure.kind == kind
    assert failure.detail


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, {"error": {"code": 429, "message": "Quota.", "status": "RESOURCE_EXHAUSTED"}}),
        (429, {"error": {"code": 429, "message": "Quota."}}),
        (429, [{"error": {"type": "x"}}]),
        (429, {"message": "no"}),
        (429, None),
        (None, {"error": {"code": "own_code", "message": "no type that is known"}}),
    ],
)
def test_other_forms_are_left_to_others(status: int | None, body: Any) -> None:
    """A body in Gemini's form, or in none, is not judged here."""
    assert classify(status, body) is None


def test_a_refusal_carries_all_it_says() -> None:
    """Kind, wait, code and the limit with its value are read from one recorded refusal."""
    failure = classify(
        429, openai(TPM + "385. Please try again in 644ms.", "tokens", "rate_limit_exceeded"), retry_after="1"
    )
    assert failure is not None
    assert (failure.retry_after_s, failure.provider_code, failure.status) == (0.644, "rate_limit_exceeded", 429)
    assert failure.violations == (QuotaViolation("tokens per min (TPM)", "tokens", 60.0, 30_000.0),)


def test_the_header_tells_the_wait_where_the_words_do_not() -> None:
    """Anthropic tells the wait in Retry-After only."""
    failure = classify(429, anthropic("exceed the rate limit of 40,000 input tokens per minute."), retry_after="16")
    assert failure is not None
    assert failure.retry_after_s == 16.0
    assert failure.violations[0].limit == 40_000.0


NAMES = ["error", "message", "type", "code", "details", "error_code", "status"]
LEAVES = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(max_size=9), st.just("\ud800"), st.just("rate_limit_error")
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner)),
    max_leaves=10,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.none(), st.integers(0, 999)),
    st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary()),
)
def test_no_body_makes_it_raise(status: int | None, body: bytes) -> None:
    """Any bytes give a failure whose words can be printed, or nothing."""
    failure = classify_foreign(status, {}, body)
    if failure is not None:
        assert isinstance(failure.kind, FailureKind)
        assert failure.detail.isprintable()
        assert failure.provider_code is None or failure.provider_code.isprintable()
