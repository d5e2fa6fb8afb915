"""Several uses of one client: each gets its part of the quota, and none waits behind another's backlog."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any

import pytest

import wingbeat
from wingbeat import Client, ConfigurationError, Limits
from wingbeat.engine.route import Route
from wingbeat.engine.route import text_size as size_of
from wingbeat.ledgers.quota import Quota
from wingbeat.model.answer import Completion, Usage
from wingbeat.model.record import Record
from wingbeat.testing import run_virtual

from .conftest import MODEL

BYTES_PER_TOKEN = 4


class StubCaller:
    """
    Answer every prompt after a while, and keep the times and tokens of what was sent.

    A prompt takes a token for every four bytes, or ``factor`` times as many by its first word.
    """

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s
        self.factor: dict[str, int] = {}
        self.sent: list[tuple[float, str, int]] = []

    def prepare(self, record: Record) -> Record:
        """Keep the record as it is."""
        return record

    def text_size(self, record: Record) -> tuple[int, int]:
        """Measure the prompt."""
        assert record.request is not None
        return size_of(record.request)

    async def call(self, prepared: Record, timeout_s: float) -> Completion:
        """Answer with the prompt's first word."""
        assert prepared.request is not None
        assert prepared.request.prompt is not None
        word = prepared.request.prompt.split(maxsplit=1)[0]
        tokens = len(prepared.request.prompt) // BYTES_PER_TOKEN * self.factor.get(word, 1)
        self.sent.append((asyncio.get_running_loop().time(), word, tokens))
        await asyncio.sleep(self.latency_s)
        return Completion(word, "STOP", Usage(tokens, 1))


def prompt(word: str, tokens: int) -> str:
    """Return a prompt of so many tokens that begins with a word."""
    return f"{word} ".ljust(tokens * BYTES_PER_TOKEN, "a")


@pytest.fixture
def caller(monkeypatch: pytest.MonkeyPatch) -> StubCaller:
    """Let clients ask this caller instead of a service, on whatever loop they run."""
    stub = StubCaller(latency_s=2.0)

    @contextlib.asynccontextmanager
    async def connect(_service: object, limits: Limits, **_more: Any) -> AsyncIterator[Route]:
        yield Route(stub, MODEL, quota=Quota(limits.rpm, limits.tpm, limits.rpd), concurrency=limits.most_in_flight)

    monkeypatch.setattr("wingbeat.client.connect", connect)
    return stub


def quantile(values: list[float], part: float) -> float:
    """Return the value below which that part of the values lies."""
    return sorted(values)[int(len(values) * part)]


@pytest.mark.slow
def test_streams_share_the_quota_by_weight(caller: StubCaller) -> None:
    """Three streams of weights 1, 2 and 4 get a seventh, two and four of the tokens, whatever their prompts' sizes."""
    sizes = {"a": 500, "b": 4000, "c": 1500}

    def endless(word: str) -> Iterator[str]:
        while True:
            yield prompt(word, sizes[word])

    async def main() -> None:
        async with Client(MODEL, limits=Limits(tpm=1_000_000, concurrency=200)) as client:

            async def consume(word: str, weight: float) -> None:
                async for outcome in client.flow(word, weight=weight).stream(endless(word)):
                    assert outcome.text == word

            async with asyncio.timeout(361):
                await asyncio.gather(*(consume(*flow) for flow in (("a", 1), ("b", 2), ("c", 4))))

    with pytest.raises(TimeoutError):
        run_virtual(main())
    taken = dict.fromkeys(sizes, 0)
    for at, word, tokens in caller.sent:
        taken[word] += tokens if 60 <= at < 360 else 0
    total = sum(taken.values())
    assert [tokens / total for tokens in taken.values()] == pytest.approx([1 / 7, 2 / 7, 4 / 7], abs=0.005)
    assert total >= 0.99 * 5 * 1_000_000


@pytest.mark.slow
def test_what_replies_report_is_what_counts(caller: StubCaller) -> None:
    """Two flows get equal parts of the tokens, though those of one are estimated at a third of what they are."""
    caller.factor["dense"] = 3

    def endless(word: str) -> Iterator[str]:
        while True:
            yield prompt(word, 1000)

    async def main() -> None:
        async with Client(MODEL, limits=Limits(tpm=1_000_000, concurrency=100)) as client:

            async def consume(word: str) -> None:
                async for _outcome in client.flow(word).stream(endless(word)):
                    pass

            async with asyncio.timeout(420):
                await asyncio.gather(consume("dense"), consume("plain"))

    with pytest.raises(TimeoutError):
        run_virtual(main())
    taken = {"dense": 0, "plain": 0}
    for at, word, tokens in caller.sent:
        taken[word] += tokens if at >= 60 else 0
    assert taken["dense"] / sum(taken.values()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [None, 20_000])
