import json
from pathlib import Path

from .conftest import Command


def test_status_tells_how_far_a_run_is(simulate: Command, command: Command):
    """`wingbeat status` counts answered and failed rows, for the output and for its journal."""
    Path("in.txt").write_text("Why?\nWho?\nWhen?\n")
    simulate("in.txt", "-o", "out.jsonl", "--limit", 2)
    for name in ("out.jsonl", "out.jsonl.journal"):
        said = command("status", name)
        assert said.code == 0
        assert "2 of 2 rows (100.0%): 2 answered, 0 failed" in said.out
        assert "sim/gemini-2.5-flash" in said.out
        assert "not running" in said.out


def test_status_is_json_on_request(simulate: Command, command: Command):
    """`--json` prints one object and nothing else."""
    Path("in.txt").write_text("Why?\nWho?\n")
    simulate("in.txt", "-o", "out.jsonl", "--max-attempts", 1, "--simulator", "latency=0,fault.garbage=1")
    said = command("status", "out.jsonl", "--json")
    facts = json.loads(said.out)
    assert (facts["rows"], facts["done"], facts["answered"], facts["failed"]) == (2, 2, 0, 2)
    assert facts["failures"] == {"malformed_reply": 2}
    assert facts["running"] is False
    assert said.err == ""


def test_status_changes_nothing(simulate: Command, command: Command):
    """Looking at a run leaves its output and journal as they are."""
    Path("in.txt").write_text("Why?\n")
    simulate("in.txt", "-o", "out.jsonl")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    command("status", "out.jsonl")
    assert {path: path.read_bytes() for path in before} == before


def test_status_of_no_run_is_one_clear_line(command: Command):
    """What is no journal is named with a hint and exit code 2."""
    Path("folder.journal").mkdir()
    Path("text.journal").write_text("hello")
    Path("empty.journal").touch()
    for name in ("nothing", "", ".", "folder.journal", "text.journal", "empty.journal", "x" * 300):
        said = command("status", name)
        assert said.code == 2, name
        assert said.err.startswith("error: ")
        assert "hint: " in said.err
        assert said.out == ""
