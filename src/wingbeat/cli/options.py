"""Options that several verbs share, and the values that they come to."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from wingbeat.errors import ConfigurationError
from wingbeat.model.options import OPTION_NAMES, Options, parse_options

F = TypeVar("F", bound=Callable[..., Any])

POSITIVE = click.FloatRange(min=0, min_open=True)


def _together(options: list[Callable[[F], F]]) -> Callable[[F], F]:
    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def service_options(command: F) -> F:
    """Add the options that say whom to ask."""
    return _together(
        [
            click.option(
                "-m",
                "--model",
                metavar="MODEL",
                help="gemini/NAME, a bare gemini-… name, or sim/gemini-… for the bundled simulator.",
            ),
            click.option(
                "--base-url", metavar="URL", help="Where to send, as in Google's client; without the version."
            ),
            click.option("--api-version", metavar="VERSION", help="v1, v1beta, …; as in Google's client."),
            click.option(
                "--simulator",
                metavar="KEY=VALUE,…",
                help="How sim/… behaves: latency=0.2,enforcement=sliding,fault.reset=0.01,seed=7, …",
            ),
        ]
    )(command)


def limit_options(command: F) -> F:
    """Add the options that say how much may be used."""
    return _together(
        [
            click.option("--rpm", type=POSITIVE, metavar="N", help="Most requests a minute."),
            click.option("--tpm", type=POSITIVE, metavar="N", help="Most input tokens a minute."),
            click.option("--otpm", type=POSITIVE, metavar="N", help="Most output tokens a minute."),
            click.option("--rpd", type=POSITIVE, metavar="N", help="Most requests a day; then stop, resumable."),
            click.option("--tpd", type=POSITIVE, metavar="N", help="Most input tokens a day; then stop, resumable."),
            click.option(
                "--concurrency",
                type=click.IntRange(1),
                metavar="N",
                help="Most requests in flight.  [default: found by itself, from ten up]",
            ),
            click.option(
                "--fresh-limits", is_flag=True, help="Start without what earlier runs have learnt of the limits."
            ),
            click.option("--lanes", type=click.IntRange(1), metavar="N", help="Most prompts carried at once."),
            click.option("--max-cost", type=POSITIVE, metavar="USD", help="Stop, resumable, before spending more."),
            click.option("--timeout", type=POSITIVE, metavar="S", help="Longest wait for one reply.  [default: 300]"),
            click.option(
                "--record-timeout",
                type=POSITIVE,
                metavar="S",
                help="Longest time from a prompt's first request to its answer.",
            ),
            click.option(
                "--max-attempts",
                type=click.IntRange(1, 100),
                metavar="N",
                help="Most requests for one prompt, refusals for quota not counted.  [default: 5]",
            ),
        ]
    )(command)


def generation_options(command: F) -> F:
    """Add the options that shape the answers."""
    return _together(
        [
            click.option("--system", metavar="TEXT", help="System text; may use {{ columns }}."),
            click.option("--temperature", type=float, metavar="T", help="Sampling temperature."),
            click.option("--top-p", type=float, metavar="P", help="Nucleus sampling mass."),
            click.option("--top-k", type=int, metavar="K", help="Sample among the K likeliest tokens."),
            click.option("--max-output-tokens", type=int, metavar="N", help="Most tokens of an answer."),
            click.option("--stop", multiple=True, metavar="TEXT", help="Text that ends an answer; may be repeated."),
            click.option("--seed", type=int, metavar="N", help="Sampling seed."),
            click.option("--thinking-budget", type=int, metavar="N", help="Most thinking tokens; 0 off, -1 automatic."),
            click.option("--thinking-level", metavar="LEVEL", help="minimal, low, medium, high or xhigh."),
            click.option("--presence-penalty", type=float, metavar="X", help="Penalty for tokens already present."),
            click.option("--frequency-penalty", type=float, metavar="X", help="Penalty by how often a token was used."),
            click.option(
                "--options",
                metavar="FILE",
                help="JSON or TOML with whatever else the service takes (safetySettings, tools, …).",
            ),
        ]
    )(command)


def read_generation_options(values: dict[str, Any]) -> Options:
    """
    Put the generation options of a command line together; flags win over the file.

    Raises:
        ConfigurationError: A value or the file is wrong.
    """
    raw: dict[str, Any] = {}
    if values.get("options"):
        raw.update(_read_options_file(Path(values["options"])))
    for name in OPTION_NAMES:
        value = values.get(name)
        if value is not None and value != ():
            raw[name] = list(value) if name == "stop" else value
    try:
        return parse_options(raw)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _read_options_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
        value = tomllib.loads(text.decode()) if path.suffix.lower() == ".toml" else msgspec.json.decode(text)
    except OSError as error:
        raise ConfigurationError(f"can't read the options file `{path}`: {error.strerror or error}") from None
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the options file `{path}` is not valid: {error}") from None
    if not isinstance(value, dict):
        raise ConfigurationError(f"the options file `{path}` must hold an object of options")
    return value
