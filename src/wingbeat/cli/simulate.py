"""`wingbeat simulate`: run the bundled simulator of the Gemini API until it is told to stop."""

import asyncio
import contextlib
import errno
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from wingbeat.simulator import SimulatorConfig

_KINDS = ("fixed", "sliding", "bucket", "subsecond")
_TIERS = ("free", "1", "2", "3")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 takes any free one."
)
@click.option("--tier", type=click.Choice(_TIERS), help="Take the limits of this Gemini tier.")
@click.option("--rpm", type=click.IntRange(min=0), help="Requests a minute for each key and model.")
@click.option("--tpm", type=click.IntRange(min=0), help="Input tokens a minute for each key and model.")
@click.option("--rpd", type=click.IntRange(min=0), help="Requests a day for each key and model.")
@click.option(
    "--enforcement", type=click.Choice(_KINDS), default="fixed", show_default=True, help="How limits are judged."
)
@click.option(
    "--window", type=float, default=60.0, show_default=True, help="Seconds that --rpm and --tpm are counted over."
)
@click.option("--latency", default="model", show_default=True, help="Seconds that each answer takes, or `model`.")
@click.option(
    "--latency-scale", type=float, default=1.0, show_default=True, help="Factor on the latency of the models."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of answers, latencies and faults.")
@click.option("--fault", multiple=True, metavar="NAME=PROB", help="Probability of a fault; may be repeated.")
@click.option("--outage", metavar="START:LENGTH:PROB", help="Answer 503 for LENGTH seconds, START seconds in.")
@click.option("--count-prompts", is_flag=True, help="Count the answers of each prompt, in `/-/statistics`.")
@click.option("--log", is_flag=True, help="Print a line for each request.")
@click.option("--json", is_flag=True, help="Print the address, and the final counts, as JSON.")
def simulate(
    host: str,
    port: int,
    tier: str | None,
    rpm: int | None,
    tpm: int | None,
    rpd: int | None,
    enforcement: str,
    window: float,
    latency: str,
    latency_scale: float,
    seed: int,
    fault: tuple[str, ...],
    outage: str | None,
    count_prompts: bool,
    log: bool,
    json: bool,
) -> None:
    """
    Run a local server that answers like the Gemini API, with its limits, delays and errors.

    No key is needed and nothing is billed: any key is accepted, except those that start with `invalid` or `blocked`.
    """
    given: dict[str, object] = {
        "tier": tier,
        "rpm": rpm,
        "tpm": tpm,
        "rpd": rpd,
        "enforcement": enforcement,
        "window": window,
        "latency": latency,
        "latency_scale": latency_scale,
        "seed": seed,
        "outage": outage,
        "count_prompts": str(count_prompts).lower(),
    }
    pairs = [f"{key}={value}" for key, value in given.items() if value is not None]
    config = _read_config([*pairs, *map(_read_fault, fault)])
    _allow_many_connections()
    _runner()(_serve(config, host, port, log=log, as_json=json))


def _read_fault(text: str) -> str:
    from wingbeat.simulator.config import FAULT_NAMES

    name, equals, _ = text.partition("=")
    if name not in FAULT_NAMES:
        raise click.UsageError(f"unknown fault `{name}`; known: {', '.join(FAULT_NAMES)}")
    if not equals:
        raise click.UsageError(f"fault `{name}` has no probability; write {name}=0.01")
    return f"fault.{text}"


def _read_config(pairs: list[str]) -> "SimulatorConfig":
    from wingbeat.simulator import SimulatorConfig

    try:
        return SimulatorConfig.parse(",".join(pairs))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _allow_many_connections() -> None:
    """Raise the limit of open files as far as the system lets us; 1,024, the usual default, is soon reached."""
    try:
        import resource
    except ImportError:  # Windows has no such limit.
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _runner() -> Callable[[Coroutine[None, None, None]], None]:
    """Return uvloop's runner if it is installed, else asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    run: Callable[[Coroutine[None, None, None]], None] = uvloop.run
    return run


async def _serve(config: "SimulatorConfig", host: str, port: int, *, log: bool, as_json: bool) -> None:
    """Serve until SIGINT or SIGTERM."""
    from wingbeat.simulator import Simulator

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    simulator = Simulator(config, host, port, click.echo if log else None)
    try:
        async with simulator:
            _announce(simulator.url, as_json=as_json)
            await stop.wait()
    except OSError as error:
        _fail(error, host, port)
    counts = simulator.statistics()
    if as_json:
        click.echo(msgspec.json.encode({"event": "stopped", **msgspec.to_builtins(counts)}).decode())
    click.echo(
        f"simulator stopped: {counts.requests} requests, {counts.answered} answered, {counts.refused} refused for "
        f"quota, {counts.rejected} rejected, {sum(counts.faults.values())} faults",
        err=True,
    )


def _announce(url: str, *, as_json: bool) -> None:
    click.echo(msgspec.json.encode({"event": "ready", "url": url}).decode() if as_json else f"simulator ready at {url}")
    click.echo(f"for wingbeat: export GOOGLE_GEMINI_BASE_URL={url} GEMINI_API_KEY=anything", err=True)
    click.echo("google-genai reads the same two variables; stop the simulator with Ctrl-C", err=True)


def _fail(error: OSError, host: str, port: int) -> None:
    if error.errno == errno.EADDRINUSE:
        text = f"port {port} is already in use"
        hint = "choose another with --port, or --port 0 for any free one"
    else:
        text = f"can't listen on `{host}` port {port}: {error.strerror or error}"
        hint = "--host takes an address of this machine, such as 127.0.0.1"
    click.echo(f"error: {text}\n\nhint: {hint}", err=True)
    sys.exit(2)
