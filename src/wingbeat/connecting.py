"""Open the way to a service: transport, codec and ledgers put together, the simulator started when it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import TYPE_CHECKING

import msgspec

from wingbeat.config import Service
from wingbeat.engine.route import Caller, HttpCaller, Route
from wingbeat.errors import ConfigurationError
from wingbeat.learnt import IN_FLIGHT
from wingbeat.ledgers.budget import Budget
from wingbeat.ledgers.concurrency import START
from wingbeat.ledgers.hedge import Hedging
from wingbeat.ledgers.limits import Limits
from wingbeat.ledgers.prices import Prices
from wingbeat.limitbook import Memory
from wingbeat.model.limit import LearntLimit
from wingbeat.pricing import find_prices
from wingbeat.providers.gemini import GeminiCodec
from wingbeat.providers.gemini_day import day_resets
from wingbeat.transport import HttpTransport

if TYPE_CHECKING:
    from wingbeat.simulator import SimulatorConfig

KEPT_EACH_S = 60.0
"""A run that is killed loses what it learnt in so many seconds."""


@contextlib.asynccontextmanager
async def connect(
    service: Service,
    limits: Limits,
    *,
    simulator: str | None = None,
    spent_usd: float = 0.0,
    random: Random | None = None,
    memory: Memory | None = None,
) -> AsyncIterator[Route]:
    """
    Open a route to a service for as long as the context lasts.

    Args:
        service: Whom to ask.
        limits: What may be used.
        simulator: How the bundled simulator is to behave, as ``key=value`` pairs; only for ``sim/…``. Limits
            that it does not state are those of ``limits``.
        spent_usd: What earlier runs have spent of ``limits.max_cost``.
        random: Source of all jitter.
        memory: What is known of the route from earlier runs; what is learnt is written there each minute and at the
            end. None starts with nothing and keeps nothing.

    Raises:
        ConfigurationError: The limits can't be kept (a budget for a model without a price), or the simulator's
            settings are wrong.
    """
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(served(service, limits, simulator))
        codec = GeminiCodec(service.model, service.api_version)
        prices = find_budget_prices(service, limits)
        assert service.base_url is not None
        headers = codec.timeout_headers(limits.timeout_s)
        transport = await stack.enter_async_context(
            HttpTransport(service.base_url, codec.auth_headers(service.key), headers, limits.timeout_s)
        )
        route = make_route(
            HttpCaller(codec, transport),
            service,
            limits,
            prices=prices,
            spent_usd=spent_usd,
            random=random,
            start=() if memory is None else memory.start.learnt,
            start_concurrency=None if memory is None else memory.start.in_flight,
        )
        if memory is not None and memory.is_kept:
            await stack.enter_async_context(_keeping(memory, route))
        yield route


def make_route(
    caller: Caller,
    service: Service,
    limits: Limits,
    *,
    prices: Prices | None,
    spent_usd: float = 0.0,
    random: Random | None = None,
    start: Sequence[LearntLimit] = (),
    start_concurrency: int | None = None,
) -> Route:
    """
    Put a caller and the ledgers that the limits ask for together; call it where an event loop runs.

    Args:
        caller: Asks the service, or stands for it in a rehearsal.
        service: Whom it asks.
        limits: What may be used.
        prices: What tokens cost, or None when no price is known.
        spent_usd: What earlier runs have spent of ``limits.max_cost``.
        random: Source of all jitter.
        start: Limits to start at, as earlier runs have learnt them.
        start_concurrency: Requests in flight to start at, where how many are good is found out; None starts low.
    """
    return Route(
        caller,
        service.route_name,
        quota=limits.quota(start),
        concurrency=limits.fixed_in_flight,
        most_concurrency=limits.most_in_flight,
        start_concurrency=START if start_concurrency is None else start_concurrency,
        prices=prices,
        budget=Budget(limits.max_cost, spent_usd),
        max_attempts=limits.max_attempts,
        timeout_s=limits.timeout_s,
        record_timeout_s=limits.record_timeout_s,
        hedging=Hedging() if limits.hedge else None,
        day_resets=lambda: day_resets(datetime.datetime.now(datetime.UTC)),
        random=random,
    )


def find_budget_prices(service: Service, limits: Limits) -> Prices | None:
    """
    Return the prices of a service's model, or None when none is known.

    Raises:
        ConfigurationError: A budget is to be kept, and there is no price to keep it by.
    """
    prices = find_prices(service.model)
    if limits.max_cost is not None and prices is None:
        raise ConfigurationError(
            f"there is no price for {service.model!r}, so a budget can't be kept",
            hint="leave --max-cost out, or upgrade genai-prices",
        )
    return prices


def learnt_by(route: Route) -> tuple[LearntLimit, ...]:
    """Return what a route has found out: the service's limits, and how many in flight are good where no quota rules."""
    slots = route.admission.slots
    if slots.state != "hold" or slots.quota_rules:
        return route.quota.learnt()
    return (*route.quota.learnt(), LearntLimit(IN_FLIGHT, slots.limit, 0.0))


@contextlib.asynccontextmanager
async def _keeping(memory: Memory, route: Route) -> AsyncIterator[None]:
    """Write down what a route has learnt each minute, so that a kill loses little, and at the end."""

    async def keep() -> None:
        while True:
            await asyncio.sleep(KEPT_EACH_S)
            await asyncio.to_thread(memory.keep, learnt_by(route))

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        task.cancel()
        memory.keep(learnt_by(route))  # not in a thread: a cancelled run must not lose it


@contextlib.asynccontextmanager
async def served(service: Service, limits: Limits, simulator: str | None) -> AsyncIterator[Service]:
    """
    Start the bundled simulator for as long as the context lasts, if a service means it; yield where it listens.

    Raises:
        ConfigurationError: The simulator's settings are wrong, or given for a real service.
    """
    if service.kind != "sim":
        if simulator is not None:
            raise ConfigurationError("`--simulator` goes with a model of the simulator", hint="write sim/gemini-…")
        yield service
    elif service.base_url is not None:
        yield service
    else:
        from wingbeat.simulator import Simulator

        async with Simulator(simulator_config(limits, simulator)) as started:
            yield msgspec.structs.replace(service, base_url=started.url)


def simulator_config(limits: Limits, text: str | None) -> SimulatorConfig:
    """
    Return the configuration of a simulator started for a run: its own settings, else the run's limits.

    Raises:
        ConfigurationError: A setting is wrong; the message names the known ones.
    """
    from wingbeat.simulator import SimulatorConfig

    try:
        config = SimulatorConfig.parse(text or "")
    except ValueError as error:
        raise ConfigurationError(f"bad simulator setting: {error}") from None
    quota = config.quota
    if quota.tier is None:
        given = {"rpm": limits.rpm, "tpm": limits.tpm, "rpd": limits.rpd}
        missing = {
            name: max(1, int(value))
            for name, value in given.items()
            if value is not None and getattr(quota, name) is None
        }
        quota = msgspec.structs.replace(quota, **missing)
    return msgspec.structs.replace(config, quota=quota)
