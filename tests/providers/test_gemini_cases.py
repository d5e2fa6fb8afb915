"""Every known shape of a reply, as a file, and what it is read as."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wingbeat.model.answer import Completion, Failure
from wingbeat.model.http import HttpReply
from wingbeat.providers.gemini import GeminiCodec

CASES = sorted((Path(__file__).parent / "gemini").glob("*.json"), key=lambda file: file.stem)


def load(file: Path) -> tuple[HttpReply, dict[str, Any]]:
    """Read one case; ``text`` is a body as it stands, ``body`` is JSON."""
    case = json.loads(file.read_text("utf-8"))
    body = case["text"] if "text" in case else json.dumps(case["body"], ensure_ascii=False)
    return HttpReply(case["status"], case["headers"], body.encode()), case["expected"]


@pytest.mark.parametrize("file", CASES, ids=[file.stem for file in CASES])
def test_each_known_reply_is_read_as_expected(file: Path) -> None:
    """A recorded shape gives the answer, or the kind of failure, that its file states."""
    reply, expected = load(file)
    result = GeminiCodec("gemini-2.5-flash").decode(reply)
    if "failure" not in expected:
        assert isinstance(result, Completion), result
        usage = result.usage
        assert {
            "text": result.text,
            "finish_reason": result.finish_reason,
            "withheld": result.withheld,
            "usage": [usage.input_tokens, usage.output_tokens, usage.thinking_tokens, usage.cached_tokens],
            "model": result.model,
            "response_id": result.response_id,
        } == expected
        return
    assert isinstance(result, Failure), result
    assert result.kind == expected.pop("failure")
    violations = expected.pop("violations", None)
    if violations is not None:
        assert [[x.quota_id, x.resource, x.window_s, x.limit] for x in result.violations] == violations
    if "detail" in expected:
        assert expected.pop("detail") in result.detail
    if expected.get("retry_after_s") is not None:
        assert result.retry_after_s == pytest.approx(expected.pop("retry_after_s"))
    assert {name: getattr(result, name) for name in expected} == expected
    assert "\n" not in result.detail
    assert result.detail.isprintable()


def test_an_endless_or_hostile_message_is_cut_and_made_printable() -> None:
    """A message is one line of bounded length without control characters, whatever the service sent."""
    body = json.dumps({"error": {"code": 500, "message": "\x1b[31m\u202e" + "x" * 10**6}}).encode()
    result = GeminiCodec("gemini-2.5-flash").decode(HttpReply(500, {}, body))
    assert isinstance(result, Failure)
    assert len(result.detail) <= 2000
    assert result.detail.isprintable()
