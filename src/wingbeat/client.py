"""The library's face: ask one prompt, a list, or an endless stream, from async code or from a plain script."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from types import TracebackType
from typing import Any, Self, TypeVar

from wingbeat.config import Service, find_service
from wingbeat.connecting import connect
from wingbeat.engine.admission import RequestFlow
from wingbeat.engine.intake import AsyncIntake, IteratorIntake
from wingbeat.engine.lane import Lane
from wingbeat.engine.outlet import Outlet
from wingbeat.engine.ports import Intake
from wingbeat.engine.route import Route
from wingbeat.engine.run import Run
from wingbeat.engine.statistics import Statistics
from wingbeat.engine.stopping import Stopping
from wingbeat.errors import AnswerFailed, ConfigurationError, EventLoopRunning
from wingbeat.ledgers.flows import DEFAULT_FLOW, WEIGHTS, FlowState, Priority
from wingbeat.ledgers.limits import Limits
from wingbeat.limitbook import Memory
from wingbeat.model.answer import Outcome
from wingbeat.model.options import Options, parse_options
from wingbeat.model.record import Record
from wingbeat.providers.gemini import GeminiCodec
from wingbeat.sources.building import RecordBuilder
from wingbeat.sources.rows import BadRow, Row

T = TypeVar("T")

Prompt = str | Mapping[str, Any]
"""What is asked: a text, or a row like one of an input file: ``prompt``, ``messages`` or ``contents``, and perhaps
``id``, ``system`` and generation options."""


class Client:
    """
    Ask one model, from any number of tasks, within one quota.

    All calls share the quota, the connections and the breaker. Use it as an async context manager; leaving the
    context closes its connections. Cancelling a call cancels its request. Calls wait in the order in which they came,
    unless they are made through different flows: see `flow`.

    Args:
        model: ``gemini/NAME``, a bare Gemini name, or ``sim/NAME`` for the bundled simulator.
        limits: What may be used; by default no rate limit, and as many requests at once as turn out well, from ten up.
        system: System text of every request that brings none.
        base_url: As Google's client takes it: without the API version.
        api_version: As Google's client takes it.
        simulator: How the bundled simulator is to behave (``"latency=0.2,seed=7"``), for ``sim/…`` only.
        fresh_limits: Start without what earlier runs have learnt of the service's limits.
        options: Generation options of every request (``temperature=0``, ``max_output_tokens=256``, …); what is not
            one of ours goes to the service under its own name.

    Raises:
        ConfigurationError: The model, an option or a limit is wrong, or there is no API key.

    Example:
        ```python
        import wingbeat

        async with wingbeat.Client("gemini-flash-latest", limits=wingbeat.Limits(rpm=1000)) as client:
            answer = await client.generate("Why do some birds migrate?")
            print(answer.text)
        ```
    """

    def __init__(
        self,
        model: str,
        *,
        limits: Limits | None = None,
        system: str | None = None,
        base_url: str | None = None,
        api_version: str | None = None,
        simulator: str | None = None,
        fresh_limits: bool = False,
        **options: Any,
    ) -> None:
        self.limits = limits or Limits()
        self.statistics = Statistics()
        self._service: Service = find_service(model, base_url=base_url, api_version=api_version)
        self._simulator = simulator
        self._fresh_limits = fresh_limits
        self._lanes, self._ahead = self.limits.most_lanes, self.limits.most_ahead
        self._system = system
        self._options = _checked(options)
        self._builder = self._make_builder(self._options)
        self._stack: contextlib.AsyncExitStack | None = None
        self._route: Route | None = None
        self._flows: dict[str, Flow] = {}
        self._last_states: tuple[FlowState, ...] = ()

    def __repr__(self) -> str:
        state = "closed" if self._route is None else repr(self._route.admission)
        return f"<wingbeat.Client {self._service.route_name} {state}>"

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            memory = Memory(self._service, self.limits, fresh=self._fresh_limits)
            limits = memory.start.limits
            connection = connect(self._service, limits, simulator=self._simulator, memory=memory)
            self._route = await stack.enter_async_context(connection)
            self._lanes, self._ahead = limits.most_lanes, limits.most_ahead
            self._stack = stack.pop_all()
        for flow in self._flows.values():
            _queue(flow, self._route)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._last_states = self.flows
        self._route = None
        if self._stack is not None:
            await self._stack.aclose()

    @property
    def model(self) -> str:
        """Route and model, as written into every outcome."""
        return self._service.route_name

    @property
    def flows(self) -> tuple[FlowState, ...]:
        """The flows, each with its weight and how many of its requests wait and went; as left once it is closed."""
        return self._last_states if self._route is None else self._route.admission.flows.states

    def flow(self, name: str, *, weight: float | None = None, priority: Priority | None = None) -> Flow:
        """
        Return this client with a queue of its own in front of it, so that one use of it does not wait for another.

        While several flows have something to send, each gets a part of the quota in proportion to its weight: of
        tokens or of requests, whichever it takes more of. What one does not use goes to the others. Requests on the
        client itself are in the flow ``default``, of weight 4.

        Args:
            name: The same name gives the same flow. Name kinds of use, or tenants; a flow lasts as long as the client.
            weight: Above zero; a new value holds from the next request on. By default 4, or what it was before.
            priority: A weight by name: ``interactive`` is 8, ``normal`` 4, ``batch`` 1.

        Raises:
            ConfigurationError: The weight is not above zero, the priority has no such name, or both are given.

        Example:
            ```python
            import asyncio

            import wingbeat

            async with wingbeat.Client("gemini-flash-latest", limits=wingbeat.Limits(rpm=1000)) as client:
                backlog = asyncio.create_task(client.flow("nightly", priority="batch").gather(prompts))
                answer = await client.flow("users", priority="interactive").generate("Why do some birds migrate?")
                await backlog
            ```
        """
        weight = _weight(name, weight, priority)
        flow = self._flows.get(name)
        if flow is None:
            flow = self._flows[name] = Flow(self, name, WEIGHTS["normal"] if weight is None else weight)
        elif weight is not None:
            flow.weight = weight
        if self._route is not None:
            _queue(flow, self._route)
        return flow

    async def generate(self, prompt: Prompt, **options: Any) -> Outcome:
        """
        Ask one prompt and return its answer.

        Args:
            prompt: A text, or a row with ``messages`` or ``contents``.
            options: Generation options of this request.

        Raises:
            AnswerFailed: It has failed for good; ``error.outcome`` says how.
            RunStopped: Nothing can be answered now: the key is refused, the day's quota or the budget is used up.
        """
        return await self._generate(prompt, options, None)

    async def _generate(self, prompt: Prompt, options: dict[str, Any], flow: Flow | None) -> Outcome:
        builder = self._make_builder(self._options.merged(_checked(options))) if options else self._builder
        stopping = Stopping()
        route = self._opened()
        statistics = self.statistics if flow is None else flow.statistics
        lane = Lane(route, statistics, stopping, burst=True, flow=_queue(flow, route))
        outcome = await lane.carry(builder.build(0, _row(prompt, 0)))
        if outcome is None:
            assert stopping.cause is not None
            raise stopping.cause
        if outcome.error is not None:
            raise AnswerFailed(outcome)
        return outcome

    async def gather(self, prompts: Iterable[Prompt], **options: Any) -> list[Outcome]:
        """
        Ask many prompts and return their outcomes in the order of the prompts, failures included.

        Args:
            prompts: Texts or rows.
            options: Generation options of these requests.

        Raises:
            RunStopped: Nothing more can be answered; the outcomes so far are in ``error.outcomes``.
        """
        return await self._gather(prompts, options, None)

    async def _gather(self, prompts: Iterable[Prompt], options: dict[str, Any], flow: Flow | None) -> list[Outcome]:
        if isinstance(prompts, str):
            raise _one_text()
        rows = list(prompts)
        outcomes: list[Outcome | None] = [None] * len(rows)
        try:
            async with contextlib.aclosing(self._stream(rows, options, flow)) as stream:
                async for outcome in stream:
                    outcomes[outcome.index] = outcome
        except Exception as error:
            error.outcomes = [outcome for outcome in outcomes if outcome is not None]  # type: ignore[attr-defined]
            raise
        return [outcome for outcome in outcomes if outcome is not None]

    def stream(self, source: Iterable[Prompt] | AsyncIterable[Prompt], **options: Any) -> AsyncGenerator[Outcome, None]:
        """
        Ask every prompt of a source and yield outcomes as they come; memory stays flat however long the source is.

        The source is read only when a lane is free, and a loop that is slow to take outcomes slows the reading down.
        Leaving the loop early cancels what is in flight; close the generator (`contextlib.aclosing`) to wait for that.

        Args:
            source: Texts or rows: any iterable or async iterable. A plain iterator must not block.
            options: Generation options of these requests.

        Raises:
            RunStopped: Nothing more can be answered.
        """
        return self._stream(source, options, None)

    async def _stream(
        self, source: Iterable[Prompt] | AsyncIterable[Prompt], options: dict[str, Any], flow: Flow | None
    ) -> AsyncGenerator[Outcome, None]:
        route = self._opened()
        builder = self._make_builder(self._options.merged(_checked(options))) if options else self._builder
        size = len(source) if isinstance(source, Sequence) else None
        intake = _intake(source, builder)
        outlet = Outlet(self._ahead)
        queue = _queue(flow, route)
        # What a job takes at once, the users of a heavier flow would have to wait for.
        may_burst = queue.weight >= route.admission.flows.heaviest
        burst = may_burst and (size is None or route.quota.is_small(size, size * route.estimator.input_tokens(400)))
        run = Run(
            route,
            intake,
            lambda _record, outcome: outlet.offer(outcome),
            lanes=self._lanes,
            statistics=Statistics(size, total=self.statistics if flow is None else flow.statistics),
            burst=burst,
            flow=queue,
        )
        async with contextlib.aclosing(outlet.outcomes_of(run.execute())) as outcomes:
            async for outcome in outcomes:
                yield outcome

    def _make_builder(self, options: Options) -> RecordBuilder:
        return RecordBuilder(system=self._system, options=options, check_options=GeminiCodec.check_options)

    def _opened(self) -> Route:
        if self._route is None:
            raise ConfigurationError(
                "the client is not open", hint="use it in a block: async with wingbeat.Client(…) as client:"
            )
        return self._route


class Flow:
    """
    A client with a queue of its own in front of it: the same calls, connections and quota. `Client.flow` makes it.

    Its requests go in the order in which they came. Beside other flows it gets a part of the quota by its weight.

    Attributes:
        name: What it is called.
        weight: Its part of the quota, relative to the weights of other flows that have something to send.
        statistics: Counters of this flow alone; the client's hold those of all.
    """

    def __init__(self, client: Client, name: str, weight: float) -> None:
        self.name = name
        self.weight = weight
        self.statistics = Statistics(total=client.statistics)
        self._client = client

    def __repr__(self) -> str:
        return f"<wingbeat.Flow {self.name} of weight {self.weight:g}, {self.statistics!r}>"

    async def generate(self, prompt: Prompt, **options: Any) -> Outcome:
        """Ask one prompt and return its answer, as `Client.generate` does."""
        return await self._client._generate(prompt, options, self)

    async def gather(self, prompts: Iterable[Prompt], **options: Any) -> list[Outcome]:
        """Ask many prompts and return their outcomes in order, as `Client.gather` does."""
        return await self._client._gather(prompts, options, self)

    def stream(self, source: Iterable[Prompt] | AsyncIterable[Prompt], **options: Any) -> AsyncGenerator[Outcome, None]:
        """Ask every prompt of a source and yield outcomes as they come, as `Client.stream` does."""
        return self._client._stream(source, options, self)


def run(
    prompts: Iterable[Prompt],
    *,
    model: str,
    limits: Limits | None = None,
    **settings: Any,
) -> list[Outcome]:
    """
    Ask many prompts from a plain script, and return their outcomes in order.

    Args:
        prompts: Texts or rows.
        model: As for `Client`.
        limits: As for `Client`.
        settings: Further arguments of `Client`, generation options included.

    Raises:
        EventLoopRunning: An event loop already runs (a notebook, async code): await `Client.gather` there.
        RunStopped: Nothing more can be answered.
    """
    refuse_running_loop("wingbeat.run", "async with wingbeat.Client(…) as client: await client.gather(prompts)")

    async def ask() -> list[Outcome]:
        async with Client(model, limits=limits, **settings) as client:
            return await client.gather(prompts)

    return run_loop(ask())


def refuse_running_loop(call: str, instead: str) -> None:
    """
    Refuse to block a running event loop.

    Raises:
        EventLoopRunning: One runs; the message names the call that works there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    message = f"`{call}` can't block the event loop that already runs here; write: {instead}"
    raise EventLoopRunning(message)


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, on uvloop where it is installed."""
    return runner_of_choice()(main)


def runner_of_choice() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Return uvloop's ``run`` where it is installed, else asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    chosen: Callable[[Coroutine[Any, Any, T]], T] = uvloop.run
    return chosen


def _queue(flow: Flow | None, route: Route) -> RequestFlow:
    """Return where a flow's requests wait on a route, and give it the flow's weight; None stands for the default."""
    flows = route.admission.flows
    return flows.named(DEFAULT_FLOW) if flow is None else flows.named(flow.name, flow.weight)


def _weight(name: str, weight: float | None, priority: Priority | None) -> float | None:
    """
    Return the weight that a flow is asked to have, if any.

    Raises:
        ConfigurationError: It is wrong, or said twice.
    """
    if priority is not None and weight is not None:
        raise ConfigurationError(f"flow {name!r} is given both a weight and a priority", hint="leave one of them out")
    if priority is not None:
        if priority not in WEIGHTS:
            raise ConfigurationError(
                f"flow {name!r} can't have the priority {priority!r}", hint=f"it is one of {', '.join(WEIGHTS)}"
            )
        return WEIGHTS[priority]
    if weight is not None and not 0 < weight < float("inf"):
        raise ConfigurationError(f"the weight of flow {name!r} must be above zero, not {weight!r}")
    return weight


def _checked(raw: dict[str, Any]) -> Options:
    try:
        options = parse_options(raw)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    refused = GeminiCodec.check_options(options)
    if refused is not None:
        raise ConfigurationError(refused)
    return options


def _row(prompt: object, position: int) -> Row | BadRow:
    if isinstance(prompt, str):
        return Row(position + 1, {"prompt": prompt})
    if isinstance(prompt, Mapping):
        return Row(position + 1, dict(prompt))
    return BadRow(position + 1, f"a prompt must be a text or a mapping, not {type(prompt).__name__}")


def _intake(source: Iterable[Prompt] | AsyncIterable[Prompt], builder: RecordBuilder) -> Intake:
    if isinstance(source, str):
        raise _one_text()
    if isinstance(source, AsyncIterable):
        return AsyncIntake(_async_records(source, builder))
    return IteratorIntake(_records(source, builder))


def _one_text() -> ConfigurationError:
    return ConfigurationError("the prompts are one text", hint="put it in a list: [prompt]")


def _records(source: Iterable[Prompt], builder: RecordBuilder) -> Iterator[Record]:
    for position, prompt in enumerate(source):
        yield builder.build(position, _row(prompt, position))


async def _async_records(source: AsyncIterable[Prompt], builder: RecordBuilder) -> AsyncIterator[Record]:
    position = 0
    async for prompt in source:
        yield builder.build(position, _row(prompt, position))
        position += 1
