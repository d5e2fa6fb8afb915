"""`wingbeat plan`: what a run will take, without running it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wingbeat.cli.planning import run_command

from .conftest import Command

MODEL = ("--model", "gemini-2.5-flash")


def write(rows: int = 30) -> None:
    """Write an input."""
    Path("in.jsonl").write_text("".join(f'{{"prompt": "What is {n}?"}}\n' for n in range(rows)))


@pytest.mark.slow
def test_a_plan_needs_no_key_and_leaves_no_file(command: Command):
    """The facts stand on standard output, the next command on standard error, and nothing is written."""
    write()
    said = command("plan", "in.jsonl", *MODEL, "--rpm", 60, "-o", "out.jsonl")
    assert said.code == 0
    assert " input  in.jsonl: 30 rows\n" in said.out
    assert "simulated" in said.out
    assert "nothing was sent" in said.out
    assert "hint: start it: wingbeat run in.jsonl --model gemini-2.5-flash --rpm 60 -o out.jsonl" in said.err
    assert [path.name for path in Path().iterdir()] == ["in.jsonl"]


@pytest.mark.slow
def test_the_plan_is_json_on_request(command: Command):
    """`--json` prints one object with the short plan and the forecast, and calls it simulated."""
    write()
    said = command("plan", "in.jsonl", *MODEL, "--rpm", 10, "--json")
    facts = json.loads(said.out)
    assert said.err == ""
    assert facts["simulated"] is True
    assert facts["plan"]["rows"] == facts["rows"] == facts["reached"] == 30
    assert facts["binding"] == "requests"
    assert facts["duration_p50_s"] > 100
    assert facts["what_ifs"][0]["changed"] == "requests"


@pytest.mark.slow
def test_the_picture_is_drawn(command: Command):
    """`--picture` writes an SVG file that says that it is a plan."""
    write()
    said = command("plan", "in.jsonl", *MODEL, "--rpm", 60, "--picture", "plan.svg")
    text = Path("plan.svg").read_text("utf-8")
    assert said.code == 0
    assert text.startswith("<svg")
    assert "30 rows, planned" in text
    assert "picture: plan.svg" in said.err


@pytest.mark.slow
def test_an_expected_length_changes_the_cost(command: Command):
    """Ten times as many output tokens cost about ten times as much."""
    write()
    costs = [
        json.loads(command("plan", "in.jsonl", *MODEL, "--rpm", 600, "--json", "--expect-output-tokens", n).out)
        for n in (100, 1_000)
    ]
    assert costs[1]["cost_p50_usd"] == pytest.approx(10 * costs[0]["cost_p50_usd"], rel=0.1)
    assert costs[0]["assumptions"]["output_given"] is True


@pytest.mark.slow
def test_what_is_answered_is_not_planned_again(simulate: Command, command: Command):
    """A plan for an output that was begun is that of what is left."""
    write()
    simulate("in.jsonl", "-o", "out.jsonl", "--limit", 20)
    words = ("plan", "in.jsonl", "-o", "out.jsonl", "--model", "sim/gemini-2.5-flash", "--json")
    assert json.loads(command(*words).out)["rows"] == 10
    simulate("in.jsonl", "-o", "out.jsonl")
    assert json.loads(command(*words).out)["rows"] == 0
    assert "nothing is left to ask" in command(*words[:-1]).out


def test_settings_of_run_hold_for_its_plan(command: Command, monkeypatch: pytest.MonkeyPatch):
    """A plan takes the table [run] and the variables WINGBEAT_RUN_…, or it would be another run's."""
    write()
    Path("wingbeat.toml").write_text("[run]\nrpm = 60\njson = true\n\n[plan]\nexpect-output-tokens = 50\n")
    monkeypatch.setenv("WINGBEAT_RUN_MODEL", "gemini-2.5-flash")
    said = command("plan", "in.jsonl")
    assert said.code == 0
    assert "60 requests/min" in said.out
    assert "50 an answer, as you expect" in said.out


def test_a_wrong_setting_of_run_is_refused_in_its_plan(command: Command):
    """A slip in [run] is not silently left out of the plan."""
    write()
    Path("wingbeat.toml").write_text("[run]\nrmp = 60\n")
    said = command("plan", "in.jsonl", *MODEL)
    assert said.code == 2
    assert "did you mean `rpm`?" in said.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-", *MODEL], "a plan needs a file"),
        (["nothing.jsonl", *MODEL], "nothing.jsonl"),
        (["in.jsonl"], "no model is named"),
        (["in.jsonl", *MODEL, "--template", "{{ oops"], "template"),
        (["in.jsonl", *MODEL, "--picture", "plan.png"], "must be an .svg file"),
        (["in.jsonl", *MODEL, "--picture", "nowhere/plan.svg"], "no folder"),
        (["in.jsonl", "--model", "gemini-9-unpriced", "--max-cost", "1"], "no price"),
        (["in.jsonl", *MODEL, "--expect-output-tokens", "0"], "0"),
        (["in.jsonl", *MODEL, "--dry-run"], "no such option"),
    ],
)
def test_a_mistake_is_told_as_for_a_run(command: Command, words: list[str], told: str):
    """Whatever a run would refuse, its plan refuses: exit code 2, one error, nothing on standard output."""
    write(3)
    said = command("plan", *words)
    assert said.code == 2
    assert said.err.startswith("error: ")
    assert told in said.err.lower() or told in said.err
    assert said.out == ""


def test_mistakes_are_events_for_a_program(command: Command):
    """With `--json` every problem is an event on standard error, the last one too."""
    write(3)
    said = command("plan", "in.jsonl", "--json", "--template", "{{ oops")
    assert said.code == 2
    assert [json.loads(line)["exit_code"] for line in said.err.splitlines()] == [2, 2]


def test_a_prompt_in_quotes_can_be_planned(command: Command):
    """What `run` takes as input, its plan takes."""
    said = command("plan", "Why?", "--repeat", 20, *MODEL, "--rpm", 600)
    assert said.code == 0
    assert "20 rows" in said.out


def test_strict_refuses_a_wrong_row(command: Command):
    """`--strict` holds for the plan; without it wrong rows are left out."""
    Path("in.jsonl").write_text('{"prompt": "Why?"}\n{"prompt": 3}\n')
    assert command("plan", "in.jsonl", *MODEL, "--strict").code == 2
    said = command("plan", "in.jsonl", *MODEL, "--rpm", 60)
    assert said.code == 0
    assert "1 can't be asked" in said.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("plan in.jsonl -o out.csv --rpm 60", "run in.jsonl -o out.csv --rpm 60"),
        ("plan in.jsonl --picture a.svg --json -oout.csv", "run in.jsonl -oout.csv"),
        ("plan in.jsonl --expect-output-tokens=7 --picture=a.svg", "run in.jsonl -o answers.jsonl"),
        ("plan plan --output=x.csv", "run plan --output=x.csv"),
    ],
)
def test_the_next_command_is_the_run(words: str, told: str):
    """It is what was written, without what only a plan takes, and with an output."""
    assert run_command(words.split()) == f"wingbeat {told}"
