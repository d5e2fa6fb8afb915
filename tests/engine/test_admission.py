"""The one place where lanes wait: order, slots, and what cancellation leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat.engine.admission import Admission, AdmissionClosed, DaySpent, Grant
from wingbeat.ledgers.breaker import Breaker
from wingbeat.ledgers.concurrency import Concurrency
from wingbeat.ledgers.quota import Cost, Quota
from wingbeat.testing import VirtualTimeLoop, run_virtual


def admission(quota: Quota | None = None, slots: int = 4) -> Admission:
    """Return an admission of the running loop."""
    return Admission(quota or Quota(), Concurrency(slots), Breaker())


def test_first_come_first_served() -> None:
    """Requests alike go in the order in which they came."""

    async def main() -> list[int]:
        gate, order = admission(Quota(None, 1000), slots=3), []
        random = Random(7)

        async def lane(number: int, cost: float) -> None:
            await gate.enter(Cost(cost), set())
            order.append(number)
            await asyncio.sleep(random.uniform(0, 3))
            gate.leave()

        async with asyncio.TaskGroup() as group:
            for number in range(60):
                group.create_task(lane(number, 300))
        return order

    assert run_virtual(main()) == list(range(60))


def test_small_requests_pass_a_large_one_that_has_to_wait_and_do_not_delay_it() -> None:
    """Behind a large request that waits for room small ones go meanwhile; it goes when it would have gone anyway."""

    async def main(followers: int) -> dict[int, float]:
        gate, gone = admission(Quota(None, 1000), slots=100), {}

        async def lane(number: int, cost: float) -> None:
            await gate.enter(Cost(cost), set())
            gone[number] = asyncio.get_running_loop().time()
            gate.leave()

        async with asyncio.TaskGroup() as group:
            group.create_task(lane(0, 500))
            await asyncio.sleep(40.0)
            group.create_task(lane(1, 900))
            for number in range(2, 2 + followers):
                group.create_task(lane(number, 5))
        return gone

    alone, beside = run_virtual(main(0)), run_virtual(main(6))
    assert beside[1] == pytest.approx(alone[1], abs=0.1)
    assert max(beside[number] for number in range(2, 8)) < beside[1]


def test_a_cancelled_lane_does_not_block_those_behind_it() -> None:
    """When the first in the queue is cancelled, the next takes its place at once."""

    async def main() -> float:
        gate = admission(Quota(None, 1000))
        loop = asyncio.get_running_loop()
        await gate.enter(Cost(600), set())
        big = asyncio.create_task(gate.enter(Cost(900), set()))
        await asyncio.sleep(0.1)
        small = asyncio.create_task(gate.enter(Cost(10), set()))
        await asyncio.sleep(40)
        big.cancel()
        await small
        return loop.time()

    assert run_virtual(main()) == pytest.approx(40.1)


def test_a_lane_cancelled_in_the_middle_is_passed_over() -> None:
    """A cancelled lane inside the queue is neither granted nor counted."""

    async def main() -> tuple[int, int]:
        gate = admission(slots=1)
        await gate.enter(Cost(1), set())
        lanes = [asyncio.create_task(gate.enter(Cost(1), set())) for _ in range(3)]
        await asyncio.sleep(0)
        lanes[1].cancel()
        for _ in range(2):
            gate.leave()
            await asyncio.sleep(0)
        return sum(lane.done() and not lane.cancelled() for lane in lanes), gate.slots.in_flight

    assert run_virtual(main()) == (2, 1)


def test_a_lane_cancelled_at_the_moment_of_its_grant_gives_the_slot_back() -> None:
    """A grant that meets a cancellation is not lost."""

    async def main() -> int:
        gate = admission(slots=1)
        await gate.enter(Cost(1), set())
        lane = asyncio.create_task(gate.enter(Cost(1), set()))
        await asyncio.sleep(0)
        gate.leave()
        lane.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lane
        return gate.slots.in_flight

    assert run_virtual(main()) == 0


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 30), st.booleans()), max_size=40), st.integers(0, 999))
def test_cancellation_anywhere_loses_nothing(lanes: list[tuple[float, float, bool]], seed: int) -> None:
    """With lanes cancelled at any moment, no slot stays taken, none is given twice, and all others are served."""

    async def main() -> None:
        gate, served = admission(Quota(40, 4000), slots=3), 0
        random = Random(seed)

        async def lane(starts_s: float) -> None:
            nonlocal served
            await asyncio.sleep(starts_s)
            grant: Grant = await gate.enter(Cost(random.uniform(1, 2000)), set())
            assert gate.slots.in_flight <= 3
            try:
                await asyncio.sleep(random.uniform(0, 5))
            except asyncio.CancelledError:
                gate.abandon(grant)
                raise
            gate.leave()
            served += 1

        tasks = [asyncio.create_task(lane(starts_s)) for starts_s, _, _ in lanes]
        for task, (_, cancel_s, is_cancelled) in zip(tasks, lanes, strict=True):
            if is_cancelled:
                asyncio.get_running_loop().call_later(cancel_s, task.cancel)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.slots.in_flight == 0
        assert served == sum(result is None for result in results)
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
        assert served >= sum(not is_cancelled for _, _, is_cancelled in lanes)

    run_virtual(main())


def test_flows_share_by_weight() -> None:
    """While all flows have something waiting, each gets its part of the tokens, whatever its requests' sizes."""
    weights, sizes = (1.0, 2.0, 4.0), (500.0, 4000.0, 1500.0)
    taken = [0.0, 0.0, 0.0]

    async def main() -> None:
        gate = admission(Quota(None, 1_000_000), slots=1000)
        loop = asyncio.get_running_loop()

        async def lane(number: int) -> None:
            flow = gate.flows.named(str(number), weights[number])
            while loop.time() < 360:
                await gate.enter(Cost(sizes[number]), set(), flow)
                # At first nobody waits, and at the end lanes stop asking.
                taken[number] += sizes[number] if 60 <= loop.time() < 360 else 0.0
                await asyncio.sleep(1)
                gate.leave()

        await asyncio.gather(*(lane(number) for number in range(3) for _ in range(100)))

    run_virtual(main())
    total = sum(taken)
    assert [tokens / total for tokens in taken] == pytest.approx([1 / 7, 2 / 7, 4 / 7], abs=0.005)


