"""Estimates that learn from replies."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat.ledgers.estimate import (
    FITTED_EACH,
    HIGHEST_RATIO,
    LOWEST_RATIO,
    MEMORY,
    TextSize,
    TokenEstimator,
    raw_tokens,
)


def test_the_start_values() -> None:
    """Four bytes a token for ASCII, two and a half for other scripts, and never less than one."""
    estimator = TokenEstimator()
    assert (estimator.input_tokens(400), estimator.input_tokens(400, 100), estimator.input_tokens(0)) == (100, 115, 1)


@pytest.mark.parametrize("true_ratio", [0.3, 1.0, 2.5, 8.0])
def test_one_at_a_time_it_converges(true_ratio: float) -> None:
    """After two hundred replies the sum of estimates is within 5 % of the truth."""
    random, estimator = Random(5), TokenEstimator()
    for _ in range(200):
        size = random.randint(40, 40_000)
        estimator.observe(raw_tokens(size, 0), round(raw_tokens(size, 0) * true_ratio * random.uniform(0.8, 1.2)), 100)
    assert estimator.input_tokens(40_000) == pytest.approx(10_000 * true_ratio, rel=0.05)


@pytest.mark.parametrize("in_flight", [10, 64, 2000])
@pytest.mark.parametrize("true_ratio", [0.5, 2.0])
def test_many_in_flight_do_not_correct_the_same_error_again(in_flight: int, true_ratio: float) -> None:
    """Replies to requests that were all estimated before the first reply do not drive the estimate beyond the truth."""
    estimator = TokenEstimator()
    for _ in range(3):
        for _ in range(in_flight):
            estimator.observe(raw_tokens(4000, 0), round(1000 * true_ratio), 50)
            assert min(1.0, true_ratio) * 999 <= estimator.input_tokens(4000) <= max(1.0, true_ratio) * 1001
    assert estimator.input_tokens(4000) == pytest.approx(1000 * true_ratio, rel=0.01)


def test_one_odd_reply_does_not_spoil_it() -> None:
    """A picture among texts, whose tokens no bytes of text explain, moves the estimate by little."""
    estimator = TokenEstimator()
    for _ in range(50):
        estimator.observe(raw_tokens(4000, 0), 1000, 50)
    estimator.observe(raw_tokens(8, 0), 258, 50)
    assert estimator.input_tokens(4000) == pytest.approx(1000, rel=0.02)


@pytest.mark.parametrize("actual", [0, -5])
def test_a_reply_without_a_count_teaches_nothing(actual: int) -> None:
    """Counts of nothing or less leave the estimate alone."""
    estimator = TokenEstimator()
    estimator.observe(raw_tokens(400, 0), actual, 5)
    assert estimator.input_tokens(400) == 100


def test_output_is_the_mean_within_the_limit() -> None:
    """Output is estimated by the mean of what came, and by the request's own limit if that is less."""
    estimator = TokenEstimator()
    assert estimator.output_tokens(None) == 400
    for tokens in (100, 200):
        estimator.observe(10.0, 10, tokens)
    assert (estimator.output_tokens(None), estimator.output_tokens(50)) == (150, 50)


Row = tuple[TextSize, int]
"""A request's size, and the tokens that its service counts."""


