import io
import json
import sqlite3
from pathlib import Path

import pytest

from wingbeat.journal import Journal

from .conftest import Command

PROMPTS = [f"What is special about the number {number}?" for number in range(12)]


def write(prompts: list[str], name: str = "in.jsonl") -> None:
    """Write an input file."""
    Path(name).write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))


def rows(name: str = "out.jsonl") -> list[dict]:
    """Read the output."""
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def sent(said_err: str) -> int:
    """Return how many requests the run's ``end`` event counts."""
    return json.loads(said_err.splitlines()[-1])["sent"]


def test_the_same_command_again_asks_nothing(simulate: Command):
    """A finished run sends no request when it is run again, and its output stays as it is."""
    write(PROMPTS)
    simulate("in.jsonl", "-o", "out.jsonl")
    before = Path("out.jsonl").read_bytes()
    again = simulate("in.jsonl", "-o", "out.jsonl", "--json")
    assert again.code == 0
    assert sent(again.err) == 0
    assert Path("out.jsonl").read_bytes() == before


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.parquet"])
def test_a_lost_output_is_written_again(simulate: Command, name: str):
    """An output that was deleted or damaged is made whole from the journal without a request."""
    write(PROMPTS)
    simulate("in.jsonl", "-o", name, "--ordered")
    whole = Path(name).read_bytes()
    for damage in (lambda: Path(name).unlink(), lambda: Path(name).write_bytes(whole[:50])):
        damage()
        said = simulate("in.jsonl", "-o", name, "--ordered", "--json")
        assert (said.code, sent(said.err)) == (0, 0)
        assert Path(name).read_bytes() == whole


def test_rows_are_found_by_content(simulate: Command):
    """Rows added are asked, rows removed leave the output, rows moved keep their answer with their new position."""
    write(PROMPTS[:10])
    simulate("in.jsonl", "-o", "out.jsonl")
    before = {row["index"]: row["text"] for row in rows()}
    now = [PROMPTS[11], *reversed(PROMPTS[3:10])]
    write(now)
    said = simulate("in.jsonl", "-o", "out.jsonl", "--json")
    assert (said.code, sent(said.err)) == (0, 1)
    after = {row["index"]: row["text"] for row in rows()}
    assert sorted(after) == list(range(8))
    assert [after[position] for position in range(1, 8)] == [before[position] for position in range(9, 2, -1)]


def test_equal_rows_are_each_asked_once(simulate: Command):
    """Rows with the same content have an answer each, and keep it."""
    write(["Why?"] * 3)
    simulate("in.jsonl", "-o", "out.jsonl")
    write(["Why?"] * 5)
    said = simulate("in.jsonl", "-o", "out.jsonl", "--json")
    assert sent(said.err) == 2
    assert sorted(row["index"] for row in rows()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--model", "sim/gemini-2.5-pro"), "the model was `sim/gemini-2.5-flash`, now `sim/gemini-2.5-pro`"),
        (("--temperature", "0.5"), "temperature was not set, now 0.5"),
        (("--system", "Be brief."), "the system was not set, now 'Be brief.'"),
        (("--template", "Say: {{ prompt }}"), "the template was not set, now 'Say: {{ prompt }}'"),
        (("--keep-columns",), "--keep-columns was not given"),
    ],
)
def test_a_changed_run_is_refused(simulate: Command, option: tuple[str, ...], told: str):
    """Other options or another model on the same output are refused with what changed, and nothing is touched."""
    write(PROMPTS[:2])
    simulate("in.jsonl", "-o", "out.jsonl")
    before = Path("out.jsonl").read_bytes()
    said = simulate("in.jsonl", "-o", "out.jsonl", *option)
    assert said.code == 2
    assert told in said.err
    assert "--overwrite" in said.err
    assert Path("out.jsonl").read_bytes() == before


def test_failed_rows_are_asked_again_on_request_only(simulate: Command):
    """A failed row stays failed until `--retry-failed`; then it alone is asked, and its failure is gone."""
    write(PROMPTS)
    first = simulate("in.jsonl", "-o", "out.jsonl", "--max-attempts", 1, "--simulator", "latency=0,fault.garbage=0.4")
    assert first.code == 1
    assert first.err.count("--retry-failed") == 1
    failed = [row["index"] for row in rows() if row["error"]]
    assert 0 < len(failed) < 12
    again = simulate("in.jsonl", "-o", "out.jsonl", "--json")
    assert sent(again.err) == 0
    third = simulate("in.jsonl", "-o", "out.jsonl", "--json", "--retry-failed")
    assert (third.code, sent(third.err)) == (0, len(failed))
    assert sorted(row["index"] for row in rows()) == list(range(12))
    assert not any(row["error"] for row in rows())


