import pytest

from wingbeat.errors import SourceError
from wingbeat.job import Selection, scan
from wingbeat.sources import open_source
from wingbeat.sources.building import RecordBuilder
from wingbeat.sources.duplicates import IN_MEMORY


def scanned(path, content, *, limit=None, sample=None, seed=0):
    """Write an input and scan it."""
    path.write_text(content)
    return scan(open_source(str(path)), RecordBuilder(), Selection(limit, sample, seed), None)


def test_what_a_scan_tells(tmp_path):
    """A scan counts rows and faults, names the first of these by line, and lists the columns in order."""
    found = scanned(tmp_path / "in.jsonl", '{"prompt":"a","x":1}\n\n{"prompt":""}\n{"y":1,"prompt":"bb"}\n{')
    assert (found.rows, found.remaining, found.faulty, found.columns) == (4, 4, 2, ("prompt", "x", "y"))
    assert [fault.number for fault in found.faults] == [3, 5]
    assert found.faults[0].reason == "column `prompt` is empty"


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_no_rows(tmp_path, content):
    """An input without rows is refused by name."""
    with pytest.raises(SourceError, match=r"in.jsonl` holds no rows"):
        scanned(tmp_path / "in.jsonl", content)


def test_no_good_row(tmp_path):
    """An input of which no row can be asked is refused with the first reason and its line."""
    with pytest.raises(SourceError, match=r"no row of .*; line 2 has no column `prompt`") as caught:
        scanned(tmp_path / "in.jsonl", '\n{"text":"a"}')
    assert "--template" in caught.value.hint


def test_identifiers_twice(tmp_path):
    """Two rows with one identifier are refused, both named by line; 1 and "1" are two identifiers."""
    with pytest.raises(SourceError, match=r"has the id 'x' twice, in lines 1 and 4"):
        scanned(tmp_path / "in.jsonl", '{"id":"x","prompt":"a"}\n\n{"prompt":"a"}\n{"id":"x","prompt":"b"}')
    assert scanned(tmp_path / "in.jsonl", '{"id":1,"prompt":"a"}\n{"id":"1","prompt":"a"}').rows == 2


@pytest.mark.slow
def test_identifiers_twice_in_a_large_input(tmp_path):
    """In an input too large for memory the two rows are named all the same."""
    lines = [f"{n},a" for n in range(IN_MEMORY + 100)]
    lines[IN_MEMORY + 50] = "7,b"
    with pytest.raises(SourceError, match=rf"has the id '7' twice, in rows 9 and {IN_MEMORY + 52}"):
        scanned(tmp_path / "in.csv", "id,prompt\n" + "\n".join(lines))


def test_a_sample(tmp_path):
    """A sample is the same for the same seed, of the size asked for, and at most the whole."""
    content = "\n".join(f"prompt {n}" for n in range(100))
    samples = []
    for seed in (1, 1, 2):
        (tmp_path / "in.txt").write_text(content)
        selection, source = Selection(sample=10, seed=seed), open_source(str(tmp_path / "in.txt"))
        selection.prepare(source)
        samples.append([position for position, _ in selection.rows(source)])
    assert samples[0] == samples[1] != samples[2]
    assert [len(sample) for sample in samples] == [10] * 3
    assert scanned(tmp_path / "in.txt", content, sample=1000).rows == 100


def test_a_limit(tmp_path):
    """A limit takes the first rows, and does not look at the others."""
    found = scanned(tmp_path / "in.jsonl", '{"prompt":"a"}\n{"prompt":"b"}\n{', limit=2)
    assert (found.rows, found.faulty) == (2, 0)
