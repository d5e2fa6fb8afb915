"""Gemini's generateContent as a pure codec. It must not know how requests are sent, paced or retried."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from wingbeat.model.answer import Completion, Failure
from wingbeat.model.http import HttpReply, HttpRequest
from wingbeat.model.options import NO_OPTIONS, Options
from wingbeat.model.record import Request
from wingbeat.providers.gemini_errors import classify_error
from wingbeat.providers.gemini_reply import decode_answer
from wingbeat.providers.gemini_stream import GeminiStream
from wingbeat.providers.rate_hints import with_hints

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
        path = f"/{self.api_version}/models/{quote(self.model, safe='-._~')}"
        self._path = f"{path}:generateContent"
        self._stream_path = f"{path}:streamGenerateContent?alt=sse"
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

    def streamed(self, request: HttpRequest) -> HttpRequest:
        """Return the call that asks the same for an answer in parts."""
        return HttpRequest(self._stream_path, request.body)

    @staticmethod
    def stream() -> GeminiStream:
        """Return what puts the parts of one streamed answer together."""
        return GeminiStream()

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
            return with_hints(classify_error(reply.status, reply.headers, reply.body), reply.headers)
        return with_hints(decode_answer(reply), reply.headers)


def is_gemini_name(model: str) -> bool:
    """True for names that only Gemini has, so that no route prefix is needed."""
    return model.removeprefix("models/").startswith(("gemini-", "gemma-", "learnlm-"))
