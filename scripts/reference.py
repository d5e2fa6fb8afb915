"""
Write docs/reference/ from the code, so that it can't say anything else.

Run: python scripts/reference.py          writes the pages
     python scripts/reference.py --check  fails when a committed page differs
"""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from random import Random
from types import ModuleType

import click
import msgspec
from docstrings import annotation, documented, literals, markdown, render, source_of, split, table

import wingbeat
import wingbeat.simulator
import wingbeat.testing
from wingbeat import errors
from wingbeat.cli import config as config_command
from wingbeat.cli.main import LazyGroup
from wingbeat.cli.main import wingbeat as program
from wingbeat.engine.stopping import Stopping
from wingbeat.journal import schema, store, writer
from wingbeat.ledgers import retry
from wingbeat.ledgers.retry import SERVICE_FAILURES, Again, GiveUp, StopRun, WaitForQuota, verdict
from wingbeat.model import answer
from wingbeat.model.answer import Failure, FailureKind, Outcome, Usage
from wingbeat.model.limit import LearntLimit
from wingbeat.model.options import Options
from wingbeat.report import progress
from wingbeat.report.plan import Plan
from wingbeat.report.progress import Snapshot
from wingbeat.report.summary import Summary
from wingbeat.sinks import formats

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
SOURCES = ROOT / "src" / "wingbeat"

EXIT_CODES = {
    0: "All rows have an answer; for a look (`--dry-run`, `--check`, `status`): nothing is wrong.",
    1: "The run finished and some rows failed. Ask these again with `--retry-failed`.",
    2: "Wrong usage, configuration or input. Nothing was sent. `--check` found rows that are wrong.",
    3: "Stopped early, resumable: budget, day's quota, refused key, service down, or the journal can't be written.",
    130: "Interrupted (Ctrl-C, SIGTERM). The journal is whole; the same command again continues.",
    141: "Nobody reads standard output any more (a pipe was closed).",
}


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed pages instead")
    check = parser.parse_args().check
    pages = {name: page() for name, page in PAGES.items()}
    if check:
        return _compare(pages)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (FOLDER / name).write_text(text, "utf-8")
    return 0


def _compare(pages: dict[str, str]) -> int:
    stale = 0
    for name, text in pages.items():
        path = FOLDER / name
        before = path.read_text("utf-8") if path.exists() else ""
        if before != text:
            stale += 1
            lines = difflib.unified_diff(
                before.splitlines(), text.splitlines(), f"docs/reference/{name}", "from the code", lineterm="", n=1
            )
            print("\n".join(list(lines)[:20]))
    if stale:
        print("docs/reference differs from the code; run: python scripts/reference.py")
    return 1 if stale else 0


def page(title: str, *blocks: str) -> str:
    """Put a page together."""
    head = "<!-- Written by scripts/reference.py from the code. Change the code, not this file. -->"
    return "\n\n".join([head, f"# {title}", *(block.strip("\n") for block in blocks if block.strip())]) + "\n"


# The command line


def cli_page() -> str:
    """Every command, with its options, their variables and the exit codes."""
    blocks = [
        split(program.help or "")[0],
        "Data goes to standard output, everything else to standard error. Options may also come from "
        "[environment variables and files](configuration.md).",
    ]
    for name in sorted(LazyGroup.COMMANDS):
        command = _command(name)
        if command is not None:
            blocks += _command_blocks(name, command)
    blocks += ["## Exit codes", table(["Code", "Meaning"], ([f"`{code}`", text] for code, text in EXIT_CODES.items()))]
    blocks.append("[Errors](errors.md) says which error ends with which code.")
    return page("Command line", *blocks)


def _command(name: str) -> click.Command | None:
    try:
        command: click.Command = getattr(import_module(f"wingbeat.cli.{name}"), name)
    except ModuleNotFoundError as error:
        if error.name != f"wingbeat.cli.{name}":
            raise
        print(f"warning: the command `{name}` is listed but has no module yet", file=sys.stderr)
        return None
    return command


def _command_blocks(name: str, command: click.Command) -> Iterator[str]:
    arguments = [str(p.make_metavar(click.Context(command))) for p in command.params if isinstance(p, click.Argument)]
    yield f"## wingbeat {name}"
    yield "```text\n" + " ".join(["wingbeat", name, *arguments, "[OPTIONS]"]) + "\n```"
    yield inspect.cleandoc(command.help or "").replace("\b\n", "").strip()
    options = [option for option in command.params if isinstance(option, click.Option)]
    if options:
        variable = name.upper().replace(" ", "_")
        yield f"The last column is the end of the variable's name: `WINGBEAT_{variable}_…`."
        rows = [[_option_names(option), _option_help(option), f"`{(option.name or '').upper()}`"] for option in options]
        yield table(["Option", "Meaning", "Variable"], rows)
    if isinstance(command, click.Group):
        for verb, below in command.commands.items():
            yield from _command_blocks(f"{name} {verb}", below)


