"""What each way of sending the same requests came to: its time, its answers, and the requests that it lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from wingbeat.report.timeline import Mode, duration_text

if TYPE_CHECKING:
    from rich.table import Table

_WIDEST = 80
"""Columns that the plain text may take, the width of a terminal nobody has changed."""

_HEADINGS = (
    ("", "mode"),
    ("", "answered"),
    ("", "lost"),
    ("", "429s"),
    ("wall", "time"),
    ("answers", "per s"),
    ("speed-", "up"),
)
"""Two lines a column, so that the numbers' columns stay narrow and the mode's name keeps its room."""

_NOTE = "* lost requests don't count, so no speed-up is given"


class Figures(msgspec.Struct, frozen=True):
    """
    What one mode came to. Every request is answered, refused or failed: `lost` is the sum of the last two.

    Args:
        mode: The mode's name.
        wall_s: From its start until its last request was done with.
        requests: Requests it was given.
        answered: Requests that ended with an answer, after however many attempts.
        refused: Requests never answered whose last reply was a refusal (429).
        failed: Requests never answered for any other reason, those never sent included.
        refusals: Refusals met on the way, by answered requests too.
        speed_up: How many times faster than the baseline; None unless both answered every request, since a mode
            that gives requests up is quick for the wrong reason.
        answered_per_s: Answers per second of wall time.
    """

    mode: str
    wall_s: float
    requests: int
    answered: int
    refused: int
    failed: int
    refusals: int
    speed_up: float | None
    answered_per_s: float

    @property
    def lost(self) -> int:
        """Requests that never got an answer."""
        return self.requests - self.answered


def figures(mode: Mode, baseline_wall_s: float | None) -> Figures:
    """
    Count what became of a mode's requests.

    Args:
        mode: The mode to count.
        baseline_wall_s: Wall time of the mode that speed-ups refer to; None when that mode lost requests itself, since
            nothing can be called faster than a run that was cut short.
    """
    ends = [track.spans[-1].end if track.spans else "failed" for track in mode.tracks]
    answered = ends.count("answered")
    is_whole = mode.wall_s > 0 and bool(ends) and answered == len(ends)
    return Figures(
        mode=mode.name,
        wall_s=mode.wall_s,
        requests=len(ends),
        answered=answered,
        refused=ends.count("refused"),
        failed=ends.count("failed"),
        refusals=sum(span.end == "refused" for track in mode.tracks for span in track.spans),
        speed_up=baseline_wall_s / mode.wall_s if baseline_wall_s is not None and is_whole else None,
        answered_per_s=answered / mode.wall_s if mode.wall_s > 0 else 0.0,
    )


def comparison_table(rows: Sequence[Figures]) -> Table:
    """Lay the figures out for a terminal; it fits 60 columns by wrapping the modes' names."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, header_style="bold")
    table.caption = Text(_NOTE, style="dim") if any(row.lost for row in rows) else None
    table.caption_justify = "left"
    for place, (above, below) in enumerate(_HEADINGS):
        heading = Text("\n".join((above, below)))
        table.add_column(heading, justify="right" if place else "left", no_wrap=place > 0, vertical="top")
    for row in rows:
        styles = ("bold", "", "red" if row.lost else "", "yellow" if row.refusals else "", "", "", "bold")
        table.add_row(*(Text(cell, style=style) for cell, style in zip(_cells(row), styles, strict=True)))
    return table


def comparison_text(rows: Sequence[Figures]) -> str:
    """Lay the figures out as plain aligned text of at most 80 columns, without a newline at its end."""
    lines = [[above for above, _ in _HEADINGS], [below for _, below in _HEADINGS], *(_cells(row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    widths[0] = min(widths[0], max(8, _WIDEST - sum(2 + width for width in widths[1:])))
    rule = ["─" * width for width in widths]
    laid = [_laid_out(cells, widths) for cells in (*lines[:2], rule, *lines[2:])]
    return "\n".join([*laid, *([_NOTE] if any(row.lost for row in rows) else [])])


def _laid_out(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Join one line's cells, the name on the left and numbers on the right; a name too long is cut."""
    name = cells[0] if len(cells[0]) <= widths[0] else cells[0][: widths[0] - 1] + "…"
    numbers = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return "  ".join((name.ljust(widths[0]), *numbers)).rstrip()


def _cells(row: Figures) -> list[str]:
    """Say one mode's figures in the order of the headings."""
    return [
        row.mode,
        f"{row.answered:,}",
        f"{row.lost:,}",
        f"{row.refusals:,}",
        duration_text(row.wall_s),
        ("*" if row.lost else "") + _rate(row.answered_per_s),
        "–" if row.speed_up is None else _times(row.speed_up),
    ]


def _rate(per_s: float) -> str:
    """Round to two or three digits, as many as a handful of requests can support."""
    if per_s >= 100:
        return f"{per_s:,.0f}"
    if per_s >= 10:
        return f"{per_s:.1f}"
    return f"{per_s:.2f}" if per_s >= 0.1 else f"{per_s:.2g}"


def _times(speed_up: float) -> str:
    if speed_up >= 100:
        return f"{speed_up:,.0f}×"
    return f"{speed_up:.1f}×" if speed_up >= 1 else f"{speed_up:.2f}×"
