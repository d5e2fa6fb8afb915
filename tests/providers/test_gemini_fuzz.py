"""No bytes make the codec raise."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.providers.test_gemini_cases import CASES, load

from wingbeat.ledgers.estimate import TokenEstimator
from wingbeat.model.answer import Completion, Failure, FailureKind
from wingbeat.model.http import HttpReply
from wingbeat.providers.gemini import GeminiCodec

CODEC = GeminiCodec("gemini-2.5-flash")
STATUSES = st.sampled_from([200, 200, 200, 201, 301, 400, 403, 404, 418, 429, 429, 500, 503, 599, 0, 999])
NAMES = [
    "error",
    "code",
    "message",
    "status",
    "details",
    "@type",
    "reason",
    "metadata",
    "quota_limit",
    "quota_limit_value",
    "quotaValue",
    "quotaId",
    "quotaMetric",
    "violations",
    "retryDelay",
    "candidates",
    "content",
    "parts",
    "text",
    "thought",
    "finishReason",
    "finishMessage",
    "promptFeedback",
    "blockReason",
    "usageMetadata",
    "promptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "cachedContentTokenCount",
    "toolUsePromptTokenCount",
    "modelVersion",
    "responseId",
]
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            "google.rpc.QuotaFailure",
            "google.rpc.RetryInfo",
            "google.rpc.ErrorInfo",
            "9" * 400 + "s",
            "1e999",
            "nan",
            "0",
        ]
    ),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(10**300, 10**301),
    st.floats(allow_nan=True, allow_infinity=True),
    TEXTS,
    st.just("\ud800"),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=3)), inner)
    ),
    max_leaves=12,
)


def check(reply: HttpReply) -> Completion | Failure:
    """Decode, and check all that later stages rely on."""
    result = CODEC.decode(reply)
    if isinstance(result, Completion):
        usage = result.usage
        counts = (usage.input_tokens, usage.output_tokens, usage.thinking_tokens, usage.cached_tokens)
        assert all(type(count) is int and 0 <= count < 10**13 for count in counts)
        TokenEstimator().observe(10.0, usage.input_tokens, usage.output_tokens)
        msgspec.json.encode(result)
    else:
        assert isinstance(result, Failure)
        assert isinstance(result.kind, FailureKind)
        assert result.retry_after_s is None or 0 <= result.retry_after_s < 2e9
        assert all(item.limit is None or 0 <= item.limit < 1e15 for item in result.violations)
        assert result.detail.isprintable()
        msgspec.json.encode(result)
    return result


@settings(max_examples=150, deadline=None)
@given(STATUSES, st.binary(max_size=60))
@example(200, b"[" * 100_000)
@example(200, b'{"candidates":' + b"[" * 100_000)
@example(200, b'{"a":' * 50_000)
@example(200, b'{"candidates": [], "x": "\\ud800"}')
@example(429, b'{"error": {"details": [{"@type": ' + b"[" * 500 + b"]" * 500 + b"}]}}")
@example(
    429, b'{"error": {"details": [{"@type": "google.rpc.QuotaFailure", "violations": [{"quotaValue": 1' + b"0" * 400
)
@example(200, b"1" + b"0" * 5000)
@example(200, b'{"usageMetadata": {"promptTokenCount": 1' + b"0" * 5000 + b"}}")
@example(200, b"\xef\xbb\xbf{}")
@example(200, b'{"candidates": [{"content": {"parts": [{"text": "\xff"}]}}]}')
@example(503, b"\x00" * 1000)
def test_any_bytes(status: int, body: bytes) -> None:
    """Random bytes, endless nesting and huge numbers give a completion or a failure."""
    check(HttpReply(status, {}, body))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(STATUSES, VALUES, st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date"]), TEXTS))
def test_any_json(status: int, value: Any, headers: dict[str, str]) -> None:
    """Random JSON made of the names that the codec knows gives a completion or a failure."""
    check(HttpReply(status, headers, json.dumps(value).encode()))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, item in items for inner in places(item, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy with the value at a path replaced; ``...`` drops it."""
    if not path:
        return None if new is ... else new
    if isinstance(value, dict):
        return {
            key: replaced(item, path[1:], new) if key == path[0] else item
            for key, item in value.items()
            if not (key == path[0] and len(path) == 1 and new is ...)
        }
    return [replaced(item, path[1:], new) if index == path[0] else item for index, item in enumerate(value)]


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_mutation_of_a_known_reply(data: st.DataObject) -> None:
    """A known reply with one value dropped, swapped for another type, or cut anywhere is still read or refused."""
    reply, _ = load(data.draw(st.sampled_from(CASES)))
    try:
        value = json.loads(reply.body)
    except ValueError:
        value = reply.body.decode()
    path = data.draw(st.sampled_from(places(value)))
    body = json.dumps(replaced(value, path, data.draw(st.one_of(st.just(...), VALUES)))).encode()
    if data.draw(st.booleans()):
        body = body[: data.draw(st.integers(0, len(body)))]
    check(HttpReply(data.draw(st.sampled_from([reply.status, 200])), reply.headers, body))


GOOD, _ = load(next(file for file in CASES if file.stem == "ok"))
GOOD_VALUE = json.loads(GOOD.body)
NEEDED = ("candidates", 0, "content", "parts", 0, "text")
ODD: list[Any] = [..., None, True, 5, -1, 1.5, 10**40, float("nan"), "x", "\ud800", [], [[]], {}, {"x": 1}]


@pytest.mark.parametrize("path", [path for path in places(GOOD_VALUE) if path != NEEDED[: len(path)]], ids=str)
def test_a_paid_answer_survives_any_odd_value_beside_it(path: tuple[Any, ...]) -> None:
    """Whatever one value beside the text turns into, the text is kept."""
    for odd in ODD:
        result = check(HttpReply(200, {}, json.dumps(replaced(GOOD_VALUE, path, odd)).encode()))
        assert isinstance(result, Completion), odd
        assert result.text == "The Loire."
