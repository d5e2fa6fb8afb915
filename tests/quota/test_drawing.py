"""Pictures of runs: what is drawn is what was measured, and every picture is whole, plain SVG."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import msgspec
import pytest
from benchmarks.quota.drawing import Drawn, Spans, caption, run_svg, sheet_svg, spans_of
from benchmarks.quota.measuring import Trace
from hypothesis import given
from hypothesis import strategies as st

SVG = "{http://www.w3.org/2000/svg}"


def trace(seconds: int = 600, *, rate: float = 1000.0, refused: dict[int, float] | None = None) -> Trace:
    """Make a run at an even rate below a limit of 1,000 a minute, with refusals in some seconds."""
    missed = [0.0] * seconds
    for second, number in (refused or {}).items():
        missed[second] = number
    return Trace([rate / 60.0] * seconds, missed, [1000.0] * seconds)


def drawn(run: Trace | None = None, **others: object) -> Drawn:
    """Make a run to draw."""
    made = Drawn("? bucket n, 1,000 rpm", run or trace(), used=0.9958, refused=0.0004, refusals=7, seed=3)
    return msgspec.structs.replace(made, **others)


def texts(svg: str) -> list[str]:
    """Return all words of a picture."""
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def bars(svg: str) -> list[ElementTree.Element]:
    """Return the bars of refusals without the legend's, which has no tooltip."""
    every = ElementTree.fromstring(svg).iter(f"{SVG}rect")
    return [bar for bar in every if bar.get("class") == "refused" and bar.find(f"{SVG}title") is not None]


def test_the_caption_says_how_the_run_went() -> None:
    """Used and refused parts, the number of refusals, the seed, and that it was simulated, stand in the picture."""
    said = "99.6 % of the limit used · 0.04 % refused (7 requests) · seed 3 · simulated"
    assert caption(drawn()) == said
    assert said in texts(run_svg(drawn()))


def test_the_title_names_another_client() -> None:
    """A peer's run bears the peer's name."""
    assert "? bucket n, 1,000 rpm, aiolimiter" in texts(run_svg(drawn(client="aiolimiter")))


@pytest.mark.parametrize("unit", ["requests", "tokens"])
def test_the_axes_bear_their_units(unit: str) -> None:
    """Upwards it says what is counted a minute, to the right minutes."""
    said = texts(run_svg(drawn(unit=unit)))
    assert f"{unit}/min" in said
    assert "minutes" in said
    assert {"0", "500", "1,000"} <= set(said)


def test_every_span_with_refusals_has_a_bar() -> None:
    """Two seconds of one span make one bar; a far one its own; and each tells its number."""
    svg = run_svg(drawn(trace(refused={300: 2.0, 301: 3.0, 590: 1.0})))
    told = [bar.findtext(f"{SVG}title") for bar in bars(svg)]
    assert told == ["minute 5.0: 5 refused", "minute 9.8: 1 refused"]


def test_a_lone_refusal_looks_alone() -> None:
    """One refusal is drawn, but far lower than a span in which many were refused."""
    alone = bars(run_svg(drawn(trace(refused={300: 1.0}))))
    many = bars(run_svg(drawn(trace(refused={300: 50.0}))))
    assert 0 < float(alone[0].get("height", 0)) < float(many[0].get("height", 0)) / 3


def test_spans_are_long_enough_to_hold_requests() -> None:
    """At low limits a point stands for a longer time, so that single requests do not look like noise."""
    lengths = [spans_of(Trace([0.0] * 600, [0.0] * 600, [limit] * 600)).length_s for limit in (10, 20, 60, 1000)]
    assert lengths == [60, 30, 10, 10]


def test_a_burst_is_cut_off_and_marked() -> None:
    """A burst at the start does not press the rest flat: it is cut off and its value written beside it."""
    run = trace()
    run.accepted[:10] = [500.0] * 10
    spans = spans_of(run)
    assert spans.highest <= 1000.0 * 1.6
    assert "30k" in texts(run_svg(drawn(run)))


def test_a_change_of_the_limit_is_a_step() -> None:
    """The line of the true limit changes its height where the limit does, and nowhere else."""
    run = trace()
    run.limit[300:] = [500.0] * 300
    svg = ElementTree.fromstring(run_svg(drawn(run)))
    line = [path.get("d", "") for path in svg.iter(f"{SVG}path") if path.get("class") == "limit"][-1]
    assert len(re.findall("V", line)) == 1


def test_a_sheet_holds_every_run() -> None:
    """All scenarios stand on one page, each with its figures."""
    runs = [drawn(name=f"scenario {number}") for number in range(7)]
    said = texts(sheet_svg(runs, title="All"))
    assert [words for words in said if words.startswith("scenario")] == [run.name for run in runs]
    assert said.count("used 99.6 % · refused 0.04 %") == 7


def test_a_sheet_may_be_empty() -> None:
    """No runs give a page with a title."""
    assert "None" in texts(sheet_svg([], title="None"))


def test_names_are_escaped() -> None:
    """A name with markup in it is text."""
    assert "a < b & c" in texts(run_svg(drawn(name="a < b & c")))


def test_the_same_run_gives_the_same_bytes() -> None:
    """Nothing but the run decides what is drawn."""
    assert run_svg(drawn()) == run_svg(drawn())


def test_pictures_follow_the_readers_scheme() -> None:
    """Every colour has a light and a dark value, bound to the picture."""
    style = ElementTree.fromstring(run_svg(drawn())).findtext(f"{SVG}style") or ""
    light, _, dark = style.partition("@media (prefers-color-scheme:dark)")
    assert dark
    for name in ("paper", "ink", "each", "average", "limit", "refused"):
        assert f".quota-run .{name}{{" in light
        assert f".quota-run .{name}{{" in dark


amounts = st.floats(0.0, 1e6)


@pytest.mark.slow
@given(
    st.lists(st.tuples(amounts, amounts, st.floats(0.0, 1e7)), max_size=200),
    st.floats(0.0, 2.0),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), max_size=60),
)
def test_any_run_can_be_drawn(seconds: list[tuple[float, float, float]], part: float, name: str) -> None:
    """Whatever came of a run, even nothing at all, its picture is well-formed, without stray numbers."""
    run = Trace([one[0] for one in seconds], [one[1] for one in seconds], [one[2] for one in seconds])
    for svg in (run_svg(drawn(run, used=part, name=name)), sheet_svg([drawn(run, used=part, name=name)], title=name)):
        ElementTree.fromstring(svg)
        assert not re.search(r'="[^"]*\b(nan|inf)\b', svg)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=300))
def test_spans_lose_nothing(seconds: list[tuple[int, int]]) -> None:
    """The spans' rates and refusals add up to the run's, a short last span included."""
    run = Trace([float(one) for one, _ in seconds], [float(other) for _, other in seconds], [1000.0] * len(seconds))
    spans: Spans = spans_of(run)
    widths = [min(spans.length_s, len(seconds) - begin) for begin in range(0, len(seconds), spans.length_s)]
    accepted = sum(rate * width / 60.0 for rate, width in zip(spans.rates, widths, strict=True))
    assert accepted == pytest.approx(sum(run.accepted))
    assert sum(spans.refused) == sum(run.refused)
