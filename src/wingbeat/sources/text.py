"""Plain text: one prompt a line, or one prompt repeated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wingbeat.sources.bytelines import byte_lines, open_bytes, too_long
from wingbeat.sources.rows import BadRow, Row


class TextSource:
    """Read one prompt a line; empty lines are passed over. The column is called ``prompt``, and ``text`` too."""

    unit = "line"
    can_reread = True
    columns: tuple[str, ...] | None = ("prompt", "text")

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield the lines."""
        with open_bytes(self._path) as stream:
            for number, line in enumerate(byte_lines(stream, self.name), 1):
                if line is None:
                    yield BadRow(number, too_long())
                elif line.strip():
                    try:
                        prompt = line.decode("utf-8")
                    except UnicodeDecodeError as wrong:
                        yield BadRow(number, f"not UTF-8: byte 0x{line[wrong.start]:02x} at position {wrong.start}")
                        continue
                    yield Row(number, {"prompt": prompt, "text": prompt})


class PromptSource:
    """The prompts of a command line or a program: each text once, or one text ``repeat`` times."""

    unit = "prompt"
    can_reread = True
    columns: tuple[str, ...] | None = ("prompt", "text")

    def __init__(self, prompt: str, repeat: int = 1) -> None:
        self._prompt = prompt
        self._repeat = repeat
        self.name = "the prompt"

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield the prompt as often as asked."""
        columns = {"prompt": self._prompt, "text": self._prompt}
        for number in range(1, self._repeat + 1):
            yield Row(number, columns)
