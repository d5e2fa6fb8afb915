"""Gemini's wire: which call a target names, and the JSON of answers, streams, counts and model lists."""

import base64
from functools import lru_cache
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from wingbeat.simulator.answer import Answer, Candidate, Usage, count_text
from wingbeat.simulator.catalogue import Model, catalogue
from wingbeat.simulator.reply import Headers

VERSIONS = ("v1", "v1beta", "v1alpha")
CHUNK_TOKENS = 24
"""Text tokens in one part of a stream; a recorded stream of gemini-2.5-flash, 2025, has parts of 31, 48 and 1."""

_PLAIN: Headers = (
    ("vary", "Origin"),
    ("vary", "X-Origin"),
    ("vary", "Referer"),
    ("server", "scaffolding on HTTPServer2"),
    ("x-xss-protection", "0"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-content-type-options", "nosniff"),
    ("alt-svc", 'h3=":443"; ma=2592000,h3-29=":443"; ma=2592000'),
)
"""Source: headers of recorded replies of the Gemini API, 2025-2026. Nothing in them tells of limits."""


class Call(msgspec.Struct, frozen=True):
    """What a request target asks for."""

    version: str
    model: str
    method: str
    """`generateContent`, `streamGenerateContent`, `countTokens`, another name, or empty for a look-up."""
    key: str | None = None
    is_sse: bool = False
    page_size: str = ""
    page_token: str = ""

    @property
    def is_streaming(self) -> bool:
        """Whether the answer comes in parts."""
        return self.method == "streamGenerateContent"

    @property
    def is_wrapped(self) -> bool:
        """Whether errors come inside a JSON array."""
        return self.is_streaming and not self.is_sse


@lru_cache(maxsize=1024)
def read_target(target: str) -> Call | None:
    """Return the call that a request target names; None when the API has no such path."""
    path, _, query_text = target.partition("?")
    pieces = path.split("/")
    if len(pieces) not in (3, 4) or pieces[0] or pieces[1] not in VERSIONS or pieces[2] != "models":
        return None
    query = {name: values[-1] for name, values in parse_qs(query_text).items()} if query_text else {}
    model, _, method = unquote(pieces[3]).partition(":") if len(pieces) == 4 else ("", "", "")
    return Call(
        version=pieces[1],
        model=model,
        method=method,
        key=query.get("key"),
        is_sse=query.get("alt") == "sse",
        page_size=query.get("pageSize", ""),
        page_token=query.get("pageToken", ""),
    )


@lru_cache(maxsize=4096)
def headers(media_type: str, duration_ms: int, *, has_tier: bool = False) -> Headers:
    """Return the headers of a reply; `has_tier` for answers of a model."""
    if media_type == "text/event-stream":
        typed: Headers = (("content-type", media_type), ("content-disposition", "attachment"))
    else:
        typed = (("content-type", f"{media_type}; charset=UTF-8"),)
    tier: Headers = (("x-gemini-service-tier", "standard"),) if has_tier else ()
    return (*typed, *_PLAIN, ("server-timing", f"gfet4t7; dur={duration_ms}"), *tier)


class _Out(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    pass


class _Part(_Out, frozen=True, kw_only=True):
    text: str
    thought: bool = False
    thought_signature: str | None = None


class _Content(_Out, frozen=True, kw_only=True):
    parts: tuple[_Part, ...] | None = None
    role: str | None = None


class _SafetyRating(_Out, frozen=True, kw_only=True):
    category: str
    probability: str
    blocked: bool


class _Candidate(_Out, frozen=True, kw_only=True):
    content: _Content
    finish_reason: str | None = None
    index: int
    safety_ratings: tuple[_SafetyRating, ...] | None = None


class _ModalityTokens(_Out, frozen=True, kw_only=True):
    modality: str
    token_count: int


class _Usage(_Out, frozen=True, kw_only=True):
    prompt_token_count: int
    candidates_token_count: int | None = None
    total_token_count: int
    prompt_tokens_details: tuple[_ModalityTokens, ...]
    thoughts_token_count: int | None = None
    service_tier: str


class _PromptFeedback(_Out, frozen=True, kw_only=True):
    block_reason: str


class _Body(_Out, frozen=True, kw_only=True):
    candidates: tuple[_Candidate, ...] | None = None
    prompt_feedback: _PromptFeedback | None = None
    usage_metadata: _Usage
    model_version: str
    response_id: str


_encode = msgspec.json.Encoder().encode
_BLOCKED = (_SafetyRating(category="HARM_CATEGORY_DANGEROUS_CONTENT", probability="HIGH", blocked=True),)


def encode_answer(answer: Answer, model: Model) -> bytes:
    """Return the body of a unary answer."""
    candidates = tuple(
        _candidate(found, index, answer, model, found.text, found.finish_reason, thoughts=True)
        for index, found in enumerate(answer.candidates)
    )
    return _encode(_body(answer, model, candidates, answer.usage.output_tokens))


def encode_stream(answer: Answer, model: Model) -> list[tuple[int, bytes]]:
    """
    Return the (tokens so far, JSON) of each part of a streamed answer.

    The usage is cumulative, thoughts are final in the first part, and only the last part of a candidate has its
    finish reason. Source: recorded stream of gemini-2.5-flash, 2025.
    """
    if not answer.candidates:
        return [(0, encode_answer(answer, model))]
    parts: list[tuple[int, bytes]] = []
    sent = 0
    for index, found in enumerate(answer.candidates):
        pieces = _pieces(found.text)
        for number, piece in enumerate(pieces):
            is_last = number == len(pieces) - 1
            so_far = sent + (count_text(found.text) if is_last else (number + 1) * CHUNK_TOKENS)
            reason = found.finish_reason if is_last else None
            candidate = _candidate(found, index, answer, model, piece, reason, thoughts=number == 0)
            tokens = answer.usage.thought_tokens + so_far
            parts.append((tokens, _encode(_body(answer, model, (candidate,), so_far))))
        sent += count_text(found.text)
    return parts


def encode_count(tokens: int, media: tuple[tuple[str, int], ...]) -> bytes:
    """Return the body of `countTokens`."""
    details = [{"modality": one.modality, "tokenCount": one.token_count} for one in _details(tokens, media)]
    return _encode({"totalTokens": tokens, "promptTokensDetails": details})


def encode_model(name: str, model: Model) -> dict[str, Any]:
    """Return one entry of the model list."""
    entry: dict[str, Any] = {
        "name": f"models/{name}",
        "version": model.version,
        "displayName": model.display_name,
        "description": "Simulated entry",
        "inputTokenLimit": model.input_token_limit,
        "outputTokenLimit": model.output_token_limit,
        "supportedGenerationMethods": model.methods,
    }
    if model.generates:
        entry |= {"temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2}
    return {**entry, "thinking": True} if model.thinking != "never" else entry


def encode_models(version: str, page_size: int, page_token: str) -> bytes | None:
    """Return one page of the model list; None when the token is not one of ours."""
    try:
        first = int(base64.urlsafe_b64decode(page_token)) if page_token else 0
    except ValueError:
        return None
    if first < 0:
        return None
    listed = catalogue().listed(version)
    page: dict[str, Any] = {"models": [encode_model(*entry) for entry in listed[first : first + page_size]]}
    if first + page_size < len(listed):
        page["nextPageToken"] = base64.urlsafe_b64encode(str(first + page_size).encode()).decode()
    return _encode(page)


def _candidate(
    found: Candidate, index: int, answer: Answer, model: Model, text: str, reason: str | None, *, thoughts: bool
) -> _Candidate:
    # 1. Stopped for safety: an empty content and the ratings. 2. No text: no parts at all. 3. Text.
    if found.finish_reason == "SAFETY":
        return _Candidate(content=_Content(), finish_reason="SAFETY", index=index, safety_ratings=_BLOCKED)
    parts: tuple[_Part, ...] = ()
    if thoughts and found.thoughts is not None:
        parts = (_Part(text=found.thoughts, thought=True),)
    if text:
        signed = model.signs_thoughts and reason is not None and answer.usage.thought_tokens > 0
        signature = _signature(answer.fingerprint) if signed else None
        parts = (*parts, _Part(text=text, thought_signature=signature))
    return _Candidate(content=_Content(parts=parts or None, role="model"), finish_reason=reason, index=index)


def _body(answer: Answer, model: Model, candidates: tuple[_Candidate, ...], output_tokens: int) -> _Body:
    return _Body(
        candidates=candidates or None,
        prompt_feedback=_PromptFeedback(block_reason=answer.block_reason) if answer.block_reason else None,
        usage_metadata=_usage(answer.usage, output_tokens),
        model_version=model.name,
        response_id=f"sim-{answer.fingerprint[:20]}",
    )


def _usage(usage: Usage, output_tokens: int) -> _Usage:
    return _Usage(
        prompt_token_count=usage.input_tokens,
        candidates_token_count=output_tokens or None,
        total_token_count=usage.input_tokens + output_tokens + usage.thought_tokens,
        prompt_tokens_details=_details(usage.input_tokens, usage.media_tokens),
        thoughts_token_count=usage.thought_tokens or None,
        service_tier="standard",
    )


def _details(tokens: int, media: tuple[tuple[str, int], ...]) -> tuple[_ModalityTokens, ...]:
    text = tokens - sum(count for _, count in media)
    by_modality = (("TEXT", text), *media) if text or not media else media
    return tuple(_ModalityTokens(modality=name, token_count=count) for name, count in by_modality)


def _signature(fingerprint: str) -> str:
    return base64.b64encode(f"simulated:{fingerprint}".encode()).decode()


def _pieces(text: str) -> list[str]:
    """Cut a text into parts of `CHUNK_TOKENS` tokens, never inside a character; at least one part, maybe empty."""
    raw = text.encode()
    size = CHUNK_TOKENS * 4
    edges = [0]
    while edges[-1] + size < len(raw):
        edge = edges[-1] + size
        while raw[edge] & 0xC0 == 0x80:
            edge += 1
        edges.append(edge)
    return [raw[first:last].decode() for first, last in pairwise([*edges, len(raw)])]
