"""The picture of a comparison."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from tests.report.birds import all_at_once, comparison, one_at_a_time, refused_once, wingbeat

from wingbeat.report.timeline import MOST_TRACKS, Mode, Span, Track, duration_text, timeline_svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn(modes: Sequence[Mode], title: str = "Why do some birds migrate?", subtitle: str = "") -> Element:
    """Draw and parse."""
    return ElementTree.fromstring(timeline_svg(modes, title=title, subtitle=subtitle))


def tooltips(picture: Element) -> list[str]:
    """Read the tooltip of every attempt."""
    return [group.findtext(f"{SVG}title") or "" for group in picture.iter(f"{SVG}g")]


def bars(picture: Element, kind: str) -> list[Element]:
    """Find the bars of one kind, the legend's swatch left out."""
    return [bar for group in picture.iter(f"{SVG}g") for bar in group.findall(f"{SVG}rect") if bar.get("class") == kind]


def texts(picture: Element) -> list[str]:
    """Read all text that is drawn, headings with their notes."""
    return ["|".join(element.itertext()) for element in picture.iter(f"{SVG}text")]


def number(element: Element, name: str) -> float:
    """Read a numeric attribute."""
    return float(element.attrib[name])


@pytest.mark.parametrize(("count", "quota"), [(1, 1), (5, 5), (20, 10), (200, 60), (300, 300)])
def test_every_request_of_every_mode_has_a_bar(count: int, quota: int) -> None:
    """Up to the limit nothing is left out."""
    picture = drawn(comparison(count, quota))
    numbers = [int(tip.split(":")[0].removeprefix("request ")) for tip in tooltips(picture)]
    assert sorted(numbers) == sorted(list(range(1, count + 1)) * 3)
    assert len(bars(picture, "answered")) == 2 * count + quota
    assert len(bars(picture, "refused")) == count - quota


def test_a_tooltip_tells_waiting_flight_and_attempt() -> None:
    """Requests are counted from 1, as a reader does."""
    tips = tooltips(drawn([Mode("wingbeat", 19.45, (refused_once(6),))]))
    assert sorted(tips) == [
        "request 7: waited 12.0 s, refused after 50 ms, attempt 1",
        "request 7: waited 6.0 s, answered after 1.4 s, attempt 2",
    ]


def test_all_modes_share_one_time_axis() -> None:
    """The same latency is the same length in a mode of 120 seconds and in one of 1.5."""
    picture = drawn(comparison(20, 20))
    assert len({bar.get("width") for bar in bars(picture, "answered")} - {None}) <= 2
    widths = [number(bar, "width") for bar in bars(picture, "answered")]
    assert max(widths) - min(widths) <= 0.11


def test_bars_lie_end_to_end_and_inside_the_picture() -> None:
    """Waiting ends where the flight begins; nothing leaves the frame."""
    picture = drawn([Mode("wingbeat", 19.45, (refused_once(0), refused_once(1)))])
    for bar in picture.iter(f"{SVG}rect"):
        if bar.get("x") is not None:
            assert number(bar, "x") >= 0
            assert number(bar, "x") + number(bar, "width") <= number(picture, "width")
            assert number(bar, "y") + number(bar, "height") <= number(picture, "height")
    for group in picture.iter(f"{SVG}g"):
        waiting, flight = group.findall(f"{SVG}rect")
        assert number(waiting, "x") + number(waiting, "width") == pytest.approx(number(flight, "x"), abs=0.11)


def test_a_refusal_carries_a_cross() -> None:
    """It is told by shape too, not by colour alone."""
    picture = drawn([all_at_once(20, 10)])
    refused = [group for group in picture.iter(f"{SVG}g") if group.find(f"{SVG}path") is not None]
    assert len(refused) == 10
    assert all("refused" in (group.findtext(f"{SVG}title") or "") for group in refused)


def test_crosses_of_thin_rows_are_thinned_out() -> None:
    """Marks that would run into each other are left out; the red bars stay."""
    picture = drawn([all_at_once(200, 0)])
    crosses = [path for path in picture.iter(f"{SVG}path") if path.get("class") == "cross"]
    assert 10 < len(crosses) < 50
    assert len(bars(picture, "refused")) == 200


def test_a_short_refusal_is_wide_enough_to_see() -> None:
    """A reply of 50 ms on an axis of two hours is still there."""
    picture = drawn([all_at_once(5, 0), Mode("slow", 7200.0, ())])
    assert all(number(bar, "width") >= 1.5 for bar in bars(picture, "refused"))


def test_headings_notes_and_wall_times_are_shown() -> None:
    """Each mode says its name, its note and how long it took."""
    shown = texts(drawn(comparison(20, 10), subtitle="simulated, 10 requests per minute"))
    assert "all at once (gather)|10 of 20 lost to 429" in shown
    assert {"one at a time", "wingbeat", "30.0 s", "1.5 s", "91.5 s"} <= set(shown)
    assert "simulated, 10 requests per minute" in shown


def test_the_legend_explains_only_what_occurs() -> None:
    """A picture without refusals doesn't explain them."""
    legend = {"waiting", "in flight, then answered", "refused (429)", "failed"}
    assert legend & set(texts(drawn([all_at_once(3, 3)]))) == {"in flight, then answered"}
    assert legend & set(texts(drawn(comparison(20, 10)))) == legend - {"failed"}


