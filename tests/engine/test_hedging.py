"""A late request and its hedge: one outcome, and nothing left behind, however they end."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.playing import Play, prompts

from wingbeat.errors import RunStopped
from wingbeat.ledgers.budget import Budget
from wingbeat.ledgers.hedge import COST_SHARE, ENOUGH_ANSWERS, Hedging
from wingbeat.ledgers.prices import Prices, TokenPrice
from wingbeat.ledgers.quota import Quota
from wingbeat.ledgers.watch import Watch
from wingbeat.model.answer import FailureKind, Outcome
from wingbeat.model.http import HttpReply, HttpRequest, TransportFailure, TransportFault
from wingbeat.model.record import Record
from wingbeat.simulator import SimulatorApp, SimulatorConfig
from wingbeat.simulator.config import FAULT_NAMES
from wingbeat.testing import SimulatedTransport, run_virtual

RESET = TransportFailure(TransportFault.RESET, "the connection was lost")
REFUSED = HttpReply(429, {}, b'{"error":{"code":429,"message":"Please retry in 9s.","status":"RESOURCE_EXHAUSTED"}}')
OVERLOADED = HttpReply(503, {}, b'{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}')
BAD = HttpReply(400, {}, b'{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}')
PRICES = Prices(TokenPrice(1.0), TokenPrice(1.0), None, "test")

Fate = tuple[list[float], HttpReply | TransportFailure | None]
"""Seconds between the parts of an answer; and what ends it instead of a last part, or None."""


def answer(*gaps_s: float) -> Fate:
    """Return an answer whose parts come after such waits."""
    return list(gaps_s), None


def failing(ending: HttpReply | TransportFailure, *gaps_s: float) -> Fate:
    """Return a failure after some parts; the last wait is the failure's own."""
    return list(gaps_s), ending


class PacedTransport:
    """
    Stream each answer as a fate says, by prompt and by how often it was asked.

    Args:
        fate: Takes the prompt and the number of the request for it, from 1.
    """

    def __init__(self, fate: Callable[[str, int], Fate]) -> None:
        self._fate = fate
        self.asked: Counter[str] = Counter()
        self.sent_at: list[float] = []
        self.in_flight = 0
        self.peak_in_flight = 0
        self.cancelled = 0

    async def send(self, request: HttpRequest, timeout_s: float) -> HttpReply | TransportFailure:
        """Nobody asks for a whole answer here."""
        raise AssertionError

    async def stream(
        self, request: HttpRequest, timeout_s: float, take: Callable[[bytes], None]
    ) -> HttpReply | TransportFailure:
        """Play the fate of one request."""
        assert request.path.endswith(":streamGenerateContent?alt=sse")
        prompt = msgspec.json.decode(request.body)["contents"][0]["parts"][0]["text"]
        self.asked[prompt] += 1
        number = self.asked[prompt]
        gaps_s, ending = self._fate(prompt, number)
        self.sent_at.append(asyncio.get_running_loop().time())
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            async with asyncio.timeout(timeout_s):
                for index, gap_s in enumerate(gaps_s):
                    await asyncio.sleep(gap_s)
                    is_last = index == len(gaps_s) - 1
                    if is_last and ending is not None:
                        return ending
                    take(part(str(number), index + 1, is_last=is_last))
            return HttpReply(200, {}, b"")
        except TimeoutError:
            return TransportFailure(TransportFault.TIMEOUT, f"no whole reply within {timeout_s:g} s")
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1


def part(text: str, output: int, *, is_last: bool) -> bytes:
    """Return one event; only the last part has text, the number of the request."""
    content = {"parts": [{"text": text}]} if is_last else {}
    candidate = {"content": content} | ({"finishReason": "STOP"} if is_last else {})
    usage = {"promptTokenCount": 10, "candidatesTokenCount": output}
    return b"data: " + msgspec.json.encode({"candidates": [candidate], "usageMetadata": usage}) + b"\r\n\r\n"


def taught(answers_cost: float = 1e6) -> Hedging:
    """Return a ledger to which a first token after more than 1 s is late, with money to spend."""
    hedging = Hedging()
    for _ in range(ENOUGH_ANSWERS):
        watch = Watch(0.0)
        watch.came(1.0, 1)
        hedging.observe(watch, 1.0)
    hedging.answered(answers_cost)
    return hedging


