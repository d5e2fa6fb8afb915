"""From the options of `wingbeat probe` to what it has found: check, plan, probe, say, draw, keep."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from wingbeat.cli.failing import Problems, command_line, report_error, report_hint
from wingbeat.cli.options import read_generation_options
from wingbeat.cli.speaking import say_facts
from wingbeat.client import run_loop
from wingbeat.concluding import learnt_from
from wingbeat.config import Service, find_service
from wingbeat.connecting import connect, find_budget_prices, simulator_config
from wingbeat.errors import ConfigurationError, WingbeatError
from wingbeat.ledgers.limits import Limits
from wingbeat.ledgers.prices import Prices
from wingbeat.ledgers.ramp import Settings
from wingbeat.limitbook import Memory
from wingbeat.model.limit import INPUT_TOKENS, MINUTE_S, REQUESTS
from wingbeat.model.options import Options
from wingbeat.model.record import Record, Request
from wingbeat.probing import Probing
from wingbeat.providers.gemini import GeminiCodec
from wingbeat.report.probe import ProbeFound, found_lines, pace_text
from wingbeat.report.ramp import Sent, ramp_svg
from wingbeat.report.words import duration, money
from wingbeat.transport import check_base_url

DEFAULT_MODEL = "sim/gemini-2.5-flash"

DEFAULT_MAX_USD = 0.5
"""Small enough for nobody to mind, and enough for 600 short answers of any model but the dearest."""

INTERRUPTED = 130


class Wanted(msgspec.Struct, frozen=True):
    """Everything a probe needs, checked."""

    service: Service
    limits: Limits
    settings: Settings
    record: Record
    prices: Prices | None
    max_usd: float | None
    each_usd: float
    simulator: str | None
    picture: Path | None


def execute(values: dict[str, Any]) -> int:
    """Carry out `wingbeat probe` with its options, and return the exit code."""
    wanted = _read(values)

    def say(text: str) -> None:
        if not values["quiet"]:
            click.secho(text, dim=True, err=True)

    for warning in wanted.service.warnings:
        click.echo(f"warning: {warning}", err=True)
    if not values["quiet"]:
        say_facts(_plan_lines(wanted, values), colour="cyan")
        click.echo("", err=True)
    probed = Probed(wanted, say)
    run_loop(probed.execute())
    found = probed.found
    if values["save"]:
        found = _keep(found, wanted)
    if wanted.picture is not None:
        _draw(wanted.picture, found, probed.sent)
    return _tell(found, probed, wanted, values)


class Probed:
    """One probe carried out: connection, signals, and what it has found."""

    def __init__(self, wanted: Wanted, say: Any) -> None:
        self._wanted = wanted
        self._say = say
        self._probing: Probing | None = None
        self.error: WingbeatError | None = None
        self.is_interrupted = False
        self.found: ProbeFound
        self.sent: list[Sent] = []

    async def execute(self) -> None:
        """Connect, probe until it is over, and note what was found."""
        wanted = self._wanted
        loop = asyncio.get_running_loop()
        async with connect(wanted.service, wanted.limits, simulator=wanted.simulator) as route:
            probing = self._probing = Probing(
                route,
                wanted.record,
                wanted.settings,
                max_usd=wanted.max_usd,
                each_usd=wanted.each_usd,
                say=self._say,
            )
            numbers = (signal.SIGINT, signal.SIGTERM)
            for number in numbers:
                with contextlib.suppress(NotImplementedError):
                    loop.add_signal_handler(number, self._interrupt)
            try:
                await probing.run()
            finally:
                for number in numbers:
                    with contextlib.suppress(NotImplementedError):
                        loop.remove_signal_handler(number)
        self.found = probing.found()
        self.error = probing.error
        trials = probing.ramp.trials
        first = trials[0].sent_at if trials else 0.0
        self.sent = [Sent(trial.sent_at - first, trial.latency_s, trial.end) for trial in trials]

    def _interrupt(self) -> None:
        assert self._probing is not None
        self.is_interrupted = True
        self._probing.stop()


def _read(values: dict[str, Any]) -> Wanted:
    """Check all options and report every problem at once."""
    problems = Problems()
    service = options = picture = prices = None
    limits = Limits()
    with problems:
        service = find_service(
            values["model"] or DEFAULT_MODEL, base_url=values["base_url"], api_version=values["api_version"]
        )
        if service.base_url is not None:
            check_base_url(service.base_url)
    with problems:
        limits = Limits(max_cost=values["max_cost"], timeout_s=values["timeout"])
        if service is not None:
            prices = find_budget_prices(service, limits)
    with problems:
        options = read_generation_options(values)
        refused = GeminiCodec.check_options(options)
        if refused is not None:
            raise ConfigurationError(refused)
    with problems:
        if not values["prompt"].strip():
            raise ConfigurationError("`--prompt` is empty", hint='write --prompt "Say yes."')
    with problems:
        picture = _read_picture(values["picture"])
    with problems:
        if values["simulator"] is not None:
            simulator_config(limits, values["simulator"])
            if service is not None and service.kind != "sim":
                raise ConfigurationError("`--simulator` goes with a model sim/…", hint="write --model sim/gemini-…")
    with problems:
        _check_finite(values)
    problems.stop_if_any()
    assert service is not None
    assert options is not None
    each_usd = _most_usd(values["prompt"], options, prices)
    max_usd = None if prices is None else values["max_cost"] or DEFAULT_MAX_USD
    return Wanted(
        service=service,
        limits=limits,
        settings=_settings(values, max_usd, each_usd),
        record=Record(0, None, bytes(16), Request(prompt=values["prompt"], options=options)),
        prices=prices,
        max_usd=max_usd,
        each_usd=each_usd,
        simulator=values["simulator"],
        picture=picture,
    )


def _check_finite(values: dict[str, Any]) -> None:
    """Refuse what passes every range but is no number to reckon with."""
    for name in ("start", "step", "hold", "learn_for"):
        if not math.isfinite(values[name]):
            raise ConfigurationError(f"`--{name.replace('_', '-')}` must be a finite number, not {values[name]:g}")


def _most_usd(prompt: str, options: Options, prices: Prices | None) -> float:
    """Return the most that one request costs: no token is shorter than a byte, and thinking counts as output."""
    if prices is None:
        return 0.0
    return prices.estimate_usd(len(prompt.encode("utf-8", "replace")), float(options.max_output_tokens or 0))


def _settings(values: dict[str, Any], max_usd: float | None, each_usd: float) -> Settings:
    max_requests = values["max_requests"]
    if max_usd is not None and each_usd > 0:
        max_requests = min(max_requests, int(max_usd / each_usd))
        if max_requests < 1:
            raise ConfigurationError(
                f"one request may cost {money(each_usd)}, more than `--max-cost` {money(max_usd)}",
                hint="raise --max-cost, or shorten --prompt or --max-output-tokens",
            )
    return Settings(
        max_requests=max_requests,
        burst=min(values["burst"], max_requests),
        start_per_minute=values["start"],
        step=values["step"],
        hold_s=values["hold"],
        learn_for_s=values["learn_for"],
    )


def _read_picture(name: str | None) -> Path | None:
    if name is None:
        return None
    picture = Path(name)
    if picture.suffix.lower() != ".svg":
        raise ConfigurationError(f"the picture `{name}` must be an .svg file", hint="write --picture probe.svg")
    if not picture.absolute().parent.is_dir():
        raise ConfigurationError(f"there is no folder `{picture.parent}` for the picture", hint="make it first")
    return picture


def _plan_lines(wanted: Wanted, values: dict[str, Any]) -> list[tuple[str, str]]:
    settings = wanted.settings
    prompt = values["prompt"] if len(values["prompt"]) <= 60 else values["prompt"][:59] + "…"
    route = wanted.service.route_name
    simulated = " (simulated: no service is asked, nothing is billed)" if route.startswith("sim/") else ""
    if wanted.prices is None:
        cost = "no price is known for this model, so nothing but their number bounds the cost"
    else:
        most_usd = min(settings.max_requests * wanted.each_usd, wanted.max_usd or 0.0)
        cost = f"at most {money(most_usd)} ({wanted.prices.source})"
    most = "1 request" if settings.max_requests == 1 else f"{settings.max_requests:,} requests"
    at_once = min(settings.burst, settings.ramp_requests)
    burst = f"{at_once:,} at once, then " if at_once else ""
    sent = "1 is sent" if settings.ramp_requests == 1 else f"{settings.ramp_requests:,} are sent"
    return [
        ("route", route + simulated),
        ("asks", f"{prompt!r}, at most {values['max_output_tokens']:,} output tokens an answer"),
        ("sends", f"at most {most}, {cost}, within about {duration(settings.ramp_s + settings.learn_for_s)}"),
        (
            "pace",
            f"{burst}{pace_text(settings.start_per_minute)}, ×{settings.step:g} every {duration(settings.step_s(0))}, "
            f"until one is refused, or {sent}",
        ),
        (
            "then",
            f"finds out which limit that was, within {duration(settings.learn_for_s)}; Ctrl-C ends it at any time",
        ),
    ]


def _keep(found: ProbeFound, wanted: Wanted) -> ProbeFound:
    """Keep what was learnt as a run does, in place of what was learnt before."""
    learnt = learnt_from(found)
    if not learnt:
        return found
    memory = Memory(wanted.service, Limits(), fresh=True)
    if memory.is_kept:
        memory.keep(learnt)
    for trouble in memory.troubles:
        click.echo(f"warning: {trouble}", err=True)
    return msgspec.structs.replace(found, is_kept=memory.is_kept)


def _draw(picture: Path, found: ProbeFound, sent: list[Sent]) -> None:
    try:
        picture.write_text(ramp_svg(found, sent), "utf-8")
    except OSError as error:
        raise ConfigurationError(f"can't write the picture `{picture}`: {error.strerror or error}") from None
    click.echo(f"picture: {picture}", err=True)


def _tell(found: ProbeFound, probed: Probed, wanted: Wanted, values: dict[str, Any]) -> int:
    """Say what was found, and what to do next; return the exit code."""
    if values["json"]:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    elif found.answered or found.refused:
        if not values["quiet"]:
            click.echo("", err=True)
        say_facts(found_lines(found), colour="green", err=False)
    if probed.error is not None:
        report_error(str(probed.error), probed.error.hint)
        return probed.error.exit_code
    if probed.is_interrupted:
        click.echo("interrupted; this is what is known so far", err=True)
        return INTERRUPTED
    hint = None if values["quiet"] or values["json"] else _next_command(found, wanted, values)
    if hint is not None:
        click.echo("", err=True)
        report_hint(hint)
    return 0


def _next_command(found: ProbeFound, wanted: Wanted, values: dict[str, Any]) -> str | None:
    limit = None if found.limit is None else found.limit.limit
    if found.lacks_capacity:
        return "`wingbeat run` finds by itself how many in flight a service answers best"
    if limit is None:
        if found.ended == "time":
            more, value = "--learn-for", f"{values['learn_for'] + 150:g}"
        elif found.ended == "cost" or wanted.settings.max_requests < values["max_requests"]:
            more, value = "--max-cost", f"{10 * (wanted.max_usd or DEFAULT_MAX_USD):g}"
        else:
            more, value = "--max-requests", str(3 * values["max_requests"])
        return f"go on from here: {command_line([*_without(sys.argv[1:], more), more, value])}"
    if found.is_kept:
        return "`wingbeat run` will start from this; see it with: wingbeat limits"
    flag = {REQUESTS: "--rpm", INPUT_TOKENS: "--tpm"}.get(limit.resource)
    if flag is None:
        return None
    per_minute = int(limit.limit * MINUTE_S / limit.window_s)
    model = values["model"] or DEFAULT_MODEL
    return f"keep to it: wingbeat run prompts.jsonl -o answers.jsonl --model {model} {flag} {per_minute}"


def _without(words: list[str], option: str) -> list[str]:
    """Return a command line without an option and its value."""
    left: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == option:
            next(rest, None)
        elif not word.startswith(f"{option}="):
            left.append(word)
    return left
