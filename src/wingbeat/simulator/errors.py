"""
The Gemini API's error bodies, word for word.

Source: recorded bodies of the Gemini API in public test suites and issue threads, 2025-2026. Those that no recording
covers say so.
"""

from typing import Any

import msgspec

from wingbeat.simulator.quota import Dimension, QuotaRefusal, Violation

_TYPE = "type.googleapis.com/google.rpc."
_SERVICE = "generativelanguage.googleapis.com"
_RATE_LIMITS_PAGE = "https://ai.google.dev/gemini-api/docs/rate-limits"


class GoogleError(msgspec.Struct, frozen=True):
    """One `google.rpc.Status`, with its HTTP code."""

    code: int
    status: str
    message: str
    details: tuple[dict[str, Any], ...] = ()

    def body(self, *, wrapped: bool = False) -> bytes:
        """Return the JSON; `wrapped` puts it into an array, as streams without `alt=sse` do."""
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = self.details
        return msgspec.json.encode([{"error": error}] if wrapped else {"error": error})


def invalid_argument(message: str, details: tuple[dict[str, Any], ...] = ()) -> GoogleError:
    """Return a 400 `INVALID_ARGUMENT`."""
    return GoogleError(400, "INVALID_ARGUMENT", message, details)


def bad_fields(violations: list[tuple[str, str]]) -> GoogleError:
    """Return the 400 for (field, description) pairs. Not recorded: follows Google's general API practice."""
    listed = [{"field": field, "description": description} for field, description in violations]
    message = "\n".join(description for _, description in violations)
    return invalid_argument(message, ({"@type": f"{_TYPE}BadRequest", "fieldViolations": listed},))


def too_many_input_tokens(count: int, limit: int) -> GoogleError:
    """Return the 400 for a prompt that the model can't read whole."""
    return invalid_argument(f"The input token count ({count}) exceeds the maximum number of tokens allowed ({limit}).")


def body_too_large(limit: int) -> GoogleError:
    """Return the 400 for a request body above `limit` bytes. Not recorded."""
    return invalid_argument(f"Request payload size exceeds the limit: {limit} bytes.")


def key_invalid() -> GoogleError:
    """Return the 400 for a key that does not exist."""
    text = "API key not valid. Please pass a valid API key."
    reason = {"reason": "API_KEY_INVALID", "domain": "googleapis.com", "metadata": {"service": _SERVICE}}
    return invalid_argument(
        text,
        (
            {"@type": f"{_TYPE}ErrorInfo", **reason},
            {"@type": f"{_TYPE}LocalizedMessage", "locale": "en-US", "message": text},
        ),
    )


def key_missing() -> GoogleError:
    """Return the 403 for a request without a key. The text is widely quoted; no recording was at hand."""
    return GoogleError(
        403,
        "PERMISSION_DENIED",
        "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or "
        "other form of API consumer identity to call this API.",
    )


def key_blocked(version: str, method: str) -> GoogleError:
    """Return the 403 for a key that may not use this API."""
    name = f"google.ai.generativelanguage.{version}.GenerativeService.{method[:1].upper()}{method[1:]}"
    reason = {
        "reason": "API_KEY_SERVICE_BLOCKED",
        "domain": "googleapis.com",
        "metadata": {"service": _SERVICE, "methodName": name},
    }
    return GoogleError(
        403,
        "PERMISSION_DENIED",
        f"Requests to this API {_SERVICE} method {name} are blocked.",
        ({"@type": f"{_TYPE}ErrorInfo", **reason},),
    )


def model_not_found(model: str, version: str, method: str) -> GoogleError:
    """Return the 404 for a model that is unknown or does not offer `method`."""
    return GoogleError(
        404,
        "NOT_FOUND",
        f"models/{model} is not found for API version {version}, or is not supported for {method}. "
        "Call ListModels to see the list of available models and their supported methods.",
    )


def internal() -> GoogleError:
    """Return the 500."""
    return GoogleError(
        500,
        "INTERNAL",
        "An internal error has occurred. Please retry or report in "
        "https://developers.generativeai.google/guide/troubleshooting",
    )


