"""Clients and routes keep what they learn of a service's limits, and start from it."""

import asyncio
import datetime
from collections.abc import AsyncIterator, Callable

import pytest

from wingbeat import Client, Limits
from wingbeat.config import Service
from wingbeat.connecting import connect, learnt_by
from wingbeat.limitbook import LimitBook, Memory
from wingbeat.model.limit import LearntLimit
from wingbeat.simulator import Simulator, SimulatorConfig

MODEL = "gemini-2.5-flash"
KEY = "AIzaSyD-a-key-that-nobody-may-see-42"


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """A simulator that runs by itself and allows five requests a minute."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    async with Simulator(SimulatorConfig.parse("latency=0,rpm=5")) as started:
        yield Service("gemini", MODEL, started.url, None, KEY)


async def wait_until(condition: Callable[[], object]) -> None:
    """Poll until something is true; the suite's time-out ends it."""
    while not condition():  # noqa: ASYNC110 - polled, as a user would
        await asyncio.sleep(0.01)


async def ask_until_refused(client: Client) -> None:
    """Ask more than is allowed, and give up at the first refusal."""
    asking = asyncio.create_task(client.gather([f"Question {number}?" for number in range(20)]))
    await wait_until(lambda: client.statistics.refused)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


def kept(service: Service) -> list[tuple[str, float, str]]:
    """What is kept of a service's route."""
    route = LimitBook().find(service)
    return [] if route is None else [(limit.resource, limit.limit, limit.origin) for limit in route.limits]


async def test_what_a_client_is_told_is_kept(service: Service):
    """A limit stated in a refusal is kept when the client closes, and the next client starts from it."""
    async with Client(MODEL, base_url=service.base_url) as client:
        await ask_until_refused(client)
    assert kept(service) == [("requests", 5, "told")]
    memory = Memory(service, Limits())
    async with connect(service, memory.start.limits, memory=memory) as route:
        (started,) = route.quota.learnt()
        assert started.resource == "requests"
        assert started.limit == pytest.approx(5)
    assert kept(service) == [("requests", 5, "told")]


async def test_what_is_learnt_is_kept_while_it_runs(service: Service, monkeypatch: pytest.MonkeyPatch):
    """A limit is written down at intervals, so that a kill loses little."""
    monkeypatch.setattr("wingbeat.connecting.KEPT_EACH_S", 0.01)
    async with Client(MODEL, base_url=service.base_url) as client:
        await ask_until_refused(client)
        await wait_until(lambda: kept(service))


async def test_a_cancelled_client_keeps_what_it_learnt(service: Service):
    """A task that is cancelled in the middle still leaves what it has learnt."""

    async def work() -> None:
        async with Client(MODEL, base_url=service.base_url) as client:
            await ask_until_refused(client)
            refused.set()
            await asyncio.Event().wait()

    refused = asyncio.Event()
    working = asyncio.create_task(work())
    await refused.wait()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert kept(service) == [("requests", 5, "told")]


async def test_a_client_may_start_afresh(service: Service):
    """`fresh_limits` starts without what is kept, and what is then learnt takes its place."""
    book = LimitBook()
    async with Client(MODEL, base_url=service.base_url) as client:
        await ask_until_refused(client)
    before = book.path.stat().st_mtime_ns
    memory = Memory(service, Limits(), fresh=True)
    assert memory.start.learnt == ()
    async with Client(MODEL, base_url=service.base_url, fresh_limits=True) as client:
        await ask_until_refused(client)
    assert book.path.stat().st_mtime_ns > before


async def test_a_client_within_its_limits_keeps_nothing(service: Service):
    """Nothing is learnt, and no file is made, while nothing is refused."""
    async with Client(MODEL, base_url=service.base_url, limits=Limits(rpm=5)) as client:
        await client.gather(["Why?", "Who?"])
    assert not LimitBook().path.exists()


async def test_a_set_concurrency_holds_for_clients(service: Service):
    """What the user has set for a model holds in Python too, where nothing else is given."""
    LimitBook().set(service, [LearntLimit("in_flight", 2)], datetime.datetime.now(datetime.UTC))
    async with Client(MODEL, base_url=service.base_url) as client:
        await client.gather(["Why?"] * 5)
        assert client.statistics.peak_in_flight <= 2


async def test_a_found_concurrency_is_kept_and_started_from(service: Service):
    """What is good in flight is kept once it is found, and the next route starts finding it at half."""
    async with connect(service, Limits()) as route:
        slots = route.admission.slots
        assert slots.is_found
        assert learnt_by(route) == ()  # still growing
    LimitBook().remember(service, [LearntLimit("in_flight", 120, 0.0)], datetime.datetime.now(datetime.UTC))
    memory = Memory(service, Limits())
    async with connect(service, memory.start.limits, memory=memory) as route:
        assert route.admission.slots.limit == 60
        assert route.admission.slots.is_found
