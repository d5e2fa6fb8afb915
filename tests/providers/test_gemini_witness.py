"""The simulator shares no code with the codec, and both must agree on every reply."""

from __future__ import annotations

import json

import pytest

from wingbeat.model.answer import Completion, Failure, FailureKind
from wingbeat.model.http import HttpReply
from wingbeat.model.options import Options
from wingbeat.model.record import Request
from wingbeat.providers.gemini import GeminiCodec
from wingbeat.simulator import Reply, SimulatorApp, SimulatorConfig

CODEC = GeminiCodec("gemini-2.5-flash")


def asked(config: str, times: int = 1, codec: GeminiCodec = CODEC, key: str = "some-key", **more: str) -> list[Reply]:
    """Ask a fresh simulator the same question some times within a second."""
    app = SimulatorApp(SimulatorConfig.parse(config), start=0.0)
    request = codec.encode(Request(prompt="What is a wing?", **more))
    return [
        app.respond("POST", request.path, {"x-goog-api-key": key}, request.body, number / 100)
        for number in range(times)
    ]


def read(reply: Reply, codec: GeminiCodec = CODEC) -> Completion | Failure:
    """Decode the simulator's reply."""
    return codec.decode(HttpReply(reply.status, dict(reply.headers), reply.body))


def test_an_answer_is_read_with_its_tokens() -> None:
    """Text, reason and counts of an answer are those that the simulator meant."""
    (reply,) = asked("seed=3")
    result = read(reply)
    assert isinstance(result, Completion)
    raw = json.loads(reply.body)
    assert result.text
    assert result.finish_reason == "STOP"
    assert result.usage.input_tokens + result.usage.output_tokens == raw["usageMetadata"]["totalTokenCount"]


def test_options_are_understood() -> None:
    """The simulator takes every option that the codec encodes."""
    options = Options(temperature=0.1, top_p=0.5, top_k=3, max_output_tokens=500, stop=("zzz",), seed=1)
    app = SimulatorApp(SimulatorConfig(), start=0.0)
    request = CODEC.encode(Request(prompt="x", system="y", options=options))
    reply = app.respond("POST", request.path, {"x-goog-api-key": "k" * 9}, request.body, 0.0)
    assert isinstance(read(reply), Completion)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ("fault.error_429=1", FailureKind.RATE_LIMITED),
        ("fault.error_500=1", FailureKind.SERVER_ERROR),
        ("fault.error_503=1", FailureKind.OVERLOADED),
        ("fault.error_504=1", FailureKind.TIMEOUT),
        ("fault.garbage=1", FailureKind.MALFORMED_REPLY),
        ("fault.html=1", FailureKind.SERVER_ERROR),
        ("fault.empty=1", FailureKind.MALFORMED_REPLY),
        ("fault.wrong_shape=1", FailureKind.MALFORMED_REPLY),
        ("fault.truncate=1", FailureKind.MALFORMED_REPLY),
        ("outage=0:10", FailureKind.OVERLOADED),
    ],
)
def test_each_fault_is_read_as_its_kind(config: str, kind: FailureKind) -> None:
    """Everything that can go wrong in the simulator is told apart."""
    for reply in asked(config, times=3):
        result = read(reply)
        assert isinstance(result, Failure)
        assert result.kind is kind


def test_a_slow_answer_is_an_answer() -> None:
    """A body that drips in is whole in the end."""
    assert isinstance(read(asked("fault.slow_drip=1")[0]), Completion)


@pytest.mark.parametrize(
    ("config", "kind", "resource"),
    [
        ("rpm=1", FailureKind.RATE_LIMITED, "requests"),
        ("rpm=1,tier=free", FailureKind.RATE_LIMITED, "requests"),
        ("tpm=5", FailureKind.RATE_LIMITED, "input_tokens"),
        ("tpm=5,tier=free", FailureKind.RATE_LIMITED, "input_tokens"),
        ("rpd=1", FailureKind.DAY_QUOTA, "requests"),
        ("rpd=1,rpm=1", FailureKind.DAY_QUOTA, "requests"),
        ("rpm=0", FailureKind.NO_QUOTA, "requests"),
        ("rpm=1,bare_refusals=true", FailureKind.RATE_LIMITED, None),
        ("spending_cap_after=1", FailureKind.SPENDING_LIMIT, None),
    ],
)
@pytest.mark.parametrize("enforcement", ["fixed", "sliding", "bucket", "subsecond"])
def test_each_refusal_is_read_as_its_kind(
    config: str, kind: FailureKind, resource: str | None, enforcement: str
) -> None:
    """Refusals name the quota that was passed."""
    result = read(asked(f"{config},enforcement={enforcement}", times=3)[-1])
    assert isinstance(result, Failure)
    assert result.kind is kind
    assert (resource in [item.resource for item in result.violations]) is (resource is not None)


def test_the_told_wait_is_exact() -> None:
    """A request that goes after the told wait is admitted."""
    app = SimulatorApp(SimulatorConfig.parse("rpm=1,enforcement=fixed"), start=0.0)
    request = CODEC.encode(Request(prompt="x"))
    headers = {"x-goog-api-key": "some-key"}
    app.respond("POST", request.path, headers, request.body, 0.0)
    refusal = read(app.respond("POST", request.path, headers, request.body, 0.5))
    assert isinstance(refusal, Failure)
    assert refusal.retry_after_s is not None
    again = app.respond("POST", request.path, headers, request.body, 0.5 + refusal.retry_after_s + 1e-6)
    assert isinstance(read(again), Completion)


@pytest.mark.parametrize(
    ("key", "model", "kind"),
    [
        ("invalid-key", "gemini-2.5-flash", FailureKind.INVALID_KEY),
        ("blocked-key", "gemini-2.5-flash", FailureKind.PERMISSION),
        ("", "gemini-2.5-flash", FailureKind.PERMISSION),
        ("some-key", "gemini-imaginary", FailureKind.NOT_FOUND),
    ],
)
def test_each_rejection_is_read_as_its_kind(key: str, model: str, kind: FailureKind) -> None:
    """Wrong keys and models stop a run, each for its own reason."""
    codec = GeminiCodec(model)
    result = read(asked("seed=1", codec=codec, key=key)[0], codec)
    assert isinstance(result, Failure)
    assert result.kind is kind
