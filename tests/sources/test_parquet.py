import datetime

import pyarrow
import pyarrow.parquet
import pytest

from wingbeat.errors import SourceError
from wingbeat.sources import BadRow, Row, open_source


def test_rows_of_all_batches(tmp_path):
    """All rows are read, across batches, with their Python values."""
    path = tmp_path / "in.parquet"
    table = pyarrow.table({"id": list(range(3000)), "prompt": ["a\n🐦"] * 2999 + [None]})
    pyarrow.parquet.write_table(table, path, row_group_size=700)
    rows = list(open_source(str(path)).rows())
    assert [row.number for row in rows] == list(range(1, 3001))
    assert rows[0] == Row(1, {"id": 0, "prompt": "a\n🐦"})
    assert rows[-1] == Row(3000, {"id": 2999, "prompt": None})


@pytest.mark.parametrize("content", [b"", b"PAR1", b"id,prompt\n1,a\n", b"PAR1" + bytes(100) + b"PAR1"])
def test_no_parquet_file(tmp_path, content):
    """A file that is no Parquet is refused by name, in one line."""
    path = tmp_path / "in.parquet"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"in.parquet` is not a Parquet file") as caught:
        open_source(str(path))
    assert "\n" not in str(caught.value)


def test_broken_pages(tmp_path):
    """Damage inside the file is a SourceError too."""
    path = tmp_path / "in.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"prompt": [str(n) for n in range(5000)]}), path)
    content = bytearray(path.read_bytes())
    content[100:2000] = b"\xa5" * 1900
    path.write_bytes(content)
    with pytest.raises(SourceError, match="is broken after row 0"):
        list(open_source(str(path)).rows())


def test_values_that_python_has_not(tmp_path):
    """A value that can't be read (bad UTF-8, a nanosecond, a far year) spoils its own row only."""
    path = tmp_path / "in.parquet"
    texts = pyarrow.array([b"a", b"\xff", b"c", b"d"], pyarrow.binary()).view(pyarrow.string())
    times = pyarrow.array([0, 0, 10**15, 86_400], pyarrow.int64()).cast(pyarrow.timestamp("s"))
    pyarrow.parquet.write_table(pyarrow.table({"prompt": texts, "at": times}), path)
    rows = list(open_source(str(path)).rows())
    assert [type(row) for row in rows] == [Row, BadRow, BadRow, Row]
    assert rows[3].columns == {"prompt": "d", "at": datetime.datetime(1970, 1, 2)}
    assert all(row.reason.startswith("can't be read: ") for row in rows[1:3])


def test_a_column_twice(tmp_path):
    """Two columns of one name are refused, rather than one of them dropped."""
    path = tmp_path / "in.parquet"
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["prompt", "prompt"])
    pyarrow.parquet.write_table(table, path)
    with pytest.raises(SourceError, match="names the column `prompt` twice"):
        open_source(str(path))