def check(play: Play, transport: PacedTransport | SimulatedTransport | None = None) -> None:
    """Assert that nothing is left behind and that no record has two outcomes."""
    assert play.slots_in_use == 0
    assert play.route.admission.waiting == 0
    assert play.statistics.in_flight == 0
    assert play.route.purse.budget.reserved_usd == pytest.approx(0)
    assert play.route.purse.budget.open_reservations == 0
    hedging = play.route.hedging
    assert hedging is not None
    assert hedging.available == pytest.approx(hedging.answers_cost * COST_SHARE - hedging.hedges_cost)
    assert max(Counter(outcome.index for outcome in play.outcomes).values(), default=1) == 1
    if isinstance(transport, PacedTransport):
        assert transport.in_flight == 0


def run(transport: PacedTransport | SimulatedTransport, count: int = 1, **options: Any) -> Play:
    """Run to the end in virtual time, hedging, and check that nothing is left behind."""
    options.setdefault("hedging", taught())

    async def main() -> Play:
        play = Play(transport, prompts(count), **options)
        with contextlib.suppress(RunStopped):
            await play.execute()
        assert len(asyncio.all_tasks()) == 1
        return play

    done = run_virtual(main())
    check(done, transport)
    return done


def by_number(*fates: Fate) -> PacedTransport:
    """Return a transport that gives the first request for any prompt the first fate, and so on."""
    return PacedTransport(lambda _prompt, number: fates[min(number, len(fates)) - 1])


def test_a_late_first_token_is_hedged_and_the_hedge_s_answer_counts() -> None:
    """A request without a token after the threshold gets a second one; the first good answer ends both."""
    transport = by_number(answer(60.0), answer(0.5, 0.5))
    done = run(transport)
    assert [outcome.text for outcome in done.outcomes] == ["2"]
    assert transport.sent_at == [0.0, pytest.approx(1.0)]
    assert transport.cancelled == 1
    assert (done.statistics.hedged, done.statistics.hedges_won) == (1, 1)
    assert done.outcomes[0].attempts == 2
    assert done.outcomes[0].latency_s == pytest.approx(2.0)
    assert [(seen.number, seen.hedge, seen.lost, seen.failed) for seen in done.attempts] == [
        (2, True, False, None),
        (1, False, True, None),
    ]


def test_the_first_request_may_still_win() -> None:
    """A first request that answers before its hedge keeps its place, and the hedge is cancelled."""
    transport = by_number(answer(1.5, 0.5), answer(30.0))
    done = run(transport)
    assert [outcome.text for outcome in done.outcomes] == ["1"]
    assert (done.statistics.hedged, done.statistics.hedges_won) == (1, 0)
    assert transport.cancelled == 1


def test_a_stalled_answer_is_hedged() -> None:
    """An answer whose tokens stop for more than three seconds gets a second request."""
    transport = by_number(answer(0.5, 0.2, 90.0), answer(0.5))
    done = run(transport)
    assert [outcome.text for outcome in done.outcomes] == ["2"]
    assert transport.sent_at == [0.0, pytest.approx(3.7)]


def test_a_prompt_answer_is_not_hedged() -> None:
    """What comes in time is asked once, however long it goes on."""
    transport = by_number(answer(0.9, *[2.0] * 50))
    assert run(transport).statistics.sent == 1


def test_one_hedge_is_all_that_a_request_gets() -> None:
    """Two late requests for a record are not joined by a third."""
    transport = by_number(answer(40.0), answer(50.0))
    done = run(transport)
    assert done.statistics.sent == 2
    assert done.outcomes[0].text == "1"


def test_a_failed_hedge_leaves_the_first_request_alone() -> None:
    """A hedge that fails changes nothing for the first request, and costs no attempt."""
    transport = by_number(answer(5.0), failing(RESET, 0.5))
    done = run(transport, max_attempts=1)
    assert [outcome.text for outcome in done.outcomes] == ["1"]
    assert (done.statistics.hedged, done.statistics.hedges_won) == (1, 0)


def test_a_failed_first_request_waits_for_its_hedge() -> None:
    """When the first request fails while its hedge is under way, the hedge's answer counts, and is no extra cost."""
    done = run(by_number(failing(RESET, 0.5, 5.0), answer(4.0)), max_attempts=1)
    assert [outcome.text for outcome in done.outcomes] == ["2"]
    assert done.statistics.hedges_cost == 0.0


