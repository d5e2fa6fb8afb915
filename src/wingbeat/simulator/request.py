"""What a client may ask: the JSON of `generateContent` and `countTokens`, read and checked as Google does."""

import re
from math import ceil
from typing import Any, TypeVar

import msgspec

from wingbeat.simulator.catalogue import Model
from wingbeat.simulator.errors import GoogleError, bad_fields, invalid_argument, too_many_input_tokens

MEDIA_TOKENS = 258
"""Tokens of one picture or file: Google's figure for a small image, used here for every medium."""
BYTES_PER_TOKEN = 4
_MAX_CANDIDATES = 8
_MAX_STOP_SEQUENCES = 5


ANYTHING = msgspec.Raw(b"null")
"""Stands for a field whose value is not looked at. A union with None would let nothing but null through."""


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    pass


class Media(_Wire, frozen=True):
    """Inline data or a file."""

    mime_type: str = ""
    data: msgspec.Raw = msgspec.Raw()
    file_uri: str = ""
    display_name: str = ""


class Part(_Wire, frozen=True):
    """One piece of content; only text and media count."""

    text: str | None = None
    inline_data: Media | None = None
    file_data: Media | None = None
    function_call: msgspec.Raw = ANYTHING
    function_response: msgspec.Raw = ANYTHING
    executable_code: msgspec.Raw = ANYTHING
    code_execution_result: msgspec.Raw = ANYTHING
    thought: bool = False
    thought_signature: str | None = None
    video_metadata: msgspec.Raw = ANYTHING
    media_resolution: msgspec.Raw = ANYTHING
    part_metadata: msgspec.Raw = ANYTHING


class Content(_Wire, frozen=True):
    """One turn of the conversation."""

    role: str | None = None
    parts: tuple[Part, ...] = ()


class ThinkingConfig(_Wire, frozen=True):
    """How much the model thinks before it answers."""

    include_thoughts: bool = False
    thinking_budget: int | None = None
    thinking_level: str | None = None


