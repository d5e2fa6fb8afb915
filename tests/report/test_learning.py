"""Limits in words, and what they say of the time that is left."""

import pytest

from wingbeat.engine.statistics import Statistics
from wingbeat.ledgers.limits import Limits
from wingbeat.model.limit import DAY_S, LearntLimit
from wingbeat.report.learning import Basis, News, age_text, basis_text, limits_text
from wingbeat.report.plan import make_plan, plan_lines
from wingbeat.report.progress import reckon_eta_s
from wingbeat.report.summary import Summary, summary_lines

ASKED = LearntLimit("requests", 1000, enforcement="window", origin="told")
TOKENS = LearntLimit("input_tokens", 1_200_000, origin="told")


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (ASKED, "1,000 requests/min (window)"),
        (TOKENS, "1.2 M input tokens/min"),
        (LearntLimit("tokens", 250_000, enforcement="bucket", origin="headers"), "250,000 tokens/min (bucket)"),
        (
            LearntLimit("requests", 600, enforcement="rate", origin="told"),
            "600 requests/min (enforced over short spans)",
        ),
        (LearntLimit("output_tokens", 16_000, origin="user"), "16,000 output tokens/min"),
        (LearntLimit("requests", 10_000, DAY_S, origin="told"), "10,000 requests/day"),
        (LearntLimit("requests", 50, 1.0, origin="told"), "50 requests/s"),
        (LearntLimit("requests", 50, 10.0, origin="told"), "50 requests/10 s"),
        (LearntLimit("in_flight", 64, 0.0, origin="user"), "64 in flight"),
        (LearntLimit("requests", 1234.56), "1,230 requests/min"),
        (LearntLimit("input_tokens", 987_654.3), "988,000 input tokens/min"),
        (LearntLimit("input_tokens", 4_096_123.0), "4.1 M input tokens/min"),
        (LearntLimit("requests", 59.7), "60 requests/min"),
        (LearntLimit("requests", 1234567, origin="told"), "1,234,567 requests/min"),
        (LearntLimit("requests", 0.5, origin="user"), "0.5 requests/min"),
    ],
)
def test_a_limit_is_said_as_far_as_it_is_known(limit: LearntLimit, text: str):
    """A limit is told with its unit and kind; a measured one is rounded to the digits that mean something."""
    assert limits_text([limit]) == text


