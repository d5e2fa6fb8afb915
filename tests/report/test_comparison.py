"""The figures of a comparison."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.console import Console
from tests.report.birds import all_at_once, comparison, one_at_a_time, refused_once, wingbeat

from wingbeat.report.comparison import Figures, comparison_table, comparison_text, figures
from wingbeat.report.timeline import Mode, Span, Track


def counted(modes: Sequence[Mode]) -> list[Figures]:
    """Count every mode against the first."""
    return [figures(mode, modes[0].wall_s) for mode in modes]


def on_terminal(rows: Sequence[Figures], columns: int) -> str:
    """Print the table as a terminal of that many columns shows it."""
    screen = io.StringIO()
    Console(file=screen, width=columns, force_terminal=False).print(comparison_table(rows))
    return screen.getvalue()


def test_a_mode_that_answers_everything_has_a_speed_up() -> None:
    """Wall time of the baseline over its own."""
    found = figures(wingbeat(5, burst=5, every_s=6.0), 7.5)
    assert found == Figures("wingbeat", 1.5, 5, 5, 0, 0, 0, 5.0, 5 / 1.5)
    assert found.lost == 0


def test_a_mode_that_loses_requests_has_none() -> None:
    """Giving up is quick; it isn't speed."""
    found = figures(all_at_once(20, 10), 30.0)
    assert (found.requests, found.answered, found.refused, found.failed, found.lost) == (20, 10, 10, 0, 10)
    assert found.speed_up is None


def test_a_baseline_that_lost_requests_gives_nobody_a_speed_up() -> None:
    """A script sending one at a time can be refused too."""
    assert figures(wingbeat(5, burst=5, every_s=6.0), None).speed_up is None


def test_refusals_met_are_told_from_requests_lost() -> None:
    """A request refused and then answered is not lost, but its refusal counts."""
    found = figures(Mode("wingbeat", 19.45, tuple(refused_once(index) for index in range(3))), 30.0)
    assert (found.refusals, found.refused, found.answered, found.lost) == (3, 0, 3, 0)


def test_every_request_is_answered_refused_or_failed() -> None:
    """The last attempt decides; a request never sent has failed."""
    refused, failed = Span(0, 0, 1, "refused"), Span(1, 2, 3, "failed")
    found = figures(Mode("m", 3.0, (Track(0, (refused, failed)), Track(1, (failed, refused)), Track(2, ()))), 3.0)
    assert (found.answered, found.refused, found.failed, found.refusals) == (0, 1, 2, 2)
    assert found.answered + found.refused + found.failed == found.requests


@pytest.mark.parametrize("mode", [Mode("m", 0.0, ()), Mode("m", 5.0, ())])
def test_a_mode_without_requests_or_time_divides_by_nothing(mode: Mode) -> None:
    """No speed-up, no rate, no error."""
    found = figures(mode, 5.0)
    assert (found.speed_up, found.answered_per_s) == (None, 0.0)


def test_the_plain_text_reads_as_shown() -> None:
    """Numbers under their headings, and a note where requests were lost."""
    assert comparison_text(counted(comparison(20, 10))).splitlines() == [
        "                                              wall  answers  speed-",
        "mode                  answered  lost  429s    time    per s      up",
        "────────────────────  ────────  ────  ────  ──────  ───────  ──────",
        "one at a time               20     0     0  30.0 s     0.67    1.0×",
        "all at once (gather)        10    10    10   1.5 s    *6.67       –",
        "wingbeat                    20     0     0  91.5 s     0.22   0.33×",
        "* lost requests don't count, so no speed-up is given",
    ]


def test_no_note_where_nothing_was_lost() -> None:
    """The star is explained only where it stands."""
    assert "*" not in comparison_text(counted(comparison(5, 5)))


def test_the_plain_text_fits_80_columns() -> None:
    """Also with long names and numbers in the millions."""
    rows = [
        Figures("a mode with a name " * 5, 2e6, 9_999_999, 5_000_000, 4_999_999, 0, 99_999_999, None, 12_345.6),
        *counted([one_at_a_time(5000), all_at_once(5000, 1000)]),
    ]
    assert max(map(len, comparison_text(rows).splitlines())) <= 80


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_table_fits_the_terminal_with_every_number_whole(columns: int) -> None:
    """Names wrap; numbers are never cut."""
    shown = on_terminal(counted(comparison(20, 10)), columns)
    assert max(len(line) for line in shown.splitlines()) <= columns
    assert "…" not in shown
    assert all(cell in shown for cell in ("one at a time", "(gather)", "30.0 s", "91.5 s", "*6.67", "0.33×", "–"))


def test_the_table_wraps_no_name_at_80_columns() -> None:
    """One line a mode."""
    assert "all at once (gather)" in on_terminal(counted(comparison(20, 10)), 80)


@pytest.mark.parametrize(
    ("per_s", "speed_up", "expected"),
    [
        (0.0012, 0.312, ["0.0012", "0.31×"]),
        (3.333, 5.02, ["3.33", "5.0×"]),
        (12.34, 99.96, ["12.3", "100.0×"]),
        (1234.5, 1234.5, ["1,234", "1,234×"]),
    ],
)
def test_numbers_keep_two_or_three_digits(per_s: float, speed_up: float, expected: list[str]) -> None:
    """As many as a handful of requests supports."""
    row = comparison_text([Figures("m", 1.0, 1, 1, 0, 0, 0, speed_up, per_s)]).splitlines()[3]
    assert row.split()[-2:] == expected
