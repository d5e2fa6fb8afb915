"""Which sink an output path means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wingbeat.errors import ConfigurationError
from wingbeat.journal.store import Journal
from wingbeat.sinks.formats import CsvFormat, JsonlFormat, TextFormat, write_parquet
from wingbeat.sinks.output import AppendedFile, BuiltFile, Sink, build_text
from wingbeat.sources.parquet import import_pyarrow

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")


def check_output(path: Path) -> str:
    """
    Return the format of an output path, its ending.

    Raises:
        ConfigurationError: The ending is unknown, the folder is missing, or the path is a folder.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigurationError(
            f"can't tell the format of the output `{path}`", hint=f"known endings: {' '.join(SUFFIXES)}"
        )
    if path.is_dir():
        raise ConfigurationError(f"the output `{path}` is a folder", hint="name a file in it")
    if not path.absolute().parent.is_dir():
        raise ConfigurationError(f"there is no folder `{path.parent}` for the output", hint="make it, or mend the path")
    if suffix == ".parquet":
        import_pyarrow()
    return suffix


def open_sink(path: Path, journal: Journal, *, columns: Sequence[str], ordered: bool) -> Sink:
    """
    Open the sink for an output path.

    Args:
        path: The output; its ending tells the format.
        journal: What it shows.
        columns: Input columns to carry along.
        ordered: Whether rows stand in the input's order.
    """
    suffix = check_output(path)
    if suffix == ".parquet":
        return BuiltFile(path, lambda part, lines: write_parquet(part, lines, columns), journal, ordered=ordered)
    form: TextFormat = JsonlFormat()
    if suffix in (".csv", ".tsv"):
        form = CsvFormat("," if suffix == ".csv" else "\t", columns)
    if ordered:
        return BuiltFile(path, build_text(form), journal, ordered=True)
    return AppendedFile(path, form, journal)
