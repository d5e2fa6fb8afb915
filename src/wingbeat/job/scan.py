"""Read an input once before anything is sent: how many rows, how large, which of them are wrong or answered."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import msgspec

from wingbeat.engine.route import text_size
from wingbeat.errors import SourceError
from wingbeat.job.resuming import Bits, Resumption
from wingbeat.ledgers.estimate import raw_tokens
from wingbeat.model.record import Record
from wingbeat.sources.building import RecordBuilder
from wingbeat.sources.duplicates import DuplicateFinder
from wingbeat.sources.rows import BadRow, Row, Source

SHOWN_FAULTS = 20


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
        for position, row in enumerate(source.rows()):
            if self._limit is not None and position >= self._limit:
                return
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
        largest_tokens: Estimated input tokens of the largest row.
        columns: The input's columns, in order of appearance.
        done: Rows that have their outcome, by position.
    """

    rows: int = 0
    remaining: int = 0
    input_tokens: float = 0.0
    faulty: int = 0
    faults: list[Fault] = []
    largest_tokens: float = 0.0
    columns: tuple[str, ...] = ()
    done: Bits | None = None


def scan(source: Source, builder: RecordBuilder, selection: Selection, resumption: Resumption | None) -> Scan:
    """
    Read the whole input once.

    Raises:
        SourceError: It can't be read, an identifier stands twice, or no row of it can be asked.
    """
    result = Scan(faults=[], done=Bits())
    selection.prepare(source)
    columns: dict[str, None] = dict.fromkeys(source.columns or ())
    identifiers = DuplicateFinder()
    last_columns: object = None
    for position, row in selection.rows(source):
        record = builder.build(position, row)
        result.rows += 1
        if isinstance(row, Row) and row.columns.keys() != last_columns:
            last_columns = row.columns.keys()
            columns.update(dict.fromkeys(row.columns))
        if record.id is not None:
            earlier = identifiers.add(record.id, position)
            if earlier is not None:
                raise _twice(source, selection, earlier, position)
        if record.fault is not None:
            result.faulty += 1
            if len(result.faults) < SHOWN_FAULTS:
                result.faults.append(Fault(row.number, record.fault))
        if resumption is not None and resumption.claim(record):
            assert result.done is not None
            result.done.add(position)
            continue
        result.remaining += 1
        _measure(result, record)
    pair = identifiers.find()
    if pair is not None:
        raise _twice(source, selection, *pair)
    result.columns = tuple(columns)
    if not result.rows:
        raise SourceError(f"`{source.name}` holds no rows", hint="check that it is the right file")
    if result.faulty == result.rows:
        first = result.faults[0]
        raise SourceError(
            f"no row of `{source.name}` can be asked; {source.unit} {first.number} {first.reason}",
            hint="name the prompt's column `prompt`, or write --template 'Classify: {{ text }}'",
        )
    return result


def _measure(result: Scan, record: Record) -> None:
    if record.request is None:
        return
    tokens = max(1.0, raw_tokens(*text_size(record.request)))
    result.input_tokens += tokens
    result.largest_tokens = max(result.largest_tokens, tokens)


def _twice(source: Source, selection: Selection, earlier: int, later: int) -> SourceError:
    numbers: list[int] = []
    shown = ""
    for position, row in selection.rows(source):
        if position in (earlier, later) and isinstance(row, Row):
            numbers.append(row.number)
            shown = repr(row.columns.get("id"))
    where = " and ".join(str(number) for number in numbers)
    return SourceError(
        f"`{source.name}` has the id {shown} twice, in {source.unit}s {where}",
        hint="make the ids unique, or leave the column out: rows are found by content",
    )
