"""What is sent, byte by byte."""

from __future__ import annotations

from typing import Any

import pytest

from wingbeat.model.options import Options, parse_options
from wingbeat.model.record import Message, Request
from wingbeat.providers.gemini import GeminiCodec, is_gemini_name

CODEC = GeminiCodec("gemini-2.5-flash")
HI = b'{"contents":[{"role":"user","parts":[{"text":"hi"}]}]'


def body(**more: Any) -> bytes:
    """Encode a request for ``hi``."""
    return CODEC.encode(Request(prompt="hi", **more)).body


def test_a_prompt() -> None:
    """A prompt is one user turn, and nothing is sent that was not asked for."""
    request = CODEC.encode(Request(prompt="hi"))
    assert (request.method, request.path) == ("POST", "/v1/models/gemini-2.5-flash:generateContent")
    assert request.body == HI + b"}"


def test_a_system_instruction() -> None:
    """System text goes into its own member; empty text is sent as it is."""
    assert body(system="be brief") == HI + b',"systemInstruction":{"parts":[{"text":"be brief"}]}}'
    assert body(system="") == HI + b',"systemInstruction":{"parts":[{"text":""}]}}'


def test_a_conversation() -> None:
    """Messages become turns in their order."""
    turns = (Message("user", "a"), Message("model", "b"), Message("user", "c"))
    assert CODEC.encode(Request(messages=turns)).body == (
        b'{"contents":[{"role":"user","parts":[{"text":"a"}]},{"role":"model","parts":[{"text":"b"}]},'
        b'{"role":"user","parts":[{"text":"c"}]}]}'
    )


def test_contents_are_sent_as_they_are() -> None:
    """Turns in the wire's own form are not touched."""
    contents = [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}]
    assert CODEC.encode(Request(contents=contents)).body == (
        b'{"contents":[{"role":"user","parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}}]}]}'
    )


def test_all_scripts_are_sent_as_utf8() -> None:
    """Text outside ASCII is sent unescaped, and control characters escaped."""
    sent = CODEC.encode(Request(prompt="naïve 😀\x00")).body
    assert "naïve 😀".encode() + b"\\u0000" in sent


@pytest.mark.parametrize(
    ("options", "config"),
    [
        (Options(temperature=0.0), b'{"temperature":0.0}'),
        (Options(top_p=0.9, top_k=3), b'{"topP":0.9,"topK":3}'),
        (Options(max_output_tokens=5, stop=("a", "b")), b'{"maxOutputTokens":5,"stopSequences":["a","b"]}'),
        (Options(seed=0, presence_penalty=0.5), b'{"seed":0,"presencePenalty":0.5}'),
        (Options(frequency_penalty=-1.0), b'{"frequencyPenalty":-1.0}'),
        (Options(thinking_budget=0), b'{"thinkingConfig":{"thinkingBudget":0}}'),
        (Options(thinking_budget=-1), b'{"thinkingConfig":{"thinkingBudget":-1}}'),
        (Options(thinking_level="low"), b'{"thinkingConfig":{"thinkingLevel":"LOW"}}'),
        (Options(extra={"response_mime_type": "text/plain"}), b'{"responseMimeType":"text/plain"}'),
        (Options(extra={"responseSchema": {"a_b": 1}}), b'{"responseSchema":{"a_b":1}}'),
        (Options(temperature=1.0, extra={"generation_config": {"logprobs": 2}}), b'{"temperature":1.0,"logprobs":2}'),
    ],
)
def test_options_have_their_wire_names(options: Options, config: bytes) -> None:
    """Every option is sent under its own name on the wire."""
    assert body(options=options) == HI + b',"generationConfig":' + config + b"}"
    assert CODEC.check_options(options) is None


@pytest.mark.parametrize("name", ["safety_settings", "safetySettings"])
def test_members_of_the_body_stand_beside_the_config(name: str) -> None:
    """Extras that belong into the body itself are put there, in either spelling."""
    assert body(options=Options(extra={name: []})) == HI + b',"safetySettings":[]}'


def test_equal_options_of_another_request_are_not_mixed_up() -> None:
    """Requests with other options in turn are each encoded with their own."""
    first, second = Options(seed=1), Options(seed=2)
    sent = [body(options=each) for each in (first, second, first)]
    assert [seed in sent[number] for number, seed in enumerate((b'"seed":1}', b'"seed":2}', b'"seed":1}'))] == [
        True
    ] * 3


@pytest.mark.parametrize("extra", [{"temprature": 1}, {"contents": []}, {"x": 1}])
def test_an_option_that_the_service_does_not_have_is_named(extra: dict[str, Any]) -> None:
    """A misspelt option is refused before anything is sent."""
    (name,) = extra
    assert repr(name) in (CODEC.check_options(parse_options(extra)) or "")


def test_two_ways_to_say_thinking_exclude_each_other() -> None:
    """Budget and level can't both be given."""
    assert "exclude" in (CODEC.check_options(Options(thinking_budget=1, thinking_level="low")) or "")


@pytest.mark.parametrize(
    ("model", "version", "path"),
    [
        ("models/gemini-2.5-pro", None, "/v1/models/gemini-2.5-pro:generateContent"),
        ("gemini-flash-latest", None, "/v1beta/models/gemini-flash-latest:generateContent"),
        ("gemini-flash-latest", "v1", "/v1/models/gemini-flash-latest:generateContent"),
        ("a/../b?x#y\r\nz", None, "/v1/models/a%2F..%2Fb%3Fx%23y%0D%0Az:generateContent"),
    ],
)
def test_the_path(model: str, version: str | None, path: str) -> None:
    """The path names version and model, and no name can leave its place in it."""
    assert GeminiCodec(model, version).encode(Request(prompt="x")).path == path


@pytest.mark.parametrize(("timeout_s", "header"), [(300.0, "300"), (0.001, "1"), (1.5, "2")])
def test_the_server_is_told_our_patience(timeout_s: float, header: str) -> None:
    """The timeout is told in whole seconds, rounded up."""
    assert GeminiCodec.timeout_headers(timeout_s) == {"x-server-timeout": header}


@pytest.mark.parametrize(
    ("name", "known"),
    [("gemini-2.5-pro", True), ("models/gemma-3", True), ("gemma-3", True), ("gpt-5", False), ("models/x", False)],
)
def test_which_names_are_geminis(name: str, known: bool) -> None:
    """Names that only this service has need no prefix, with ``models/`` or without."""
    assert is_gemini_name(name) is known