class GenerationConfig(_Wire, frozen=True):
    """How to answer."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    candidate_count: int | None = None
    max_output_tokens: int | None = None
    stop_sequences: tuple[str, ...] = ()
    response_logprobs: bool | None = None
    logprobs: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    response_mime_type: str | None = None
    response_schema: Any = None
    response_json_schema: Any = None
    response_modalities: msgspec.Raw = ANYTHING
    media_resolution: str | None = None
    speech_config: msgspec.Raw = ANYTHING
    image_config: msgspec.Raw = ANYTHING
    thinking_config: ThinkingConfig = ThinkingConfig()
    enable_enhanced_civic_answers: bool | None = None
    audio_timestamp: bool | None = None


class GenerateRequest(_Wire, frozen=True):
    """The body of `generateContent` and `streamGenerateContent`."""

    model: str | None = None
    contents: tuple[Content, ...] = ()
    system_instruction: Content | None = None
    generation_config: GenerationConfig = GenerationConfig()
    safety_settings: msgspec.Raw = ANYTHING
    tools: msgspec.Raw = ANYTHING
    tool_config: msgspec.Raw = ANYTHING
    cached_content: str | None = None
    labels: msgspec.Raw = ANYTHING
    service_tier: str | None = None
    store: bool | None = None
    continuation_token: str | None = None

    @property
    def prompt(self) -> str:
        """The text of the contents, one line for each part; without the system instruction."""
        contents = self.contents
        if len(contents) == 1 and len(contents[0].parts) == 1:
            return contents[0].parts[0].text or ""
        return "\n".join(part.text for content in contents for part in content.parts if part.text is not None)

    @property
    def system_text(self) -> str:
        """The text of the system instruction."""
        content = self.system_instruction
        return "" if content is None else "\n".join(part.text or "" for part in content.parts)

    def text_tokens(self) -> int:
        """Return the tokens of all text: one for each four UTF-8 bytes, rounded up."""
        size = len(self.prompt.encode()) + len(self.system_text.encode())
        return ceil(size / BYTES_PER_TOKEN)

    def media(self) -> tuple[Media, ...]:
        """Return every picture or file in the contents."""
        return tuple(
            media
            for content in self.contents
            for part in content.parts
            if (media := part.inline_data or part.file_data) is not None
        )


class CountRequest(_Wire, frozen=True):
    """The body of `countTokens`: contents, or a whole request."""

    contents: tuple[Content, ...] = ()
    generate_content_request: GenerateRequest | None = None


_T = TypeVar("_T", GenerateRequest, CountRequest)

# Proto3 JSON takes numbers in quotes, hence not strict.
_GENERATE = msgspec.json.Decoder(GenerateRequest, strict=False)
_COUNT = msgspec.json.Decoder(CountRequest, strict=False)
_CHILDREN: dict[tuple[type[_Wire], str], type[_Wire]] = {
    (GenerateRequest, "contents"): Content,
    (GenerateRequest, "systemInstruction"): Content,
    (GenerateRequest, "generationConfig"): GenerationConfig,
    (GenerationConfig, "thinkingConfig"): ThinkingConfig,
    (Content, "parts"): Part,
    (Part, "inlineData"): Media,
    (Part, "fileData"): Media,
    (CountRequest, "contents"): Content,
    (CountRequest, "generateContentRequest"): GenerateRequest,
}


def read_generate(body: bytes) -> GenerateRequest | GoogleError:
    """Read the body of a generate call; never raises."""
    read = _read(_GENERATE, GenerateRequest, body)
    return read if isinstance(read, GoogleError) else _check_contents(read, "GenerateContentRequest") or read


def read_count(body: bytes) -> GenerateRequest | GoogleError:
    """Read the body of `countTokens` as the request that it asks about; never raises."""
    read = _read(_COUNT, CountRequest, body)
    if isinstance(read, GoogleError):
        return read
    request = read.generate_content_request or GenerateRequest(contents=read.contents)
    return _check_contents(request, "CountTokensRequest") or request


def check(request: GenerateRequest, model: Model, input_tokens: int) -> GoogleError | None:
    """Return what is wrong with the values, if anything. The texts for ranges are ours; no recording covers them."""
    config = request.generation_config
    prefix = "* GenerateContentRequest.generation_config."
    if config.temperature is not None and not 0 <= config.temperature <= 2:
        return invalid_argument(f"{prefix}temperature: temperature must be in the range [0.0, 2.0].\n")
    if config.top_p is not None and not 0 <= config.top_p <= 1:
        return invalid_argument(f"{prefix}top_p: top_p must be in the range [0.0, 1.0].\n")
    if config.max_output_tokens is not None and config.max_output_tokens < 1:
        return invalid_argument(f"{prefix}max_output_tokens: max_output_tokens must be positive.\n")
    if config.candidate_count is not None and not 1 <= config.candidate_count <= _MAX_CANDIDATES:
        return invalid_argument(f"{prefix}candidate_count: must be in the range [1, {_MAX_CANDIDATES}].\n")
    if len(config.stop_sequences) > _MAX_STOP_SEQUENCES:
        return invalid_argument(f"{prefix}stop_sequences: at most {_MAX_STOP_SEQUENCES} are supported.\n")
    if config.response_schema is not None and config.response_json_schema is not None:
        return invalid_argument(f"{prefix}response_json_schema: can't be set with response_schema.\n")
    if config.thinking_config.thinking_budget == 0 and model.thinking == "always":
        return invalid_argument("Budget 0 is invalid. This model only works in thinking mode.")
    if input_tokens > model.input_token_limit:
        return too_many_input_tokens(input_tokens, model.input_token_limit)
    return None


def _check_contents(request: GenerateRequest, message_name: str) -> GoogleError | None:
    if not request.contents:
        return invalid_argument(f"* {message_name}.contents: contents is not specified\n")
    for index, content in enumerate(request.contents):
        # The role is checked first; it may be left out of a single turn.
        if content.role not in (None, "", "user", "model"):
            return invalid_argument("Please use a valid role: user, model.")
        if not content.parts:
            return invalid_argument(f"* {message_name}.contents[{index}].parts: contents.parts must not be empty.\n")
    return None


def _read(decoder: msgspec.json.Decoder[_T], kind: type[_T], body: bytes) -> _T | GoogleError:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        # Names in snake_case come this way too; they cost a second pass.
        pass
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return invalid_argument(f"Invalid JSON payload received. {_syntax(error)}\n")
    try:
        raw = msgspec.json.decode(body)
        unknown: list[tuple[str, str]] = []
        renamed = _rename(raw, kind, "", unknown)
        if unknown:
            return bad_fields(unknown)
        return decoder.decode(msgspec.json.encode(renamed))
    except msgspec.ValidationError as error:
        return bad_fields([_wrong_value(str(error))])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return invalid_argument(f"Invalid JSON payload received. {_syntax(error)}\n")


def _rename(value: Any, kind: type[_Wire], path: str, unknown: list[tuple[str, str]]) -> Any:
    """Return `value` with camelCase names, as far down as `kind` reaches; note the names it does not know."""
    if isinstance(value, list):
        return [_rename(item, kind, f"{path}[{index}]", unknown) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    renamed: dict[str, Any] = {}
    for key, item in value.items():
        name = re.sub(r"_([a-z])", lambda match: match[1].upper(), key)
        if name not in kind.__struct_encode_fields__:
            where = f" at '{path}'" if path else ""
            text = f'Invalid JSON payload received. Unknown name "{key}"{where}: Cannot find field.'
            unknown.append((path, text))
            continue
        if item is None:
            # In proto3 JSON, null means that the field is not set.
            continue
        child = _CHILDREN.get((kind, name))
        below = f"{path}.{_snake(name)}" if path else _snake(name)
        renamed[name] = item if child is None else _rename(item, child, below, unknown)
    return renamed


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda match: f"_{match[1].lower()}", name)


def _wrong_value(message: str) -> tuple[str, str]:
    # msgspec writes "Expected `float`, got `str` - at `$.generationConfig.temperature`".
    reason, _, place = message.partition(" - at `$")
    field = _snake(place.rstrip("`").lstrip("."))
    return field, f"Invalid value at '{field}': {reason}"


def _syntax(error: Exception) -> str:
    return "Nested too deeply." if isinstance(error, RecursionError) else str(error)
