"""A streamed answer, however its bytes are cut, is the answer that would have come whole."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wingbeat.model.answer import Completion, Failure, FailureKind
from wingbeat.model.http import HttpReply
from wingbeat.model.options import Options
from wingbeat.model.record import Request
from wingbeat.providers.gemini import GeminiCodec
from wingbeat.providers.sse import EventReader
from wingbeat.simulator import SimulatorApp, SimulatorConfig

CODEC = GeminiCodec("gemini-2.5-flash")
OK = HttpReply(200, {}, b"")


def part(text: str | None, reason: str | None = None, output: int = 1, **more: Any) -> bytes:
    """Return the JSON of one part."""
    content = {} if text is None else {"parts": [{"text": text}]}
    candidate = {"content": content} | ({"finishReason": reason} if reason else {})
    return msgspec.json.encode(
        {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": output}, **more}
    )


def events(*parts: bytes, end: bytes = b"\r\n") -> bytes:
    """Return the parts as a stream."""
    return b"".join(b"data: " + one + end + end for one in parts)


def read(*pieces: bytes, reply: HttpReply = OK) -> Completion | Failure:
    """Decode a stream that comes in pieces."""
    stream = CODEC.stream()
    for piece in pieces:
        stream.feed(piece)
    return stream.finish(reply)


def asked(prompt: str, *, streamed: bool, config: str = "seed=3", options: Options | None = None) -> HttpReply:
    """Ask a fresh simulator."""
    app = SimulatorApp(SimulatorConfig.parse(config), start=0.0)
    request = CODEC.encode(Request(prompt=prompt, options=options or Options()))
    request = CODEC.streamed(request) if streamed else request
    reply = app.respond("POST", request.path, {"x-goog-api-key": "some-key"}, request.body, 0.0)
    return HttpReply(reply.status, dict(reply.headers), reply.body)


@pytest.mark.parametrize(
    "prompt", ["What is a wing?", "Warum ziehen Vögel? 🐦", "[[blocked]]", "[[safety]]", "[[empty]]"]
)
@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(max_output_tokens=5),
        Options(thinking_budget=200, extra={"thinking_config": {"includeThoughts": True}}),
        Options(extra={"candidate_count": 3}),
    ],
)
def test_the_stream_and_the_whole_reply_are_one_answer(prompt: str, options: Options) -> None:
    """Of the same answer of the simulator, streamed and whole, the codec reads the same."""
    streamed = asked(prompt, streamed=True, options=options)
    whole = CODEC.decode(asked(prompt, streamed=False, options=options))
    assert streamed.body.startswith(b"data: ") or streamed.status != 200
    assert read(streamed.body, reply=msgspec.structs.replace(streamed, body=b"")) == whole


@given(st.lists(st.integers(1, 60), max_size=200))
def test_it_does_not_matter_where_the_bytes_are_cut(sizes: list[int]) -> None:
    """Cut anywhere, inside a character or between CR and LF, a stream is the same answer."""
    body = events(part("Zugvögel\u2028"), part("ziehen"), part(".", "STOP", 9))
    pieces = []
    for size in sizes:
        pieces.append(body[:size])
        body = body[size:]
    result = read(*pieces, body)
    assert isinstance(result, Completion)
    assert (result.text, result.usage.output_tokens) == ("Zugvögel\u2028ziehen.", 9)


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_any_line_end_ends_a_line(end: bytes) -> None:
    """CR LF, LF and CR are one line's end each."""
    body = events(part("a"), part("b", "STOP"), end=end)
    assert getattr(read(*(bytes([byte]) for byte in body)), "text", None) == "ab"


def test_comments_names_and_a_byte_order_mark_are_left_out() -> None:
    """What else the format of events allows is no part of the answer."""
    body = b"\xef\xbb\xbf: hello\n\nevent: x\nid: 1\nretry: 3\n" + events(part("a", "STOP"), end=b"\n") + b"data\n\n:\n"
    assert getattr(read(body), "text", None) == "a"


def test_data_of_several_lines_is_one_event() -> None:
    """An event whose JSON is spread over lines is put together."""
    body = b'data: {"candidates": [\ndata: {"content": {"parts": [{"text": "a"}]},\ndata: "finishReason": "STOP"}]}\n\n'
    assert getattr(read(body), "text", None) == "a"


def test_the_last_event_needs_no_blank_line() -> None:
    """A stream that ends right after its last event's bytes has lost nothing."""
    assert getattr(read(events(part("a", "STOP")).rstrip()), "text", None) == "a"


@pytest.mark.parametrize("trailer", [b"[DONE]", b"{}", b'{"error":{"code":503}}', b"\xff\xfe", part(None)])
def test_whatever_follows_a_whole_answer_does_no_harm(trailer: bytes) -> None:
    """After the part with the finish reason, trailers of any kind are let pass."""
    assert getattr(read(events(part("a", "STOP"), trailer)), "text", None) == "a"


