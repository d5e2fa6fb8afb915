import csv
import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from .conftest import Command

ROWS = [
    {"id": "a", "prompt": "Why is the sky blue?", "topic": "sky"},
    {"id": "b", "prompt": "Warum ist der Fluß grün?\nUnd tief?", "topic": "river, wide"},
    {"id": "c", "prompt": 'Who said "no"?', "topic": ""},
]
FIELDS = {
    "id",
    "index",
    "text",
    "finish_reason",
    "usage",
    "cost_usd",
    "latency_s",
    "attempts",
    "model",
    "error",
}


def write(name: str) -> None:
    """Write ROWS in the format that a file's name tells."""
    if name.endswith(".parquet"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), name)
        return
    open_text = gzip.open if name.endswith(".gz") else open
    with open_text(name, "wt", encoding="utf-8", newline="") as file:
        if ".csv" in name or ".tsv" in name:
            writer = csv.DictWriter(file, list(ROWS[0]), delimiter="\t" if ".tsv" in name else ",")
            writer.writeheader()
            writer.writerows(ROWS)
        else:
            file.writelines(json.dumps(row) + "\n" for row in ROWS)


def read(name: str) -> list[dict]:
    """Read an output file's rows."""
    if name.endswith(".parquet"):
        return pyarrow.parquet.read_table(name).to_pylist()
    with open(name, newline="") as file:
        if name.endswith((".csv", ".tsv")):
            return list(csv.DictReader(file, delimiter="\t" if name.endswith(".tsv") else ","))
        return [json.loads(line) for line in file]


INPUTS = ["in.jsonl", "in.ndjson", "in.csv", "in.tsv", "in.parquet", "in.jsonl.gz", "in.csv.gz"]


@pytest.mark.parametrize("name", INPUTS)
def test_every_input_format_is_answered(simulate: Command, name: str):
    """Each input format gives one row per input row, in the output's fields, found by its id."""
    write(name)
    said = simulate(name, "-o", "out.jsonl")
    assert said.code == 0
    rows = {row["id"]: row for row in read("out.jsonl")}
    assert rows.keys() == {"a", "b", "c"}
    for position, row_id in enumerate("abc"):
        row = rows[row_id]
        assert row.keys() == FIELDS
        assert row["index"] == position
        assert row["text"]
        assert row["model"] == "sim/gemini-2.5-flash"
        assert row["error"] is None
        assert row["usage"]["input_tokens"] > 0


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("name", ["out.jsonl", "out.ndjson", "out.csv", "out.tsv", "out.parquet"])
def test_every_output_format_holds_every_row(simulate: Command, name: str, ordered: bool):
    """Each output format holds one row per input row with the input's columns on request; `--ordered` sorts them."""
    write("in.jsonl")
    said = simulate("in.jsonl", "-o", name, "--keep-columns", *(["--ordered"] if ordered else []))
    assert said.code == 0
    rows = read(name)
    ids = [row["id"] for row in rows]
    assert sorted(ids) == ["a", "b", "c"]
    assert ids == ["a", "b", "c"] or not ordered
    by_id = {row["id"]: row for row in rows}
    assert by_id["b"]["topic"] == "river, wide"
    assert by_id["b"]["prompt"] == ROWS[1]["prompt"]
    assert all(row["text"] for row in rows)


def test_text_is_a_prompt_a_line(simulate: Command):
    """A text file gives one prompt a line; empty lines are passed over."""
    Path("in.txt").write_text("Why?\n\nWho was it?\n")
    assert simulate("in.txt", "-o", "out.jsonl").code == 0
    assert [row["index"] for row in sorted(read("out.jsonl"), key=lambda row: row["index"])] == [0, 1]


def test_a_prompt_in_quotes_can_be_repeated(simulate: Command):
    """A quoted prompt with `--repeat` is asked as often as said, however long it is, and again finds its answers."""
    prompt = "Why is it so? " * 100
    first = simulate(prompt, "-o", "out.jsonl", "--repeat", 3)
    second = simulate(prompt, "-o", "out.jsonl", "--repeat", 3)
    assert (first.code, second.code) == (0, 0)
    assert len(read("out.jsonl")) == 3
    assert "3 answered already" in second.err


def test_standard_output_holds_rows_only(simulate: Command):
    """With `-o -`, and without -o, standard output is the rows and nothing else."""
    write("in.jsonl")
    for arguments in (["-o", "-"], [], ["--ordered"]):
        said = simulate("in.jsonl", *arguments)
        assert said.code == 0
        assert sorted(json.loads(line)["id"] for line in said.out.splitlines()) == ["a", "b", "c"]
        assert "done" in said.err


def test_nothing_but_data_goes_to_standard_output(simulate: Command):
    """With an output file, standard output stays empty."""
    write("in.jsonl")
    assert simulate("in.jsonl", "-o", "out.jsonl").out == ""


def test_standard_input_is_json_lines(simulate: Command, monkeypatch: pytest.MonkeyPatch):
    """An input of `-` reads JSON Lines from standard input."""
    write("in.jsonl")
    with open("in.jsonl") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        said = simulate("-", "-o", "out.jsonl")
    assert said.code == 0
    assert {row["id"] for row in read("out.jsonl")} == {"a", "b", "c"}


def test_templates_read_any_columns(simulate: Command):
    """A template and a system text are rendered from columns, given as text or file, and shape the answers."""
    write("in.csv")
    Path("t.txt").write_text("Classify: {{ topic }}")
    outs = []
    for number, template in enumerate(["Classify: {{ topic }}", "t.txt"]):
        said = simulate("in.csv", "-o", f"{number}.jsonl", "--template", template, "--system", "On {{ topic }}")
        assert said.code == 0
        outs.append({row["id"]: row["text"] for row in read(f"{number}.jsonl")})
    assert outs[0] == outs[1]


def test_rows_bring_messages_and_options(simulate: Command):
    """Rows may bring `messages` or `contents` and generation options of their own."""
    rows = [
        {"messages": [{"role": "system", "content": "Brief."}, {"role": "user", "content": "Why?"}]},
        {"contents": [{"role": "user", "parts": [{"text": "Why not?"}]}], "max_output_tokens": 5},
    ]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert simulate("in.jsonl", "-o", "out.jsonl", "--temperature", 0).code == 0
    by_index = {row["index"]: row for row in read("out.jsonl")}
    assert by_index[1]["finish_reason"] == "MAX_TOKENS"
    assert by_index[0]["finish_reason"] == "STOP"


def test_limit_and_sample_choose_rows(simulate: Command):
    """`--limit` takes the first rows; `--sample` takes as many at random, the same ones each time."""
    Path("in.txt").write_text("".join(f"Question number {number}?\n" for number in range(40)))
    simulate("in.txt", "-o", "a.jsonl", "--limit", 3)
    assert sorted(row["index"] for row in read("a.jsonl")) == [0, 1, 2]
    for name in ("b", "c"):
        simulate("in.txt", "-o", f"{name}.jsonl", "--sample", 5, "--sample-seed", 7)
    chosen = [sorted(row["index"] for row in read(f"{name}.jsonl")) for name in ("b", "c")]
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 5
    assert chosen[0] != [0, 1, 2, 3, 4]
