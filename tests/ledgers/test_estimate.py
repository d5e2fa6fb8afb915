"""Estimates that learn from replies."""

from __future__ import annotations

from random import Random

import pytest

from wingbeat.ledgers.estimate import TokenEstimator, raw_tokens


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