def test_two_failures_are_one_failed_attempt() -> None:
    """When both fail, the first one's failure is judged, once."""
    done = run(by_number(failing(BAD, 2.0), failing(RESET, 3.0)), max_attempts=5)
    assert done.outcomes[0].error is not None
    assert done.outcomes[0].error.kind == FailureKind.INVALID_REQUEST
    assert done.outcomes[0].attempts == 2
    again = run(by_number(failing(RESET, 2.0), failing(RESET, 3.0), answer(0.5)), max_attempts=2)
    assert [outcome.text for outcome in again.outcomes] == ["3"]


def test_a_refused_hedge_pauses_the_route_as_any_refusal_does() -> None:
    """A hedge that meets the quota tells the route, and the first request still answers."""
    done = run(by_number(answer(5.0), failing(REFUSED, 0.1)))
    assert done.statistics.refused == 1
    assert [outcome.text for outcome in done.outcomes] == ["1"]


def test_both_answers_in_one_moment_are_one_outcome() -> None:
    """Two answers that come at once are one outcome, and both are paid for."""
    done = run(by_number(answer(3.0), answer(2.0)), prices=PRICES, hedging=taught(1.0))
    assert [outcome.text for outcome in done.outcomes] == ["1"]
    assert done.outcomes[0].cost_usd == pytest.approx(22e-6)
    assert done.statistics.hedges_cost == pytest.approx(11e-6)


def test_a_cancelled_request_is_billed_by_what_is_known() -> None:
    """A loser costs the tokens it has told of, or as much as the answer when it has told none."""
    silent = run(by_number(answer(60.0), answer(0.5, 0.5, 0.5)), prices=PRICES, hedging=taught(1.0))
    assert silent.statistics.hedges_cost == pytest.approx(13e-6)
    assert silent.outcomes[0].cost_usd == pytest.approx(26e-6)
    told = run(by_number(answer(0.5, 60.0), answer(0.5, 0.5, 0.5)), prices=PRICES, hedging=taught(1.0))
    assert told.statistics.hedges_cost == pytest.approx(11e-6)
    assert told.outcomes[0].cost_usd == pytest.approx(24e-6)
    assert told.route.purse.budget.spent_usd == pytest.approx(24e-6)


@pytest.mark.parametrize("hedging", [Hedging(), taught(1.0)])
def test_no_hedge_without_a_threshold_or_without_means(hedging: Hedging) -> None:
    """Before enough answers nothing is late, and a share that does not cover a hedge sends none."""
    assert run(by_number(answer(30.0), answer(0.5)), hedging=hedging).statistics.sent == 1


def test_a_budget_is_not_overshot_by_hedges() -> None:
    """Money for a hedge is set aside like any other: where it is not left, none is sent."""
    one = 411e-6
    for limit_usd, sent in ((1.5 * one, 1), (2.5 * one, 2)):
        transport = by_number(answer(30.0), answer(0.5))
        done = run(transport, prices=PRICES, budget=Budget(limit_usd), hedging=taught(1.0))
        assert done.statistics.sent == sent


def test_no_hedge_takes_quota_that_others_wait_for() -> None:
    """While lanes wait for quota there are no hedges; at the end, when nobody waits, there are."""

    def fate(prompt: str, number: int) -> Fate:
        return answer(200.0) if number == 1 and prompt in ("question 0", "question 29") else answer(0.5)

    transport = PacedTransport(fate)
    done = run(transport, 30, quota=Quota(10), concurrency=20, lanes=20)
    assert done.statistics.hedged == 2
    assert min(seen.sent_at for seen in done.attempts if seen.hedge) > 150.0


def test_no_hedge_while_the_service_is_down() -> None:
    """While the breaker is not closed, a hanging request is left alone."""

    def fate(prompt: str, _number: int) -> Fate:
        return answer(30.0) if prompt == "question 0" else failing(OVERLOADED, 0.01)

    done = run(PacedTransport(fate), 14, concurrency=14, max_attempts=1)
    assert min(seen.ended_at for seen in done.attempts if seen.failed) < 1.0
    assert (done.statistics.answered, done.statistics.hedged) == (1, 0)


def test_no_hedge_after_a_drain() -> None:
    """A draining run sends nothing new, and lets the late request end."""
    transport = by_number(answer(30.0), answer(0.5))

    async def main() -> Play:
        play = Play(transport, prompts(1), hedging=taught())
        task = asyncio.create_task(play.execute())
        await asyncio.sleep(0.5)
        play.run.drain()
        await task
        return play

    done = run_virtual(main())
    check(done, transport)
    assert (done.statistics.sent, done.outcomes[0].text) == (1, "1")