def test_a_flow_gets_the_next_slot_when_a_backlog_has_them_all() -> None:
    """A request of a flow that had nothing waiting goes as soon as any request ends, past thousands that wait."""

    async def main() -> float:
        gate = admission(slots=10)
        loop = asyncio.get_running_loop()

        async def lane() -> None:
            await gate.enter(Cost(1), set(), gate.flows.named("backlog", 1.0))
            await asyncio.sleep(10)
            gate.leave()

        async with asyncio.TaskGroup() as group:
            for number in range(3000):
                loop.call_later(number * 0.001, lambda: group.create_task(lane()))
            await asyncio.sleep(15)
            started = loop.time()
            await gate.enter(Cost(1), set(), gate.flows.named("users", 4.0))
            waited_s = loop.time() - started
            gate.leave()
        return waited_s

    assert run_virtual(main()) <= 5.0


def test_a_flow_that_comes_back_does_not_wait_for_anothers_timer() -> None:
    """While the next in turn waits a minute for its tokens, a small request of an idle flow goes at once."""

    async def main() -> tuple[float, float]:
        gate = admission(Quota(None, 1000))
        loop = asyncio.get_running_loop()
        batch, users = gate.flows.named("batch", 1.0), gate.flows.named("users", 8.0)
        await gate.enter(Cost(600), set(), batch)
        large = asyncio.create_task(gate.enter(Cost(900), set(), batch))
        await asyncio.sleep(40)
        await gate.enter(Cost(50), set(), users)
        small_at = loop.time()
        await large
        return small_at, loop.time()

    assert run_virtual(main()) == pytest.approx((40.0, 60.25))


def play_backfill(sizes: list[float], slots: int = 8) -> list[float]:
    """Return when each request went: the first at once, then one flow each, in the order of their turns, at 40 s."""

    async def main() -> list[float]:
        gate = admission(Quota(None, 1000), slots=slots)
        loop = asyncio.get_running_loop()
        await gate.enter(Cost(600), set(), gate.flows.named("first"))

        async def lane(number: int, size: float) -> float:
            # Each flow has had a little more than the one before it, so their turns are known.
            flow = gate.flows.named(str(number))
            gate.flows.charge(flow, 0.001)
            await asyncio.sleep(40 - loop.time())
            await gate.enter(Cost(size), set(), flow)
            loop.call_later(30, gate.leave)
            return loop.time()

        return await asyncio.gather(*(lane(number, size) for number, size in enumerate(sizes)))

    return run_virtual(main())


