"""A transport that plays a script instead of opening sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from wingbeat.model.http import HttpReply, HttpRequest, TransportFailure, TransportFault

Script = Callable[[HttpRequest, int], HttpReply | TransportFailure]


def answer_body(text: str, input_tokens: int = 10, output_tokens: int = 5) -> bytes:
    """Return the body of a plain Gemini answer."""
    return msgspec.json.encode(
        {
            "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP"}],
            "usageMetadata": {
                "promptTokenCount": input_tokens,
                "candidatesTokenCount": output_tokens,
                "totalTokenCount": input_tokens + output_tokens,
            },
            "modelVersion": "scripted",
        }
    )


class ScriptedTransport:
    """
    Answer each request as a script says, after a latency, and keep a record of when each was sent.

    Args:
        script: Takes the request and its number from 0, returns what comes back. By default every request
            is answered with ``ok``.
        latency_s: Seconds from request to reply.
    """

    def __init__(self, script: Script | None = None, latency_s: float = 1.0) -> None:
        self._script = script or (lambda _request, _number: HttpReply(200, {}, answer_body("ok")))
        self._latency_s = latency_s
        self.sent_at: list[float] = []
        self.requests: list[HttpRequest] = []
        self.in_flight = 0
        self.peak_in_flight = 0

    def __repr__(self) -> str:
        return f"<ScriptedTransport {len(self.requests)} requests>"

    async def send(self, request: HttpRequest, timeout_s: float) -> HttpReply | TransportFailure:
        """Play the next step of the script."""
        number = len(self.requests)
        self.requests.append(request)
        self.sent_at.append(asyncio.get_running_loop().time())
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            if self._latency_s > timeout_s:
                await asyncio.sleep(timeout_s)
                return TransportFailure(TransportFault.TIMEOUT, f"no whole reply within {timeout_s:g} s")
            await asyncio.sleep(self._latency_s)
        finally:
            self.in_flight -= 1
        return self._script(request, number)

    async def stream(
        self, request: HttpRequest, timeout_s: float, take: Callable[[bytes], None]
    ) -> HttpReply | TransportFailure:
        """Play the next step of the script; an answer comes as a stream of one event, after the latency."""
        reply = await self.send(request, timeout_s)
        if isinstance(reply, TransportFailure) or reply.status != 200:
            return reply
        take(b"data: " + reply.body + b"\r\n\r\n")
        return HttpReply(200, reply.headers, b"")

    async def close(self) -> None:
        """Nothing to close."""
