"""Gemini's generateContent as a pure codec. It must not know how requests are sent, paced or retried."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from wingbeat.model.answer import Completion, Failure, FailureKind, Usage
from wingbeat.model.http import HttpReply, HttpRequest
from wingbeat.model.options import NO_OPTIONS, Options
from wingbeat.model.record import Request
from wingbeat.providers.gemini_errors import UNREADABLE, classify_error, malformed, read_json

DEFAULT_BASE_URL = "https://generativelanguage.googleapis.com"

DEFAULT_API_VERSION = "v1"
"""What the vendor's own client asks since 3.0. Source: google-genai 3.4.0, ``_api_client.py``."""

ALIAS_API_VERSION = "v1beta"
"""``-latest`` names are known to this version only. Source: google-genai 3.4.0, release notes."""

CONFIG_FIELDS = frozenset(
    [
        "temperature",
        "topP",
        "topK",
        "candidateCount",
        "maxOutputTokens",
        "stopSequences",
        "responseLogprobs",
        "logprobs",
        "presencePenalty",
        "frequencyPenalty",
        "seed",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "responseModalities",
        "mediaResolution",
        "speechConfig",
        "imageConfig",
        "thinkingConfig",
    ]
)
"""Members of generationConfig. Source: google-genai 3.4.0, ``types.py``."""

BODY_FIELDS = frozenset(
    [
        "generationConfig",
        "systemInstruction",
        "safetySettings",
        "tools",
        "toolConfig",
        "cachedContent",
        "labels",
        "serviceTier",
        "store",
    ]
)
"""Members of the request body beside ``contents``. Source: google-genai 3.4.0, ``types.py``."""

_WIRE_NAMES = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "max_output_tokens": "maxOutputTokens",
    "stop": "stopSequences",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}

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


class _Part(msgspec.Struct, gc=False):
    text: str | None = None
    thought: bool | None = None


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, gc=False):
    content: _Content | None = None
    finishReason: str | None = None  # noqa: N815
    finishMessage: str | None = None  # noqa: N815


class _PromptFeedback(msgspec.Struct, gc=False):
    blockReason: str | None = None  # noqa: N815


class _UsageMetadata(msgspec.Struct, gc=False):
    promptTokenCount: int | None = None  # noqa: N815
    candidatesTokenCount: int | None = None  # noqa: N815
    thoughtsTokenCount: int | None = None  # noqa: N815
    cachedContentTokenCount: int | None = None  # noqa: N815
    toolUsePromptTokenCount: int | None = None  # noqa: N815


class _Reply(msgspec.Struct, gc=False):
    candidates: list[_Candidate] | None = None
    promptFeedback: _PromptFeedback | None = None  # noqa: N815
    usageMetadata: _UsageMetadata | None = None  # noqa: N815
    modelVersion: str | None = None  # noqa: N815
    responseId: str | None = None  # noqa: N815


_decoder = msgspec.json.Decoder(_Reply)
_encoder = msgspec.json.Encoder()


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.title() for word in rest)


