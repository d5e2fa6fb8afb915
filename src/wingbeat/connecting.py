"""Open the way to a service: transport, codec and ledgers put together, the simulator started when it is asked for."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import AsyncIterator
from random import Random
from typing import TYPE_CHECKING

import msgspec

from wingbeat.config import Service
from wingbeat.engine.route import HttpCaller, Route
from wingbeat.errors import ConfigurationError
from wingbeat.ledgers.budget import Budget
from wingbeat.ledgers.limits import Limits
from wingbeat.ledgers.quota import Quota
from wingbeat.pricing import find_prices
from wingbeat.providers.gemini import GeminiCodec
from wingbeat.providers.gemini_day import day_resets
from wingbeat.transport import HttpTransport

if TYPE_CHECKING:
    from wingbeat.simulator import SimulatorConfig


@contextlib.asynccontextmanager
async def connect(
    service: Service,
    limits: Limits,
    *,
    simulator: str | None = None,
    spent_usd: float = 0.0,
    random: Random | None = None,
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

    Raises:
        ConfigurationError: The limits can't be kept (a budget for a model without a price), or the simulator's
            settings are wrong.
    """
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(served(service, limits, simulator))
        codec = GeminiCodec(service.model, service.api_version)
        prices = find_prices(service.model)
        if limits.max_cost is not None and prices is None:
            raise ConfigurationError(
                f"there is no price for {service.model!r}, so a budget can't be kept",
                hint="leave --max-cost out, or upgrade genai-prices",
            )
        assert service.base_url is not None
        headers = codec.timeout_headers(limits.timeout_s)
        transport = await stack.enter_async_context(
            HttpTransport(service.base_url, codec.auth_headers(service.key), headers, limits.timeout_s)
        )
        yield Route(
            HttpCaller(codec, transport),
            service.route_name,
            quota=Quota(limits.rpm, limits.tpm, limits.rpd),
            concurrency=limits.most_in_flight,
            prices=prices,
            budget=Budget(limits.max_cost, spent_usd),
            max_attempts=limits.max_attempts,
            timeout_s=limits.timeout_s,
            record_timeout_s=limits.record_timeout_s,
            day_resets=lambda: day_resets(datetime.datetime.now(datetime.UTC)),
            random=random,
        )


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