def unavailable(*, new_text: bool) -> GoogleError:
    """Return the 503; its text changed around the end of 2025."""
    text = (
        "This model is currently experiencing high demand. Spikes in demand are usually temporary. "
        "Please try again later."
        if new_text
        else "The model is overloaded. Please try again later."
    )
    return GoogleError(503, "UNAVAILABLE", text)


def deadline_exceeded() -> GoogleError:
    """Return the 504."""
    return GoogleError(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete.")


def exhausted() -> GoogleError:
    """Return the short 429, which names no quota and no wait."""
    return GoogleError(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).")


def spending_cap() -> GoogleError:
    """Return the 429 of a project that has spent what it may."""
    return GoogleError(
        429,
        "RESOURCE_EXHAUSTED",
        "Your project has exceeded its monthly spending cap. Please go to AI Studio at https://ai.studio/spend "
        "to manage your project spend cap.",
    )


def quota_exceeded(refusal: QuotaRefusal, model: str, tier: str | None) -> GoogleError:
    """
    Return the full 429: every violation, and the wait.

    `retryDelay` is cut to whole seconds while the message is exact, as recorded.
    """
    wait = f"{refusal.wait_s:.9f}".rstrip("0").rstrip(".")
    lines = "".join(
        f"\n* Quota exceeded for metric: {_metric(violation, tier)}, limit: {violation.limit}, model: {model}"
        for violation in refusal.violations
    )
    message = (
        "You exceeded your current quota, please check your plan and billing details. For more information on this "
        f"error, head to: {_RATE_LIMITS_PAGE}. To monitor your current usage, head to: https://ai.dev/rate-limit. "
        f"{lines}\nPlease retry in {wait}s."
    )
    link = {"description": "Learn more about Gemini API quotas", "url": _RATE_LIMITS_PAGE}
    return GoogleError(
        429,
        "RESOURCE_EXHAUSTED",
        message,
        (
            {"@type": f"{_TYPE}Help", "links": [link]},
            {
                "@type": f"{_TYPE}QuotaFailure",
                "violations": [_violation(violation, model, tier) for violation in refusal.violations],
            },
            {"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{int(refusal.wait_s)}s"},
        ),
    )


def quota_id(dimension: Dimension, tier: str | None) -> str:
    """Return the `quotaId`; a quota of no tier is called a paid one."""
    suffix = {"free": "-FreeTier", None: "-PaidTier"}.get(tier, f"-PaidTier{tier}")
    match dimension:
        case Dimension.REQUESTS_PER_MINUTE:
            return f"GenerateRequestsPerMinutePerProjectPerModel{suffix}"
        case Dimension.REQUESTS_PER_DAY:
            return f"GenerateRequestsPerDayPerProjectPerModel{suffix}"
        case Dimension.INPUT_TOKENS_PER_MINUTE if tier == "free":
            return "GenerateContentInputTokensPerModelPerMinute-FreeTier"
        case Dimension.INPUT_TOKENS_PER_MINUTE:
            return "GenerateContentPaidTierInputTokensPerModelPerMinute"


def _violation(violation: Violation, model: str, tier: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "quotaMetric": _metric(violation, tier),
        "quotaId": quota_id(violation.dimension, tier),
        "quotaDimensions": {"location": "global", "model": model},
    }
    # A limit of 0 is left out, as protobuf JSON leaves out zeros.
    return {**found, "quotaValue": str(violation.limit)} if violation.limit else found


def _metric(violation: Violation, tier: str | None) -> str:
    # `paid_tier_2_requests` is recorded; `paid_tier_3_requests` follows it.
    plan = "free_tier" if tier == "free" else "paid_tier"
    if violation.dimension is Dimension.INPUT_TOKENS_PER_MINUTE:
        return f"{_SERVICE}/generate_content_{plan}_input_token_count"
    if tier in ("2", "3"):
        plan = f"{plan}_{tier}"
    return f"{_SERVICE}/generate_content_{plan}_requests"