def _option_names(option: click.Option) -> str:
    value = "" if option.is_flag else f" {option.metavar or _value_name(option)}"
    return (
        ", ".join(f"`{name}`" for name in option.opts[:-1])
        + (", " if option.opts[1:] else "")
        + (f"`{option.opts[-1]}{value}`")
    )


def _value_name(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return {"integer": "N", "integer range": "N", "float": "X", "float range": "X"}.get(option.type.name, "TEXT")


def _option_help(option: click.Option) -> str:
    text = re.sub(r"\s*\[default: (.*)\]$", r" Default: \1.", option.help or "")
    if option.show_default is True and option.default is not None:
        text += f" Default: `{option.default}`."
    return text


# Python


def _link(text: str) -> str:
    """Turn public names in backticks into links within the page."""

    def replace(match: re.Match[str]) -> str:
        name = match[1].removeprefix("wingbeat.")
        if name not in PUBLIC and name.split(".")[0] not in PUBLIC:
            return match[0]
        if name in ("map", "run") and not match[1].startswith("wingbeat."):
            return match[0]
        return f"[`{match[1]}`](#{_anchor(name)})"

    return re.sub(r"(?<!\[)`([A-Za-z_.]+)`", replace, text)


def _anchor(name: str) -> str:
    return f"wingbeat.{name}".lower().replace(".", "").replace("_", "_")


PUBLIC = frozenset(wingbeat.__all__)

GROUPS = {
    "Asking": ("Client", "Flow", "FlowState", "Prompt", "run", "map", "Mapped", "Limits"),
    "What comes back": ("Outcome", "Usage", "ErrorDetail", "FailureKind", "Statistics"),
    "Errors": (),
    "Version": ("__version__",),
}


def python_page() -> str:
    """Every public name of the package."""
    blocks = [
        split(wingbeat.__doc__ or "")[0] + " Everything here is imported from `wingbeat`; a name that is not here is "
        "not public, but for [tools for tests](testing.md)."
    ]
    listed = {name for names in GROUPS.values() for name in names}
    for group, names in GROUPS.items():
        chosen = names or tuple(name for name in wingbeat.__all__ if name not in listed)
        blocks.append(f"## {group}")
        for name in chosen:
            blocks += _public_blocks(name)
    return page("Python", *blocks)


def _public_blocks(name: str) -> list[str]:
    value = getattr(wingbeat, name)
    title = f"wingbeat.{name}"
    if name == "__version__":
        return [f"### {title}", "The version, as text."]
    if name == "Prompt":
        module = import_module("wingbeat.client")
        return [f"### {title}", f"```py\nPrompt = {source_of(module, name)}\n```", literals(module)[name]]
    blocks = render(value, "###", title, _link)
    if name == "FailureKind":
        blocks.append(", ".join(f"`{kind}`" for kind in FailureKind) + ".")
        blocks.append("[Errors](errors.md#kinds-of-failure) says what each means and what follows it.")
    if isinstance(value, type) and issubclass(value, errors.WingbeatError):
        bases = ", ".join(f"`{base.__name__}`" for base in value.__bases__)
        blocks.insert(1, f"Derives from {_link(bases)}. Exit code {value.exit_code}.")
    return blocks


def testing_page() -> str:
    """The public tools for tests: the simulator in process, and `wingbeat.testing`."""
    blocks = ["Two packages for those who test code that uses wingbeat. Neither needs a key or the network."]
    for module in (wingbeat.simulator, wingbeat.testing):
        blocks += [f"## {module.__name__}", split(module.__doc__ or "")[0]]
        for name in module.__all__:
            blocks += render(getattr(module, name), "###", f"{module.__name__}.{name}", str)
    return page("Testing", *blocks)


# Configuration


def configuration_page() -> str:
    """Files, precedence, variables, limits and generation options."""
    limits = [[f"`{n}`", f"`{_default(wingbeat.Limits, n)}`", t] for n, t in documented(wingbeat.Limits).items()]
    options = [
        [f"`{name}`", f"`{annotation(Options, name).removesuffix(' | None')}`", text]
        for name, text in documented(Options).items()
    ]
    variables = [
        ["`GOOGLE_API_KEY`", "The key. Wins over `GEMINI_API_KEY`, as in Google's client."],
        ["`GEMINI_API_KEY`", "The key."],
        ["`GOOGLE_GEMINI_BASE_URL`", "Where to send, without the API version. `--base-url` wins."],
        ["`GOOGLE_GENAI_API_VERSION`", "`v1`, `v1beta`, … `--api-version` wins."],
        [
            "`WINGBEAT_STATE_DIR`",
            "Folder of what is kept between runs: [learnt limits](../how-to/stay-inside-a-quota.md#what-is-known). By "
            "default the one that the system has for it: `~/.local/state/wingbeat` on Linux, "
            "`~/Library/Application Support/wingbeat` on macOS.",
        ],
        [
            "`WINGBEAT_<COMMAND>_<OPTION>`",
            "Any option, such as `WINGBEAT_RUN_RPM`; [command line](cli.md) lists them.",
        ],
    ]
    known = {*config_command.SECRETS, *config_command.VARIABLES}
    listed = {name for row in variables for name in re.findall(r"`(\w+)`", row[0])}
    assert known <= listed, f"variables without a description: {known - listed}"
    return page(
        "Configuration",
        "## Precedence",
        "An option of a command is taken from the first of these that gives it:",
        "1. the flag on the command line,\n2. the variable `WINGBEAT_<COMMAND>_<OPTION>`,\n"
        "3. `wingbeat.toml` in the current folder,\n4. `[tool.wingbeat]` in `pyproject.toml` in the current folder,\n"
        "5. the user's file,\n6. the default.",
        "`wingbeat config` shows every value and where it comes from, and the path of the user's file.",
        "## Files",
        "A file has a table a command. Names are those of the options; `-` and `_` are the same.",
        '```toml title="wingbeat.toml"\n[run]\nmodel = "gemini-2.5-flash"\nrpm = 1000\ntpm = 1_000_000\n```',
        '```toml title="pyproject.toml"\n[tool.wingbeat.run]\nrpm = 1000\n```',
        "The user's file is `config.toml` in the folder that the system has for it: `~/.config/wingbeat/` on Linux, "
        "`~/Library/Application Support/wingbeat/` on macOS.",
        "Only the command reads files and `WINGBEAT_…` variables. The Python interface takes arguments.",
        "## Environment variables",
        table(["Variable", "Meaning"], variables),
        "Keys come from the environment only: never from a flag or a file of settings.",
        "## Limits",
        markdown(split(inspect.getdoc(wingbeat.Limits) or "")[0])
        + " These are the fields of `wingbeat.Limits`; the command has an option for each.",
        table(["Field", "Default", "Meaning"], limits),
        "## Generation options",
        split(inspect.getdoc(Options) or "")[0]
        + " They are options of the command, keyword arguments in Python, and columns of an input row.",
        table(["Name", "Type", "Meaning"], options),
        "A name that is not in the table goes to the service as it is, in the service's own wire name.",
    )


def _default(struct: type[msgspec.Struct], name: str) -> str:
    return str(next(field.default for field in msgspec.structs.fields(struct) if field.name == name))


# Events


JSON_TYPES = {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "None": "null"}


def _json_type(text: str) -> str:
    parts = [part.strip() for part in text.split("|")]
    words = []
    for part in parts:
        if part.startswith("dict["):
            values = part.removeprefix("dict[str,").removesuffix("]").strip()
            words.append(f"object of {JSON_TYPES.get(values, 'value')}s")
        elif part.startswith("tuple["):
            values = part.removeprefix("tuple[").removesuffix(", ...]")
            words.append(f"list of {JSON_TYPES.get(values, 'object')}s")
        else:
            words.append(JSON_TYPES.get(part, "object" if part[:1].isupper() else part))
    return " or ".join(words).replace("Any", "any value")


def _fields(struct: type[msgspec.Struct]) -> str:
    return table(["Field", "Type", "Meaning"], _field_rows(struct))


def _field_rows(struct: type[msgspec.Struct]) -> list[list[str]]:
    meanings = documented(struct)
    names = struct.__struct_fields__
    assert set(meanings) == set(names), f"{struct.__name__}: {set(names) ^ set(meanings)} lack a line"
    return [[f"`{name}`", _json_type(annotation(struct, name)), _in_json(meanings[name])] for name in names]


def _in_json(text: str) -> str:
    return re.sub(r"\bNone\b", "null", text)


def events_page() -> str:
    """The lines of `--json`."""
    own = [
        ["`message`", "text", "What has happened, for a person."],
    ]
    flight = ["`in_flight`", "integer", "Requests sent and not yet replied to."]
    ending = [
        ["`exit_code`", "integer", "See [exit codes](cli.md#exit-codes)."],
        ["`error`", "text or null", "What stopped the run, or null."],
        ["`hint`", "text or null", "What to do about it, or null."],
    ]
    heads = ["Field", "Type", "Meaning"]
    return page(
        "Events",
        "`wingbeat run … --json` writes its events to standard error, one JSON object a line, and nothing else. Only "
        "an option that does not exist, or has no valid value, is told in plain text: the command line could not be "
        "read then.",
        "Every event has these fields:",
        table(
            heads,
            [
                ["`event`", "text", "The event's name, a heading below."],
                ["`version`", "integer", f"Version of this format, now {progress.EVENT_VERSION}."],
                ["`time`", "number", "Seconds since 1970 (UTC)."],
            ],
        ),
        "New fields may be added within a version; a program should ignore those that it does not know.",
        "## plan",
        f"Once, before anything is sent. {split(inspect.getdoc(Plan) or '')[0]}",
        _fields(Plan),
        "## progress",
        f"Every {progress.EventsReporter.INTERVAL_S:g} s while the run goes on.",
        _fields(Snapshot),
        "## refused",
        "The service has refused a request for quota; told once a pause.",
        table(
            heads,
            [
                *own,
                ["`wait_s`", "number", "Seconds for which nothing is sent."],
                ["`detail`", "text", "The service's own words."],
            ],
        ),
        "## failing",
        "The service is down, or can't be reached; told once a pause.",
        table(
            heads,
            [
                *own,
                ["`wait_s`", "number", "Seconds until the next try."],
                ["`detail`", "text", "What the last failure was."],
            ],
        ),
        "## learnt",
        "Something was found out about the service's limits, or it has changed by more than a tenth.",
        table(heads, [*own, ["`limits`", "list of objects", "The limits that are new: " + _limit_fields() + "."]]),
        "## warning",
        "Something that the user should know, and the run goes on.",
        table(heads, own),
        "## error",
        "A problem that kept the run from beginning; one event each.",
        table(
            heads,
            [
                *own,
                ["`hint`", "text or null", "What to do next."],
                ["`exit_code`", "integer", "What the command ends with."],
            ],
        ),
        "## draining",
        "The first Ctrl-C or SIGTERM: nothing new is sent, what is in flight is waited for.",
        table(heads, [*own, flight]),
        "## leaving",
        "The second Ctrl-C or SIGTERM: what is in flight is given up, what was answered is kept.",
        table(heads, [*own, flight]),
        "## end",
        "Once, as the last event.",
        table(heads, [*ending, *_field_rows(Summary)]),
    )


def _limit_fields() -> str:
    texts = documented(LearntLimit)
    return "; ".join(f"`{name}`: {text.rstrip('.')}" for name, text in texts.items())


# Errors


def errors_page() -> str:
    """The tree of exceptions, and every kind of failure with what follows it."""
    tree = re.search(r"(?ms)^    WingbeatError.*?(?=\n\S|\Z)", errors.__doc__ or "")
    assert tree is not None
    classes = [value for value in vars(errors).values() if _is_error(value)]
    rows = [
        [
            f"[`{kind.__name__}`](python.md#wingbeat{kind.__name__.lower()})",
            f"`{kind.exit_code}`",
            split(kind.__doc__ or "")[0].split("\n")[0],
        ]
        for kind in classes
    ]
    meanings = literals(answer, "FailureKind")
    kinds = [[f"`{kind}`", meanings[kind.name], _what_follows(kind)] for kind in FailureKind]
    return page(
        "Errors",
        "Two sorts of things go wrong. What stops a run is an exception. What is wrong with one record is a value: "
        "the record's outcome has an `error` with a `kind` and a `message`, and the run goes on.",
        "## Exceptions",
        "```text\n" + inspect.cleandoc(tree[0].rstrip()).replace("``max_cost``", "max_cost    ") + "\n```",
        table(["Exception", "Exit code", "Meaning"], rows),
        "Every one has `exit_code` and `hint`: one line that says what to do, or None. An exit code is what the "
        "command ends with.",
        "## Kinds of failure",
        "`error.kind` of an outcome is one of these. The last column is what the retry rules do after an attempt that "
        "ends so.",
        table(["Kind", "Meaning", "What follows"], kinds),
        "**Backoff** is drawn evenly from zero to a bound: "
        f"{retry.FIRST_BACKOFF_S * 2:g} s after the first failure, doubled each time, {retry.LONGEST_BACKOFF_S:g} s at "
        "most. A longer wait that the service asks for is kept.",
        "**Retry budget.** " + split(inspect.getdoc(retry.RetryBudget) or "")[0].replace("\n", " "),
        f"**Hopeless.** A run whose service has given nothing good for {_hopeless_s() / 60:g} minutes stops with "
        "`ServiceDown` (exit code 3).",
    )


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, errors.WingbeatError)


