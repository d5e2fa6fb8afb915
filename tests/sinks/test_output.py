import io
import json
import os

import pyarrow.parquet
import pytest

from wingbeat.errors import ConfigurationError, JournalError
from wingbeat.journal import Journal
from wingbeat.journal.store import Entry
from wingbeat.sinks import open_sink
from wingbeat.sinks.formats import CsvFormat, JsonlFormat
from wingbeat.sinks.opening import check_output
from wingbeat.sinks.output import Stream, replace


def entry(position, **columns):
    """Return the outcome of a position."""
    line = json.dumps({"id": None, "index": position, **columns, "text": "t"}).encode()
    return Entry(b"%016d" % position, position, True, line)


@pytest.fixture
def journal(tmp_path):
    """Return a new journal."""
    with Journal(tmp_path / "journal") as journal:
        yield journal


def add(journal, sink, positions):
    """Commit a group and show it, as a run does."""
    group = [entry(position) for position in positions]
    seq = journal.add(group, output=journal.output_mark())
    return sink.append([each.line for each in group], seq)


def indexes(path):
    """Return the positions that stand in an output, in order."""
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path)["index"].to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line)["index"] for line in path.read_text().splitlines()]
    return [int(line.split("," if path.suffix == ".csv" else "\t")[1]) for line in path.read_text().splitlines()[1:]]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
@pytest.mark.parametrize("ordered", [False, True])
def test_a_run_over_two_starts(tmp_path, journal, suffix, ordered):
    """Over two runs every row stands in the output once: as it came, or in the input's order when asked for."""
    path = tmp_path / f"out.{suffix}"
    for positions in ([3, 1], [0, 2]):
        sink = open_sink(path, journal, columns=(), ordered=ordered)
        sink.resume()
        add(journal, sink, positions)
        sink.finish()
    assert indexes(path) == ([0, 1, 2, 3] if ordered else [3, 1, 0, 2])
    assert sorted(each.name for each in tmp_path.iterdir() if each.suffix == ".part") == []


@pytest.mark.parametrize("ordered", [False, True])
def test_rows_that_left_the_input(tmp_path, journal, ordered):
    """A row that the input no longer holds does not stand in the output, nor in the order."""
    path = tmp_path / "out.jsonl"
    journal.add([entry(0), entry(1), entry(2)])
    journal.move([(1, -1), (2, 1), (3, 0)])
    sink = open_sink(path, journal, columns=(), ordered=ordered)
    sink.resume()
    sink.finish()
    assert indexes(path) == ([0, 1] if ordered else [1, 0])


def test_a_table_with_other_columns_is_built_anew(tmp_path, journal):
    """When the input has grown a column, the table gets a new header over all rows, not longer rows below the old."""
    path = tmp_path / "out.csv"
    for position, columns in enumerate([("a",), ("a", "b")]):
        sink = open_sink(path, journal, columns=columns, ordered=False)
        sink.resume()
        row = entry(position, a=1, b=2)
        sink.append([row.line], journal.add([row], output=journal.output_mark()))
        sink.finish()
    lines = path.read_text().splitlines()
    assert lines[0].startswith("id,index,a,b,text")
    assert [line.split(",")[:4] for line in lines[1:]] == [["", "0", "1", "2"], ["", "1", "1", "2"]]


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("is_mended", [True, False])
def test_rows_that_could_not_be_appended(tmp_path, journal, suffix, is_mended):
    """Committed rows that the output could not take are not forgotten: the end of the run or the next writes them."""
    path = tmp_path / f"out.{suffix}"
    sink = open_sink(path, journal, columns=(), ordered=False)
    sink.resume()
    add(journal, sink, [0])
    path.rename(tmp_path / "away")
    path.mkdir()
    with pytest.raises(JournalError, match="can't write") as caught:
        add(journal, sink, [1])
    assert "kept in the journal" in caught.value.hint
    if is_mended:
        path.rmdir()
        (tmp_path / "away").rename(path)
        sink.finish()
        assert indexes(path) == [0, 1]
    else:
        with pytest.raises(JournalError):
            sink.finish()
        path.rmdir()
        (tmp_path / "away").rename(path)
    sink = open_sink(path, journal, columns=(), ordered=False)
    sink.resume()
    assert indexes(path) == [0, 1]


def test_an_output_that_is_a_link(tmp_path, journal):
    """An output that is a link stays one; the file it names gets the rows."""
    (tmp_path / "far").mkdir()
    (tmp_path / "out.jsonl").symlink_to(tmp_path / "far" / "out.jsonl")
    journal.add([entry(0)])
    sink = open_sink(tmp_path / "out.jsonl", journal, columns=(), ordered=False)
    sink.resume()
    sink.finish()
    assert (tmp_path / "out.jsonl").is_symlink()
    assert indexes(tmp_path / "far" / "out.jsonl") == [0]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), ValueError("bad value"), KeyboardInterrupt()]
)
def test_a_failed_replacement(tmp_path, error):
    """A replacement that fails, however it does, leaves the old file and nothing beside it."""
    path = tmp_path / "out.jsonl"
    path.write_text("old")

    def write(part):
        part.write_text("half")
        raise error

    with pytest.raises((JournalError, ValueError, KeyboardInterrupt)) as caught:
        replace(path, write)
    assert str(error.args[-1] if error.args else "") in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("ordered", [False, True])
def test_a_stream(journal, ordered):
    """A stream gets each row once, with one header, earlier runs' rows first; resuming again adds nothing."""
    journal.add([entry(2)])
    stream = io.BytesIO()
    sink = Stream(stream, CsvFormat(",", []), journal, ordered=ordered)
    sink.resume()
    add(journal, sink, [1])
    add(journal, sink, [0])
    sink.resume()
    sink.finish()
    lines = stream.getvalue().decode().splitlines()
    assert [line.split(",")[1] for line in lines] == ["index", *("012" if ordered else "210")]


def test_a_stream_of_a_new_run(journal):
    """A stream that began with no rows shows none of them twice when resumed at the end."""
    stream = io.BytesIO()
    sink = Stream(stream, JsonlFormat(), journal, ordered=False)
    sink.resume()
    add(journal, sink, [0])
    sink.resume()
    sink.finish()
    assert stream.getvalue().count(b"\n") == 1


def test_a_stream_that_is_closed(journal):
    """A reader that goes away is no fault of the journal: the command ends as other tools do."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb", buffering=0) as stream:
        sink = Stream(stream, JsonlFormat(), journal, ordered=False)
        with pytest.raises(BrokenPipeError):
            add(journal, sink, [0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.xlsx", "can't tell the format"),
        ("out", "can't tell the format"),
        ("nowhere/out.csv", "there is no folder"),
        ("folder.csv", "is a folder"),
    ],
)
def test_outputs_that_can_not_be(tmp_path, name, message):
    """An output of an unknown kind, in no folder, or a folder itself is refused before anything is asked."""
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ConfigurationError, match=message) as caught:
        check_output(tmp_path / name)
    assert caught.value.hint