def test_feeding_tells_how_many_parts_came() -> None:
    """Only parts of an answer count, so that comments and errors are not taken for the first token."""
    stream = CODEC.stream()
    assert stream.feed(b": busy\n\n") == 0
    assert stream.usage is None
    assert stream.feed(events(part("a"), part("b"))) == 2
    assert stream.feed(events(b'{"error":{"code":503}}')) == 0
    assert stream.usage is not None
    assert stream.usage.input_tokens == 3


def test_an_error_inside_a_stream_is_that_error_with_its_tokens() -> None:
    """An error after some parts fails the attempt as that error, and what was billed before it is known."""
    error = b'{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}'
    result = read(events(part("a", output=7), error))
    assert isinstance(result, Failure)
    assert result.kind is FailureKind.OVERLOADED
    assert result.usage is not None
    assert result.usage.output_tokens == 7


def test_the_simulator_s_stream_error_is_an_overload() -> None:
    """The simulator's error inside a 200 is read as the error that it is."""
    reply = asked("What is a wing?", streamed=True, config="fault.stream_error=1")
    result = read(reply.body, reply=msgspec.structs.replace(reply, body=b""))
    assert isinstance(result, Failure)
    assert result.kind is FailureKind.OVERLOADED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"data:",
        events(part("a"), part("b")),
        events(part("a")) + b'data: {"candidates": [{"con',
        events(part("a"), b"[DONE]"),
        events(part("a"), b"nonsense", part("c", "STOP")),
        events(b'{"result":{}}'),
        events(b"{}"),
        b'{"result":{}}',
        b"\x00\xff",
        b"<html>",
    ],
)
def test_what_is_no_whole_answer_is_malformed(body: bytes) -> None:
    """A stream that ends too soon, has a hole, or is something else fails the attempt, to be made again."""
    result = read(body)
    assert isinstance(result, Failure)
    assert result.kind is FailureKind.MALFORMED_REPLY


def test_a_refusal_comes_with_its_status() -> None:
    """An error status is classified as ever, in an array too."""
    body = b'[{"error":{"code":429,"message":"Please retry in 3.5s.","status":"RESOURCE_EXHAUSTED"}}]'
    result = read(reply=HttpReply(429, {}, body))
    assert isinstance(result, Failure)
    assert (result.kind, result.retry_after_s) == (FailureKind.RATE_LIMITED, 3.5)


def test_a_whole_reply_in_a_stream_s_place_is_an_answer() -> None:
    """A gateway that knows no streams answers whole, and that is taken."""
    assert getattr(read(part("whole", "STOP")), "text", None) == "whole"


def test_an_array_of_parts_is_an_answer() -> None:
    """A gateway that drops ``alt=sse`` sends one JSON array, and that is taken."""
    assert getattr(read(b"[" + part("a") + b",\r\n" + part("b", "STOP") + b"]"), "text", None) == "ab"


def test_an_error_in_an_array_of_parts_is_that_error() -> None:
    """An array that ends in an error fails as that error."""
    result = read(b"[" + part("a") + b',{"error":{"code":503,"message":"\\ud800"}}]')
    assert isinstance(result, Failure)
    assert result.kind is FailureKind.OVERLOADED


PIECES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [b"data: ", b"data:", b"\n", b"\r\n", b"\r", b"{}", b"[]", b'{"error":{}}', b"[DONE]", b"\xef\xbb\xbf"]
    ),
    st.builds(part, st.text(max_size=5), st.sampled_from([None, "STOP", "SAFETY", "X"]), st.integers(-(2**70), 2**70)),
    st.recursive(
        st.one_of(st.none(), st.integers(), st.text(max_size=3), st.just("\ud800")),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["candidates", "content", "parts", "text", "finishReason", "usageMetadata", "error"]),
                inner,
            ),
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@given(st.lists(PIECES, max_size=12), st.sampled_from([200, 200, 200, 429, 500, 0]))
@example([b"data: " + b"[" * 5000 + b"\n\n"], 200)
@example([b"[" * 5000], 200)
def test_no_bytes_make_it_raise(pieces: list[bytes], status: int) -> None:
    """Any bytes in any pieces end in a completion or a failure that can be printed and kept."""
    stream = CODEC.stream()
    for piece in pieces:
        stream.feed(piece)
        assert repr(stream)
        assert stream.usage is None or stream.usage.output_tokens >= 0
    result = stream.finish(HttpReply(status, {}, b"".join(pieces)))
    assert msgspec.json.encode(result)


@given(st.lists(st.binary(max_size=12).filter(lambda data: b"\n" not in data and b"\r" not in data), max_size=6))
def test_every_event_comes_out_once(datas: list[bytes]) -> None:
    """What is written as events, without line ends of its own, is read as the same events."""
    reader = EventReader()
    written = b"".join(b"data: " + data + b"\r\n\r\n" for data in datas)
    read_back = [event for byte in written for event in reader.feed(bytes([byte]))]
    assert read_back == [data for data in datas if data]
    assert reader.close() == []
