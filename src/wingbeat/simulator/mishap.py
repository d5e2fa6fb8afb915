"""How a fault turns a right reply into a wrong one."""

import msgspec

from wingbeat.simulator import errors
from wingbeat.simulator.faults import Fault
from wingbeat.simulator.gemini import headers
from wingbeat.simulator.reply import Ending, Reply, whole

_DRIPS = 20
_GARBAGE = b"\x00\x1f\x8b{]upstream connect error or disconnect/reset before headers\xff\xfe"
_HTML = (
    b"<!DOCTYPE html>\n<html lang=en>\n  <title>Error 502 (Server Error)!!1</title>\n"
    b"  <p><b>502.</b> <ins>That\xe2\x80\x99s an error.</ins>\n"
    b"  <p>The server encountered a temporary error and could not complete your request.\n"
)
_OTHER_SHAPE = b'{"result":{"output":["this is not a GenerateContentResponse"],"ok":true}}'


def spoil(reply: Reply, fault: Fault, drip_s: float, *, is_sse: bool) -> Reply:
    """
    Return `reply` as `fault` leaves it. Faults that are plain API errors don't come here and change nothing.

    Args:
        reply: The right reply.
        fault: What goes wrong.
        drip_s: How long a dripped body takes.
        is_sse: Whether the reply is a stream of events, for the shape of the error inside it.
    """
    delay_s = reply.duration_s
    body = reply.body
    match fault:
        case Fault.RESET:
            return Reply(reply.status, reply.headers, ((delay_s, b""),), Ending.RESET)
        case Fault.TRUNCATE:
            return Reply(reply.status, reply.headers, ((delay_s, body[: len(body) // 2]),), Ending.TRUNCATE, len(body))
        case Fault.HANG:
            return Reply(reply.status, reply.headers, (), Ending.HANG)
        case Fault.GARBAGE:
            return whole(200, reply.headers, _GARBAGE, delay_s)
        case Fault.HTML:
            return whole(502, headers("text/html", 0), _HTML, delay_s)
        case Fault.EMPTY:
            return whole(200, reply.headers, b"", delay_s)
        case Fault.WRONG_SHAPE:
            return whole(200, reply.headers, _OTHER_SHAPE, delay_s)
        case Fault.SLOW_DRIP:
            size = max(1, -(-len(body) // _DRIPS))
            pieces = [body[first : first + size] for first in range(0, len(body), size)]
            pause_s = drip_s / len(pieces)
            first_s = reply.parts[0][0]
            parts = tuple((pause_s + (0.0 if number else first_s), piece) for number, piece in enumerate(pieces))
            return Reply(reply.status, reply.headers, parts, Ending.COMPLETE, len(body))
        case Fault.STREAM_ERROR:
            return _with_stream_error(reply, is_sse=is_sse)
        case Fault.ERROR_429 | Fault.ERROR_500 | Fault.ERROR_503 | Fault.ERROR_504:
            return reply


def _with_stream_error(reply: Reply, *, is_sse: bool) -> Reply:
    """Keep the first part of a stream and end with an error inside the 200, as seen in public reports."""
    error = errors.unavailable(new_text=False).body()
    first = reply.parts[0][1]
    if is_sse:
        parts = (reply.parts[0], (0.0, b"data: " + error + b"\r\n\r\n"))
    else:
        inside = first.removesuffix(b"]") if len(reply.parts) == 1 else first
        parts = ((reply.parts[0][0], inside), (0.0, b",\r\n" + error + b"]"))
    return msgspec.structs.replace(reply, parts=parts)