def _hopeless_s() -> float:
    return float(vars(sys.modules[Stopping.__module__])["HOPELESS_AFTER_S"])


def _what_follows(kind: FailureKind) -> str:
    """Ask the retry rules themselves."""
    most = retry.DEFAULT_MAX_ATTEMPTS
    failure = Failure(kind, "")
    decisions = [verdict(failure, attempt, most, Random(0)) for attempt in range(1, most + 1)]
    attempts = next((number for number, one in enumerate(decisions, 1) if isinstance(one, GiveUp)), most)
    match decisions[0]:
        case WaitForQuota():
            patient_h = retry.LONGEST_TOLD_WAIT_S / 3600
            return (
                "All wait as long as the service said, then it is asked again. No attempt is used up. A wait of more "
                f"than {patient_h:g} h stops the run: `QuotaExhausted`."
            )
        case StopRun(cause):
            return f"The run stops, resumable: `{_exception_for(cause)}`. The record stays unanswered."
        case Again(after_s):
            if kind in SERVICE_FAILURES:
                text = f"Again after a backoff, in all {attempts} requests (`--max-attempts`). Counts for breaker"
                return text + " and retry budget."
            if after_s == 0:
                return f"Again at once, in all {attempts} requests."
            return f"Again after a backoff, in all {attempts} requests (`--max-attempts`)."
        case GiveUp():
            return "The record fails; it is not asked again."
    raise AssertionError(kind)


