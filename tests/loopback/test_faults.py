"""Whatever the wire does, every row ends answered or failed with a kind, and nothing is a traceback."""

import json
from pathlib import Path

import pytest

from wingbeat.cli.main import run_command

from .conftest import Running, read_rows, serving, write_prompts

ROWS = 25


def ask(simulator: str, *options: str) -> int:
    """Run the prompts on the bundled simulator in this process."""
    return run_command(
        [
            *("run", "in.jsonl", "-o", "out.jsonl", "--model", "sim/gemini-2.5-flash", "--json"),
            *("--simulator", f"latency=0,seed=11,{simulator}", *options),
        ]
    )


CURED = [
    "error_429",
    "error_500",
    "error_503",
    "error_504",
    "reset",
    "truncate",
    "garbage",
    "html",
    "empty",
    "wrong_shape",
    "hang",
    "slow_drip",
    "stream_error",
]


@pytest.mark.slow
@pytest.mark.parametrize("fault", CURED)
def test_a_fault_in_ten_is_cured_by_retries(fault: str, capsys: pytest.CaptureFixture[str]):
    """With a fault in every tenth request and attempts enough, every row is answered."""
    write_prompts(ROWS)
    probability = 0.04 if fault in ("error_429", "hang") else 0.1
    code = ask(f"fault.{fault}={probability},drip=0.2", "--max-attempts", "9", "--timeout", "1")
    said = capsys.readouterr()
    assert code == 0, said.err
    rows = read_rows()
    assert sorted(row["index"] for row in rows) == list(range(ROWS))
    assert all(row["text"] and row["error"] is None for row in rows)
    assert "Traceback" not in said.err
    assert json.loads(said.err.splitlines()[-1])["answered"] == ROWS


FATAL = {
    "error_500": "server_error",
    "error_503": "overloaded",
    "error_504": "timeout",
    "reset": "connection",
    "truncate": "connection",
    "garbage": "malformed_reply",
    "html": "server_error",
    "empty": "malformed_reply",
    "wrong_shape": "malformed_reply",
    "hang": "timeout",
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FATAL)
def test_a_fault_without_end_fails_each_row_with_its_kind(fault: str, capsys: pytest.CaptureFixture[str]):
    """A fault of every request fails each row with the fault's kind and a message, and the exit code is 1."""
    write_prompts(4)
    assert ask(f"fault.{fault}=1", "--max-attempts", "1", "--timeout", "0.3") == 1
    said = capsys.readouterr()
    rows = read_rows()
    assert sorted(row["index"] for row in rows) == [0, 1, 2, 3]
    assert {row["error"]["kind"] for row in rows} == {FATAL[fault]}
    assert all(row["error"]["message"] and row["text"] is None and row["attempts"] == 1 for row in rows)
    assert all("\n" not in row["error"]["message"] for row in rows)
    assert "Traceback" not in said.err


@pytest.mark.slow
def test_all_faults_together_lose_no_row(capsys: pytest.CaptureFixture[str]):
    """A service with every fault at once gives each row an answer or a kind, and the same command mends the rest."""
    write_prompts(60)
    every = ",".join(f"fault.{name}=0.015" for name in CURED if name not in ("error_429", "slow_drip"))
    code = ask(every, "--max-attempts", "2", "--timeout", "0.5")
    assert code in (0, 1)
    rows = read_rows()
    assert sorted(row["index"] for row in rows) == list(range(60))
    assert all((row["error"] is None) == bool(row["text"]) for row in rows)
    assert ask("", "--retry-failed") == 0
    assert sorted(row["index"] for row in read_rows()) == list(range(60))
    assert not any(row["error"] for row in read_rows())
    assert "Traceback" not in capsys.readouterr().err


def test_a_service_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """A refused connection fails each row with the address."""
    write_prompts(2)
    monkeypatch.setenv("GEMINI_API_KEY", "some-key")
    code = run_command(
        [
            *("run", "in.jsonl", "-o", "out.jsonl", "--model", "gemini-2.5-flash", "--max-attempts", "1"),
            *("--base-url", "http://127.0.0.1:9"),
        ]
    )
    assert code == 1
    assert {row["error"]["kind"] for row in read_rows()} == {"connection"}
    assert "127.0.0.1:9" in read_rows()[0]["error"]["message"]
    assert "Traceback" not in capsys.readouterr().err
    assert Path("out.jsonl.journal").exists()


def test_the_day_s_requests_are_counted_over_several_runs():
    """`--rpd` holds for the day, not for one command: the same command again sends nothing more."""
    write_prompts(8)
    with serving("--latency", "0") as server:
        for _ in range(2):
            run = Running(("in.jsonl", "-o", "out.jsonl", "--rpd", 5), server.url)
            assert run.wait() == 3
            assert "resets at midnight Pacific time" in run.err
        assert server.statistics()["requests"] == 5
