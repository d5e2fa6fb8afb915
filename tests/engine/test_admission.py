"""The one place where lanes wait: order, slots, and what cancellation leaves behind."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat.engine.admission import Admission, Grant
from wingbeat.ledgers.breaker import Breaker
from wingbeat.ledgers.quota import Cost, Quota
from wingbeat.ledgers.slots import Slots
from wingbeat.testing import run_virtual


def admission(quota: Quota | None = None, slots: int = 4) -> Admission:
    """Return an admission of the running loop."""
    return Admission(quota or Quota(), Slots(slots), Breaker())


def test_first_come_first_served() -> None:
    """No request is overtaken, however large it is and however small those behind it are."""

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
                group.create_task(lane(number, random.choice([1, 5, 300, 900])))
        return order

    assert run_virtual(main()) == list(range(60))


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