def english(random: Random) -> Row:
    """Make a prompt of English with a curly quote here and there: 4.6 bytes a token."""
    size = random.randint(100, 8000)
    other = 3 * random.randint(0, size // 400)
    return TextSize(size, other), round(((size - other) / 4.6 + other / 2.0) * random.uniform(0.85, 1.15))


def chinese(random: Random) -> Row:
    """Make a prompt of Chinese with some figures in it: 0.7 tokens for each character of three bytes."""
    size = random.randint(100, 8000)
    other = round(size * random.uniform(0.85, 1.0))
    return TextSize(size, other), round(((size - other) / 2.5 + other / 3.0 * 0.7) * random.uniform(0.85, 1.15))


def code(random: Random) -> Row:
    """Make a prompt of code: 3.1 bytes a token, and long ones."""
    size = random.randint(2000, 40_000)
    return TextSize(size), round(size / 3.1 * random.uniform(0.9, 1.1))


def russian_and_english(random: Random) -> Row:
    """Make a prompt of which any part is Russian: 5 bytes a token there."""
    size = random.randint(500, 5000)
    other = round(size * random.random())
    return TextSize(size, other), round(((size - other) / 4.4 + other / 5.0) * random.uniform(0.9, 1.1))


def all_sorts(random: Random) -> Row:
    """Make a prompt of any sort."""
    return random.choice([english, chinese, code, russian_and_english])(random)


def english_or_chinese(random: Random) -> Row:
    """Make a prompt of one script or the other, Chinese one in ten."""
    return chinese(random) if random.random() < 0.1 else english(random)


CORPORA = [english, chinese, code, russian_and_english, english_or_chinese, all_sorts]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("in_flight", [1, 16])
@pytest.mark.parametrize("corpus", CORPORA)
def test_the_running_sum_is_right(corpus: Callable[[Random], Row], in_flight: int, seed: int) -> None:
    """Over replies 101 to 300, what was estimated when each was sent adds up to within 5 % of what was reported."""
    random, estimator = Random(seed), TokenEstimator()
    waiting: list[tuple[Row, float]] = []
    estimated = reported = 0.0
    for number in range(300 + in_flight):
        row = corpus(random)
        waiting.append((row, estimator.corrected(row[0])))
        if len(waiting) > in_flight:
            (size, actual), estimate = waiting.pop(0)
            estimator.observe(size, actual, 100)
            if number - in_flight >= 100:
                estimated += estimate
                reported += actual
    assert estimated == pytest.approx(reported, rel=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_the_first_two_hundred_add_up_too(seed: int) -> None:
    """From the first reply on, one at a time, two hundred estimates add up to within 5 % of the truth."""
    random, estimator = Random(seed), TokenEstimator()
    estimated = reported = 0.0
    for _ in range(200):
        size, actual = english_or_chinese(random)
        estimated += estimator.corrected(size)
        reported += actual
        estimator.observe(size, actual, 100)
    assert estimated == pytest.approx(reported, rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_each_script_has_its_own_price(seed: int) -> None:
    """Where rows of two scripts are mixed, rows of either alone are estimated within 8 % in sum: one ratio can't."""
    random, estimator = Random(seed), TokenEstimator()
    for _ in range(200):
        estimator.observe(*(chinese if random.random() < 0.3 else english)(random), 100)
    for corpus in (english, chinese):
        rows = [corpus(random) for _ in range(200)]
        total = sum(actual for _, actual in rows)
        assert sum(estimator.corrected(size) for size, _ in rows) == pytest.approx(total, rel=0.08)


def test_a_script_not_seen_yet_takes_the_others_ratio() -> None:
    """Replies to English alone correct Chinese by the same ratio."""
    estimator = TokenEstimator()
    for _ in range(10):
        estimator.observe(TextSize(4000), 2000, 50)
    assert estimator.input_tokens(3000, 3000) == pytest.approx(2 * raw_tokens(3000, 3000))


def test_a_change_of_script_is_followed() -> None:
    """After three hundred English prompts, a hundred Chinese ones suffice for Chinese to be right within 5 %."""
    random, estimator = Random(1), TokenEstimator()
    for corpus, number in ((english, 300), (chinese, 100)):
        for _ in range(number):
            estimator.observe(*corpus(random), 100)
    rows = [chinese(random) for _ in range(200)]
    total = sum(actual for _, actual in rows)
    assert sum(estimator.corrected(size) for size, _ in rows) == pytest.approx(total, rel=0.05)


SIZES = st.builds(lambda plain, other: TextSize(plain + other, other), st.integers(0, 10**6), st.integers(0, 10**6))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(SIZES, st.floats(0.3, 3.0), st.floats(0.3, 3.0)), min_size=1, max_size=FITTED_EACH))
def test_what_was_seen_adds_up(rows: list[tuple[TextSize, float, float]]) -> None:
    """Whatever was seen, its estimates add up to what was reported, the older weighing less, unless a bound is met."""
    estimator, seen = TokenEstimator(), []
    for size, plain, other in rows:
        actual = round((size.text_bytes - size.other_bytes) / 4 * plain + size.other_bytes / 2.5 * other)
        estimator.observe(size, actual, 1)
        if actual > 0 and size.text_bytes:
            seen.append((size, actual))
    plain_ratio, other_ratio = estimator.input_tokens(4 * 10**6) / 10**6, estimator.input_tokens(10**7, 10**7) / 4e6
    if not seen or not all(LOWEST_RATIO * 1.01 < ratio < HIGHEST_RATIO * 0.99 for ratio in (plain_ratio, other_ratio)):
        return
    weights = [MEMORY**age for age in reversed(range(len(seen)))]
    estimated = sum(
        weight * ((size.text_bytes - size.other_bytes) / 4 * plain_ratio + size.other_bytes / 2.5 * other_ratio)
        for weight, (size, _) in zip(weights, seen, strict=True)
    )
    reported = sum(weight * actual for weight, (_, actual) in zip(weights, seen, strict=True))
    assert estimated == pytest.approx(reported, rel=1e-6)


ODD_SIZES = st.one_of(
    st.builds(TextSize, st.integers(-10, 10**12), st.integers(-10, 10**12)),
    st.floats(),
    st.floats(0.0, 1e6),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ODD_SIZES, st.integers(-(10**12), 10**12), st.integers(-5, 10**9)), max_size=40), SIZES)