@pytest.mark.parametrize(
    ("wall_s", "expected"),
    [
        (0.4, ["0", "50 ms", "100 ms"]),
        (7.5, ["0", "1 s", "2 s"]),
        (91.0, ["0", "10 s", "20 s"]),
        (305.0, ["0", "0.5 min", "1 min"]),
        (7500.0, ["0", "20 min", "40 min"]),
        (40_000.0, ["0", "2 h", "4 h"]),
    ],
)
def test_ticks_are_round_and_carry_their_unit(wall_s: float, expected: list[str]) -> None:
    """Between five and a dozen ticks, in the unit that suits the longest mode."""
    axis = drawn([Mode("m", wall_s, ())]).iter(f"{SVG}text")
    ticks = [element.text for element in axis if element.get("class") == "soft middle"]
    assert ticks[:3] == expected
    assert 5 <= len(ticks) <= 12


def test_text_is_escaped() -> None:
    """Markup in a prompt stays text, in titles, notes and headings."""
    hostile = 'Why <do> & "birds" </text><script>x</script>'
    mode = Mode(hostile[:20], 1.0, (Track(0, (Span(0, 0, 1, "answered"),)),), "a < b & c")
    picture = drawn([mode], title=hostile, subtitle=hostile)
    assert picture.findtext(f"{SVG}title") == hostile
    assert hostile in texts(picture)
    assert f"{hostile[:20]}|a < b & c" in texts(picture)
    assert not list(picture.iter(f"{SVG}script"))


def test_characters_that_xml_forbids_become_spaces() -> None:
    """A prompt may hold control characters, newlines and lone surrogates."""
    text = "Why\x00do\x1b some\nbirds\ud800 migrate\uffff?"
    picture = drawn([one_at_a_time(1)], title=text, subtitle=text)
    assert picture.findtext(f"{SVG}title") == "Why do some birds migrate ?"


@pytest.mark.parametrize("letter", ["birds ", "鳥"])
def test_a_long_title_is_shortened_and_kept_whole_for_readers_of_the_title_element(letter: str) -> None:
    """What is drawn fits the picture."""
    picture = drawn([one_at_a_time(1)], title=letter * 200)
    heading = texts(picture)[0]
    assert heading.endswith("…")
    assert len(heading) <= 62
    assert picture.findtext(f"{SVG}title") == (letter * 200).strip()


def test_many_requests_are_sampled_and_the_picture_says_so() -> None:
    """The sample holds the first and the last request."""
    picture = drawn([one_at_a_time(5000)])
    assert "one at a time|300 of 5,000 requests drawn" in texts(picture)
    tips = tooltips(picture)
    assert len(tips) == MOST_TRACKS
    assert tips[0].startswith("request 1:")
    assert tips[-1].startswith("request 5000:")


def test_five_thousand_requests_stay_under_400_kilobytes() -> None:
    """Also when every request was refused before it was answered."""
    troubled = Mode("wingbeat", 19.45, tuple(refused_once(index) for index in range(5000)))
    svg = timeline_svg([*comparison(5000, 1000)[:2], troubled], title="birds")
    assert len(svg.encode()) < 400_000


def test_the_same_modes_give_the_same_bytes() -> None:
    """Nothing random, no date."""
    modes = comparison(20, 10)
    assert timeline_svg(modes, title="birds") == timeline_svg(modes, title="birds")


def test_numbers_are_rounded_to_a_tenth() -> None:
    """The file stays small whatever the clock's digits."""
    dice = random.Random(7)
    mode = Mode("m", 3.3333333, tuple(Track(n, (Span(0, dice.random(), 2.2222222, "failed"),)) for n in range(7)))
    assert not re.search(r"\d\.\d\d", timeline_svg([mode], title="birds"))


def test_the_file_stands_alone() -> None:
    """No script, link, or font from elsewhere; both colour schemes; a description for those who can't see it."""
    svg = timeline_svg(comparison(5, 5), title="birds")
    assert not re.search(r"<script|href|@import|@font-face|url\((?!#)", svg)
    assert svg.count("http") == 1
    assert "prefers-color-scheme:dark" in svg
    assert "wingbeat: 5 requests in 1.5 s" in (ElementTree.fromstring(svg).findtext(f"{SVG}desc") or "")


@pytest.mark.parametrize(
    "modes",
    [[], [Mode("empty", 0.0, ())], [Mode("unsent", 1.0, (Track(0, ()),))], [wingbeat(5, burst=5, every_s=0.0)]],
)
def test_nothing_to_draw_is_still_a_picture(modes: list[Mode]) -> None:
    """A run stopped before its first request has a picture too."""
    assert drawn(modes).tag == f"{SVG}svg"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (0.05, "50 ms"),
        (1.44, "1.4 s"),
        (91, "91.0 s"),
        (305, "5.1 min"),
        (7500, "125 min"),
        (40_000, "11.1 h"),
    ],
)
def test_durations_are_said_in_the_unit_that_suits_them(seconds: float, expected: str) -> None:
    """Tenths, so that modes compare."""
    assert duration_text(seconds) == expected
