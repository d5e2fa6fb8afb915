"""Runs from their first record to their last outcome, through failures, stops and cancellation."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from tests.engine.playing import MODEL, Play, prompts

from wingbeat.errors import AccessRefused, BudgetSpent, QuotaExhausted, RunStopped, ServiceDown
from wingbeat.ledgers.breaker import BreakerState
from wingbeat.ledgers.budget import Budget
from wingbeat.ledgers.prices import Prices, TokenPrice
from wingbeat.ledgers.quota import Quota
from wingbeat.model.http import HttpReply, HttpRequest, TransportFailure, TransportFault
from wingbeat.simulator import SimulatorApp, SimulatorConfig
from wingbeat.simulator.config import FAULT_NAMES
from wingbeat.testing import ScriptedTransport, SimulatedTransport, answer_body, run_virtual

OK = HttpReply(200, {}, answer_body("ok"))
RESET = TransportFailure(TransportFault.RESET, "the connection was lost")


def error(code: int, status: str = "X", message: str = "no", **more: Any) -> HttpReply:
    """Return an error reply."""
    return HttpReply(
        code, {}, msgspec.json.encode({"error": {"code": code, "status": status, "message": message, **more}})
    )


def prompt_of(request: HttpRequest) -> str:
    """Return the prompt of a request."""
    text: str = msgspec.json.decode(request.body)["contents"][0]["parts"][0]["text"]
    return text


def failing(first: int, reply: HttpReply | TransportFailure) -> ScriptedTransport:
    """Return a transport whose first requests fail."""
    return ScriptedTransport(lambda _request, number: reply if number < first else OK)


def run(transport: ScriptedTransport | SimulatedTransport, count: int, **options: Any) -> Play:
    """Run to the end and return what came of it; a stop is kept in ``run.stopping.cause``."""

    async def main() -> Play:
        play = Play(transport, prompts(count), **options)
        try:
            await play.execute()
        except RunStopped:
            assert play.run.stopping.cause is not None
        return play

    done = run_virtual(main())
    assert done.slots_in_use == 0
    assert done.statistics.in_flight == 0
    assert done.statistics.backing_off == 0
    assert done.route.purse.budget.reserved_usd == pytest.approx(0)
    assert max(Counter(outcome.index for outcome in done.outcomes).values(), default=1) == 1
    return done


def test_every_record_has_one_outcome() -> None:
    """A thousand prompts give a thousand answers, each to its own prompt."""
    echo = ScriptedTransport(lambda request, _number: HttpReply(200, {}, answer_body(prompt_of(request))))
    done = run(echo, 1000, concurrency=50)
    assert done.texts == prompts(1000)
    assert echo.peak_in_flight == 50
    assert done.statistics.peak_in_flight == 50


def test_nothing_to_do_ends_at_once() -> None:
    """An empty input is a finished run."""
    assert run(ScriptedTransport(), 0).outcomes == []


@pytest.mark.parametrize(
    "reply",
    [
        error(500),
        error(503),
        error(504),
        HttpReply(502, {}, b"<html>"),
        HttpReply(200, {}, b""),
        HttpReply(200, {}, answer_body("ok")[:40]),
        RESET,
        TransportFailure(TransportFault.CONNECT, "x"),
        TransportFailure(TransportFault.PROTOCOL, "x"),
        HttpReply(200, {}, b'{"candidates":[{"content":{},"finishReason":"STOP"}]}'),
    ],
)
def test_passing_trouble_is_retried(reply: HttpReply | TransportFailure) -> None:
    """A record whose first two attempts meet trouble of the service is answered by the third."""
    done = run(failing(2, reply), 1)
    assert done.outcomes[0].text == "ok"
    assert done.outcomes[0].attempts == 3


def test_attempts_come_to_an_end() -> None:
    """After the most attempts the record fails with the last failure's kind, and the run goes on."""
    done = run(
        ScriptedTransport(lambda request, _number: error(500) if prompt_of(request) == "question 0" else OK),
        20,
        max_attempts=3,
        concurrency=1,
    )
    assert done.outcomes[0].error is not None
    assert (done.outcomes[0].error.kind, done.outcomes[0].attempts) == ("server_error", 3)
    assert done.statistics.answered == 19


