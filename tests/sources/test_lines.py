"""JSON Lines and plain text, as files and as a pipe."""

import gzip
import io
import json
import subprocess
import sys

import pytest

from wingbeat.errors import SourceError
from wingbeat.sources import BadRow, Row, open_source
from wingbeat.sources.jsonl import JsonlSource
from wingbeat.sources.rows import MAX_ROW_BYTES


def read(path, content):
    """Write a file, open it as the command does, and return its rows."""
    path.write_bytes(content)
    return list(open_source(str(path)).rows())


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("last", [b"", b"\r\n", b"\n\n \n"])
@pytest.mark.parametrize("is_packed", [False, True])
def test_forms_of_lines(tmp_path, end, start, last, is_packed):
    """Line ends, a byte order mark, an unterminated last line, blank lines and gzip make no difference."""
    content = start + end.join([b'{"prompt":"a"}', b"", b'{"prompt":"\xf0\x9f\x90\xa6"}']) + last
    path = tmp_path / ("in.jsonl.gz" if is_packed else "in.jsonl")
    rows = read(path, gzip.compress(content) if is_packed else content)
    assert rows == [Row(1, {"prompt": "a"}), Row(3, {"prompt": "🐦"})]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "invalid JSON"),
        (b'{"a":1} {"a":2}', "invalid JSON"),
        (b'{"prompt":"caf\xe9"}', "not UTF-8: byte 0xe9 at position 14"),
        (b'{"prompt":"a\x00b"}', "holds a NUL byte at position 12"),
        (b'{"prompt":"\\ud83d"}', "invalid JSON"),
        (b'{"prompt":NaN}', "invalid JSON"),
        (b"[1,2]", "a JSON object is expected, not an array"),
        (b"7", "a JSON object is expected, not a number"),
        (b"7.5", "a JSON object is expected, not a number"),
        (b'"text"', "a JSON object is expected, not a string"),
        (b"null", "a JSON object is expected, not null"),
        (b"true", "a JSON object is expected, not a boolean"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid JSON: nested too deeply"),
    ],
    ids=range(13),
)
def test_bad_lines(tmp_path, line, reason):
    """A line that is no JSON object is bad in one short line; the lines around it are read."""
    first, bad, last = read(tmp_path / "in.jsonl", b'{"prompt":"a"}\n' + line + b'\n{"prompt":"b"}')
    assert (first, last) == (Row(1, {"prompt": "a"}), Row(3, {"prompt": "b"}))
    assert isinstance(bad, BadRow)
    assert bad.number == 2
    assert bad.reason.startswith(reason)
    assert len(bad.reason) < 200
    assert "\n" not in bad.reason


def test_large_numbers_are_kept(tmp_path):
    """An identifier of any number of digits is kept digit by digit."""
    assert read(tmp_path / "in.jsonl", b'{"id":123456789012345678901234567890}') == [
        Row(1, {"id": 123456789012345678901234567890})
    ]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_files_without_rows(tmp_path, content):
    """An empty file has no rows, and so has one of blank lines."""
    assert read(tmp_path / "in.jsonl", content) == []
    assert read(tmp_path / "in.txt", content) == []


@pytest.mark.parametrize("name", ["in.jsonl", "in.csv", "in.txt"])
def test_utf_16_is_refused(tmp_path, name):
    """A UTF-16 file is refused with the command that converts it."""
    with pytest.raises(SourceError, match="is UTF-16, not UTF-8") as caught:
        read(tmp_path / name, "prompt\nwhy\n".encode("utf-16"))
    assert "iconv -f UTF-16" in caught.value.hint


def test_packed_utf_16_is_told(tmp_path):
    """The rows of a packed UTF-16 file are bad, each saying that it is not UTF-8."""
    first, *_ = read(tmp_path / "in.txt.gz", gzip.compress("why\n".encode("utf-16")))
    assert first.reason.startswith("not UTF-8: byte 0xff")


@pytest.mark.parametrize("name", ["in.jsonl.gz", "in.csv.gz", "in.tsv.gz", "in.txt.gz"])
def test_torn_gzip(tmp_path, name):
    """A gzip file that breaks off is refused by name."""
    content = b"prompt\n" + b"".join(b'{"prompt":"%d"}\n' % (n * 7919) for n in range(2000))
    with pytest.raises(SourceError, match=rf"{name}` is torn") as caught:
        read(tmp_path / name, gzip.compress(content)[:-3000])
    assert "make it again" in caught.value.hint


def test_no_gzip_behind_the_name(tmp_path):
    """A plain file whose name ends in .gz is read as what it is."""
    assert read(tmp_path / "in.txt.gz", b"why\n") == [Row(1, {"prompt": "why", "text": "why"})]


def test_text_lines(tmp_path):
    """Each line of a text is a prompt, spaces included; one that is not UTF-8 is bad alone."""
    rows = read(tmp_path / "in.txt", b"  one \r\n\n\xff\n\xf0\x9f\x90\xa6")
    assert rows == [
        Row(1, {"prompt": "  one ", "text": "  one "}),
        BadRow(3, "not UTF-8: byte 0xff at position 0"),
        Row(4, {"prompt": "🐦", "text": "🐦"}),
    ]


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_pipe(is_packed):
    """A stream is read once, through gzip when it is packed."""
    content = b'\xef\xbb\xbf{"prompt":"a"}\n{"prompt":"b"}'
    stream = io.BufferedReader(io.BytesIO(gzip.compress(content) if is_packed else content))
    source = JsonlSource(stream=stream)
    assert [row.columns for row in source.rows()] == [{"prompt": "a"}, {"prompt": "b"}]
    assert not source.can_reread


def test_standard_input():
    """`-` reads JSON Lines from standard input."""
    code = "from wingbeat.sources import open_source; print([row.columns for row in open_source('-').rows()])"
    told = subprocess.run([sys.executable, "-c", code], input=b'{"prompt":"a"}\n', capture_output=True, timeout=30)
    assert told.stdout == b"[{'prompt': 'a'}]\n"


MEASURING = """
import json, resource, sys
from wingbeat.sources import open_source
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = [(type(row).__name__, row.number, getattr(row, "reason", "")) for row in open_source(sys.argv[1]).rows()]
print(json.dumps([rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["in.jsonl", "in.txt", "in.csv"])
def test_a_line_of_100_mb(tmp_path, name):
    """A line of 100 MB is one bad row, the next rows are read, and memory stays below what the line would take."""
    path = tmp_path / name
    good = b'{"prompt":"b"}\n'
    with path.open("wb") as file:
        file.write(b"prompt\n" if name == "in.csv" else good)
        for _ in range(100):
            file.write(b"x" * 2**20)
        file.write(b"\n" + (b"b\n" if name == "in.csv" else good))
    told = subprocess.run([sys.executable, "-c", MEASURING, str(path)], capture_output=True, timeout=60, check=True)
    rows, grown_mb = json.loads(told.stdout)
    assert rows[-2:] == [["BadRow", 2, "the row is longer than 32 MiB"], ["Row", 3, ""]]
    assert grown_mb < 90


@pytest.mark.slow
@pytest.mark.parametrize("more", [-1, 0])
def test_the_longest_line(tmp_path, more):
    """A line of exactly the longest length is read."""
    rows = read(tmp_path / "in.txt", b"x" * (MAX_ROW_BYTES + more) + b"\ny")
    assert [type(row) for row in rows] == [Row, Row]