def test_small_requests_pass_a_large_one_that_waits_for_room() -> None:
    """While a large request waits for room, those of other flows use what it leaves, and it goes when it would have."""
    alone = play_backfill([900.0])
    assert alone == pytest.approx([60.25])
    large, *small = play_backfill([900.0, 40.0, 40.0, 500.0])
    assert large == alone[0]
    assert small[:2] == [40.0, 40.0]
    assert small[2] > large


def test_the_last_slot_is_kept_for_the_one_in_turn() -> None:
    """A request that would take the last slot passes nobody: its answer may come after the other is due."""
    large, *small = play_backfill([900.0, 40.0, 40.0], slots=3)
    assert large == pytest.approx(60.25)
    assert min(small) == 40.0
    assert max(small) >= large


def test_nobody_passes_within_a_flow() -> None:
    """A small request behind a large one of its own flow waits, though there is room for it."""

    async def main() -> list[str]:
        gate, order = admission(Quota(None, 1000)), []
        await gate.enter(Cost(600), set())

        async def lane(name: str, size: float, flow: str) -> None:
            await gate.enter(Cost(size), set(), gate.flows.named(flow))
            order.append(name)

        async with asyncio.TaskGroup() as group:
            for name, size, flow in (("large", 900, "a"), ("behind", 10, "a"), ("beside", 10, "b")):
                group.create_task(lane(name, size, flow))
        return order

    assert run_virtual(main()) == ["beside", "large", "behind"]


def test_a_cost_is_estimated_again_at_its_turn() -> None:
    """What replies have shown while a request waited counts in what it takes."""

    async def main() -> tuple[float, float]:
        gate, ratio = admission(Quota(None, 1000)), 1.0
        await gate.enter(Cost(1000), set())
        waiting = asyncio.create_task(gate.enter(lambda: Cost(400 * ratio), set()))
        await asyncio.sleep(1)
        ratio = 2.0
        grant = await waiting
        assert gate.quota.input_tokens is not None
        return grant.reservation.cost.input_tokens, gate.quota.input_tokens.used

    assert run_virtual(main()) == (800.0, 800.0)


