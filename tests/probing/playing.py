"""Play whole probes in virtual time."""

from __future__ import annotations

from collections.abc import Callable

from wingbeat.config import Service
from wingbeat.connecting import make_route
from wingbeat.engine.ports import Transport
from wingbeat.engine.route import HttpCaller
from wingbeat.ledgers.limits import Limits
from wingbeat.ledgers.prices import Prices
from wingbeat.ledgers.ramp import Settings
from wingbeat.model.record import Record, Request
from wingbeat.probing import Probing
from wingbeat.providers.gemini import GeminiCodec
from wingbeat.report.probe import ProbeFound
from wingbeat.simulator import SimulatorApp, SimulatorConfig
from wingbeat.testing import SimulatedTransport, run_virtual

MODEL = "gemini-2.5-flash"
SERVICE = Service("sim", MODEL, None, None, "simulated")
ASKED = Record(0, None, bytes(16), Request(prompt="Say yes."))


def play(
    transport: Transport,
    settings: Settings,
    *,
    prices: Prices | None = None,
    max_usd: float | None = None,
    each_usd: float = 0.0,
    meanwhile: Callable[[Probing], None] = lambda _probing: None,
) -> Probing:
    """Carry one probe out, and return it."""

    async def main() -> Probing:
        route = make_route(HttpCaller(GeminiCodec(MODEL), transport), SERVICE, Limits(timeout_s=60.0), prices=prices)
        probing = Probing(route, ASKED, settings, max_usd=max_usd, each_usd=each_usd)
        meanwhile(probing)
        await probing.run()
        return probing

    return run_virtual(main())


def simulator(text: str, *, delay_spread_s: float = 0.05, seed: int = 0) -> SimulatedTransport:
    """Return a simulator in process."""
    return SimulatedTransport(SimulatorApp(SimulatorConfig.parse(text)), delay_spread_s=delay_spread_s, seed=seed)


def probe(text: str, settings: Settings | None = None, *, seed: int = 0) -> ProbeFound:
    """Probe a simulator, and return what was found."""
    return play(simulator(text, seed=seed), settings or Settings()).found()