def test_a_hedge_waits_for_a_slot_and_is_taken_back_when_the_first_speaks() -> None:
    """With every slot taken a hedge queues; it is not sent once its reason is gone."""

    def fate(prompt: str, _number: int) -> Fate:
        return answer(4.0, 0.5) if prompt == "question 0" else answer(0.5, *[1.0] * 20)

    transport = PacedTransport(fate)
    done = run(transport, 2, concurrency=2)
    assert transport.peak_in_flight == 2
    assert (done.statistics.sent, done.statistics.hedged) == (2, 0)


def test_a_hedge_whose_turn_comes_too_late_is_not_sent() -> None:
    """A slot that falls free just after the first request has spoken is left to others."""

    def fate(prompt: str, _number: int) -> Fate:
        return answer(1.2, 2.0) if prompt == "question 0" else answer(0.9, 0.4)

    done = run(PacedTransport(fate), 2, concurrency=2)
    assert (done.statistics.sent, done.statistics.hedged) == (2, 0)


def test_a_failure_does_not_wait_for_a_hedge_that_was_not_sent() -> None:
    """When the first request fails while its hedge still queues, the hedge is taken back and the failure judged."""
    delivered_at: dict[int, float] = {}

    def fate(prompt: str, _number: int) -> Fate:
        return failing(BAD, 2.0) if prompt == "question 0" else failing(REFUSED, 1.5)

    def deliver(record: Record, _outcome: Outcome) -> None:
        delivered_at[record.index] = asyncio.get_running_loop().time()

    async def main() -> None:
        play = Play(PacedTransport(fate), prompts(2), concurrency=2, hedging=taught(), deliver=deliver)
        task = asyncio.create_task(play.execute())
        await asyncio.sleep(5.0)
        play.run.drain()
        await task
        check(play)

    run_virtual(main())
    assert delivered_at == {0: pytest.approx(2.0)}


def test_a_drain_takes_a_waiting_hedge_back() -> None:
    """A hedge that queues when the run drains is not sent, and the first request ends as ever."""
    transport = PacedTransport(lambda _prompt, _number: answer(5.0))

    async def main() -> Play:
        play = Play(transport, prompts(4), concurrency=2, hedging=taught())
        task = asyncio.create_task(play.execute())
        await asyncio.sleep(2.0)
        assert play.route.admission.waiting == 2
        play.run.drain()
        await task
        return play

    done = run_virtual(main())
    check(done, transport)
    assert (done.statistics.sent, done.statistics.answered) == (2, 2)


def test_a_hedge_takes_the_next_slot() -> None:
    """A hedge that queues goes when a slot falls free, and never more than the slots are in flight."""

    def fate(prompt: str, number: int) -> Fate:
        return answer(60.0) if prompt == "question 0" and number == 1 else answer(0.9, 0.6)

    transport = PacedTransport(fate)
    done = run(transport, 40, concurrency=4)
    assert transport.peak_in_flight == 4
    assert done.statistics.hedges_won == 1
    assert max(transport.sent_at[4:8]) < 3.5


def test_a_record_s_own_deadline_holds_for_the_race() -> None:
    """Neither request outlives the record's time, and the record fails once."""
    transport = by_number(answer(60.0))
    done = run(transport, record_timeout_s=10.0, max_attempts=1)
    assert done.outcomes[0].error is not None
    assert done.outcomes[0].error.kind == FailureKind.DEADLINE
    assert max(seen.ended_at for seen in done.attempts) == pytest.approx(10.0)