def _exception_for(cause: str) -> str:
    """Find out which exception a cause becomes, as the source of `Stopping` has it."""
    return "QuotaExhausted" if cause == "day_quota" else "AccessRefused"


# Output


PARQUET_TYPES = {"index": "int64", "cost_usd": "float64", "latency_s": "float64", "attempts": "int64"}


def output_page() -> str:
    """The fields of an output row, nested and flat."""
    outcome, usage = documented(Outcome), documented(Usage)
    rows = [
        [f"`{name}`", _json_type(annotation(Outcome, name)), _in_json(outcome[name])]
        for name in Outcome.__struct_fields__
        if name not in ("value", "columns")
    ]
    nested = [[f"`{name}`", "integer", text] for name, text in usage.items()]
    error = [["`kind`", "text", "One of the [kinds of failure](errors.md#kinds-of-failure)."]]
    error.append(["`message`", "text", "What happened, for a person, in the service's words where it spoke."])
    flat = []
    for name in formats.OWN_COLUMNS:
        kind = "int64" if name in usage else PARQUET_TYPES.get(name, "string")
        meaning = _in_json(outcome.get(name) or usage.get(name) or f"`{name.removeprefix('error_')}` of `error`.")
        flat.append([f"`{name}`", f"`{kind}`", meaning])
    return page(
        "Output",
        "One row for each row of the input, failures included. A row with an `error` has no `text`; every other "
        "row has one, which is empty when the service withheld the answer.",
        "## JSON Lines",
        table(["Field", "Type", "Meaning"], rows),
        "### usage",
        split(inspect.getdoc(Usage) or "")[0],
        table(["Field", "Type", "Meaning"], nested),
        "### error",
        table(["Field", "Type", "Meaning"], error),
        "## CSV, TSV and Parquet",
        "Flat columns, in this order. A missing value is an empty cell in CSV and TSV, and null in Parquet.",
        table(["Column", "Parquet type", "Meaning"], flat),
        "## Input columns",
        "With `--keep-columns` the input's columns stand between `index` and `text`. One whose name is taken gets the "
        f"prefix `input_`: `{'text'}` becomes `{formats.carried_name('text')}`. `id` is not repeated. CSV and Parquet "
        "hold objects and lists as JSON text.",
        "Names that are taken: " + ", ".join(f"`{name}`" for name in sorted(formats.RESERVED)) + ".",
        "## Order",
        "Rows stand in the order in which they were answered. `index` is the position in the input; `--ordered` "
        "writes the rows in that order, when the run ends. Parquet too is written when the run ends.",
    )


