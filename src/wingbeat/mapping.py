"""`wingbeat.map`: quota, retry, journal and progress around an async function of the user's own."""

from __future__ import annotations

import contextlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Sequence,
)
from hashlib import blake2b
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from wingbeat.calls import FunctionCaller
from wingbeat.engine.intake import AsyncIntake, IteratorIntake
from wingbeat.engine.outlet import Outlet
from wingbeat.engine.ports import Intake
from wingbeat.engine.route import Route
from wingbeat.engine.run import Run
from wingbeat.engine.statistics import Statistics
from wingbeat.errors import ConfigurationError
from wingbeat.job.resuming import Resumption
from wingbeat.journal.store import Entry, Journal
from wingbeat.journal.writer import GroupWriter
from wingbeat.ledgers.budget import Budget
from wingbeat.ledgers.limits import Limits
from wingbeat.model.answer import Outcome, Usage
from wingbeat.model.record import Record

Item = TypeVar("Item")


class Mapped(Generic[Item]):
    """
    The outcomes of a mapped function: await it for a list in the items' order, or iterate for completion order.

    Each outcome's ``value`` is what the function returned; ``error`` says why there is none. Nothing runs before it
    is awaited or iterated, and it can be used once.
    """

    def __init__(self, mapping: _Mapping, statistics: Statistics) -> None:
        self._mapping = mapping
        self._is_used = False
        self.statistics = statistics

    def __repr__(self) -> str:
        return f"<wingbeat.Mapped {self.statistics!r}>"

    def __aiter__(self) -> AsyncIterator[Outcome]:
        return self._use()

    def __await__(self) -> Generator[Any, None, list[Outcome]]:
        return self._collect(self._use()).__await__()

    def _use(self) -> AsyncGenerator[Outcome, None]:
        if self._is_used:
            raise ConfigurationError("this map was used already", hint="call wingbeat.map again")
        self._is_used = True
        return self._mapping.stream()

    @staticmethod
    async def _collect(source: AsyncGenerator[Outcome, None]) -> list[Outcome]:
        async with contextlib.aclosing(source) as stream:
            outcomes = [outcome async for outcome in stream]
        return sorted(outcomes, key=lambda outcome: outcome.index)


def map(  # noqa: A001 - the module's name is spelt out by its users: wingbeat.map
    call: Callable[[Item], Awaitable[Any]],
    items: Iterable[Item] | AsyncIterable[Item],
    *,
    limits: Limits | None = None,
    journal: str | Path | None = None,
    name: str = "call",
    input_tokens: Callable[[Item], float] | None = None,
    usage: Callable[[Any], Usage] | None = None,
    progress: Callable[[Statistics], None] | None = None,
) -> Mapped[Item]:
    """
    Call an async function for every item, within limits, with retries, and journalled if asked.

    The function keeps its own client. Turn that client's own retries off (``max_retries=0``), or one permit becomes
    several requests. What it raises is judged by the HTTP status that the exception carries; an exception without one
    that is neither a time-out nor a lost connection fails its item at once.

    Args:
        call: Takes one item, returns its result.
        items: Any iterable or async iterable; read only when a lane is free.
        limits: What may be used; by default no rate limit, and as many calls at once as turn out well, from ten up.
        journal: A file that keeps every result: the same call again with the same file asks only for what is missing.
            Items and results must then be JSON-able (plain values, dataclasses, msgspec or pydantic models); results
            kept from an earlier run come back as plain JSON values.
        name: What to call the route in outcomes, and part of what a journal belongs to.
        input_tokens: Estimates an item's input tokens; needed for ``limits.tpm``.
        usage: Reads the tokens that a result took, to correct the estimates.
        progress: Called with the counters after each outcome.

    Raises:
        ConfigurationError: ``tpm`` is limited but nothing estimates tokens, or ``max_cost`` or ``hedge`` is given.
    """
    limits = limits or Limits()
    if limits.tpm is not None and input_tokens is None:
        raise ConfigurationError("a token limit needs token estimates", hint="pass input_tokens=…")
    if limits.max_cost is not None:
        raise ConfigurationError("the cost of a call of your own is not known, so `max_cost` can't be kept")
    if limits.hedge:
        raise ConfigurationError(
            "nobody sees the first token of a call of your own, so it can't be hedged", hint="leave `hedge` out"
        )
    size = len(items) if isinstance(items, Sequence) else None
    statistics = Statistics(size)
    caller = FunctionCaller(call, input_tokens, usage)
    mapping = _Mapping(
        caller, items, limits, Path(journal) if journal is not None else None, name, statistics, progress
    )
    return Mapped(mapping, statistics)