SCENES: dict[str, Callable[[], PacedTransport]] = {
    "hedge wins": lambda: by_number(answer(60.0), answer(0.5, 0.5)),
    "first wins": lambda: by_number(answer(1.5, 0.5), answer(30.0)),
    "both fail": lambda: by_number(failing(RESET, 2.0), failing(OVERLOADED, 2.0), answer(0.5)),
    "at once": lambda: by_number(answer(3.0), answer(2.0)),
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_run_cancelled_at_any_moment_leaves_nothing_behind(scene: str, concurrency: int) -> None:
    """Slots, money, tasks and shares are all back, whenever the run is cancelled, between any two steps of the loop."""
    for tenths in (0, 5, 9, 10, 14, 15, 20, 25, 30, 31):
        for steps in range(8):
            transport = SCENES[scene]()

            async def main(transport: PacedTransport = transport, at: float = tenths / 10, steps: int = steps) -> Play:
                play = Play(
                    transport,
                    prompts(2),
                    concurrency=concurrency,
                    prices=PRICES,
                    budget=Budget(1.0),
                    hedging=taught(),
                )
                task = asyncio.create_task(play.execute())
                await asyncio.sleep(at)
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                assert len(asyncio.all_tasks()) == 1
                return play

            check(run_virtual(main()), transport)


FATES = st.one_of(
    st.lists(st.sampled_from([0.1, 0.5, 1.0, 2.0, 5.0, 40.0]), min_size=1, max_size=4).map(lambda gaps: answer(*gaps)),
    st.tuples(
        st.sampled_from([RESET, OVERLOADED, REFUSED, BAD]),
        st.lists(st.sampled_from([0.1, 1.0, 5.0]), min_size=1, max_size=3),
    ).map(lambda fate: failing(fate[0], *fate[1])),
)


@settings(max_examples=60)
@given(
    st.lists(FATES, min_size=1, max_size=12),
    st.integers(1, 6),
    st.sampled_from([None, 30.0]),
    st.sampled_from([None, 0.003, 0.01]),
)
def test_whatever_happens_each_record_has_at_most_one_outcome(
    fates: list[Fate], concurrency: int, rpm: float | None, budget_usd: float | None
) -> None:
    """Answers, stalls and failures in any order: one outcome each, within slots, budget and the hedges' share."""
    numbers = Counter[str]()

    def fate(prompt: str, number: int) -> Fate:
        numbers["all"] += 1
        return fates[numbers["all"] % len(fates)] if number < 6 else answer(0.5)

    transport = PacedTransport(fate)
    done = run(
        transport,
        12,
        concurrency=concurrency,
        max_attempts=9,
        quota=Quota(rpm),
        prices=PRICES,
        budget=Budget(budget_usd),
        hedging=taught(0.1),
        max_output_tokens=50,
    )
    assert transport.peak_in_flight <= concurrency
    hedging = done.route.hedging
    assert hedging is not None
    assert hedging.hedges_cost <= hedging.answers_cost * COST_SHARE * (1 + 1e-9)
    assert len(done.outcomes) == 12 or done.run.stopping.cause is not None
    assert budget_usd is None or done.route.purse.budget.spent_usd <= budget_usd


def test_a_cold_run_learns_what_is_late() -> None:
    """A run that starts with no threshold hedges its late answers after the first hundred, within the share."""

    def fate(prompt: str, number: int) -> Fate:
        index = int(prompt.split()[1])
        return answer(300.0) if index >= 150 and index % 50 == 0 and number == 1 else answer(1.0 + index % 7 / 100)

    transport = PacedTransport(fate)
    done = run(transport, 500, hedging=Hedging(), concurrency=8)
    assert (done.statistics.hedged >= 7, done.statistics.hedges_won >= 7) == (True, True)
    assert 0 < done.statistics.hedges_share <= COST_SHARE
    assert max(outcome.latency_s or 0.0 for outcome in done.outcomes) < 10.0


def test_the_simulator_s_faults_lose_nothing_when_hedging() -> None:
    """Against a service with every fault but refusals, streamed and hedged, each record has one answer."""
    faults = [name for name in FAULT_NAMES if name not in ("hang", "error_429")]
    config = SimulatorConfig.parse("seed=4," + ",".join(f"fault.{name}=0.02" for name in faults))
    transport = SimulatedTransport(SimulatorApp(config, start=0.0), delay_spread_s=0.1)
    done = run(transport, 200, max_attempts=50, concurrency=20)
    assert done.statistics.answered == 200
    assert done.statistics.hedged > 0


def test_outcomes_are_delivered_once_each() -> None:
    """Deliveries, counted as they come, are one for each record."""
    delivered: Counter[int] = Counter()

    def deliver(record: Record, _outcome: Outcome) -> None:
        delivered[record.index] += 1

    run(PacedTransport(lambda _prompt, number: answer(5.0 * number)), 30, deliver=deliver)
    assert set(delivered.values()) == {1}
    assert len(delivered) == 30


def test_the_loser_is_gone_before_the_outcome_is_delivered() -> None:
    """Whoever takes an outcome meets no request of that record still under way."""
    transport = by_number(answer(60.0), answer(0.5))
    in_flight: list[int] = []
    run(transport, deliver=lambda _record, _outcome: in_flight.append(transport.in_flight))
    assert in_flight == [0]
