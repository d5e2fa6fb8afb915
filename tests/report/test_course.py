"""The picture of a planned run."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.report.course import course_svg
from wingbeat.report.forecast import Course

SVG = "{http://www.w3.org/2000/svg}"


def course(moments: int = 101, *, gap: tuple[float, float] | None = None, limits: int = 2) -> Course:
    """Return a run of even pace."""
    names = ("requests/min", "input tokens/min")[:limits]
    return Course(
        duration_s=100.0,
        at_s=tuple(100.0 * place / (moments - 1) for place in range(moments)),
        in_flight=tuple(10 if 0 < place < moments - 1 else 0 for place in range(moments)),
        answered=tuple(place * 5 for place in range(moments)),
        use={name: tuple(min(1.0, place / 60) for place in range(moments)) for name in names},
        gap=gap,
    )


def drawn(run: Course, title: str = "500 rows, planned", subtitle: str = "simulated") -> Element:
    """Draw and parse."""
    return ElementTree.fromstring(course_svg(run, title=title, subtitle=subtitle))


def texts(picture: Element) -> list[str]:
    """Read all text that is drawn."""
    return [element.text or "" for element in picture.iter(f"{SVG}text")]


def classes(picture: Element, tag: str) -> list[str]:
    """Read the classes of all elements of one kind."""
    return [element.get("class", "") for element in picture.iter(f"{SVG}{tag}")]


def test_three_diagrams_share_one_axis():
    """Answers, requests in flight and the use of each limit are drawn and named."""
    picture = drawn(course())
    for text in ("rows answered", "requests in flight", "use of the limits, over the last minute"):
        assert text in texts(picture)
    assert {"500", "up to 10", "requests/min", "input tokens/min"} <= set(texts(picture))
    assert classes(picture, "path").count("first") == 3
    assert classes(picture, "path").count("second") == 1
    assert {"0", "50 s", "100 s"} <= set(texts(picture))


def test_without_limits_there_is_no_diagram_of_their_use():
    """Nothing is drawn of what is not known."""
    picture = drawn(course(limits=0))
    assert "use of the limits, over the last minute" not in texts(picture)
    assert classes(picture, "path").count("first") == 2


def test_what_was_not_simulated_is_hatched_in_every_diagram():
    """The ground of the stretch that merely goes on is marked, and only there."""
    picture = drawn(course(gap=(20.0, 90.0)))
    assert classes(picture, "rect").count("gap") == 3
    assert "gap" not in classes(drawn(course()), "rect")


def test_a_reader_who_cannot_see_it_is_told():
    """The description says rows, time and peak, and that it was simulated."""
    told = drawn(course()).findtext(f"{SVG}desc") or ""
    assert told.startswith("A planned run, simulated: 500 rows in 1 min 40 s, at most 10 in flight.")
    assert "100% of requests/min" in told


@pytest.mark.slow
def test_a_long_run_stays_a_small_file():
    """However many moments there are, no more is drawn than shows."""
    assert len(course_svg(course(50_001), title="t")) < 120_000


def test_it_links_and_fetches_nothing():
    """The picture stands alone."""
    text = course_svg(course(gap=(20.0, 90.0)), title="<script> & co", subtitle="a < b")
    assert "<script" not in text
    assert "href" not in text
    assert text.count("http") == 1


@pytest.mark.slow
@given(st.integers(2, 300), st.floats(0.001, 1e7), st.integers(0, 10**7), st.integers(0, 100_000), st.floats(0, 3))
def test_every_run_can_be_drawn(moments: int, duration_s: float, answered: int, in_flight: int, use: float):
    """From one row in a millisecond to millions over months, it is a picture with all numbers finite."""
    run = Course(
        duration_s=duration_s,
        at_s=tuple(duration_s * place / (moments - 1) for place in range(moments)),
        in_flight=(in_flight,) * moments,
        answered=(answered,) * moments,
        use={"requests/min": (use,) * moments},
    )
    text = course_svg(run, title="t")
    ElementTree.fromstring(text)
    assert "nan" not in text
    assert "inf" not in text