class GeminiCodec:
    """
    Encode requests for one Gemini model and decode its replies; never raises on any bytes.

    Args:
        model: Model name as the service knows it, with or without ``models/``.
        api_version: Path segment before ``models``; by default as in the vendor's own client, and ``v1beta``
            for ``-latest`` names, which no other version knows.
    """

    name = "gemini"

    def __init__(self, model: str, api_version: str | None = None) -> None:
        self.model = model.removeprefix("models/")
        self.api_version = api_version or (ALIAS_API_VERSION if self.model.endswith("-latest") else DEFAULT_API_VERSION)
        self._path = f"/{self.api_version}/models/{quote(self.model, safe='-._~')}:generateContent"
        self._config_cache: tuple[Options, dict[str, Any]] = (NO_OPTIONS, {})

    def __repr__(self) -> str:
        return f"<GeminiCodec {self._path}>"

    @staticmethod
    def auth_headers(key: str) -> dict[str, str]:
        """Return the headers that carry the key. Source: google-genai 3.4.0, ``_api_client.py``."""
        return {"x-goog-api-key": key}

    @staticmethod
    def timeout_headers(timeout_s: float) -> dict[str, str]:
        """Return the header that tells the server our patience, in whole seconds rounded up."""
        return {"x-server-timeout": str(int(-(-timeout_s // 1)))}

    @staticmethod
    def check_options(options: Options) -> str | None:
        """Return what is wrong with options that this API can't take, or None."""
        for name in options.extra or ():
            wire = _camel(name)
            if wire not in CONFIG_FIELDS and wire not in BODY_FIELDS:
                return f"the Gemini API has no option {name!r}"
        if options.thinking_budget is not None and options.thinking_level is not None:
            return "thinking_budget and thinking_level exclude each other"
        return None

    def encode(self, request: Request) -> HttpRequest:
        """Turn a request into one generateContent call."""
        contents: list[Any]
        if request.prompt is not None:
            contents = [{"role": "user", "parts": [{"text": request.prompt}]}]
        elif request.contents is not None:
            contents = request.contents
        else:
            contents = [{"role": turn.role, "parts": [{"text": turn.text}]} for turn in request.messages]
        body: dict[str, Any] = {"contents": contents}
        if request.system is not None:
            body["systemInstruction"] = {"parts": [{"text": request.system}]}
        if request.options is not NO_OPTIONS:
            body.update(self._body_of(request.options))
        return HttpRequest(self._path, _encoder.encode(body))

    def _body_of(self, options: Options) -> dict[str, Any]:
        cached, body = self._config_cache
        if cached is options:
            return body
        config: dict[str, Any] = {}
        for name, wire in _WIRE_NAMES.items():
            value = getattr(options, name)
            if value is not None:
                config[wire] = value
        thinking: dict[str, Any] = {}
        if options.thinking_budget is not None:
            thinking["thinkingBudget"] = options.thinking_budget
        if options.thinking_level is not None:
            thinking["thinkingLevel"] = options.thinking_level.upper()
        if thinking:
            config["thinkingConfig"] = thinking
        body = {}
        for name, value in (options.extra or {}).items():
            wire = _camel(name)
            if wire == "generationConfig" and isinstance(value, dict):
                config.update(value)
            elif wire in BODY_FIELDS:
                body[wire] = value
            else:
                config[wire] = value
        if config:
            body["generationConfig"] = config
        self._config_cache = (options, body)
        return body

    def decode(self, reply: HttpReply) -> Completion | Failure:
        """Turn a reply of any status and any bytes into a completion or a failure."""
        if reply.status != 200:
            return classify_error(reply.status, reply.headers, reply.body)
        try:
            parsed = _decoder.decode(reply.body)
        except UNREADABLE:
            return self._decode_oddity(reply)
        return _completion(parsed, reply)

    @staticmethod
    def _decode_oddity(reply: HttpReply) -> Completion | Failure:
        """
        Read a body of which a part is not as it should be.

        An answer that is paid for is not lost for a broken count beside it: every part that can be read is read, and
        the others are left out. What holds neither answer nor error is malformed.
        """
        value = read_json(reply.body)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, dict):
            return _no_answer(reply)
        return _completion(_readable(value), reply)


def _completion(parsed: _Reply, reply: HttpReply) -> Completion | Failure:
    """
    Read a well-formed reply.

    The cases, in order:
        1. The prompt was blocked: no candidates, a reason in promptFeedback.
        2. No candidates and no reason: not an answer; an error after 200 is read as that error.
        3. The answer was withheld: a finish reason, no text.
        4. The model failed to answer: a fault of its own, or an empty STOP.
        5. An answer, whole or cut short.
    """
    usage = _usage(parsed.usageMetadata)
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


def _readable(value: dict[str, Any]) -> _Reply:
    """Return what is well-formed in a reply of which something is not."""
    candidates = value.get("candidates")
    feedback = value.get("promptFeedback")
    usage = value.get("usageMetadata")
    counts = usage if isinstance(usage, dict) else {}
    return _Reply(
        candidates=[_readable_candidate(item) for item in candidates if isinstance(item, dict)]
        if isinstance(candidates, list)
        else None,
        promptFeedback=_PromptFeedback(_text(feedback.get("blockReason"))) if isinstance(feedback, dict) else None,
        usageMetadata=_UsageMetadata(**{name: _count(counts.get(name)) for name in _UsageMetadata.__struct_fields__}),
        modelVersion=_text(value.get("modelVersion")),
        responseId=_text(value.get("responseId")),
    )


def _readable_candidate(value: dict[str, Any]) -> _Candidate:
    content = value.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    found = [
        _Part(_text(part.get("text")), part.get("thought") in (True, "true"))
        for part in (parts if isinstance(parts, list) else ())
        if isinstance(part, dict)
    ]
    return _Candidate(_Content(found), _text(value.get("finishReason")), _text(value.get("finishMessage")))


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


def _usage(raw: _UsageMetadata | None) -> Usage:
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


def is_gemini_name(model: str) -> bool:
    """True for names that only Gemini has, so that no route prefix is needed."""
    return model.removeprefix("models/").startswith(("gemini-", "gemma-", "learnlm-"))
