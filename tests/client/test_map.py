import asyncio
import contextlib
import dataclasses
import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import wingbeat
from wingbeat import ConfigurationError, FailureKind, Limits, Usage
from wingbeat.calls import classify_exception
from wingbeat.simulator import Simulator, SimulatorConfig


async def double(number: int) -> int:
    """Return twice a number, after letting others run."""
    await asyncio.sleep(0)
    return 2 * number


async def test_map_keeps_the_order_when_awaited():
    """Awaiting a map gives each item's outcome in the items' order, with the result as its value."""
    outcomes = await wingbeat.map(double, range(50))
    assert [outcome.value for outcome in outcomes] == [2 * number for number in range(50)]
    assert {outcome.model for outcome in outcomes} == {"call"}


async def test_a_map_can_be_used_once():
    """A second use of one map is refused, before any call is made again."""
    calls = 0

    async def call(number: int) -> int:
        nonlocal calls
        calls += 1
        return number

    mapped = wingbeat.map(call, [1, 2])
    await mapped
    for again in (lambda: mapped.__await__(), lambda: aiter(mapped)):
        with pytest.raises(ConfigurationError, match="used already"):
            again()
    assert calls == 2


async def test_map_yields_as_results_come():
    """Iterating a map gives every outcome once; async sources work too."""

    async def source() -> AsyncIterator[int]:
        for number in range(20):
            await asyncio.sleep(0)
            yield number

    assert sorted([outcome.value async for outcome in wingbeat.map(double, source())]) == list(range(0, 40, 2))


async def test_a_text_result_is_the_text():
    """A result that is a text stands in `text` as well."""

    async def shout(word: str) -> str:
        return word.upper()

    [outcome] = await wingbeat.map(shout, ["hello"], usage=lambda value: Usage(input_tokens=len(value)))
    assert (outcome.text, outcome.value, outcome.usage.input_tokens) == ("HELLO", "HELLO", 5)


async def test_a_fault_of_the_call_fails_its_item_only():
    """An exception without status fails its item at once, with the exception's name; the others are answered."""
    calls = 0

    async def call(number: int) -> float:
        nonlocal calls
        calls += 1
        return 1 / number

    outcomes = await wingbeat.map(call, [1, 0, 2])
    assert [outcome.value for outcome in outcomes] == [1.0, None, 0.5]
    assert outcomes[1].error.kind == "call_error"
    assert outcomes[1].error.message == "ZeroDivisionError: division by zero"
    assert calls == 3


async def test_a_lost_connection_is_tried_again():
    """A transient exception is tried again, as often as `max_attempts` says."""
    calls = 0

    async def call(number: int) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionResetError
        return number

    [outcome] = await wingbeat.map(call, [7])
    assert (outcome.value, outcome.attempts) == (7, 2)


async def test_a_call_that_takes_too_long_fails():
    """A call without result within `timeout_s` is cancelled and counts as timed out."""
    cancelled = []

    async def call(number: int) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise

    [outcome] = await wingbeat.map(call, [1], limits=Limits(timeout_s=0.05, max_attempts=1))
    assert outcome.error.kind == "timeout"
    assert cancelled == [1]


class WithStatus(Exception):
    """What clients raise: an HTTP status under one of three names."""

    def __init__(self, **attributes: object) -> None:
        super().__init__("the client's words")
        vars(self).update(attributes)


class APIConnectionError(Exception):
    """As openai and anthropic name it."""


class APITimeoutError(APIConnectionError):
    """As openai names it."""


