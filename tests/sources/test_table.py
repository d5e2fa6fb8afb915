import gzip

import pytest

from wingbeat.errors import SourceError
from wingbeat.sources import BadRow, Row, open_source


def read(path, content):
    """Write a table, open it, and return its rows."""
    path.write_bytes(content)
    return list(open_source(str(path)).rows())


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize(("name", "comma"), [("in.csv", b","), ("in.tsv", b"\t")])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_forms_of_tables(tmp_path, is_packed, name, comma, end):
    """Line ends, a byte order mark and gzip make no difference; quoted fields span lines."""
    content = b'\xef\xbb\xbfid,prompt\n1,one\n2,"a ""b""\n\nc"\n3,'.replace(b",", comma).replace(b"\n", end)
    path = tmp_path / (name + ".gz" if is_packed else name)
    assert read(path, gzip.compress(content) if is_packed else content) == [
        Row(2, {"id": "1", "prompt": "one"}),
        Row(3, {"id": "2", "prompt": 'a "b"\n\nc'}),
        Row(4, {"id": "3", "prompt": ""}),
    ]


def test_ragged_rows(tmp_path):
    """A row with too few or too many fields is bad alone, and blank rows are passed over but counted."""
    assert read(tmp_path / "in.csv", b"id,prompt\n1\n\n2,b,c\n3,d\n") == [
        BadRow(2, "1 fields where the header has 2"),
        BadRow(4, "3 fields where the header has 2"),
        Row(5, {"id": "3", "prompt": "d"}),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no header row"),
        (b"\n", "has no header row"),
        (b"id,prompt,id\n1,a,2\n", "names the column `id` twice"),
        (b"gr\xf6\xdfe,prompt\n1,a\n", "is not UTF-8"),
        (b'"id,prompt\n1,a\n', "opens a quote that is never closed"),
        (b"id,prompt\r1,a\r", "carriage return"),
    ],
)
def test_bad_headers(tmp_path, content, message):
    """A table without a usable header is refused by name, saying what is wrong."""
    with pytest.raises(SourceError, match=message) as caught:
        read(tmp_path / "in.csv", content)
    assert "in.csv" in str(caught.value)


def test_header_only(tmp_path):
    """A table of only a header has columns and no rows."""
    (tmp_path / "in.csv").write_bytes(b"id,prompt")
    source = open_source(str(tmp_path / "in.csv"))
    assert source.columns == ("id", "prompt")
    assert list(source.rows()) == []


@pytest.mark.parametrize("byte", [b"\xff", b"\xe9"])
def test_bytes_that_are_no_text(tmp_path, byte):
    """A field that is not UTF-8 names its column, even when it is all that the row holds."""
    assert read(tmp_path / "in.csv", b"prompt\n" + byte + b"\nb\n") == [
        BadRow(2, "column `prompt` is not UTF-8"),
        Row(3, {"prompt": "b"}),
    ]


def test_an_open_quote_is_told(tmp_path):
    """A quote that is never closed makes a bad row, rather than one prompt of all the rows after it."""
    rows = read(tmp_path / "in.csv", b'id,prompt\n1,a\n2,"b\n3,c\n4,d\n')
    assert rows == [Row(2, {"id": "1", "prompt": "a"}), BadRow(3, "opens a quote that is never closed")]


def test_text_after_a_quote_is_told(tmp_path):
    """A field that begins with a quoted word is a bad row, rather than a prompt without its quotes."""
    rows = read(tmp_path / "in.tsv", b'id\tprompt\n1\t"Hello" she said\n2\tsaid "Hello"\n')
    assert rows == [
        BadRow(2, "has text after a closing quote: quotes inside a quoted field must be doubled"),
        Row(3, {"id": "2", "prompt": 'said "Hello"'}),
    ]
