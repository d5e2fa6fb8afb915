"""
One run in virtual time: the engine as it is, in front of a model of the service. Nothing is sent.

It says how one seed went; what that means for a million rows is decided in `wingbeat.forecasting`.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

import msgspec

from wingbeat.config import Service
from wingbeat.connecting import make_route, simulator_config
from wingbeat.engine.intake import IteratorIntake
from wingbeat.engine.route import Route
from wingbeat.engine.run import Run
from wingbeat.engine.statistics import Statistics
from wingbeat.errors import RunStopped
from wingbeat.job.sizes import RowSize
from wingbeat.ledgers.concurrency import START
from wingbeat.ledgers.limits import Limits
from wingbeat.ledgers.prices import Prices
from wingbeat.ledgers.quota import Cost
from wingbeat.model.answer import Outcome
from wingbeat.model.limit import DAY_S, INPUT_TOKENS, MINUTE_S, OUTPUT_TOKENS, REQUESTS, LearntLimit
from wingbeat.model.record import Record
from wingbeat.modelled import ModelledService, OutputLengths
from wingbeat.report.forecast import Binding, Moment
from wingbeat.simulator.catalogue import Model, catalogue
from wingbeat.testing.virtual_time import run_virtual

FALLBACK_MODEL = "gemini-2.5-flash"
"""Whose latency is taken for a model that the catalogue does not know."""

WINDOW_S = 60.25
"""A minute's window and its jitter: what is counted over whole ones does not depend on where in one it begins."""

MOST_MOMENTS = 400
FIRST_INTERVAL_S = 0.0625
"""A run is looked at so often, and half as often whenever there are twice ``MOST_MOMENTS`` looks. A power of two, so
that the times of looking are exact."""


_BINDINGS: dict[str, Binding] = {REQUESTS: "requests", INPUT_TOKENS: "tokens", OUTPUT_TOKENS: "output"}


class Setting(msgspec.Struct, frozen=True):
    """
    What is rehearsed, but for the rows.

    Args:
        service: Who would be asked.
        limits: What may be used.
        outputs: How long answers are.
        prices: What tokens cost, or None when no price is known.
        spent_usd: What earlier runs have spent of the budget.
        simulator: How ``sim/…`` is to behave, as for `connect`.
        start: Limits that earlier runs have learnt.
        start_in_flight: Requests in flight that earlier runs have found good, or None.
    """

    service: Service
    limits: Limits
    outputs: OutputLengths
    prices: Prices | None = None
    spent_usd: float = 0.0
    simulator: str | None = None
    start: tuple[LearntLimit, ...] = ()
    start_in_flight: int | None = None

    @property
    def planned(self) -> Limits:
        """
        The limits that the engine is given.

        With none known, a run finds out how many in flight are good, and a model without limits would let it rise for
        ever: what is known is only how many it starts with. Money is reckoned with, but not kept: where a budget ends
        a run is a matter of its mean cost.
        """
        limits = msgspec.structs.replace(self.limits, max_cost=None)
        if self.is_any_limit_known or limits.fixed_in_flight is not None:
            return limits
        return msgspec.structs.replace(limits, concurrency=self.start_in_flight or START)

    @property
    def is_any_limit_known(self) -> bool:
        """True when a limit by the minute or the day is known."""
        known = self.known
        return any(limit is not None for limit in (known.rpm, known.tpm, known.otpm, known.rpd, known.tpd))

    @property
    def known(self) -> Limits:
        """The limits, completed by learnt ones: what the service is taken to enforce."""
        learnt = {(limit.resource, limit.window_s): limit.limit for limit in self.start}
        return msgspec.structs.replace(
            self.limits,
            rpm=self.limits.rpm or learnt.get((REQUESTS, MINUTE_S)),
            tpm=self.limits.tpm or learnt.get((INPUT_TOKENS, MINUTE_S)),
            otpm=self.limits.otpm or learnt.get((OUTPUT_TOKENS, MINUTE_S)),
            rpd=self.limits.rpd or learnt.get((REQUESTS, DAY_S)),
            tpd=self.limits.tpd or learnt.get((INPUT_TOKENS, DAY_S)),
        )

    @property
    def model(self) -> Model:
        """The model whose latency is assumed."""
        found = catalogue().find(self.service.model, "v1beta")
        if found is None or not found.generates:
            found = catalogue().find(FALLBACK_MODEL, "v1beta")
        assert found is not None
        return found

    @property
    def is_model_known(self) -> bool:
        """True when the latency is that of the very model; else it is another's."""
        return self.model.name == catalogue().aliases.get(self.service.model, self.service.model)


class Steady(msgspec.Struct, frozen=True):
    """A stretch of a run in which every lane had a row: when, how many rows were done with, and their input tokens."""

    from_s: float
    to_s: float
    rows: int
    input_tokens: float


class Rehearsal(msgspec.Struct, frozen=True):
    """
    How one virtual run went.

    Args:
        rows: Rows in its input.
        duration_s: Until its last outcome.
        steady: The stretch that tells its pace.
        statistics: Its counters.
        interval_s: Seconds between two moments.
        moments: How it stood, evenly spaced.
        stopped: Why it stopped early, or None.
    """

    rows: int
    duration_s: float
    steady: Steady
    statistics: Statistics
    interval_s: float
    moments: tuple[Moment, ...]
    stopped: RunStopped | None

    def bound_s(self, *, steady_only: bool = False) -> Counter[Binding]:
        """Return for how many seconds each thing has bound, in all or in the steady stretch."""
        first, last = (self.steady.from_s, self.steady.to_s) if steady_only else (0.0, self.duration_s)
        seen = Counter(moment.binding for moment in self.moments if first <= moment.at_s <= last)
        looks = seen.total() or 1
        return Counter({binding: looked * (last - first) / looks for binding, looked in seen.items()})