DAY = {
    "error": {
        "code": 429,
        "message": "Quota exceeded",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel", "quotaValue": "20"}],
            }
        ],
    }
}
WAIT = {"error": {"code": 429, "message": "Slow down. Please retry in 7.5s."}}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (WithStatus(status_code=400), FailureKind.INVALID_REQUEST),
        (WithStatus(code=401), FailureKind.INVALID_KEY),
        (WithStatus(status=403), FailureKind.PERMISSION),
        (WithStatus(code=404), FailureKind.NOT_FOUND),
        (WithStatus(code=408), FailureKind.TIMEOUT),
        (WithStatus(status_code=429), FailureKind.RATE_LIMITED),
        (WithStatus(status_code=500), FailureKind.SERVER_ERROR),
        (WithStatus(code=503), FailureKind.OVERLOADED),
        (WithStatus(code=504), FailureKind.TIMEOUT),
        (WithStatus(code=429, details=DAY), FailureKind.DAY_QUOTA),
        (WithStatus(code=429, details=[DAY]), FailureKind.DAY_QUOTA),
        (WithStatus(code="429"), FailureKind.CALL_ERROR),
        (WithStatus(code=200), FailureKind.CALL_ERROR),
        (TimeoutError(), FailureKind.TIMEOUT),
        (APITimeoutError(), FailureKind.TIMEOUT),
        (APIConnectionError(), FailureKind.CONNECTION),
        (ConnectionResetError(), FailureKind.CONNECTION),
        (BrokenPipeError(), FailureKind.CONNECTION),
        (ValueError("x"), FailureKind.CALL_ERROR),
        (KeyError("x"), FailureKind.CALL_ERROR),
        (FileNotFoundError("x"), FailureKind.CALL_ERROR),
    ],
    ids=repr,
)
def test_exceptions_are_judged_by_what_they_carry(error: Exception, kind: FailureKind):
    """Statuses are judged as replies are, time-outs and lost connections by name, all else is the call's fault."""
    assert classify_exception(error).kind is kind


def test_the_wait_in_an_error_body_is_honoured():
    """The wait that a service asks for is read from the body that the client kept."""
    assert classify_exception(WithStatus(code=429, details=WAIT)).retry_after_s == 7.5


@pytest.mark.parametrize("body", [b"\xff", None, 3, {"error": object()}, [[[]]], {"error": {"details": {"a": set()}}}])
def test_odd_exceptions_are_judged_too(body: object):
    """Whatever an exception carries in place of a body, it is judged by its status."""
    assert (
        classify_exception(WithStatus(code=503, details=body, body=body, response=body)).kind is FailureKind.OVERLOADED
    )


async def test_results_are_kept_and_found_again(folder: Path):
    """With a journal the same call again asks only for what is missing, wherever the items stand now."""
    asked = []

    async def call(number: int) -> dict[str, int]:
        asked.append(number)
        return {"double": 2 * number}

    await wingbeat.map(call, [1, 2, 3], journal=folder / "m.journal")
    outcomes = await wingbeat.map(call, [4, 3, 2, 1], journal=folder / "m.journal")
    assert sorted(asked) == [1, 2, 3, 4]
    assert [outcome.value["double"] for outcome in outcomes] == [8, 6, 4, 2]
    assert [outcome.index for outcome in outcomes] == [0, 1, 2, 3]


async def test_failed_items_are_asked_again_until_answered(folder: Path):
    """A failed item is asked by the next run; once answered it is never asked again."""
    asked = 0

    async def call(number: int) -> int:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise ValueError("the first time")
        return number

    kinds = []
    for _ in range(3):
        [outcome] = await wingbeat.map(call, [5], journal="m.journal")
        kinds.append(outcome.error and outcome.error.kind)
    assert kinds == ["call_error", None, None]
    assert asked == 2


async def test_equal_items_have_results_of_their_own(folder: Path):
    """Equal items are each asked once, also when a run is resumed."""
    asked = 0

    async def call(word: str) -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.06)
        return asked

    limits = Limits(concurrency=1)
    await wingbeat.map(call, ["x"], journal="m.journal", limits=limits)
    await wingbeat.map(call, ["x", "y", "y"], journal="m.journal", limits=limits)
    outcomes = await wingbeat.map(call, ["x", "y", "y"], journal="m.journal", limits=limits)
    assert asked == 3
    assert sorted(outcome.value for outcome in outcomes) == [1, 2, 3]


@dataclasses.dataclass
class Point:
    """A plain value."""

    x: int


async def test_dataclasses_can_be_kept():
    """Items and results may be dataclasses; kept results come back as plain values."""

    async def call(point: Point) -> Point:
        return Point(point.x + 1)

    await wingbeat.map(call, [Point(1)], journal="m.journal")
    [outcome] = await wingbeat.map(call, [Point(1)], journal="m.journal")
    assert outcome.value == {"x": 2}


async def test_a_result_that_cannot_be_kept_is_told():
    """A result that is no JSON value ends a journalled run with a clear error; results before it are kept."""
    asked = []

    async def call(number: int) -> object:
        asked.append(number)
        return number if number < 3 else object()

    limits = Limits(concurrency=1)
    with pytest.raises(ConfigurationError, match="a result can't be kept in the journal: object is not a JSON value"):
        await wingbeat.map(call, [1, 2, 3, 4], journal="m.journal", limits=limits)
    await wingbeat.map(call, [1, 2], journal="m.journal")
    assert asked[:3] == [1, 2, 3]
    assert asked.count(1) == asked.count(2) == 1


