import csv
import io
import json

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.job.job import output_line
from wingbeat.model.answer import ErrorDetail, Outcome, Usage
from wingbeat.sinks.formats import (
    OWN_COLUMNS,
    RESERVED,
    CsvFormat,
    JsonlFormat,
    carried_name,
    flat_columns,
    write_parquet,
)

NASTY = [
    "plain",
    'say "so", twice\tor\nmore\r\nlines',
    "cr\ralone",
    "🐦 ∑ ﷽",
    " spaced ",
    "=1+1",
    "'",
    '"',
    "\u2028",
    None,
]


def outcome(position, text, /, **columns):
    """Return an answered outcome."""
    usage = Usage(input_tokens=3, output_tokens=2, thinking_tokens=1)
    return Outcome(
        f"id-{position}", position, text, "STOP", usage, 0.25, 1.5, 1, "gemini/x", None, columns=columns or None
    )


def failed(position):
    """Return a failed outcome."""
    error = ErrorDetail("timeout", 'no "reply"\nin time')
    return Outcome(None, position, None, None, None, None, None, 4, "gemini/x", error)


OUTCOMES = [*(outcome(n, text, label=text) for n, text in enumerate(NASTY)), failed(len(NASTY))]
LINES = [output_line(each) for each in OUTCOMES]


def test_jsonl_reads_back():
    """Each line of JSON Lines is one outcome, whatever its text."""
    content = b"".join(map(JsonlFormat().render, LINES)).decode()
    rows = [json.loads(line) for line in content.rstrip("\n").split("\n")]
    assert [row["text"] for row in rows] == [*NASTY, None]
    assert rows[0]["usage"]["output_tokens"] == 2
    assert rows[-1]["error"] == {"kind": "timeout", "message": 'no "reply"\nin time'}
    assert rows[-1]["id"] is None


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_tables_read_back(delimiter):
    """The csv module reads the same texts back, line ends of every kind included."""
    form = CsvFormat(delimiter, ["id", "label"])
    content = form.header + b"".join(map(form.render, LINES))
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline=""), delimiter=delimiter, strict=True))
    assert list(rows[0]) == ["id", "index", "label", *OWN_COLUMNS[2:]]
    assert [row["text"] for row in rows] == [text or "" for text in [*NASTY, None]]
    assert [row["label"] for row in rows] == [text or "" for text in [*NASTY, None]]
    assert [row["index"] for row in rows] == [str(each.index) for each in OUTCOMES]
    assert (rows[0]["cost_usd"], rows[0]["thinking_tokens"], rows[0]["error_kind"]) == ("0.25", "1", "")
    assert (rows[-1]["error_kind"], rows[-1]["error_message"]) == ("timeout", 'no "reply"\nin time')


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_any_text_reads_back(texts):
    """Any text at all comes back from a CSV as it was."""
    form = CsvFormat(",", [])
    content = form.header + b"".join(form.render(output_line(outcome(n, text))) for n, text in enumerate(texts))
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert [row["text"] for row in rows] == texts


def test_parquet_reads_back(tmp_path):
    """Parquet holds texts and numbers as such, and nothing where there is nothing."""
    write_parquet(tmp_path / "out.parquet", LINES, ["id", "label"])
    rows = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["text"] for row in rows] == [*NASTY, None]
    assert [row["label"] for row in rows] == [*NASTY, None]
    assert [row["index"] for row in rows] == list(range(len(LINES)))
    assert (rows[0]["cost_usd"], rows[0]["output_tokens"], rows[0]["error_kind"]) == (0.25, 2, None)
    assert (rows[-1]["error_kind"], rows[-1]["input_tokens"], rows[-1]["id"]) == ("timeout", None, None)


def test_parquet_of_many_and_of_no_rows(tmp_path):
    """Parquet takes more rows than are written at a time, and none."""
    for count in (0, 1024, 2500):
        write_parquet(tmp_path / "out.parquet", (output_line(outcome(n, "t")) for n in range(count)), [])
        table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
        assert (table.num_rows, table.column_names) == (count, list(OWN_COLUMNS))


@pytest.mark.parametrize("value", [1, 1.5, True, [1, "a"], {"a": None}, "text", None])
def test_carried_values(tmp_path, value):
    """An input column of any kind is carried: as itself in JSON Lines, as text in tables."""
    line = output_line(outcome(0, "t", label=value))
    assert json.loads(line)["label"] == value
    wanted = value if isinstance(value, str | None) else json.dumps(value, separators=(",", ":"))
    write_parquet(tmp_path / "out.parquet", [line], ["label"])
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()[0]["label"] == wanted
    form = CsvFormat(",", ["label"])
    rows = list(csv.DictReader(io.StringIO((form.header + form.render(line)).decode(), newline="")))
    assert rows[0]["label"] == (wanted or "")


@given(
    st.sets(
        st.sampled_from([*RESERVED, "prompt", "tokens"]).flatmap(
            lambda name: st.sampled_from([name, f"input_{name}", f"input_input_{name}"])
        )
    )
)
def test_carried_names_never_collide(names):
    """Input columns named like ours get a prefix, and no two columns of the output have one name."""
    columns = flat_columns(sorted(names))
    assert len(columns) == len(set(columns))
    assert {"prompt": "prompt", "text": "input_text"}.items() <= {
        n: carried_name(n) for n in ("prompt", "text")
    }.items()


def test_colliding_columns_are_all_carried():
    """Columns called like ours, and like what ours would be renamed to, all keep their values."""
    row = json.loads(output_line(outcome(0, "t", text="a", input_text="b", error="c", usage="d", index="e")))
    assert (row["text"], row["index"]) == ("t", 0)
    carried = ("input_text", "input_input_text", "input_error", "input_usage", "input_index")
    assert [row[name] for name in carried] == ["a", "b", "c", "d", "e"]