@pytest.mark.parametrize(
    ("age_s", "text"),
    [
        (-5, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (7199, "1 hour ago"),
        (86_400, "1 day ago"),
        (2.9 * 86_400, "2 days ago"),
        (5000 * 86_400, "5,000 days ago"),
    ],
)
def test_an_age_is_one_unit(age_s: float, text: str):
    """An age is told in its largest whole unit."""
    assert age_text(age_s) == text


def test_the_plan_says_where_limits_come_from():
    """What was not given is told with its source, age and what is made of it."""
    known = [Basis(ASKED, 2 * DAY_S, 0.5), Basis(TOKENS, 2 * DAY_S, 0.5), Basis(ASKED, 60, 0.98)]
    known.append(Basis(LearntLimit("in_flight", 7, 0.0, origin="user"), 0, 1.0))
    assert basis_text(known) == (
        "learnt 2 days ago: 1,000 requests/min (window), 1.2 M input tokens/min; started at half; "
        "learnt 1 minute ago: 1,000 requests/min (window); set for this model: 7 in flight"
    )


def plan_of(limits: Limits, *known: Basis) -> dict[str, str]:
    """The lines of a plan for 6,000 rows of ten tokens."""
    plan = make_plan(
        source="in.jsonl",
        route="gemini/gemini-2.5-flash",
        rows=6000,
        answered=0,
        failed=0,
        to_ask=6000,
        faulty=0,
        input_tokens=60_000,
        max_output_tokens=None,
        limits=limits,
        prices=None,
        known=known,
    )
    return dict(plan_lines(plan))


def test_the_plan_reckons_with_what_is_known():
    """A plan without given limits takes the time that the learnt ones allow, and says so when there are none."""
    lines = plan_of(Limits(), Basis(ASKED, 2 * DAY_S, 0.5))
    assert lines["limits"].endswith("; learnt 2 days ago: 1,000 requests/min (window); started at half")
    assert lines["time"].startswith("about 6 min")
    assert plan_of(Limits(rpm=1000))["time"] == lines["time"].replace("about", "at least")
    assert plan_of(Limits())["time"].startswith("not known")


def test_a_change_is_told_once():
    """A limit is news when it is first known, when it has moved by a tenth, and when its kind or source changes."""
    news = News()
    assert news.of([ASKED]) == (ASKED,)
    assert news.of([ASKED]) == ()
    measured = [LearntLimit("requests", limit, enforcement="window") for limit in (1000, 1090, 1200, 1090, 1000)]
    assert [bool(news.of([limit])) for limit in measured] == [True, False, True, False, True]
    assert news.of([measured[-1], TOKENS]) == (TOKENS,)
    assert news.of([LearntLimit("requests", 1000, enforcement="rate")]) != ()
    assert news.of([LearntLimit("requests", 10_000, DAY_S)]) != ()


def statistics_of(answered: int, rows: int, *, input_tokens: int = 0, output_tokens: int = 0) -> Statistics:
    """Counters of a run that has answered so many rows."""
    statistics = Statistics(rows)
    statistics.answered = answered
    statistics.input_tokens, statistics.output_tokens = input_tokens, output_tokens
    return statistics


def test_the_time_left_takes_a_learnt_limit_into_account():
    """After a first minute faster than a limit found meanwhile, the rest is reckoned at that limit."""
    statistics = statistics_of(500, 1100)
    assert reckon_eta_s(statistics, Limits(), [], 500, bound_by_quota=False) == 72
    limit = LearntLimit("requests", 60)
    for bound in (False, True):
        assert reckon_eta_s(statistics, Limits(), [limit], 500, bound_by_quota=bound) == 600
    assert reckon_eta_s(statistics, Limits(rpm=30), [limit], 500, bound_by_quota=True) == 1200
    assert reckon_eta_s(statistics, Limits(), [LearntLimit("requests", 6, 1.0)], 500, bound_by_quota=True) == 100


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [
        (LearntLimit("input_tokens", 10_000), 6),  # 100 of them a request: 100 requests/min
        (LearntLimit("output_tokens", 12_000), 10),  # 200 a request: 60 requests/min
        (LearntLimit("tokens", 30_000), 6),
        (LearntLimit("requests", 10, DAY_S), 1.2),  # an amount, not a rate
        (LearntLimit("images", 1), 1.2),
    ],
)
def test_the_time_left_reckons_with_tokens_per_answer(limit: LearntLimit, minutes: float):
    """A limit of tokens is turned into requests by the size of those answered; other limits slow nothing."""
    statistics = statistics_of(500, 1100, input_tokens=50_000, output_tokens=100_000)
    assert reckon_eta_s(statistics, Limits(), [limit], 500, bound_by_quota=False) == pytest.approx(minutes * 60)


def test_the_time_left_is_unknown_at_first():
    """Nothing is reckoned before three answers, nor without knowing the input's length."""
    limit = [LearntLimit("requests", 60)]
    assert reckon_eta_s(statistics_of(2, 10), Limits(), limit, 60, bound_by_quota=True) is None
    assert reckon_eta_s(statistics_of(5, 10), Limits(), limit, 0, bound_by_quota=True) is None
    endless = Statistics(None)
    endless.answered = 5
    assert reckon_eta_s(endless, Limits(), limit, 60, bound_by_quota=True) is None


def test_waiting_for_tokens_is_not_waiting_for_requests():
    """With both limits given, the one that is tighter for the answers so far says how fast the rest goes."""
    statistics = statistics_of(500, 1100, input_tokens=50_000)
    assert reckon_eta_s(statistics, Limits(rpm=1000, tpm=6000), [], 70, bound_by_quota=True) == 600
    assert reckon_eta_s(statistics, Limits(rpm=60, tpm=1e6), [], 70, bound_by_quota=True) == 600


def test_the_summary_tells_what_was_learnt():
    """The end says what was found out, and where it is kept if it is."""
    for kept, text in (
        (True, "1,000 requests/min (window); kept for the next run, see wingbeat limits"),
        (False, "1,000 requests/min (window)"),
    ):
        summary = Summary.of(Statistics(0), 1.0, "gemini/m", None, (ASKED,), learnt_is_kept=kept)
        assert dict(summary_lines(summary))["learnt"] == text
    assert "learnt" not in dict(summary_lines(Summary.of(Statistics(0), 1.0, "gemini/m", None)))