def test_nothing_that_a_reply_reports_spoils_it(rows: list[tuple[TextSize | float, int, int]], size: TextSize) -> None:
    """Whatever was reported, an estimate stays between the bounds of what a script's tokens may be."""
    estimator = TokenEstimator()
    for row in rows:
        estimator.observe(*row)
    raw = size.raw_tokens
    assert min(1.0, LOWEST_RATIO * raw) <= estimator.corrected(size) <= max(1.0, HIGHEST_RATIO * raw * 1.001)
    assert 0 <= estimator.expected_output(None, 5) < math.inf
    assert 0 <= estimator.expected_output(50, 0) <= 50


def test_before_any_answer_output_is_a_quarter_of_the_allowance_and_more() -> None:
    """With nothing known a lone request reserves its whole allowance, and one among many little above a quarter."""
    estimator = TokenEstimator()
    assert estimator.expected_output(1000, 1) == 1000
    assert estimator.expected_output(1000, 10_000) == pytest.approx(257.5)
    assert estimator.expected_output(None, 10_000) == pytest.approx(412)


def test_few_answers_add_their_spread_shared_by_those_in_flight() -> None:
    """With fewer than thirty answers three deviations are added, over the root of the number in flight."""
    estimator = TokenEstimator()
    for tokens in (100, 300) * 10:
        estimator.observe(10.0, 10, tokens)
    assert estimator.expected_output(None, 1) == pytest.approx(200 + 3 * 100)
    assert estimator.expected_output(None, 100) == pytest.approx(200 + 3 * 10)
    assert estimator.expected_output(250, 1) == 250


def test_enough_answers_leave_the_mean() -> None:
    """From thirty answers on the mean is expected, within the request's own limit."""
    estimator = TokenEstimator()
    for tokens in (100, 300) * 15:
        estimator.observe(10.0, 10, tokens)
    assert estimator.expected_output(None, 1) == pytest.approx(200)
    assert estimator.expected_output(150, 1) == 150


def test_longer_answers_are_followed() -> None:
    """When answers become three times as long, a hundred of them bring the mean there."""
    estimator = TokenEstimator()
    for tokens in [100] * 200 + [300] * 100:
        estimator.observe(10.0, 10, tokens)
    assert estimator.expected_output(None, 1) == pytest.approx(300, rel=0.1)
