"""What a run learns of a service's limits is told, kept, and used by the next process."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from .conftest import KEY, Running, serving, wait_until, write_prompts


def events(run: Running, kind: str) -> list[dict[str, Any]]:
    """The whole events of a kind that a run has written so far."""
    lines = [json.loads(line) for line in run.err.split("\n")[:-1]]
    return [line for line in lines if line["event"] == kind]


def leave(run: Running) -> int:
    """End a run, as Ctrl-C does."""
    run.signal(signal.SIGINT)
    return run.wait()


@pytest.mark.slow
def test_what_one_run_learns_the_next_one_knows():
    """A limit stated in a refusal is an event at once, stands in the summary, and in the next run's plan."""
    write_prompts(100)
    with serving("--latency", "0", "--rpm", "30") as server:
        run = Running(("in.jsonl", "-o", "out.jsonl", "--json"), server.url)
        wait_until(lambda: events(run, "learnt"))
        assert leave(run) == 130
        (learnt,) = events(run, "learnt")
        assert learnt["message"].startswith("learnt: 30 requests/min")
        assert [(limit["resource"], limit["limit"]) for limit in learnt["limits"]] == [("requests", 30)]
        (end,) = events(run, "end")
        assert end["learnt"] == learnt["limits"]
        assert end["learnt_is_kept"] is True
        again = Running(("in.jsonl", "-o", "out.jsonl", "--json", "--dry-run"), server.url)
        assert again.wait() == 0
        assert events(again, "plan")[0]["known"].startswith("learnt just now: 30 requests/min")


@pytest.mark.slow
def test_learning_is_told_in_lines_and_keeps_no_key():
    """In a log one line tells what was learnt and the summary says where it is kept; the key is not in that file."""
    write_prompts(100)
    with serving("--latency", "0", "--rpm", "30") as server:
        run = Running(("in.jsonl", "-o", "out.jsonl"), server.url)
        wait_until(lambda: "learnt" in run.err)
        assert leave(run) == 130
    assert run.err.count("out.jsonl: learnt: 30 requests/min") == 1
    assert " learnt  30 requests/min" in run.err
    assert "kept for the next run, see wingbeat limits" in run.err
    file = Path(os.environ["WINGBEAT_STATE_DIR"]) / "limits.json"
    assert KEY not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_limits_that_cannot_be_kept_fail_no_run():
    """Where the state folder can't be written the run warns, and its summary does not promise what is not so."""
    write_prompts(100)
    Path("file").write_text("")
    with pytest.MonkeyPatch.context() as patch, serving("--latency", "0", "--rpm", "30") as server:
        patch.setenv("WINGBEAT_STATE_DIR", "file/state")
        run = Running(("in.jsonl", "-o", "out.jsonl"), server.url)
        wait_until(lambda: "learnt" in run.err)
        assert leave(run) == 130
    assert run.err.count("warning: learnt limits are not kept") == 1
    assert "kept for the next run" not in run.err
    assert "Traceback" not in run.err