async def test_an_item_that_cannot_be_kept_is_told():
    """An item that is no JSON value is refused with what to do."""
    with pytest.raises(ConfigurationError, match="an item can't be kept in the journal") as caught:
        await wingbeat.map(double, [object()], journal="m.journal")
    assert "leave the journal out" in caught.value.hint


async def test_a_journal_belongs_to_one_call():
    """A journal of another call is refused."""
    await wingbeat.map(double, [1], journal="m.journal", name="double")
    with pytest.raises(ConfigurationError, match="holds the results of 'double', not of 'triple'"):
        await wingbeat.map(double, [1], journal="m.journal", name="triple")


async def test_a_journal_in_use_is_refused():
    """Two maps can't write one journal at once."""

    async def call(number: int) -> int:
        with pytest.raises(wingbeat.JournalBusyError):
            await wingbeat.map(double, [1], journal="m.journal")
        return number

    assert (await wingbeat.map(call, [1], journal="m.journal"))[0].value == 1


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(tpm=100), "token estimates"),
        (Limits(max_cost=1), "`max_cost` can't be kept"),
        (Limits(hedge=True), "can't be hedged"),
    ],
)
async def test_limits_that_cannot_be_kept_are_refused(limits: Limits, message: str):
    """Token limits without estimates, and budgets, are refused before any call."""
    with pytest.raises(ConfigurationError, match=message):
        wingbeat.map(double, [1], limits=limits)


async def test_leaving_early_cancels_the_calls():
    """Leaving the loop early cancels what is in flight and lets no task linger."""
    running = 0

    async def call(number: int) -> int:
        nonlocal running
        running += 1
        try:
            await asyncio.sleep(0 if number == 0 else 60)
        finally:
            running -= 1
        return number

    def forever() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    before = asyncio.all_tasks()
    async with contextlib.aclosing(aiter(wingbeat.map(call, forever(), limits=Limits(concurrency=5)))) as stream:
        async for outcome in stream:
            assert outcome.value == 0
            break
    assert running == 0
    assert asyncio.all_tasks() == before


async def test_back_pressure_reaches_the_items():
    """Items are read only as fast as outcomes are taken."""
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    async with contextlib.aclosing(aiter(wingbeat.map(double, items(), limits=Limits(concurrency=3)))) as stream:
        await anext(stream)
        for _ in range(200):
            await asyncio.sleep(0)
        assert read <= 1 + 16 + 2 * 3 + 1


async def test_cancelling_a_map_cancels_its_calls():
    """Cancelling the task that awaits a map cancels every call; nothing is swallowed."""
    started, ended = [], []

    async def call(number: int) -> None:
        started.append(number)
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(number)

    async def ask() -> None:
        await wingbeat.map(call, range(10), limits=Limits(concurrency=4))

    task = asyncio.create_task(ask())
    while len(started) < 4:  # noqa: ASYNC110 - the calls begin one by one
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [0, 1, 2, 3]
    gc.collect()


async def test_progress_is_told_after_each_outcome():
    """`progress` sees the counters after every outcome."""
    seen = []
    await wingbeat.map(double, range(5), progress=lambda statistics: seen.append(statistics.answered))
    assert seen[-1] == 5
    assert len(seen) == 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_the_official_client_can_be_mapped():
    """google-genai inside a map: a 429 pauses everybody, everything is answered, and is kept as plain JSON."""
    genai = pytest.importorskip("google.genai")
    config = SimulatorConfig.parse("latency=0.01,fault.error_429=0.3,seed=3")
    async with Simulator(config) as simulator:
        options = genai.types.HttpOptions(
            base_url=simulator.url, retry_options=genai.types.HttpRetryOptions(attempts=1)
        )
        async with genai.Client(api_key="some-key", http_options=options).aio as models:

            async def ask(prompt: str):
                return await models.models.generate_content(model="gemini-2.5-flash", contents=prompt)

            prompts = [f"Question {number}?" for number in range(8)]
            mapped = wingbeat.map(ask, prompts, journal="m.journal")
            outcomes = await mapped
            assert [outcome.error for outcome in outcomes] == [None] * 8
            assert outcomes[0].value.text
            assert mapped.statistics.refused > 0
            again = await wingbeat.map(ask, prompts, journal="m.journal")
            assert simulator.statistics().answered == 8
    assert again[0].value["candidates"][0]["content"]["parts"][0]["text"] == outcomes[0].value.text
