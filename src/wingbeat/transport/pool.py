"""HTTP over a pool of kept-alive connections, by pyreqwest."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import (
    BuilderError,
    ConnectError,
    ConnectTimeoutError,
    DecodeError,
    PyreqwestError,
    RequestTimeoutError,
)
from pyreqwest.http import HeaderMap
from pyreqwest.request import RequestBuilder
from pyreqwest.response import ResponseBodyReader

from wingbeat._version import __version__
from wingbeat.errors import ConfigurationError
from wingbeat.ledgers.limits import DEFAULT_TIMEOUT_S
from wingbeat.model.http import HttpReply, HttpRequest, TransportFailure, TransportFault
from wingbeat.providers.rate_hints import tells_limits

CONNECT_TIMEOUT_S = 30.0

MASKED_FROM = 8
"""Characters from which on a key is masked in error bodies: a shorter one is a placeholder of a local server."""

MASKED_IN_ANSWERS_FROM = 16
"""The same in answers, where a short placeholder may be a word."""

LONGEST_TIMEOUT_S = 86_400.0 * 365
"""What a longer wait is cut to: the library counts in nanoseconds."""

LETTING_GO_S = 0.03

IDLE_S = 4.0
"""Idle connections are dropped before the server does so; uvicorn and Express servers wait 5 s."""

LONG_IDLE_S = 240.0
"""The same for Google's front ends, which keep idle connections for 610 s, and gateways that drop them at 350 s."""