def test_a_bad_request_is_given_up_at_once() -> None:
    """A record's own fault ends that record only."""
    done = run(failing(1, error(400)), 3, concurrency=1)
    assert [outcome.ok for outcome in done.outcomes] == [False, True, True]
    assert done.outcomes[0].attempts == 1


def test_a_hanging_request_times_out_and_is_retried() -> None:
    """A reply that never comes costs the timeout, not the record."""
    transport = SimulatedTransport(SimulatorApp(SimulatorConfig.parse("latency=1,fault.hang=0.3,seed=3"), start=0.0))
    done = run(transport, 30, timeout_s=10.0, concurrency=30)
    assert done.statistics.answered == 30


def test_faults_of_every_kind_leave_no_record_without_an_outcome() -> None:
    """Half of all requests going wrong in every way there is, each record has one outcome."""
    faults = [name for name in FAULT_NAMES if name not in ("hang", "stream_error")]
    config = SimulatorConfig.parse("latency=0.5,seed=2," + ",".join(f"fault.{name}=0.03" for name in faults))
    done = run(SimulatedTransport(SimulatorApp(config, start=0.0), delay_spread_s=0.1), 200, max_attempts=50)
    assert len(done.outcomes) == 200
    assert done.statistics.answered == 200


def test_a_record_ends_at_its_deadline() -> None:
    """A record that keeps failing is given up once its time has passed."""
    done = run(failing(10**9, error(500)), 1, record_timeout_s=10.0, max_attempts=1000)
    assert done.outcomes[0].error is not None
    assert done.outcomes[0].error.kind in ("deadline", "timeout")
    assert max(attempt.ended_at for attempt in done.attempts) <= 10.1


def test_refusals_use_no_attempt_up() -> None:
    """However often the quota refuses, the record is answered in the end."""
    refusal = error(429, "RESOURCE_EXHAUSTED", "Please retry in 3.0s.")
    done = run(failing(20, refusal), 1, max_attempts=1)
    assert done.outcomes[0].text == "ok"
    assert done.outcomes[0].attempts == 21


def test_nothing_is_sent_before_the_told_wait_is_over() -> None:
    """After a refusal every lane waits as long as the service told."""
    transport = failing(1, error(429, "RESOURCE_EXHAUSTED", "Please retry in 30.0s."))
    run(transport, 30, quota=Quota(60), concurrency=4)
    later = [sent for sent in transport.sent_at if sent > 1.0]
    assert min(later) == pytest.approx(31.0)
    assert all(b - a >= 0.99 for a, b in pairwise(later))


DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"


def test_the_day_s_end_stops_the_run_so_that_it_can_be_resumed() -> None:
    """A spent day stops the run, keeps what was answered, and says when the quota is back."""
    details = [{"@type": "x/google.rpc.QuotaFailure", "violations": [{"quotaId": DAY, "quotaValue": "5"}]}]
    refusal = error(429, "RESOURCE_EXHAUSTED", "Please retry in 1s.", details=details)
    done = run(ScriptedTransport(lambda _request, number: OK if number < 5 else refusal), 20, concurrency=2)
    cause = done.run.stopping.cause
    assert isinstance(cause, QuotaExhausted)
    assert cause.exit_code == 3
    assert "midnight in Los Angeles" in (cause.hint or "")
    assert DAY in str(cause)
    assert done.statistics.answered == 5
    assert len(done.outcomes) == 5


def test_the_simulator_s_day_stops_the_run_too() -> None:
    """Against a service of five requests a day, five are answered and the rest is left for tomorrow."""
    transport = SimulatedTransport(SimulatorApp(SimulatorConfig.parse("rpd=5,latency=1"), start=0.0))
    done = run(transport, 20, concurrency=1)
    assert isinstance(done.run.stopping.cause, QuotaExhausted)
    assert len(done.outcomes) == 5


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), "GEMINI_API_KEY"),
        (error(403, "PERMISSION_DENIED"), "project"),
        (error(404, "NOT_FOUND"), "model"),
        (error(429, "RESOURCE_EXHAUSTED", "limit: 0, model: x"), "billing"),
        (error(429, "RESOURCE_EXHAUSTED", "exceeded its monthly spending cap"), "spending limit"),
    ],
)
def test_what_no_request_can_mend_stops_the_run(reply: HttpReply, word: str) -> None:
    """A refused key, model or account stops the run with a hint, after no more than what was in flight."""
    transport = failing(10**9, reply)
    done = run(transport, 100, concurrency=4)
    assert isinstance(done.run.stopping.cause, AccessRefused)
    assert word in (done.run.stopping.cause.hint or "")
    assert len(transport.requests) <= 4
    assert done.outcomes == []


