"""What a user limits stays limited: requests a day, money, a record's own time; and trouble ends."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

import pytest
from tests.engine.playing import Play, prompts
from tests.engine.test_run import OK, error, failing, run

from wingbeat.errors import BudgetSpent
from wingbeat.ledgers.budget import Budget
from wingbeat.ledgers.prices import Prices, TokenPrice
from wingbeat.ledgers.quota import Quota
from wingbeat.model.http import HttpReply
from wingbeat.testing import ScriptedTransport, answer_body, run_virtual

PRICES = Prices(TokenPrice(1.0), TokenPrice(100.0), None, "a test")


def test_the_day_holds_when_several_lanes_are_granted_at_once() -> None:
    """A job whose lanes wait together never sends more than the requests of the day."""
    transport = ScriptedTransport(lambda _request, _number: OK, latency_s=20.0)
    run(transport, 60, quota=Quota(600, requests_per_day=10), concurrency=8, lanes=30)
    assert 8 <= len(transport.requests) <= 10


def test_the_day_holds_after_a_pause() -> None:
    """Lanes released together after a pause never send more than the requests of the day."""
    transport = failing(8, error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted"))
    run(transport, 60, quota=Quota(requests_per_day=10), concurrency=8)
    assert len(transport.requests) == 10


def test_exactly_the_day_is_no_early_stop() -> None:
    """As many rows as requests of the day, of an input of unknown length, end like any other run."""
    done = run(ScriptedTransport(), 5, quota=Quota(requests_per_day=5), rows_known=False, concurrency=1)
    assert len(done.outcomes) == 5
    assert done.run.stopping.cause is None


def test_records_that_always_fail_end() -> None:
    """Two records that always get a 500 are given up; the run is not stopped for a service that is down."""
    done = run(ScriptedTransport(lambda _request, _number: error(500)), 2, concurrency=2)
    assert done.run.stopping.cause is None
    assert [outcome.attempts for outcome in done.outcomes] == [5, 5]


def test_nothing_is_sent_after_the_deadline() -> None:
    """A refused record whose deadline passes while it waits for quota is not sent once more."""
    transport = failing(1, error(429, "RESOURCE_EXHAUSTED", "Please retry in 30.0s."))
    done = run(transport, 1, record_timeout_s=10.0, max_attempts=3)
    assert len(transport.sent_at) == 1
    assert done.outcomes[0].error is not None
    assert done.outcomes[0].error.kind == "deadline"


def test_a_record_s_own_deadline_says_nothing_of_the_service() -> None:
    """Answers that are slower than the user's own record deadline do not open the breaker."""
    done = run(ScriptedTransport(latency_s=20.0), 30, record_timeout_s=10.0, concurrency=10, max_attempts=3)
    assert done.run.stopping.cause is None
    assert {outcome.error.kind for outcome in done.outcomes if outcome.error} == {"deadline"}
    assert len(done.outcomes) == 30


def test_money_set_aside_is_waited_for() -> None:
    """A run whose requests set more aside than they cost goes on until the money is really spent."""
    done = run(ScriptedTransport(), 20, prices=PRICES, budget=Budget(0.05), concurrency=8)
    assert done.statistics.answered == 20


def test_a_budget_with_a_token_limit_is_never_passed() -> None:
    """With a limit on output tokens the budget holds whatever the lengths of the answers turn out to be."""
    budget = Budget(3.0)
    long_after_short = ScriptedTransport(
        lambda _request, number: HttpReply(200, {}, answer_body("x", 10, 10 if number < 100 else 8000))
    )
    run(long_after_short, 2000, prices=PRICES, budget=budget, concurrency=64, max_output_tokens=8000)
    assert 1.5 < budget.spent_usd <= 3.0


def test_billed_tokens_without_an_answer_count() -> None:
    """Thinking that led to no text is billed, so it counts as spent and stands in the failed row."""
    body = (
        b'{"candidates":[{"content":{},"finishReason":"STOP"}],'
        b'"usageMetadata":{"promptTokenCount":10,"thoughtsTokenCount":1000}}'
    )
    budget = Budget(10.0)
    done = run(ScriptedTransport(lambda _request, _number: HttpReply(200, {}, body)), 1, prices=PRICES, budget=budget)
    assert budget.spent_usd == pytest.approx(3 * (10 * 1e-6 + 1000 * 1e-4))
    assert done.outcomes[0].cost_usd == pytest.approx(budget.spent_usd)


def test_a_cancelled_waiting_lane_gives_its_money_back() -> None:
    """Cancelling a run leaves no money set aside on a route that others share."""

    async def main() -> float:
        play = Play(ScriptedTransport(), prompts(30), quota=Quota(60), concurrency=5, prices=PRICES, budget=Budget(9.0))
        task = asyncio.create_task(play.execute())
        await asyncio.sleep(2.5)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return play.route.purse.budget.reserved_usd

    assert run_virtual(main()) == pytest.approx(0)


def test_a_lane_granted_as_the_run_drains_sends_nothing() -> None:
    """Of a drained run only what was in flight has been sent."""
    transport = ScriptedTransport(latency_s=1.0)

    async def main() -> None:
        play = Play(transport, prompts(20), concurrency=1)
        task = asyncio.create_task(play.execute())
        await asyncio.sleep(0.5)
        play.run.drain()
        await task

    run_virtual(main())
    assert len(transport.requests) == 1


def test_a_service_that_fails_three_in_five_is_used_all_the_same() -> None:
    """Fifty records on a service that fails 60 % of its requests end within minutes, all but the unlucky answered."""
    dice = Random(4)
    flaky = ScriptedTransport(lambda _request, _number: error(500) if dice.random() < 0.6 else OK, latency_s=0.1)
    done = run(flaky, 50, concurrency=16, max_attempts=8)
    assert len(done.outcomes) == 50
    assert done.statistics.answered >= 45
    assert flaky.sent_at[-1] < 240


def test_a_residue_of_fractions_holds_no_money() -> None:
    """Whatever the prices add up to, a budget that nobody holds money of is told as spent, not waited for."""
    dice = Random(1)
    odd = Prices(TokenPrice(0.3), TokenPrice(2.5), None, "a test")
    lengths = ScriptedTransport(lambda _request, _number: HttpReply(200, {}, answer_body("x", 7, dice.randrange(999))))
    done = run(lengths, 400, prices=odd, budget=Budget(0.1), concurrency=16)
    assert 16 <= done.statistics.answered < 400
    assert isinstance(done.run.stopping.cause, BudgetSpent)
