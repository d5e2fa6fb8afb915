"""What a Gemini answer means, whole or put together from a stream's parts. It must not know how it was asked for."""

from __future__ import annotations

from typing import Any

import msgspec

from wingbeat.model.answer import Completion, Failure, FailureKind, Usage
from wingbeat.model.http import HttpReply
from wingbeat.providers.gemini_errors import UNREADABLE, classify_error, malformed, read_json

WITHHELD_REASONS = frozenset(
    [
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "JAILBREAK",
    ]
)
MODEL_FAULTS = frozenset({"MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE"})


class Part(msgspec.Struct, gc=False):
    """A piece of an answer, or of the thoughts before it."""

    text: str | None = None
    thought: bool | None = None


class Content(msgspec.Struct, gc=False):
    """What a candidate says."""

    parts: list[Part] | None = None


class Candidate(msgspec.Struct, gc=False):
    """One of the answers to a prompt; the first is the one that counts."""

    content: Content | None = None
    index: int | None = None
    finishReason: str | None = None  # noqa: N815
    finishMessage: str | None = None  # noqa: N815


class PromptFeedback(msgspec.Struct, gc=False):
    """Why a prompt was not answered at all."""

    blockReason: str | None = None  # noqa: N815


class UsageMetadata(msgspec.Struct, gc=False):
    """Tokens as Gemini counts them."""

    promptTokenCount: int | None = None  # noqa: N815
    candidatesTokenCount: int | None = None  # noqa: N815
    thoughtsTokenCount: int | None = None  # noqa: N815
    cachedContentTokenCount: int | None = None  # noqa: N815
    toolUsePromptTokenCount: int | None = None  # noqa: N815


class Reply(msgspec.Struct, gc=False):
    """What is read of a reply; the same shape comes whole and as each part of a stream."""

    candidates: list[Candidate] | None = None
    promptFeedback: PromptFeedback | None = None  # noqa: N815
    usageMetadata: UsageMetadata | None = None  # noqa: N815
    modelVersion: str | None = None  # noqa: N815
    responseId: str | None = None  # noqa: N815


_decoder = msgspec.json.Decoder(Reply)


def decode_answer(reply: HttpReply) -> Completion | Failure:
    """Turn a reply of status 200 and any bytes into a completion or a failure."""
    parsed = read_reply(reply.body)
    return _no_answer(reply) if parsed is None else completion(parsed, reply)


def read_reply(body: bytes) -> Reply | None:
    """
    Read a reply, or one part of a stream; None when it is no JSON object.

    An answer that is paid for is not lost for a broken count beside it: every part that can be read is read, and the
    others are left out.
    """
    try:
        return _decoder.decode(body)
    except UNREADABLE:
        value = read_json(body)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return readable(value) if isinstance(value, dict) else None


def completion(parsed: Reply, reply: HttpReply) -> Completion | Failure:
    """
    Read a well-formed reply.

    The cases, in order:
        1. The prompt was blocked: no candidates, a reason in promptFeedback.
        2. No candidates and no reason: not an answer; an error after 200 is read as that error.
        3. The answer was withheld: a finish reason, no text.
        4. The model failed to answer: a fault of its own, or an empty STOP.
        5. An answer, whole or cut short.
    """
    usage = usage_of(parsed.usageMetadata)
    if not parsed.candidates:
        feedback = parsed.promptFeedback
        if feedback is not None and feedback.blockReason:
            return Completion("", feedback.blockReason, usage, parsed.modelVersion, parsed.responseId, withheld=True)
        return _no_answer(reply)
    candidate = parsed.candidates[0]
    reason = candidate.finishReason
    parts = candidate.content.parts if candidate.content is not None else None
    if parts is not None and len(parts) == 1 and not parts[0].thought:
        text = parts[0].text or ""
    else:
        text = "".join(part.text for part in parts or () if part.text and not part.thought)
    if reason in WITHHELD_REASONS:
        return Completion(text, reason, usage, parsed.modelVersion, parsed.responseId, withheld=True)
    if reason in MODEL_FAULTS or (not text and reason in (None, "STOP", "OTHER")):
        said = f": {candidate.finishMessage}" if candidate.finishMessage else ""
        return Failure(
            FailureKind.EMPTY_ANSWER,
            f"the model gave no text (finish reason {reason}){said}",
            provider_code=reason,
            usage=usage,
        )
    return Completion(text, reason, usage, parsed.modelVersion, parsed.responseId)


def _no_answer(reply: HttpReply) -> Failure:
    """Tell an error that came in an answer's place from a body of no known shape."""
    value = read_json(reply.body)
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict) and isinstance(value.get("error"), dict):
        return classify_error(reply.status, reply.headers, reply.body)
    return malformed(reply.body)


def readable(value: dict[str, Any]) -> Reply:
    """Return what is well-formed in a reply of which something is not."""
    candidates = value.get("candidates")
    feedback = value.get("promptFeedback")
    usage = value.get("usageMetadata")
    counts = usage if isinstance(usage, dict) else {}
    return Reply(
        candidates=[_readable_candidate(item) for item in candidates if isinstance(item, dict)]
        if isinstance(candidates, list)
        else None,
        promptFeedback=PromptFeedback(_text(feedback.get("blockReason"))) if isinstance(feedback, dict) else None,
        usageMetadata=UsageMetadata(**{name: _count(counts.get(name)) for name in UsageMetadata.__struct_fields__}),
        modelVersion=_text(value.get("modelVersion")),
        responseId=_text(value.get("responseId")),
    )


def _readable_candidate(value: dict[str, Any]) -> Candidate:
    content = value.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    found = [
        Part(_text(part.get("text")), part.get("thought") in (True, "true"))
        for part in (parts if isinstance(parts, list) else ())
        if isinstance(part, dict)
    ]
    return Candidate(
        Content(found), _count(value.get("index")), _text(value.get("finishReason")), _text(value.get("finishMessage"))
    )


def _text(value: Any) -> str | None:
    """Return a text that every encoder takes: half a surrogate pair becomes the replacement character."""
    if not isinstance(value, str):
        return None
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _count(value: Any) -> int | None:
    """Read a count that came as a number of any kind, or as text, as protobuf writes large ones."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _believable(count: int | None) -> int:
    """Return a count of tokens; 0 for none, and for one that no answer has."""
    return count if count is not None and 0 <= count < 10**12 else 0


def usage_of(raw: UsageMetadata | None) -> Usage:
    """
    Name the tokens as the OpenTelemetry conventions do: output includes thinking, which Gemini counts apart.

    Source: Gemini API reference, ``UsageMetadata``: total = prompt + candidates + toolUsePrompt + thoughts.
    """
    if raw is None:
        return Usage()
    thinking = _believable(raw.thoughtsTokenCount)
    return Usage(
        input_tokens=_believable(raw.promptTokenCount) + _believable(raw.toolUsePromptTokenCount),
        output_tokens=_believable(raw.candidatesTokenCount) + thinking,
        thinking_tokens=thinking,
        cached_tokens=_believable(raw.cachedContentTokenCount),
    )