class _Mapping:
    """One use of `map`: its items, its journal, its outcomes."""

    def __init__(
        self,
        caller: FunctionCaller,
        items: Iterable[Any] | AsyncIterable[Any],
        limits: Limits,
        journal: Path | None,
        name: str,
        statistics: Statistics,
        progress: Callable[[Statistics], None] | None,
    ) -> None:
        self._caller = caller
        self._items = items
        self._limits = limits
        self._journal_path = journal
        self._name = name
        self._statistics = statistics
        self._progress = progress

    async def stream(self) -> AsyncGenerator[Outcome, None]:
        """Yield outcomes as they come; those of an earlier run when their item is read."""
        outlet = Outlet(self._limits.most_ahead)
        with contextlib.ExitStack() as stack:
            kept = _Kept.open(self._journal_path, self._name, stack) if self._journal_path is not None else None
            async with contextlib.aclosing(outlet.outcomes_of(self._execute(outlet, kept))) as outcomes:
                async for outcome in outcomes:
                    yield outcome

    async def _execute(self, outlet: Outlet, kept: _Kept | None) -> None:
        limits = self._limits
        quota = limits.quota()
        route = Route(
            self._caller,
            self._name,
            quota=quota,
            concurrency=limits.fixed_in_flight,
            most_concurrency=limits.most_in_flight,
            budget=Budget(),
            max_attempts=limits.max_attempts,
            timeout_s=limits.timeout_s,
            record_timeout_s=limits.record_timeout_s,
        )
        items = self._items
        burst = True
        if isinstance(items, Sequence):
            tokens = sum((self._caller.estimated_tokens(item) for item in items), 0.0)
            burst = quota.is_small(len(items), tokens)
        writer = GroupWriter(kept.commit) if kept is not None else None

        async def deliver(record: Record, outcome: Outcome) -> None:
            if writer is not None:
                behind = writer.put(_Kept.entry(record, outcome))
                if behind is not None:
                    await behind
            if self._progress is not None:
                self._progress(self._statistics)
            await outlet.put(outcome)

        intake = self._intake(outlet, kept)
        run = Run(route, intake, deliver, lanes=limits.most_lanes, statistics=self._statistics, burst=burst)
        try:
            await run.execute()
        finally:
            if writer is not None:
                await writer.close()

    def _intake(self, outlet: Outlet, kept: _Kept | None) -> Intake:
        if kept is None and not isinstance(self._items, AsyncIterable):
            return IteratorIntake(_record(index, item) for index, item in enumerate(self._items))
        return AsyncIntake(self._records(outlet, kept))

    async def _records(self, outlet: Outlet, kept: _Kept | None) -> AsyncIterator[Record]:
        """Yield the items that have no outcome yet; the others' outcomes go straight out."""
        index = 0
        async for item in _iterate(self._items):
            record = _record(index, item, with_key=kept is not None)
            index += 1
            earlier = kept.outcome(record) if kept is not None else None
            if earlier is None:
                yield record
            else:
                self._statistics.already += 1
                await outlet.put(earlier)


class _Kept:
    """Results on disk: found by the item's content, added in groups."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        journal.drop([seq for seq, _position, ok in journal.positions() if not ok])
        self._resumption = Resumption(journal, retry_failed=False)
        self._last_seq = journal.last_seq()

    @classmethod
    def open(cls, path: Path, name: str, stack: contextlib.ExitStack) -> _Kept:
        """Open the journal, and make sure that it belongs to this call."""
        journal = stack.enter_context(Journal(path))
        before = journal.read("call")
        if before is None:
            journal.keep(call=name)
        elif before != name:
            raise ConfigurationError(
                f"`{path}` holds the results of {before!r}, not of {name!r}", hint="give each call a journal of its own"
            )
        return cls(journal)

    def outcome(self, record: Record) -> Outcome | None:
        """Return the outcome that an earlier run has kept for an item."""
        kept = self._resumption.claim(record)
        if kept is None or kept.seq > self._last_seq:  # what this run has kept is an equal item's own outcome
            return None
        outcome = msgspec.json.decode(self._journal.line(kept.seq), type=Outcome)
        return msgspec.structs.replace(outcome, index=record.index)

    @staticmethod
    def entry(record: Record, outcome: Outcome) -> Entry:
        """
        Return what is kept of an outcome.

        Raises:
            ConfigurationError: The result is no JSON value.
        """
        return Entry(record.key, record.index, outcome.error is None, _encode(outcome, "a result"))

    def commit(self, group: list[Entry]) -> None:
        """Make a group durable."""
        self._journal.add(group)


async def _iterate(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _record(index: int, item: Any, *, with_key: bool = False) -> Record:
    key = blake2b(_encode(item, "an item"), digest_size=16).digest() if with_key else b""
    return Record(index, None, key, None, item=item)


_encoder = msgspec.json.Encoder(order="deterministic", enc_hook=lambda value: _plain(value))


def _encode(value: Any, what: str) -> bytes:
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ConfigurationError(
            f"{what} can't be kept in the journal: {error}", hint="make it JSON-able, or leave the journal out"
        ) from None


def _plain(value: Any) -> Any:
    """Turn a pydantic model (every vendor's client returns those) into plain values."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    raise NotImplementedError(f"{type(value).__name__} is not a JSON value")