class _Watch:
    """Look at a run at even intervals, ever longer ones, so that what is kept of it stays small."""

    def __init__(self, run: Run, service: ModelledService, mean: Cost, lanes: int) -> None:
        self._run = run
        self._service = service
        self._cost = mean
        self._lanes = lanes
        self.interval_s = FIRST_INTERVAL_S
        self.moments: list[Moment] = []
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def look_on(self) -> None:
        """Look now, and again and again until `stop`."""
        self.look()
        if len(self.moments) >= 2 * MOST_MOMENTS:
            del self.moments[1::2]
            self.interval_s *= 2
        next_at = (int(self._loop.time() / self.interval_s + 0.5) + 1) * self.interval_s
        self._timer = self._loop.call_at(next_at, self.look_on)

    def stop(self) -> None:
        """Look a last time."""
        if self._timer is not None:
            self._timer.cancel()
        self.look()

    def look(self) -> None:
        """Note how the run stands now."""
        now = self._loop.time()
        statistics = self._run.statistics
        self.moments.append(
            Moment(
                now,
                statistics.in_flight,
                statistics.answered,
                self._service.accepted,
                self._service.accepted_tokens,
                self._binding(now),
            )
        )

    def _binding(self, now: float) -> Binding:
        """
        Say what keeps the next request from going.

        The cases: lanes wait for quota, for a service that is down, or for a slot; all lanes are in flight, which is
        the same; nobody waits, and only replies are still to come.
        """
        route = self._run.route
        admission = route.admission
        if admission.waiting:
            match admission.blocked_by:
                case "quota":
                    return _latest_limit(route, now, self._cost)
                case "service":
                    return "service"
                case _:
                    return "concurrency"
        if self._run.statistics.in_flight >= min(admission.slots.limit, self._lanes):
            return "concurrency"
        return "replies"


def _latest_limit(route: Route, now: float, cost: Cost) -> Binding:
    """Return the limit that lets a request of middling size go last."""
    guards = [guard for guard in route.quota.guards if guard.name in _BINDINGS and not guard.is_open]
    if not guards:
        return "service"
    latest = max(guards, key=lambda guard: guard.ready_at(now, cost.units(guard.name)))
    return _BINDINGS[latest.name]


def rehearse(
    setting: Setting, sizes: Sequence[RowSize], *, seed: int, whole: tuple[int, float] | None = None
) -> Rehearsal:
    """
    Carry rows out in virtual time, from the first to the last outcome or until the run stops.

    Args:
        setting: What is rehearsed.
        sizes: The rows.
        seed: Seeds every draw: the same seed gives the same run.
        whole: Rows and input tokens of the run that these rows are a part of; a part of a long run does not begin
            at once, however few rows it has.
    """
    tokens = sum(size.input_tokens for size in sizes)
    return run_virtual(_rehearse(setting, sizes, seed, tokens, whole or (len(sizes), tokens)))


async def _rehearse(
    setting: Setting, sizes: Sequence[RowSize], seed: int, tokens: float, whole: tuple[int, float]
) -> Rehearsal:
    loop = asyncio.get_running_loop()
    limits = setting.planned
    config = simulator_config(setting.known, setting.simulator if setting.service.kind == "sim" else None)
    service = ModelledService(config, setting.model, setting.outputs, seed)
    route = make_route(
        service,
        setting.service,
        limits,
        prices=setting.prices,
        random=Random(f"jitter:{seed}"),
        start=setting.start,
        start_concurrency=setting.start_in_flight,
    )
    ends, tokens_by_end = array("d"), array("d", [0.0])
    last_taken_at = 0.0

    def records() -> Iterator[Record]:
        nonlocal last_taken_at
        for index, size in enumerate(sizes):
            last_taken_at = loop.time()
            yield Record(index, None, b"", None, item=size)

    def deliver(record: Record, outcome: Outcome) -> None:  # noqa: ARG001 - as the port names them
        ends.append(loop.time())
        tokens_by_end.append(tokens_by_end[-1] + sizes[record.index].input_tokens)

    statistics = Statistics(len(sizes))
    burst = route.quota.is_small(*whole)
    run = Run(route, IteratorIntake(records()), deliver, lanes=limits.most_lanes, statistics=statistics, burst=burst)
    mean = Cost(tokens / max(1, len(sizes)), output_tokens=setting.outputs.mean_tokens)
    watch = _Watch(run, service, mean, limits.most_lanes)
    watch.look_on()
    stopped = None
    try:
        await run.execute()
    except RunStopped as error:
        stopped = error
    finally:
        watch.stop()
    duration_s = max(ends[-1] if ends else 0.0, loop.time() if stopped is not None else 0.0)
    return Rehearsal(
        rows=len(sizes),
        duration_s=duration_s,
        steady=_steady(ends, tokens_by_end, last_taken_at),
        statistics=statistics,
        interval_s=watch.interval_s,
        moments=tuple(watch.moments),
        stopped=stopped,
    )


def _steady(ends: Sequence[float], tokens_by_end: Sequence[float], last_taken_at: float) -> Steady:
    """Cut the start and the end off: whole windows where there are some, else the second half."""
    windows = int(0.6 * last_taken_at / WINDOW_S)
    if not windows and last_taken_at > 1.25 * WINDOW_S:
        windows = 1
    from_s = last_taken_at - windows * WINDOW_S if windows else last_taken_at / 2
    first, last = bisect_right(ends, from_s), bisect_right(ends, last_taken_at)
    return Steady(from_s, last_taken_at, last - first, tokens_by_end[last] - tokens_by_end[first])