def test_a_user_does_not_wait_for_the_backlog(caller: StubCaller, lanes: int | None) -> None:
    """Beside 20,000 prompts, however many of them wait at once, 99 of 100 users' requests are sent within 1.5 s."""
    random = Random(3)
    sizes = [30_000 if random.random() < 0.02 else random.randint(500, 2000) for _ in range(20_000)]
    waits: list[float] = []

    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        async with Client(MODEL, limits=Limits(rpm=2400, tpm=4_000_000, lanes=lanes)) as client:
            backlog = asyncio.create_task(
                client.flow("nightly", priority="batch").gather([prompt("backlog", size) for size in sizes])
            )
            users = client.flow("users", priority="interactive")

            async def ask() -> None:
                started = loop.time()
                await users.generate(prompt("user", 1000))
                waits.append(loop.time() - started - caller.latency_s)

            async with asyncio.TaskGroup() as group:
                for _ in range(300):
                    await asyncio.sleep(random.expovariate(1.0))
                    group.create_task(ask())
            assert not backlog.done()
            answered = await backlog
        return len(waits), len(answered)

    assert run_virtual(main()) == (300, 20_000)
    assert quantile(waits, 0.99) <= 1.5
    assert quantile(waits, 0.5) <= 0.1


def test_a_stream_alone_uses_everything(caller: StubCaller) -> None:
    """What the other flows don't use goes to the one that has something to send, whatever its weight."""

    async def main() -> float:
        async with Client(MODEL, limits=Limits(rpm=600)) as client:
            client.flow("users", weight=100)
            await client.flow("nightly", weight=0.1).gather([prompt("backlog", 100) for _ in range(700)])
            return asyncio.get_running_loop().time()

    assert run_virtual(main()) <= 75.0


@pytest.mark.parametrize(("priority", "at_once"), [("interactive", 31), ("batch", 1)])
def test_a_light_job_does_not_take_the_quota_at_once(caller: StubCaller, priority: Any, at_once: int) -> None:
    """A small job starts with half a minute's quota, but not beside a heavier flow, whose users would wait for it."""

    async def main() -> None:
        async with Client(MODEL, limits=Limits(rpm=60)) as client:
            client.flow("users", weight=8)
            await client.flow("job", priority=priority).gather([f"{number} why" for number in range(40)])

    run_virtual(main())
    assert sum(at < 0.5 for at, _, _ in caller.sent) == at_once


def test_a_flow_is_kept_by_its_name(caller: StubCaller) -> None:
    """The same name gives the same flow; another weight is taken, and none leaves it as it was."""

    async def main() -> None:
        async with Client(MODEL) as client:
            flow = client.flow("users", weight=2)
            assert client.flow("users") is flow
            assert flow.weight == 2
            assert client.flow("users", priority="interactive").weight == 8
            assert client.flows[1].weight == 8

    run_virtual(main())


def test_flows_are_named_before_the_client_is_open(caller: StubCaller) -> None:
    """A flow may be made with the client, in plain code, and used once the client is open."""
    client = Client(MODEL)
    users = client.flow("users", weight=2)

    async def main() -> None:
        async with client:
            assert (await users.generate("why")).text == "why"
            assert [state.name for state in client.flows] == ["default", "users"]

    run_virtual(main())


def test_a_flow_of_a_closed_client_says_so() -> None:
    """A request on a flow of a client that is not open is refused as the client's own would be."""
    with pytest.raises(ConfigurationError, match="not open"):
        run_virtual(Client(MODEL).flow("users").generate("why"))


def test_flows_show_what_waits_and_what_went(caller: StubCaller) -> None:
    """The client lists its flows with weight, waiting and granted requests; each flow has counters of its own."""

    async def main() -> None:
        async with Client(MODEL, limits=Limits(concurrency=2)) as client:
            users = client.flow("users", weight=8)
            work = [asyncio.create_task(users.generate(f"why {number}")) for number in range(5)]
            work.append(asyncio.create_task(client.generate("how")))
            await asyncio.sleep(1)
            assert client.flows == (
                wingbeat.FlowState("default", 4.0, 1, 0),
                wingbeat.FlowState("users", 8.0, 3, 2),
            )
            assert "users of weight 8, 3 waiting, 2 granted" in repr(client)
            await asyncio.gather(*work)
            assert (users.statistics.answered, client.statistics.answered) == (5, 6)
        assert [(state.granted, state.waiting) for state in client.flows] == [(1, 0), (5, 0)]

    run_virtual(main())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 0}, "above zero"),
        ({"weight": float("nan")}, "above zero"),
        ({"priority": "urgent"}, "'urgent'"),
        ({"priority": "batch", "weight": 2}, "both"),
    ],
)
def test_a_wrong_weight_is_refused(settings: dict[str, Any], message: str) -> None:
    """A flow that could not be served by any weight is refused when it is named."""
    with pytest.raises(ConfigurationError, match=message):
        Client(MODEL).flow("users", **settings)


def test_a_cancelled_request_leaves_its_flow(caller: StubCaller) -> None:
    """Cancelling a call that waits takes it out of its flow, and the next one goes in its place."""

    async def main() -> list[str | None]:
        async with Client(MODEL, limits=Limits(concurrency=1)) as client:
            users = client.flow("users")
            first, second, third = (asyncio.create_task(users.generate(f"{n} why")) for n in range(3))
            await asyncio.sleep(1)
            second.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await second
            assert client.flows[1].waiting == 1
            return [(await first).text, (await third).text]

    assert run_virtual(main()) == ["0", "2"]
