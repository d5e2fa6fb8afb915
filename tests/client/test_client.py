import asyncio
import contextlib
import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterator

import pytest

import wingbeat
from wingbeat import AnswerFailed, Client, ConfigurationError, Limits, Outcome, RunStopped

from .conftest import MODEL


def client(simulator: str = "latency=0", **settings) -> Client:
    """Return a client of the bundled simulator."""
    return Client(MODEL, simulator=simulator, **settings)


def other_tasks() -> set[asyncio.Task]:
    """Return tasks beside the current one."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def test_generate_returns_the_answer():
    """`generate` returns one outcome with text, usage, cost and model."""
    async with client() as model:
        answer = await model.generate("Why do some birds migrate?")
    assert answer.text
    assert (answer.index, answer.attempts, answer.model, answer.error) == (0, 1, MODEL, None)
    assert answer.usage.input_tokens > 0
    assert answer.cost_usd > 0


async def test_generate_takes_rows_and_options():
    """A prompt may be a row with messages; options of the call win over the client's."""
    async with client(max_output_tokens=500, system="Be brief.") as model:
        row = {"id": "x", "messages": [{"role": "user", "content": "Why?"}]}
        answer = await model.generate(row, max_output_tokens=3)
    assert (answer.id, answer.finish_reason) == ("x", "MAX_TOKENS")


async def test_generate_raises_what_failed():
    """A failed answer is raised as AnswerFailed, with the outcome in it."""
    async with client("latency=0,fault.garbage=1", limits=Limits(max_attempts=1)) as model:
        with pytest.raises(AnswerFailed, match="malformed_reply") as caught:
            await model.generate("Why?")
    assert caught.value.outcome.error.kind == "malformed_reply"


@pytest.mark.parametrize("prompt", ["", "  ", "a\x00b", "\ud800", {"text": "x"}, {"messages": []}, 3, None, ["a"]])
async def test_generate_refuses_what_is_no_prompt(prompt):
    """What can't be asked fails without a request."""
    async with client() as model:
        with pytest.raises(AnswerFailed, match="invalid_input"):
            await model.generate(prompt)
        assert model.statistics.sent == 0


async def test_generate_says_why_the_run_stops():
    """A used-up quota is raised as RunStopped."""
    async with client("latency=0,rpm=0") as model:
        with pytest.raises(RunStopped, match="refuses this run"):
            await model.generate("Why?")


async def test_gather_keeps_the_order():
    """`gather` returns outcomes in the order of the prompts, failures included."""
    prompts = [f"Question {number}?" for number in range(40)]
    prompts[7] = ""
    async with client("latency_scale=0.005,jitter=true") as model:
        outcomes = await model.gather(prompts)
    assert [outcome.index for outcome in outcomes] == list(range(40))
    assert [outcome.index for outcome in outcomes if outcome.error] == [7]


async def test_gather_of_nothing_is_nothing():
    """No prompts give no outcomes."""
    async with client() as model:
        assert await model.gather([]) == []
        assert [outcome async for outcome in model.stream(iter(()))] == []


async def test_a_stopped_gather_carries_its_outcomes():
    """RunStopped out of `gather` holds what was answered before it."""
    async with client("latency=0,rpd=3", limits=Limits(concurrency=1)) as model:
        with pytest.raises(wingbeat.QuotaExhausted, match="day's quota") as caught:
            await model.gather([f"Question {number}?" for number in range(9)])
    assert [outcome.index for outcome in caught.value.outcomes] == [0, 1, 2]


async def test_gather_refuses_one_text():
    """A single text instead of a list is refused with what to write."""
    async with client() as model:
        with pytest.raises(ConfigurationError) as caught:
            await model.gather("Why?")
    assert caught.value.hint == "put it in a list: [prompt]"


async def test_stream_yields_in_order_of_completion():
    """`stream` yields each outcome once, as it comes, from plain and async sources alike."""

    async def source() -> AsyncIterator[str]:
        for number in range(30):
            await asyncio.sleep(0)
            yield f"Question {number}?"

    async with client() as model:
        for prompts in (source(), (f"Question {number}?" for number in range(30)), {"Why?": 1}.keys()):
            indexes = [outcome.index async for outcome in model.stream(prompts)]
            assert sorted(indexes) == list(range(len(indexes)))


async def test_back_pressure_reaches_the_source():
    """A reader that takes few outcomes holds the source back: no more is read than lanes and their results need."""
    read = 0

    def source() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield f"Question {read}?"

    async with client(limits=Limits(concurrency=4)) as model:
        async with contextlib.aclosing(model.stream(source())) as stream:
            for _ in range(3):
                await anext(stream)
            seen = 0
            async with asyncio.timeout(10):
                while seen != read:
                    seen = read
                    for _ in range(50):
                        await asyncio.sleep(0.001)
    assert read <= 3 + 16 + 2 * 4 + 1