# Journal


META = {
    "run": "What the journal belongs to: model, options, system text, template, `keep_columns`. A run with others is "
    "refused.",
    "progress": "How far the run is, for `wingbeat status`.",
    "output_name": "The name of the output file.",
    "output": "How far the output file is known to agree with the journal.",
    "recent": "What was sent in the last minute and today, for the quota of the next process.",
    "call": "What the journal of a `wingbeat.map` belongs to: the name of the call.",
}


def journal_page() -> str:
    """The journal's tables, settings and uses."""
    kept = {name for path in SOURCES.rglob("*.py") for name in _kept_names(path.read_text("utf-8"))}
    assert kept == set(META), f"names kept in meta and names described differ: {kept ^ set(META)}"
    pragmas = _pragmas(schema)
    progress_rows = [
        f"`{field.name}` ({_json_type(annotation(store.Progress, field.name))})"
        for field in msgspec.structs.fields(store.Progress)
    ]
    application = schema.APPLICATION_ID
    return page(
        "Journal",
        "The journal of an output `answers.jsonl` is the SQLite file `answers.jsonl.journal` beside it. It is the "
        "truth: the output is made from it, and a run is continued from it. While a run goes on, SQLite keeps "
        "`….journal-wal` and `….journal-shm` beside it, and wingbeat `….journal.lock`; move or copy a journal only "
        "when no run has it.",
        "## Tables",
        f"```sql\n{schema.TABLES.strip()}\n```",
        f"A resumed run adds an index: `{schema.KEY_INDEX}`. " + literals(schema)["KEY_INDEX"],
        "## Names in meta",
        table(["Name", "Value"], ([f"`{name}`", text] for name, text in META.items())),
        "Values are JSON. `progress` holds " + ", ".join(progress_rows) + ".",
        "## Settings",
        table(
            ["Pragma", "Value"],
            [
                ["`application_id`", f"`{application:#x}` (`{application.to_bytes(4, 'big').decode()}`)"],
                ["`user_version`", f"`{schema.VERSION}`: the journal's version. A newer one is refused, untouched."],
                *([f"`{name}`", f"`{value}`"] for name, value in pragmas),
            ],
        ),
        f"Outcomes are committed in groups: at the latest {writer.GROUP_WAIT_S * 1000:g} ms after the first of a "
        f"group, or at {writer.GROUP_ROWS:,} outcomes. When {writer.MOST_WAITING:,} wait, lanes wait too. "
        "[Guarantees](../explanation/guarantees.md) says what that means.",
        "## Queries",
        "Reading is safe while a run goes on. How often did each kind of failure end a row?",
        '```sh\nsqlite3 -readonly answers.jsonl.journal "\n'
        "    select json_extract(cast(line as text), '$.error.kind') as kind, count(*)\n"
        '    from outcomes where not ok and idx >= 0 group by kind"\n```',
        "The slowest answers:",
        '```sh\nsqlite3 -readonly answers.jsonl.journal "\n'
        "    select idx, json_extract(cast(line as text), '$.latency_s') as latency_s\n"
        '    from outcomes where ok and idx >= 0 order by latency_s desc limit 10"\n```',
        "What the run was started with:",
        "```sh\nsqlite3 -readonly answers.jsonl.journal \"select value from meta where name = 'run'\"\n```",
        "Don't write to it: an outcome that you delete is asked again.",
    )


def _kept_names(source: str) -> Iterator[str]:
    """Yield the names that a module keeps in ``meta``."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner = ast.unparse(node.func.value)
        if node.func.attr in ("keep", "add") and owner.endswith("journal"):
            yield from (keyword.arg for keyword in node.keywords if keyword.arg is not None)


def _pragmas(module: ModuleType) -> list[tuple[str, str]]:
    found = re.findall(r'"pragma (\w+) = ([\w-]+)"', inspect.getsource(module))
    return [(name, value) for name, value in found if name not in ("application_id", "user_version")]


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "python.md": python_page,
    "configuration.md": configuration_page,
    "events.md": events_page,
    "errors.md": errors_page,
    "output.md": output_page,
    "journal.md": journal_page,
    "testing.md": testing_page,
}


if __name__ == "__main__":
    sys.exit(main())
