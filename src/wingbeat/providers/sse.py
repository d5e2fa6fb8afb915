"""Server-sent events as bytes come in: which bytes are one event's data. It must not know what the data means."""

from __future__ import annotations

import re

_LINE_END = re.compile(rb"\r\n|\r|\n")
"""Nothing else ends a line: answers hold U+2028 and the like. Source: HTML standard, 9.2.5, and google-genai 3.4.0."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventReader:
    """
    Cut a stream of bytes, however they are split, into the data of its events; any bytes are taken.

    Comments and other fields are left out; an event without data is none.
    """

    __slots__ = ("_after_return", "_begun", "_data", "_line")

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._after_return = False
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the data of each event that they complete."""
        if not data:
            return []
        if self._after_return and data.startswith(b"\n"):  # the second half of a line's end
            data = data[1:]
        self._after_return = data.endswith(b"\r")
        lines = _LINE_END.split(data)
        if len(lines) == 1:
            self._line.append(data)
            return []
        lines[0] = b"".join((*self._line, lines[0]))
        self._line = [lines.pop()]
        return [event for line in lines if (event := self._end_line(line)) is not None]

    def close(self) -> list[bytes]:
        """Return the data of an event that the stream's end has left without its blank line."""
        last = b"".join(self._line)
        self._line = []
        self._end_line(last)
        event = self._end_line(b"")
        return [] if event is None else [event]

    def _end_line(self, line: bytes) -> bytes | None:
        """Take one whole line; return an event's data at a blank one."""
        if not self._begun:
            self._begun = True
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if line:
            name, _colon, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            return None
        if not self._data:
            return None
        event = b"\n".join(self._data)
        self._data = []
        return event or None
