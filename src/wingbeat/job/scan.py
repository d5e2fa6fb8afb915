"""Read an input once before anything is sent: how many rows, how large, which of them are wrong or answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

import msgspec

from wingbeat.engine.route import text_size
from wingbeat.errors import SourceError
from wingbeat.job.resuming import Bits, Resumption
from wingbeat.job.sizes import SizeSample
from wingbeat.ledgers.estimate import raw_tokens
from wingbeat.model.record import Record
from wingbeat.sources.building import RecordBuilder
from wingbeat.sources.duplicates import DuplicateFinder
from wingbeat.sources.rows import BadRow, Row, Source

SHOWN_FAULTS = 20

KEPT_ROWS = 20_000
KEPT_TOKENS = 2e6
"""Up to so many rows, of some 8 MB of text, are kept between the plan and the run; a larger input is read twice."""


class Fault(msgspec.Struct, frozen=True):
    """A row that can't be asked: its number in the file and why."""

    number: int
    reason: str


class Selection:
    """
    Which rows of an input are asked: all, the first ``limit``, or ``sample`` of them at random.

    Args:
        limit: Most rows, from the start.
        sample: Number of rows chosen at random, the same ones each time for the same input and seed.
        seed: Seed of the choice.
    """

    def __init__(self, limit: int | None = None, sample: int | None = None, seed: int = 0) -> None:
        self._limit = limit
        self._sample = sample
        self._seed = seed
        self._chosen: frozenset[int] | None = None

    @property
    def is_partial(self) -> bool:
        """True when rows of the input may be left out."""
        return self._limit is not None or self._sample is not None

    def prepare(self, source: Source) -> None:
        """Count the rows when a sample is to be drawn from them."""
        if self._sample is None:
            return
        if not source.can_reread:
            raise SourceError("`--sample` needs a file, not a pipe", hint="write the rows to a file first")
        rows = sum(1 for _ in source.rows())
        self._chosen = frozenset(Random(self._seed).sample(range(rows), min(self._sample, rows)))

    def rows(self, source: Source) -> Iterator[tuple[int, Row | BadRow]]:
        """Yield (position, row) of the chosen rows."""
        for position, row in enumerate(islice(source.rows(), self._limit)):
            if self._chosen is None or position in self._chosen:
                yield position, row


class Scan(msgspec.Struct):
    """
    What an input holds.

    Args:
        rows: Rows chosen.
        remaining: Rows still to be asked, bad ones included.
        input_tokens: Estimated input tokens of the rows to be asked, run-wide system text included.
        faulty: How many rows are bad.
        faults: The first of them.
        columns: The input's columns, in order of appearance.
        done: Rows that have their outcome, by position.
        records: The rows still to be asked, when they are few enough to be kept instead of read again; else None.
    """

    rows: int = 0
    remaining: int = 0
    input_tokens: float = 0.0
    faulty: int = 0
    faults: list[Fault] = []
    columns: tuple[str, ...] = ()
    done: Bits | None = None
    records: list[Record] | None = None


def scan(
    source: Source,
    builder: RecordBuilder,
    selection: Selection,
    resumption: Resumption | None,
    sizes: SizeSample | None = None,
) -> Scan:
    """
    Read the whole input once.

    Args:
        source: The input.
        builder: Turns rows into records.
        selection: Which rows are asked.
        resumption: What an earlier run has left, or None.
        sizes: Told the size of every row that is to be asked, or None.

    Raises:
        SourceError: It can't be read, an identifier stands twice, or no row of it can be asked.
    """
    selection.prepare(source)
    done = Bits()
    faults: list[Fault] = []
    columns: dict[str, None] = dict.fromkeys(source.columns or ())
    identifiers = DuplicateFinder()
    last_columns: object = None
    rows = remaining = faulty = 0
    tokens = 0.0
    records: list[Record] | None = []
    for position, row in selection.rows(source):
        record = builder.build(position, row)
        rows += 1
        if isinstance(row, Row) and row.columns.keys() != last_columns:
            last_columns = row.columns.keys()
            columns.update(dict.fromkeys(row.columns))
        if record.id is not None:
            earlier = identifiers.add(record.id, position)
            if earlier is not None:
                _refuse_twice(source, builder, selection, [(earlier, position)])
        if record.fault is not None:
            faulty += 1
            if len(faults) < SHOWN_FAULTS:
                faults.append(Fault(row.number, record.fault))
        if resumption is not None and resumption.claim(record):
            done.add(position)
            continue
        remaining += 1
        if records is not None:
            records.append(record)
            if remaining > KEPT_ROWS or tokens > KEPT_TOKENS:
                records = None
        if record.request is not None:
            size = max(1.0, raw_tokens(*text_size(record.request)))
            tokens += size
            if sizes is not None:
                sizes.add(size, record.request.options.max_output_tokens)
    _refuse_twice(source, builder, selection, identifiers.find())
    if not rows:
        raise SourceError(f"`{source.name}` holds no rows", hint="check that it is the right file")
    if faulty == rows:
        raise SourceError(
            f"no row of `{source.name}` can be asked; {source.unit} {faults[0].number} {faults[0].reason}",
            hint=_hint_for(source, faults[0]),
        )
    return Scan(
        rows=rows,
        remaining=remaining,
        input_tokens=tokens,
        faulty=faulty,
        faults=faults,
        columns=tuple(columns),
        done=done,
        records=records,
    )


def _hint_for(source: Source, fault: Fault) -> str:
    if "JSON" in fault.reason and source.unit == "line":
        return "each line must be a JSON object of its own; convert an array: jq -c '.[]' in.json > in.jsonl"
    if "UTF-8" in fault.reason:
        return "convert it: iconv -f LATIN1 -t UTF-8, or whatever it is written in"
    return "name the prompt's column `prompt`, or write --template 'Classify: {{ text }}'"


def _refuse_twice(
    source: Source, builder: RecordBuilder, selection: Selection, pairs: Sequence[tuple[int, int]]
) -> None:
    """
    Compare the identifiers of rows that may share one.

    Raises:
        SourceError: Two rows do share one.
    """
    if not pairs:
        return
    wanted = {position for pair in pairs for position in pair}
    found: dict[int, tuple[int, str | int | None]] = {}
    for position, row in selection.rows(source):
        if position in wanted:
            found[position] = (row.number, builder.build(position, row).id)
    for earlier, later in pairs:
        (first, one), (second, other) = found[earlier], found[later]
        if one == other:
            raise SourceError(
                f"`{source.name}` has the id {one!r} twice, in {source.unit}s {first} and {second}",
                hint="make the ids unique, or leave the column out: rows are found by content",
            )