@pytest.mark.parametrize("patience_s", [60.2, 60.25, 60.3])
def test_a_wait_that_ends_at_the_moment_of_its_grant_loses_nothing(patience_s: float) -> None:
    """Whether the time-out or the grant comes first, the slot is held by whoever has the grant, or by nobody."""

    async def main() -> tuple[bool, int, int]:
        gate, is_granted = admission(Quota(None, 1000), slots=2), False
        gate.abandon(await gate.enter(Cost(1000), set()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await gate.enter(Cost(500), set())
                is_granted = True
        return is_granted, gate.slots.in_flight, gate.waiting

    assert run_virtual(main()) in [(True, 1, 0), (False, 0, 0)]


def test_the_day_ends_for_all_flows() -> None:
    """Once the day's requests are used up, everyone who waits is told so, in every flow."""

    async def main() -> list[str]:
        gate = admission(Quota(None, None, 3), slots=1)

        async def lane(number: int) -> str:
            try:
                await gate.enter(Cost(1), set(), gate.flows.named(str(number % 3)))
            except DaySpent:
                return "spent"
            await asyncio.sleep(1)
            gate.leave()
            return "sent"

        return await asyncio.gather(*(lane(number) for number in range(12)))

    assert sorted(run_virtual(main())) == ["sent"] * 3 + ["spent"] * 9


def test_passing_ends_with_the_day() -> None:
    """Those that are let pass are counted in the day's requests, and whoever waits is told when these are used up."""

    async def main() -> list[tuple[str, float]]:
        gate = admission(Quota(None, 1000, 3))
        await gate.enter(Cost(600), set())
        loop = asyncio.get_running_loop()
        await asyncio.sleep(40)

        async def lane(number: int, size: float) -> tuple[str, float]:
            try:
                await gate.enter(Cost(size), set(), gate.flows.named(str(number)))
            except DaySpent:
                return "spent", loop.time()
            return "sent", loop.time()

        sizes = [900.0, 20.0, 20.0, 20.0, 20.0]
        return await asyncio.gather(*(lane(number, size) for number, size in enumerate(sizes)))

    assert run_virtual(main()) == [("spent", 40.0), ("sent", 40.0), ("sent", 40.0), ("spent", 40.0), ("spent", 40.0)]


def test_a_run_that_stops_leaves_the_others_waiting() -> None:
    """Ending the waits of one run takes its lanes out of the queue, and those of other runs are served."""

    async def main() -> tuple[list[object], int]:
        gate = admission(slots=1)
        first = await gate.enter(Cost(1), set())
        stopped: set[asyncio.Future[Grant]] = set()
        own = [asyncio.create_task(gate.enter(Cost(1), stopped)) for _ in range(5)]
        other = asyncio.create_task(gate.enter(Cost(1), set()))
        await asyncio.sleep(0)
        for future in stopped:
            future.set_exception(AdmissionClosed())
        results = await asyncio.gather(*own, return_exceptions=True)
        assert gate.waiting == 1
        gate.abandon(first)
        await other
        return results, gate.slots.in_flight

    results, in_flight = run_virtual(main())
    assert [type(result) for result in results] == [AdmissionClosed] * 5
    assert in_flight == 1


class WatchedLoop(VirtualTimeLoop):
    """Keep every timer that belongs to an admission."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[asyncio.TimerHandle] = []

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, **more: Any) -> asyncio.TimerHandle:
        """Set a timer, and remember it."""
        handle = super().call_at(when, callback, *args, **more)
        if isinstance(getattr(callback, "__self__", None), Admission):
            self.timers = [timer for timer in self.timers if not timer.cancelled() and timer.when() > self.time()]
            self.timers.append(handle)
        return handle


Lanes = list[tuple[float, float | None, int, float]]
"""When each lane starts, when it is cancelled if ever, its flow, and its tokens."""


def play_lanes(lanes: Lanes, seed: int) -> list[tuple[float, int]]:
    """Play lanes that are cancelled at any moment; check what must always hold, and return who was granted when."""
    granted: list[tuple[float, int]] = []

    async def main(loop: WatchedLoop) -> None:
        gate, random = admission(Quota(40, 4000), slots=3), Random(seed)
        served = 0

        async def lane(number: int) -> None:
            nonlocal served
            starts_s, _, flow, tokens = lanes[number]
            await asyncio.sleep(starts_s)
            grant = await gate.enter(Cost(tokens), set(), gate.flows.named(str(flow), 1.0 + flow))
            granted.append((loop.time(), number))
            assert 1 <= gate.slots.in_flight <= 3
            try:
                await asyncio.sleep(random.uniform(0, 5))
            except asyncio.CancelledError:
                gate.abandon(grant)
                raise
            gate.settle(grant, Cost(tokens * random.uniform(0.5, 1.5)))
            gate.leave()
            served += 1

        async def watch() -> None:
            while True:
                await asyncio.sleep(random.uniform(0.01, 0.5))
                live = [timer for timer in loop.timers if not timer.cancelled() and timer.when() > loop.time()]
                assert len(live) <= 1
                if not gate.waiting:
                    assert not live
                elif gate.slots.is_free:
                    assert live
                    assert gate.due_at > loop.time()

        watching = asyncio.create_task(watch())
        tasks = [asyncio.create_task(lane(number)) for number in range(len(lanes))]
        for task, (_, cancel_s, _, _) in zip(tasks, lanes, strict=True):
            if cancel_s is not None:
                loop.call_later(cancel_s, task.cancel)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
        assert served == sum(result is None for result in results)
        assert served >= sum(cancel_s is None for _, cancel_s, _, _ in lanes)
        assert (gate.slots.in_flight, gate.waiting) == (0, 0)
        assert sum(state.granted for state in gate.flows.states) >= served
        assert all(state.waiting == 0 for state in gate.flows.states)

    with asyncio.Runner(loop_factory=WatchedLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, WatchedLoop)
        runner.run(main(loop))
    return granted


moments = st.one_of(st.integers(0, 30).map(float), st.floats(0, 30))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(moments, st.none() | moments, st.integers(0, 3), st.floats(1, 2000)), max_size=40),
    st.integers(0, 999),
)
def test_with_flows_cancellation_anywhere_loses_nothing(lanes: Lanes, seed: int) -> None:
    """No slot stays taken or is given twice, one timer is live at most, none waits that may go, and runs repeat."""
    assert play_lanes(lanes, seed) == play_lanes(lanes, seed)