async def test_leaving_a_stream_early_cancels_cleanly():
    """Leaving the loop early ends every request and task, and gives the slots back."""

    def source() -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield f"Question {number}?"

    async with client("latency_scale=0.01,jitter=true", limits=Limits(concurrency=8)) as model:
        before = other_tasks()
        async with contextlib.aclosing(model.stream(source())) as stream:
            async for outcome in stream:
                assert outcome.error is None
                break
        assert not {task for task in other_tasks() - before if "carry" in repr(task) or "execute" in repr(task)}
        answers = await asyncio.wait_for(model.gather(["Why?"] * 8), 10)
    assert len(answers) == 8
    gc.collect()


async def test_a_stream_left_after_it_stopped_leaves_no_error_behind():
    """A run that stops while nobody reads is not complained about when its stream is closed."""
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    async with client("latency=0,rpd=3", limits=Limits(concurrency=1)) as model:
        stream = model.stream(f"Question {number}?" for number in range(9))
        await anext(stream)
        for _ in range(100):
            await asyncio.sleep(0.001)
        await stream.aclose()
    del stream
    gc.collect()
    assert complaints == []


async def test_a_cancelled_call_gives_its_slot_back():
    """Cancelling `generate` ends its request; with one slot the next call still goes."""
    async with client("latency=0.2", limits=Limits(concurrency=1)) as model:
        call = asyncio.create_task(model.generate("Why?"))
        waiting = asyncio.create_task(model.generate("Who?"))
        async with asyncio.timeout(10):
            while not model.statistics.in_flight:  # noqa: ASYNC110 - polled, as a user would
                await asyncio.sleep(0.001)
        call.cancel()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await asyncio.wait_for(model.generate("When?"), 10)).text


async def test_an_error_of_the_source_reaches_the_caller():
    """What the source raises ends the stream with that very exception, not with a group of them."""

    def source() -> Iterator[str]:
        yield "Why?"
        raise KeyError("mine")

    async def slow_source() -> AsyncIterator[str]:
        for prompt in source():
            yield prompt

    async with client() as model:
        for prompts in (source(), slow_source()):
            with pytest.raises(KeyError, match="mine"):
                _ = [outcome async for outcome in model.stream(prompts)]
        assert (await model.generate("Why?")).text


async def test_calls_share_one_limit_of_concurrency():
    """Calls from many tasks share the client's slots."""
    async with client("latency=0.01", limits=Limits(concurrency=3)) as model:
        await asyncio.gather(*(model.generate(f"Question {number}?") for number in range(12)))
        assert model.statistics.peak_in_flight == 3


async def test_a_closed_client_says_so():
    """Outside its block a client refuses with what to write."""
    model = client()
    with pytest.raises(ConfigurationError, match="not open"):
        await model.generate("Why?")
    async with model:
        pass
    with pytest.raises(ConfigurationError, match="not open"):
        await model.gather(["Why?"])
    assert "closed" in repr(model)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "gpt-4"}, "unknown model"),
        ({"model": "gemini-2.5-flash"}, "no API key"),
        ({"model": MODEL, "temperature": "hot"}, "temperature"),
        ({"model": MODEL, "nonsense": 1}, "no option 'nonsense'"),
        ({"model": MODEL, "api_version": "../x"}, "API version"),
    ],
)
def test_a_wrong_client_is_refused_when_it_is_made(settings: dict, message: str):
    """Wrong models, options and versions, and a missing key, are refused before anything is opened."""
    with pytest.raises(ConfigurationError, match=message):
        Client(**settings)


@pytest.mark.slow
async def test_memory_stays_flat():
    """Twenty thousand prompts of a generator take no more memory than two thousand."""

    async def peak(number: int) -> int:
        tracemalloc.start()
        try:
            async with client(limits=Limits(concurrency=32)) as model:
                async for outcome in model.stream(f"Question {i}?" for i in range(number)):
                    assert isinstance(outcome, Outcome)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    await peak(200)
    small, large = await peak(500), await peak(5000)
    assert large < small + 1_000_000


async def test_the_client_counts_what_its_streams_do():
    """`client.statistics` sums up what `generate`, `gather` and `stream` have done."""
    async with client() as model:
        await model.generate("Why?")
        await model.gather(["Who?", "What?"])
        assert (model.statistics.answered, model.statistics.sent, model.statistics.in_flight) == (3, 3, 0)
        assert model.statistics.cost_usd > 0


def test_a_hint_stands_in_the_traceback():
    """What to do next is part of what a script's traceback shows."""
    with pytest.raises(ConfigurationError) as caught:
        Client("nobody/nothing")
    assert any("hint: " in note for note in caught.value.__notes__)


def test_the_simulator_takes_no_base_url():
    """`sim/…` starts its own server, so a base URL is refused, not ignored."""
    with pytest.raises(ConfigurationError, match="no base URL"):
        Client(MODEL, base_url="http://127.0.0.1:1")


async def test_a_drained_run_does_not_wait_for_an_async_source():
    """Leaving a stream early does not wait for the source's next item."""
    never = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        yield "Why?"
        await never.wait()

    async with client() as model, contextlib.aclosing(model.stream(source())) as stream:
        async for _outcome in stream:
            break
    assert not other_tasks()
