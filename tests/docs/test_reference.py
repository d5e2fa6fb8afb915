"""The generated reference says what the code says, and what it says is so."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from wingbeat.cli.main import run_command

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"


def fields(page, heading):
    """Return the names in the first column of the tables under a heading."""
    text = (REFERENCE / page).read_text("utf-8")
    section = re.search(rf"(?ms)^## {heading}\n(.*?)(?=^## |\Z)", text)[1]
    return set(re.findall(r"(?m)^\| `(\w+)`", section))


@pytest.mark.slow
def test_the_committed_pages_are_those_that_the_code_gives():
    """`scripts/reference.py --check` finds no difference."""
    done = subprocess.run(
        [sys.executable, "scripts/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the folder of a small run, and the events that it wrote."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "in.jsonl").write_text('{"prompt": "Why is snow white?"}\n{"prompt": ""}\n')
    command = [sys.executable, "-c", "from wingbeat.cli import main; main()", "run", "in.jsonl", "-o", "out.jsonl"]
    command += ["--model", "sim/gemini-2.5-flash", "--simulator", "latency=1.2", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1, done.stderr
    return folder, [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plan", "progress", "end"])
def test_an_event_has_exactly_the_fields_that_the_page_lists(finished, name):
    """The events of a real run carry the documented fields, and no others."""
    event = next(event for event in finished[1] if event["event"] == name)
    assert set(event) - {"event", "version", "time"} == fields("events.md", name)


@pytest.mark.slow
def test_an_output_row_has_exactly_the_fields_that_the_page_lists(finished):
    """The rows of a real run carry the documented fields, and no others."""
    for line in (finished[0] / "out.jsonl").read_text("utf-8").splitlines():
        assert set(json.loads(line)) == {
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
        assert set(json.loads(line)) <= fields("output.md", "JSON Lines")


@pytest.mark.slow
def test_the_queries_of_the_journal_page_work(finished):
    """Every statement that the page shows runs on the journal of a real run, and returns something."""
    text = (REFERENCE / "journal.md").read_text("utf-8")
    queries = re.findall(r'answers\.jsonl\.journal "(.*?)"\n```', text, re.DOTALL)
    assert len(queries) == 3
    connection = sqlite3.connect(finished[0] / "out.jsonl.journal")
    for query in queries:
        assert connection.execute(query).fetchall()
    connection.close()


def test_every_option_of_the_command_is_listed_in_its_help(capsys):
    """The page lists exactly the options that `wingbeat run --help` shows."""
    assert run_command(["run", "--help"]) == 0
    shown = set(re.findall(r"(?m)^ +(?:-\w, )?(--[\w-]+)", capsys.readouterr().out)) - {"--help"}
    page = (REFERENCE / "cli.md").read_text("utf-8")
    section = re.search(r"(?ms)^## wingbeat run\n(.*?)(?=^## )", page)[1]
    assert set(re.findall(r"(?m)^\| .*?`(--[\w-]+)", section)) == shown


def test_the_site_loads_nothing_from_elsewhere():
    """The fonts are the system's own, and no extra script or style comes from another host."""
    settings = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert "font: false" in settings
    assert not re.search(r"(?m)^extra_(css|javascript):\n(  - .*\n)*  - https?:", settings)


@pytest.mark.skipif(shutil.which("bash") is None, reason="scripts/check is a bash script")
def test_the_gate_is_a_script_that_bash_can_read():
    """`scripts/check` is free of syntax errors."""
    subprocess.run(["bash", "-n", "scripts/check"], cwd=ROOT, check=True)
