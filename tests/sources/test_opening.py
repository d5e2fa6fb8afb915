import pytest

from wingbeat.errors import SourceError
from wingbeat.sources import Row, open_source


@pytest.mark.parametrize("argument", ["promts.jsonl", "in.jsnl", "data/in.csv", "in.parquet", "in.csv.gz", "README.md"])
def test_a_mistyped_file(tmp_path, monkeypatch, argument):
    """A name that can only be a file's, and is none, is called a missing file."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="there is no file `") as caught:
        open_source(argument)
    assert argument in str(caught.value)
    assert "space" in caught.value.hint


@pytest.mark.parametrize(
    "argument",
    [
        "Why do birds sing?",
        "What is in README.md",
        "either/or, which?\nsay",
        "hello",
        "Hello.",
        "什么是3.5版",
        "x" * 9999,
    ],
)
def test_a_prompt(tmp_path, monkeypatch, argument):
    """What is no file's name is a prompt, asked as often as told."""
    monkeypatch.chdir(tmp_path)
    assert list(open_source(argument, 2).rows()) == [
        Row(number, {"prompt": argument, "text": argument}) for number in (1, 2)
    ]


def test_an_unknown_ending(tmp_path):
    """A file of an unknown kind is refused with the endings that are known."""
    (tmp_path / "in.docx").touch()
    with pytest.raises(SourceError, match="can't tell the format") as caught:
        open_source(str(tmp_path / "in.docx"))
    assert ".jsonl" in caught.value.hint


@pytest.mark.parametrize("name", ["in.jsonl", "in.csv", "in.txt", "in.parquet", "in"])
def test_a_folder(tmp_path, name):
    """A folder in a file's place is refused."""
    (tmp_path / name).mkdir()
    with pytest.raises(SourceError, match="is a folder"):
        list(open_source(str(tmp_path / name)).rows())


@pytest.mark.parametrize("argument", ["", "  \n"])
def test_an_empty_prompt(argument):
    """An empty prompt is refused."""
    with pytest.raises(SourceError, match="is empty"):
        open_source(argument)


def test_repeat_is_for_prompts(tmp_path):
    """A file can't be repeated."""
    (tmp_path / "in.txt").write_text("why")
    with pytest.raises(SourceError, match="--repeat"):
        open_source(str(tmp_path / "in.txt"), 2)


def test_endings_in_capitals(tmp_path):
    """An ending counts in any case."""
    (tmp_path / "IN.TXT").write_text("why")
    assert list(open_source(str(tmp_path / "IN.TXT")).rows()) == [Row(1, {"prompt": "why", "text": "why"})]
