import json
from pathlib import Path

import pytest

from .conftest import Command


def events(text: str) -> list[dict]:
    """Read events, each with its kind, version and time."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all(event.keys() >= {"event", "version", "time"} for event in found)
    return found


def test_json_begins_with_the_plan_and_ends_with_the_end(simulate: Command):
    """With `--json` standard error is NDJSON: the plan first, the end last, and rows alone on standard output."""
    Path("in.txt").write_text("Why?\nWho?\n")
    said = simulate("in.txt", "--json")
    found = events(said.err)
    assert (found[0]["event"], found[0]["rows"], found[0]["to_ask"]) == ("plan", 2, 2)
    assert found[0]["cost_usd"] > 0
    assert (found[-1]["event"], found[-1]["exit_code"], found[-1]["answered"]) == ("end", 0, 2)
    assert len(said.out.splitlines()) == 2


@pytest.mark.slow
def test_json_tells_progress(simulate: Command):
    """A run of more than a second tells its progress."""
    Path("in.txt").write_text("Why?\nWho?\n")
    said = simulate("in.txt", "-o", "out.jsonl", "--json", "--simulator", "latency=1.4")
    progress = [event for event in events(said.err) if event["event"] == "progress"]
    assert progress
    assert (progress[0]["rows"], progress[0]["in_flight"], progress[0]["done"]) == (2, 2, 0)
    assert progress[0]["waiting_for"] == "replies"


def test_json_tells_why_a_run_stopped(simulate: Command):
    """The end event of a stopped run holds exit code 3, the error and the hint."""
    Path("in.txt").write_text("Why?\nWho?\n")
    said = simulate("in.txt", "-o", "out.jsonl", "--json", "--simulator", "latency=0,rpd=1")
    end = events(said.err)[-1]
    assert (said.code, end["exit_code"]) == (3, 3)
    assert "the day's quota is used up" in end["error"]
    assert "resets at midnight Pacific time" in end["hint"]


def test_json_holds_errors_of_usage_too(simulate: Command):
    """What `--json` writes before an error still is a whole line each."""
    Path("in.txt").write_text("Why?\n")
    said = simulate("in.txt", "-o", "out.jsonl", "--json", "--max-cost", "1e-9")
    assert said.code == 3
    assert events(said.err)[-1]["event"] == "end"


def test_quiet_says_nothing(simulate: Command):
    """With `--quiet` a good run writes nothing on standard error."""
    Path("in.txt").write_text("Why?\n")
    said = simulate("in.txt", "-o", "out.jsonl", "--quiet")
    assert (said.code, said.out, said.err) == (0, "", "")


def test_the_plan_stands_before_the_summary(simulate: Command):
    """A run says its plan, that it is simulated, its summary and the next command, in this order."""
    Path("in.txt").write_text("Why?\n")
    said = simulate("in.txt", "-o", "out.jsonl")
    marks = [said.err.index(text) for text in ("1 row", "simulated", "1 of 1 rows", "hint: look at the answers")]
    assert marks == sorted(marks)


@pytest.mark.parametrize(
    ("simulator", "error", "hint"),
    [
        ("rpm=0", "refuses this run", "another model"),
        ("rpd=2", "the day's quota is used up", "resets at midnight Pacific time"),
        ("spending_cap_after=2", "can't spend more", "spending limit"),
    ],
)
def test_what_no_waiting_cures_stops_the_run(simulate: Command, simulator: str, error: str, hint: str):
    """No quota, a used-up day and a spending cap stop the run with exit code 3, a message and what to do."""
    Path("in.txt").write_text("".join(f"Question {number}?\n" for number in range(6)))
    said = simulate("in.txt", "-o", "out.jsonl", "--concurrency", 1, "--simulator", f"latency=0,{simulator}")
    assert said.code == 3
    assert error in said.err
    assert hint in said.err
    assert simulate("in.txt", "-o", "out.jsonl").code == 0
    assert len(Path("out.jsonl").read_text().splitlines()) == 6


def test_our_own_limits_stop_the_run(simulate: Command):
    """`--rpd` and `--max-cost` stop the run, resumable, with what was answered kept."""
    Path("in.txt").write_text("".join(f"Question {number}?\n" for number in range(6)))
    first = simulate("in.txt", "-o", "out.jsonl", "--rpd", 2, "--concurrency", 1)
    assert first.code == 3
    assert "2 requests were sent" in first.err
    assert len(Path("out.jsonl").read_text().splitlines()) == 2
    second = simulate("in.txt", "-o", "out.jsonl", "--max-cost", "0.003", "--concurrency", 1)
    assert second.code == 3
    assert "--max-cost" in second.err
    assert simulate("in.txt", "-o", "out.jsonl").code == 0


def test_json_tells_errors_as_events(command: Command):
    """With `--json` every problem of a command is an event, and nothing else stands on standard error."""
    said = command("run", "missing.jsonl", "-o", "out.unknown", "--json", "--model", "nobody")
    found = events(said.err)
    assert said.code == 2
    assert {event["event"] for event in found} == {"error"}
    assert len(found) == 3
    assert all(event["exit_code"] == 2 and event["message"] for event in found)


def test_json_tells_warnings_as_events(command: Command, monkeypatch: pytest.MonkeyPatch):
    """With `--json` a warning is an event too."""
    monkeypatch.setenv("GOOGLE_API_KEY", "one-key")
    monkeypatch.setenv("GEMINI_API_KEY", "another-key")
    Path("in.txt").write_text("Why?\n")
    said = command("run", "in.txt", "-o", "out.jsonl", "--json", "--dry-run", "--model", "gemini-2.5-flash")
    assert said.code == 0
    assert [event["event"] for event in events(said.err)] == ["warning", "plan"]


def test_options_have_the_names_of_their_flags_in_settings(command: Command):
    """A settings file and the environment name an option as its flag does."""
    Path("in.txt").write_text("Why?\n")
    Path("wingbeat.toml").write_text('[run]\njson = true\nmodel = "sim/gemini-2.5-flash"\n')
    said = command("run", "in.txt", "--dry-run")
    assert events(said.err)[0]["event"] == "plan"
