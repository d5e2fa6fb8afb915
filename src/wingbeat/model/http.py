"""HTTP as values: what a codec asks to be sent, and what came back. They hold no cycles, so the collector is told."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class HttpRequest(msgspec.Struct, frozen=True, gc=False):
    """
    One HTTP request, without credentials: the transport adds those.

    Args:
        path: Path and query below the base URL, with a leading slash.
        body: Encoded body; empty for GET.
        method: HTTP method.
    """

    path: str
    body: bytes
    method: str = "POST"


class HttpReply(msgspec.Struct, frozen=True, gc=False):
    """
    A whole reply, whatever its status.

    Args:
        status: HTTP status.
        headers: Header names in lower case to values; the last one wins.
        body: Decoded (uncompressed) body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class TransportFault(StrEnum):
    """How a request can fail below HTTP."""

    CONNECT = "connect"
    RESET = "reset"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"


class TransportFailure(msgspec.Struct, frozen=True):
    """
    No whole reply arrived.

    Args:
        fault: What kind of failure it was.
        detail: One line for a person; never holds credentials.
    """

    fault: TransportFault
    detail: str
