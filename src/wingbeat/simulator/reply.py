"""One HTTP reply as a value: what is sent, when, and how it ends. Framing is the server's business."""

from enum import Enum, auto

import msgspec

Headers = tuple[tuple[str, str], ...]


class Ending(Enum):
    """How a reply ends."""

    COMPLETE = auto()
    RESET = auto()
    """The connection is reset after the parts; before the status line if they are empty."""
    TRUNCATE = auto()
    """The connection closes before the promised length."""
    HANG = auto()
    """Nothing comes after the parts, and the connection stays open."""


class Reply(msgspec.Struct, frozen=True):
    """
    A status, headers, and a body in parts.

    Args:
        status: HTTP status code.
        headers: Headers without `content-length` and `transfer-encoding`.
        parts: (seconds after the part before, bytes); the first delay counts from the arrival of the request.
        ending: How it ends.
        length: The `content-length` to promise; None sends the body in chunks.
    """

    status: int
    headers: Headers
    parts: tuple[tuple[float, bytes], ...]
    ending: Ending = Ending.COMPLETE
    length: int | None = None

    @property
    def body(self) -> bytes:
        """The bytes of all parts."""
        return b"".join(data for _, data in self.parts)

    @property
    def duration_s(self) -> float:
        """Seconds from the arrival of the request to the last part."""
        return sum(delay for delay, _ in self.parts)


def whole(status: int, headers: Headers, body: bytes, delay_s: float = 0.0) -> Reply:
    """Return a complete reply in one part, with its length promised."""
    return Reply(status, headers, ((delay_s, body),), Ending.COMPLETE, len(body))
