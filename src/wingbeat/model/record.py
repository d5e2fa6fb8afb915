"""One input row on its way: what is asked, and under which key its answer is kept."""

from __future__ import annotations

from typing import Any

import msgspec

from wingbeat.model.options import NO_OPTIONS, Options


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation: ``role`` is ``user`` or ``model``."""

    role: str
    text: str


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    One question in neutral words; a codec turns it into one service's wire.

    Exactly one of ``prompt``, ``messages`` and ``contents`` is set.

    Args:
        prompt: A single user turn.
        messages: A conversation, oldest first.
        contents: Turns already in the service's own wire form, sent as they are.
        system: The system instruction, or None.
        options: Generation options of this request, the run's own already merged in.
    """

    prompt: str | None = None
    messages: tuple[Message, ...] = ()
    contents: list[Any] | None = None
    system: str | None = None
    options: Options = NO_OPTIONS


class Record(msgspec.Struct, frozen=True):
    """
    One input row.

    Args:
        index: Position in the input, from 0.
        id: The row's own identifier, or None when it has none.
        key: 16 bytes that name the row's content; equal content has an equal key.
        request: What to ask, or None when the row itself is unusable.
        columns: Input columns to carry into the output, or None.
        fault: Why the row is unusable, in one line; None for a good row.
        item: What a call of the user's own is made with (`wingbeat.map` only).
    """

    index: int
    id: str | int | None
    key: bytes
    request: Request | None
    columns: dict[str, Any] | None = None
    fault: str | None = None
    item: Any = None
