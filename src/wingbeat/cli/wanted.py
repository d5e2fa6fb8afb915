"""What the user wants, read from the options of a command and checked; every problem is said at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from wingbeat.cli.failing import Problems
from wingbeat.cli.options import read_generation_options
from wingbeat.config import Service, find_service
from wingbeat.connecting import simulator_config
from wingbeat.errors import ConfigurationError, SourceError
from wingbeat.job import RunIdentity, Selection
from wingbeat.journal import journal_path
from wingbeat.ledgers.limits import Limits
from wingbeat.model.options import Options
from wingbeat.providers.gemini import GeminiCodec
from wingbeat.sinks.opening import check_output
from wingbeat.sources import Source, open_source
from wingbeat.sources.building import PROMPT_COLUMNS, RecordBuilder
from wingbeat.sources.template import Template, read_template
from wingbeat.transport import check_base_url

CHECKED_WITH = "gemini/any"
"""The model that `--check` needs none of: only rows are looked at."""


class Wanted(msgspec.Struct, frozen=True):
    """Everything a run needs, checked."""

    service: Service
    limits: Limits
    options: Options
    source: Source
    builder: RecordBuilder
    selection: Selection
    identity: RunIdentity
    output: Path | None
    journal: Path | None
    simulator: str | None


def read_wanted(values: dict[str, Any]) -> Wanted:
    """
    Check all options and report every problem at once.

    Raises:
        WingbeatError: Something is wrong; all problems but the last have been reported.
    """
    problems = Problems(as_events=bool(values.get("json")) and values.get("requests") is None)
    service = limits = options = source = template = system = output = journal = None
    with problems:
        only_looks = values.get("check") or values.get("dry_run")
        model = values["model"] or (CHECKED_WITH if values.get("check") else None)
        if not model:
            raise ConfigurationError(
                "no model is named", hint="add --model gemini-…, or --model sim/gemini-2.5-flash to try the simulator"
            )
        service = find_service(
            model, base_url=values["base_url"], api_version=values["api_version"], needs_key=not only_looks
        )
        if service.base_url is not None:
            check_base_url(service.base_url)
    with problems:
        limits = read_limits(values)
    with problems:
        options = read_generation_options(values)
        refused = GeminiCodec.check_options(options)
        if refused is not None:
            raise ConfigurationError(refused)
    with problems:
        template = read_template(values["template"]) if values["template"] else None
    with problems:
        system = _read_system(values["system"])
    with problems:
        if values["input"] == "-" and sys.stdin is None:
            raise SourceError("standard input is closed", hint="name a file")
        source = open_source(values["input"], values["repeat"])
    with problems:
        output = _read_output(values, source)
        journal = _read_journal(values, output)
    with problems:
        unread = values["template"] and template is None
        if source is not None and source.columns is not None and not unread:
            _check_columns(source, template, system)
    with problems:
        if limits is not None and values["simulator"] is not None:
            simulator_config(limits, values["simulator"])
            if service is not None and service.kind != "sim":
                raise ConfigurationError("`--simulator` goes with a model sim/…", hint="write --model sim/gemini-…")
    problems.stop_if_any()
    assert service is not None
    assert limits is not None
    assert options is not None
    assert source is not None
    return Wanted(
        service=service,
        limits=limits,
        options=options,
        source=source,
        builder=RecordBuilder(
            template=template,
            system=system,
            options=options,
            check_options=GeminiCodec.check_options,
            keep_columns=values["keep_columns"],
        ),
        selection=Selection(values["limit"], values["sample"], values["sample_seed"]),
        identity=RunIdentity(
            model=service.route_name,
            options=options.as_dict(),
            system=values["system"],
            template=None if template is None else template.text,
            keep_columns=values["keep_columns"],
        ),
        output=output,
        journal=journal,
        simulator=values["simulator"],
    )


def read_limits(values: dict[str, Any]) -> Limits:
    """Return the limits of a command line."""
    given = {
        "rpm": values.get("rpm"),
        "tpm": values.get("tpm"),
        "otpm": values.get("otpm"),
        "rpd": values.get("rpd"),
        "tpd": values.get("tpd"),
        "concurrency": values.get("concurrency"),
        "lanes": values.get("lanes"),
        "max_cost": values.get("max_cost"),
        "timeout_s": values.get("timeout"),
        "record_timeout_s": values.get("record_timeout"),
        "max_attempts": values.get("max_attempts"),
        "hedge": values.get("hedge"),
    }
    return Limits(**{name: value for name, value in given.items() if value is not None})


def _read_system(text: str | None) -> str | Template | None:
    if text is None:
        return None
    return Template(text, "the system text") if "{{" in text or "{%" in text else text


def _read_output(values: dict[str, Any], source: Source | None) -> Path | None:
    if values["output"] == "-":
        if sys.stdout is None:
            raise ConfigurationError("standard output is closed", hint="add -o FILE")
        return None
    output = Path(values["output"])
    try:
        check_output(output)
        output.exists()
    except OSError as error:
        raise ConfigurationError(f"can't use the output `{output}`: {error.strerror or error}") from None
    if source is not None and _is_same_file(output, values["input"]):
        raise ConfigurationError(f"the output `{output}` is the input", hint="choose another output")
    journal = _read_journal(values, output)
    assert journal is not None
    if journal.absolute() == output.absolute():
        raise ConfigurationError(f"the journal `{journal}` is the output", hint="choose another --journal")
    if output.exists() and output.stat().st_size and not journal.exists() and not values["overwrite"]:
        raise ConfigurationError(
            f"the output `{output}` exists and wingbeat has no journal of it",
            hint="choose another output, or --overwrite to keep the old one as .bak",
        )
    return output


def _is_same_file(output: Path, argument: str) -> bool:
    """Tell whether the output is the input; a prompt in quotes may be too long to be any file's name."""
    try:
        return output.exists() and output.samefile(argument)
    except (OSError, ValueError):
        return False


def _read_journal(values: dict[str, Any], output: Path | None) -> Path | None:
    if not values["journal"]:
        return None if output is None else journal_path(output)
    journal = Path(values["journal"])
    try:
        if journal.is_dir():
            raise ConfigurationError(f"the journal `{journal}` is a folder", hint="name a file in it")
        if not journal.absolute().parent.is_dir():
            raise ConfigurationError(
                f"there is no folder `{journal.parent}` for the journal", hint="make it, or mend the path"
            )
    except OSError as error:
        raise ConfigurationError(f"can't use the journal `{journal}`: {error.strerror or error}") from None
    return journal


def _check_columns(source: Source, template: Template | None, system: str | Template | None) -> None:
    """Refuse an input whose header already shows that no row can be asked."""
    columns = source.columns or ()
    used = set() if template is None else set(template.variables)
    used |= set(system.variables) if isinstance(system, Template) else set()
    missing = sorted(used - set(columns))
    known = ", ".join(f"`{name}`" for name in columns)
    if missing:
        raise SourceError(
            f"`{source.name}` has no column `{missing[0]}`, which the template uses", hint=f"its columns are {known}"
        )
    if template is None and not set(PROMPT_COLUMNS) & set(columns):
        raise SourceError(
            f"`{source.name}` has no column `prompt`, `messages` or `contents`",
            hint=f"its columns are {known}; write --template 'Classify: {{{{ {columns[0]} }}}}'",
        )