def test_the_hint_names_a_flag_once(simulate: Command):
    """The next command that is shown holds `--retry-failed` once, and never `--overwrite`."""
    write(PROMPTS)
    said = simulate(
        *("in.jsonl", "-o", "out.jsonl", "--retry-failed", "--overwrite", "--max-attempts", 1),
        *("--simulator", "latency=0,fault.garbage=1"),
    )
    hint = next(line for line in said.err.splitlines() if line.startswith("hint: "))
    assert hint.count("--retry-failed") == 1
    assert "--overwrite" not in hint


def test_overwrite_keeps_the_old_as_bak(simulate: Command):
    """`--overwrite` starts over and keeps the old output and journal whole."""
    write(PROMPTS[:3])
    simulate("in.jsonl", "-o", "out.jsonl")
    before = Path("out.jsonl").read_bytes()
    said = simulate("in.jsonl", "-o", "out.jsonl", "--overwrite", "--temperature", 1, "--json")
    assert (said.code, sent(said.err)) == (0, 3)
    assert Path("out.jsonl.bak").read_bytes() == before
    with Journal(Path("out.jsonl.journal.bak"), read_only=True) as kept:
        assert kept.count() == 3


def test_a_refused_overwrite_moves_nothing(simulate: Command):
    """`--overwrite` moves the old output away only when the new run begins."""
    write(PROMPTS[:3])
    simulate("in.jsonl", "-o", "out.jsonl")
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    write(["Why?", "Why?"], "new.jsonl")
    Path("new.jsonl").write_text('{"id": 1, "prompt": "Why?"}\n' * 2)
    for extra in ([], ["--dry-run"], ["--check"]):
        assert simulate("new.jsonl", "-o", "out.jsonl", "--overwrite", *extra).code == 2
    for extra in (["--dry-run"], ["--check"]):
        assert simulate("in.jsonl", "-o", "out.jsonl", "--overwrite", *extra).code == 0
    assert {path.name: path.read_bytes() for path in Path().iterdir() if path.name != "new.jsonl"} == before


def test_a_newer_journal_is_left_alone(simulate: Command):
    """A journal of a newer wingbeat is refused with exit code 2 and not changed."""
    write(PROMPTS[:2])
    simulate("in.jsonl", "-o", "out.jsonl")
    journal = sqlite3.connect("out.jsonl.journal")
    journal.execute("pragma user_version = 99")
    journal.close()
    before = Path("out.jsonl.journal").read_bytes()
    for verb in (("run", "in.jsonl", "-o", "out.jsonl"), ("status", "out.jsonl")):
        said = simulate(*verb[1:]) if verb[0] == "run" else None
        if said is not None:
            assert said.code == 2
            assert "written by a newer wingbeat (journal version 99" in said.err
    assert Path("out.jsonl.journal").read_bytes() == before


def test_a_second_process_is_refused(simulate: Command):
    """While one process writes an output, another run on it ends with exit code 2 and touches nothing."""
    write(PROMPTS[:2])
    with Journal(Path("out.jsonl.journal")):
        for extra in ([], ["--overwrite"]):
            said = simulate("in.jsonl", "-o", "out.jsonl", *extra)
            assert said.code == 2
            assert "another process is writing `out.jsonl.journal`" in said.err


def test_output_to_standard_output_can_have_a_journal(simulate: Command):
    """With `--journal`, rows on standard output are resumed too: all are written, none is asked again."""
    write(PROMPTS)
    first = simulate("in.jsonl", "--limit", 5, "--journal", "my.journal")
    second = simulate("in.jsonl", "--journal", "my.journal", "--json")
    assert len(first.out.splitlines()) == 5
    assert len(second.out.splitlines()) == 12
    assert sent(second.err) == 7


def test_a_pipe_s_output_holds_the_rows_of_its_last_reading(simulate: Command, monkeypatch: pytest.MonkeyPatch):
    """Other rows on the pipe leave one row each, with its own index; rows that are gone leave the output."""

    def ask(*prompts: str, options: tuple[str, ...] = ()) -> None:
        text = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert simulate("-", "-o", "out.jsonl", *options).code == 0

    ask("Why?", "Who?", "What?")
    ask("When?", "Who?")
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert sorted(row["index"] for row in rows) == [0, 1]
    ask("Why?", "Who?", "What?", "When?")
    assert len(Path("out.jsonl").read_text().splitlines()) == 4


def test_failures_stay_failures_under_the_same_options(simulate: Command):
    """A run of nothing but failures, given again as it was, asks nothing; only `--retry-failed` asks them again."""
    Path("in.txt").write_text("Why?\nWho?\n")
    wrong = ("in.txt", "-o", "out.jsonl", "--temperature", "5")
    assert simulate(*wrong).code == 1
    assert "0 to ask" in simulate(*wrong).err
    plan = json.loads(simulate(*wrong, "--retry-failed", "--dry-run", "--json").err.splitlines()[0])
    assert plan["to_ask"] == 2