HELD_BACK_BYTES = 0
"""Bytes of a stream that the library waits for before it hands the first on: 64 KiB unless told, a whole answer."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class HttpTransport:
    """
    Send requests to one base URL, each over a connection of its own while in flight, kept alive between requests.

    Credentials are added here and appear nowhere else: not in errors, not in ``repr``. Cancelling a `send` or a
    `stream` closes its connection.

    Args:
        base_url: Scheme, host and any path prefix; the request's path is appended.
        secret_headers: Headers that carry the key.
        headers: Other headers of every request.
        timeout_s: Longest wait for a reply that is not told otherwise, in seconds.
    """

    def __init__(
        self,
        base_url: str,
        secret_headers: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        hostname = check_base_url(base_url)
        self.base_url = base_url.rstrip("/")
        self._headers = {
            "content-type": "application/json",
            "accept": "*/*",
            **(headers or {}),
        }
        self._secrets = dict(secret_headers or {})
        self._secret_bytes = tuple((value.encode(), len(value)) for value in self._secrets.values() if value)
        self._timeout_s = timeout_s
        idle_s = LONG_IDLE_S if hostname.endswith(".googleapis.com") else IDLE_S
        builder = (
            ClientBuilder()
            .user_agent(f"wingbeat/{__version__}")
            .connect_timeout(timedelta(seconds=CONNECT_TIMEOUT_S))
            .pool_idle_timeout(timedelta(seconds=idle_s))
            .timeout(_duration(timeout_s))
            .tcp_keepalive(timedelta(seconds=60))
            .follow_redirects(False)
            .referer(False)
            .default_headers({**self._headers, **self._secrets})
        )
        if hostname in _LOOPBACK:
            builder = builder.no_proxy()
        try:
            self._client: Client = builder.build()
        except BuilderError as error:
            raise ConfigurationError(f"can't set up HTTP for {self.base_url!r}: {self._masked(str(error))}") from None

    def __repr__(self) -> str:
        return f"<HttpTransport {_without_credentials(self.base_url)}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()
        # Its thread takes a moment more to let go of the connections. Ending the interpreter meanwhile aborts it.
        await asyncio.sleep(LETTING_GO_S)

    async def send(self, request: HttpRequest, timeout_s: float) -> HttpReply | TransportFailure:
        """
        Send one request and read its whole reply.

        Args:
            request: What to send.
            timeout_s: Longest time from connecting to the reply's last byte.
        """
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task is not None else 0
        try:
            response = await self._builder(request, timeout_s).build().send()
            status = response.status
            body = await response.bytes()
            if task is not None and task.cancelling() > cancelled_before:
                raise asyncio.CancelledError  # the library may answer and lose a cancellation that came meanwhile
            headers = _rate_limits(response.headers) if status == 200 else _readable(response.headers)
            return HttpReply(status, headers, self._without_secrets(body.to_bytes(), status))
        except PyreqwestError as error:
            if task is not None and task.cancelling() > cancelled_before:
                raise asyncio.CancelledError from None
            return self._failure(error, timeout_s)

    async def stream(
        self, request: HttpRequest, timeout_s: float, take: Callable[[bytes], None]
    ) -> HttpReply | TransportFailure:
        """
        Send one request and hand its reply's body on as it comes.

        Args:
            request: What to send.
            timeout_s: Longest time from connecting to the reply's last byte.
            take: Called with each piece of the body, cut anywhere, where the status is 200.

        Returns:
            Status and headers, once the body has ended; and the body itself, where the status is not 200.
        """
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task is not None else 0
        try:
            builder = self._builder(request, timeout_s).streamed_read_buffer_limit(HELD_BACK_BYTES)
            async with builder.build_streamed() as response:
                status = response.status
                headers = _rate_limits(response.headers) if status == 200 else _readable(response.headers)
                if status != 200:
                    body = (await response.bytes()).to_bytes()
                else:
                    body = b""
                    await self._hand_on(response.body_reader, take)
            if task is not None and task.cancelling() > cancelled_before:
                raise asyncio.CancelledError  # as above
            return HttpReply(status, headers, self._without_secrets(body, status))
        except PyreqwestError as error:
            if task is not None and task.cancelling() > cancelled_before:
                raise asyncio.CancelledError from None
            return self._failure(error, timeout_s)

    async def _hand_on(self, reader: ResponseBodyReader, take: Callable[[bytes], None]) -> None:
        """Hand the pieces of an answer on; a piece's end that may be a key's beginning waits for the next."""
        held = b""
        while (chunk := await reader.read_chunk()) is not None:
            piece = self._without_secrets(held + chunk.to_bytes(), 200)
            keep = self._begun_secret(piece)
            held = piece[len(piece) - keep :]
            if len(piece) > keep:
                take(piece[: len(piece) - keep])
        if held:
            take(held)

    def _begun_secret(self, piece: bytes) -> int:
        """Return how many bytes at a piece's end may be the beginning of a key that goes on in the next."""
        longest = 0
        for secret, length in self._secret_bytes:
            if length >= MASKED_IN_ANSWERS_FROM:
                sizes = range(min(length - 1, len(piece)), longest, -1)
                longest = next((size for size in sizes if piece.endswith(secret[:size])), longest)
        return longest

    def _builder(self, request: HttpRequest, timeout_s: float) -> RequestBuilder:
        builder = self._client.request(request.method, self.base_url + request.path).body_bytes(request.body)
        return builder if timeout_s == self._timeout_s else builder.timeout(_duration(timeout_s))

    def _without_secrets(self, body: bytes, status: int) -> bytes:
        """Mask the key where a gateway echoes it: its words go into output and journal."""
        shortest = MASKED_FROM if status != 200 else MASKED_IN_ANSWERS_FROM
        for secret, length in self._secret_bytes:
            if length >= shortest and secret in body:
                body = body.replace(secret, b"***")
        return body

    def _failure(self, error: PyreqwestError, timeout_s: float) -> TransportFailure:
        """Map the library's exceptions; the one table where they are named."""
        detail = self._masked(_reason(error))
        if isinstance(error, ConnectTimeoutError) and _was_connecting(error):
            return TransportFailure(TransportFault.CONNECT, f"can't connect to {self._host()}: timed out")
        if isinstance(error, RequestTimeoutError):
            return TransportFailure(TransportFault.TIMEOUT, f"no whole reply within {timeout_s:g} s")
        if isinstance(error, ConnectError):
            return TransportFailure(TransportFault.CONNECT, f"can't connect to {self._host()}: {detail}")
        if isinstance(error, DecodeError):
            return TransportFailure(TransportFault.PROTOCOL, f"the reply could not be read: {detail}")
        return TransportFailure(TransportFault.RESET, f"the connection was lost: {detail}")

    def _host(self) -> str:
        parts = urlsplit(self.base_url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    def _masked(self, text: str) -> str:
        for secret in self._secrets.values():
            if secret:
                text = text.replace(secret, "***")
        return text


@lru_cache(maxsize=64)
def _duration(seconds: float) -> timedelta:
    return timedelta(seconds=min(seconds, LONGEST_TIMEOUT_S))


def _rate_limits(headers: HeaderMap) -> dict[str, str]:
    """Return what an answer's headers tell of rate limits, and the date that they count from; mostly nothing."""
    if not tells_limits(headers):
        return {}
    return {name: value for name, value in _readable(headers).items() if "ratelimit" in name or name == "date"}


def _readable(headers: HeaderMap) -> dict[str, str]:
    """Return the headers that are text; servers may send any bytes."""
    try:
        return dict(headers.items())
    except ValueError:
        readable = {}
        for name in headers:
            with contextlib.suppress(ValueError, KeyError):
                readable[name] = headers[name]
        return readable


def _causes(error: PyreqwestError) -> list[str]:
    details = getattr(error, "details", None)
    causes = details.get("causes") if isinstance(details, dict) else None
    return [str(cause["message"]) for cause in causes or ()]


def _was_connecting(error: PyreqwestError) -> bool:
    """Tell a connection that was not made in time from a reply that did not begin: the library calls both the same."""
    return any("(Connect)" in cause for cause in _causes(error))


def _reason(error: PyreqwestError) -> str:
    """Return the innermost cause that the library names, on one line."""
    causes = _causes(error)
    return " ".join((causes[-1] if causes else str(error.message)).split())


def check_base_url(url: str) -> str:
    """
    Return the host of a base URL.

    Raises:
        ConfigurationError: No request can be sent to it.
    """
    hint = "write it like https://host or http://127.0.0.1:8080, without the API version"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"the base URL {_without_credentials(url)!r} is wrong: {error}", hint=hint) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        message = f"the base URL {_without_credentials(url)!r} is not an http or https URL"
        raise ConfigurationError(message, hint=hint)
    if parts.query or parts.fragment or any(char.isspace() or not char.isprintable() for char in url):
        message = f"the base URL {_without_credentials(url)!r} must not hold a query, a fragment or white space"
        raise ConfigurationError(message, hint=hint)
    return parts.hostname


def _without_credentials(url: str) -> str:
    head, slashes, rest = url.partition("//")
    host, slash, path = rest.partition("/")
    return f"{head}{slashes}{host.rpartition('@')[2]}{slash}{path}"
