"""What a probe has found, in words and as a picture."""

from xml.etree import ElementTree

import msgspec
import pytest

from wingbeat.ledgers.hypotheses import Hypothesis
from wingbeat.model.limit import LearntLimit
from wingbeat.report.probe import LimitFound, ProbeFound, RefusalFound, StepFound, found_lines, pace_text
from wingbeat.report.ramp import Sent, ramp_svg

LIMIT = LearntLimit("requests", 120.0, 60.0, "window", "measured")
FOUND = ProbeFound(
    route="gemini/gemini-2.5-flash",
    ended="learnt",
    elapsed_s=90.0,
    requests=175,
    answered=173,
    refused=2,
    failed=0,
    cost_usd=0.007,
    steps=(
        StepFound(0.0, None, 10, 0, 10, 0.3, 0.4),
        StepFound(0.3, 60.0, 10, 0, 1, 0.3, 0.4),
        StepFound(10.3, 90.0, 15, 1, 2, 0.3, 0.4),
    ),
    refusal=RefusalFound("ramp", 20.0, 34, 90.0, 2, None, None, None, "Resource has been exhausted"),
    limit=LimitFound(LIMIT, 118.0, 121.0, is_settled=True),
    busiest_minute=120,
    slower=1.0,
)
SENT = [Sent(0.5 * number, 0.3, "refused" if number == 40 else "passed") for number in range(175)]


def line(found: ProbeFound, name: str) -> str:
    """Return one line of what is said."""
    return dict(found_lines(found))[name]


def test_the_limit_is_told_with_its_kind_and_range():
    """What was measured is told with both bounds, so that nobody takes it for exact."""
    assert line(FOUND, "limit") == "120 requests/min (window; measured between 118 and 121)"


def test_a_doubt_is_told():
    """Another value that would explain the same is named."""
    doubt = Hypothesis("bucket", 60.0, 70.0, 72.0)
    limit = LimitFound(LIMIT, 120.0, 120.0, is_settled=False, others=(doubt,))
    told = line(msgspec.structs.replace(FOUND, limit=limit), "limit")
    assert told == (
        "120 requests/min (window; measured 120; not settled yet; "
        "71 requests/min in a bucket of 60 s would explain it too)"
    )


def test_a_refusal_without_words_is_told_as_such():
    """Where the service says neither limit nor wait, its own words stand in their place."""
    assert line(FOUND, "said") == "neither which limit nor its value: Resource has been exhausted; no wait told"


@pytest.mark.parametrize(
    ("slower", "told"),
    [(1.0, "load does not slow it down"), (1.5, "p95 0.40 s at 90/min"), (3.0, "3.0 times as long under load")],
)
def test_load_is_told_by_what_it_does(slower: float, told: str):
    """Answers that take as long as before, and answers that take much longer, are told apart."""
    assert line(msgspec.structs.replace(FOUND, slower=slower), "latency").endswith(told)


@pytest.mark.parametrize(
    ("per_minute", "text"),
    [(60.0, "60 requests/min (1/s)"), (303.75, "304 requests/min (5.1/s)"), (6000.0, "6,000 requests/min (100/s)")],
)
def test_a_pace_is_told_by_the_minute_and_the_second(per_minute: float, text: str):
    """A pace is told in both units that limits are stated in."""
    assert pace_text(per_minute) == text


def test_the_picture_shows_limit_and_refusal():
    """The drawing is whole XML, holds both marks, and is the same each time."""
    text = ramp_svg(FOUND, SENT)
    ElementTree.fromstring(text)
    assert "limit: 120 requests/min" in text
    assert "first refusal: 90 requests/min (1.5/s), 2 in flight" in text
    assert text == ramp_svg(FOUND, SENT)


def test_an_empty_probe_can_be_drawn():
    """A probe that sent nothing has a picture too."""
    empty = msgspec.structs.replace(
        FOUND, requests=0, answered=0, refused=0, steps=(), refusal=None, limit=None, elapsed_s=0.0, busiest_minute=0
    )
    ElementTree.fromstring(ramp_svg(empty, []))


def test_the_picture_stays_small():
    """Ten thousand requests are drawn in less than 200 kB."""
    sent = [Sent(0.01 * number, 0.3 + number % 7 / 100, "passed") for number in range(10_000)]
    assert len(ramp_svg(FOUND, sent)) < 200_000