def test_a_service_that_is_down_is_left_alone_and_found_again() -> None:
    """The breaker opens in an outage, sends little meanwhile, and every record is answered afterwards."""
    transport = SimulatedTransport(SimulatorApp(SimulatorConfig.parse("latency=0.2,outage=5:60"), start=0.0))
    done = run(transport, 600, quota=Quota(600), concurrency=20, max_attempts=8)
    during = [served for served in transport.served if 5 <= served.sent_at < 65]
    assert done.statistics.answered == 600
    assert len(during) < 60
    assert done.route.breaker.state is BreakerState.CLOSED


def test_a_service_that_stays_down_stops_the_run() -> None:
    """After ten minutes without one good answer the run stops and can be resumed."""
    done = run(failing(10**9, error(503)), 50, concurrency=8, max_attempts=10**4)
    assert isinstance(done.run.stopping.cause, ServiceDown)
    assert len(done.attempts) < 100


def test_draining_lets_what_is_in_flight_end() -> None:
    """After a drain nothing new goes, what was sent is delivered, and the rest has no outcome."""
    transport = ScriptedTransport(latency_s=10.0)

    async def main() -> Play:
        play = Play(transport, prompts(100), quota=Quota(60), concurrency=50)
        task = asyncio.create_task(play.execute())
        await asyncio.sleep(5.5)
        play.run.drain()
        await task
        return play

    done = run_virtual(main())
    assert len(done.outcomes) == len(transport.requests) == 6
    assert done.slots_in_use == 0
    assert max(transport.sent_at) <= 5.5


def test_draining_ends_backing_off() -> None:
    """A record that backs off when the run drains is left without an outcome at once."""

    async def main() -> tuple[int, float]:
        play = Play(
            failing(10**9, error(503, details=[{"@type": "x/google.rpc.RetryInfo", "retryDelay": "900s"}])), ["a"]
        )
        task = asyncio.create_task(play.execute())
        await asyncio.sleep(5)
        play.run.drain()
        await task
        return len(play.outcomes), asyncio.get_running_loop().time()

    assert run_virtual(main()) == (0, 5.0)


def test_money_stops_the_run_within_its_limit() -> None:
    """A budget stops the run before the next request could pass it."""
    prices = Prices(TokenPrice(1.0), TokenPrice(100.0), None, "test")
    budget = Budget(0.01)
    done = run(ScriptedTransport(), 1000, prices=prices, budget=budget, concurrency=1)
    assert isinstance(done.run.stopping.cause, BudgetSpent)
    assert budget.spent_usd <= 0.01


@pytest.mark.parametrize("steps", range(0, 260, 5))
def test_a_run_cancelled_at_any_step_leaves_nothing_taken(steps: int) -> None:
    """Cut at any turn of the loop, a run gives all slots back and delivers nothing twice."""

    async def main() -> None:
        config = SimulatorConfig.parse("latency=0.3,fault.error_503=0.2,fault.reset=0.1,seed=5")
        transport = SimulatedTransport(SimulatorApp(config, start=0.0), delay_spread_s=0.1)
        play = Play(transport, prompts(30), quota=Quota(300), concurrency=5)
        task = asyncio.create_task(play.execute())
        for _ in range(steps):
            await asyncio.sleep(0 if steps % 2 else 0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert play.slots_in_use == 0
        assert play.statistics.in_flight == 0
        assert play.statistics.backing_off == 0
        assert not play.run.stopping.waiters
        assert len({outcome.index for outcome in play.outcomes}) == len(play.outcomes)

    run_virtual(main())


def test_the_name_of_the_model_is_in_every_outcome() -> None:
    """Outcomes name route and model."""
    assert run(ScriptedTransport(), 1).outcomes[0].model == f"gemini/{MODEL}"


def test_the_whole_allowance_of_the_day_is_sent() -> None:
    """With many lanes waiting, as many requests go as the user allows for the day, and not one less."""

    async def main() -> Play:
        play = Play(ScriptedTransport(), prompts(200), quota=Quota(600, requests_per_day=50), concurrency=64)
        with pytest.raises(QuotaExhausted):
            await play.execute()
        return play

    assert run_virtual(main()).statistics.sent == 50
