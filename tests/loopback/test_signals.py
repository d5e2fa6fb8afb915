import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import PROGRAM, Running, environment, read_rows, serving, wait_until, write_prompts

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains(number: signal.Signals):
    """The first Ctrl-C, or SIGTERM, keeps what is in flight, says how many, ends with 130, and can be resumed."""
    write_prompts(60)
    with serving("--latency", "1") as server:
        run = Running(("in.jsonl", "-o", "out.jsonl", "--concurrency", 20), server.url)
        wait_until(lambda: server.statistics()["in_flight"] == 20)
        run.signal(number)
        assert run.wait() == 130
        assert "waiting for 20 in flight" in run.err
        assert "Traceback" not in run.err
        assert len(read_rows()) == server.statistics()["answered"] == 20
        assert "hint: continue with the same command: " in run.err
        again = Running(("in.jsonl", "-o", "out.jsonl", "--concurrency", 60), server.url)
        assert again.wait() == 0
        counts = server.statistics()["answers_by_prompt"]
    assert sorted(row["index"] for row in read_rows()) == list(range(60))
    assert set(counts.values()) == {1}


def test_the_second_signal_leaves_at_once():
    """The second Ctrl-C gives up what is in flight, ends with 130 long before the answers, and can be resumed."""
    write_prompts(30)
    with serving("--latency", "60") as server:
        run = Running(("in.jsonl", "-o", "out.jsonl", "--concurrency", 30), server.url)
        wait_until(lambda: server.statistics()["in_flight"] == 30)
        run.signal(signal.SIGINT)
        wait_until(lambda: "waiting for 30 in flight" in run.err)
        run.signal(signal.SIGINT)
        assert run.wait(20) == 130
        assert "30 in flight are given up" in run.err
        assert "Traceback" not in run.err
    with serving("--latency", "0") as server:
        assert Running(("in.jsonl", "-o", "out.jsonl"), server.url).wait() == 0
    assert sorted(row["index"] for row in read_rows()) == list(range(30))


def test_a_signal_while_waiting_for_quota_ends_the_run():
    """A run that waits for its quota drains at once: nothing is in flight."""
    write_prompts(30)
    with serving("--latency", "0") as server:
        run = Running(("in.jsonl", "-o", "out.jsonl", "--rpm", 2), server.url)
        wait_until(lambda: len(read_rows()) >= 1)
        run.signal(signal.SIGINT)
        assert run.wait(10) == 130
    assert "waiting for 0 in flight" in run.err


def test_a_reader_that_goes_away_is_no_traceback():
    """With standard output closed early (`| head -1`) the command ends without a word, as other tools do."""
    write_prompts(200)
    with serving("--latency", "0") as server:
        command = [*PROGRAM, "run", "in.jsonl", "--model", "gemini-2.5-flash"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(server.url)
        ) as run:
            assert run.stdout is not None
            assert run.stderr is not None
            run.stdout.readline()
            run.stdout.close()
            err = run.stderr.read().decode()
            code = run.wait(30)
    assert code in (0, 141)
    assert "Traceback" not in err
    assert "Exception ignored" not in err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_harm_nothing(closed: str):
    """A run whose standard streams are closed, as under some daemons, answers every row all the same."""
    write_prompts(5)
    with serving("--latency", "0") as server:
        command = 'exec "$@" ' + closed
        done = subprocess.run(
            ["sh", "-c", command, "sh", *PROGRAM, "run", "in.jsonl", "-o", "out.jsonl", "-m", "gemini-2.5-flash"],
            env=environment(server.url),
            stderr=subprocess.PIPE,
            check=False,
            timeout=30,
        )
    assert done.returncode == 0, done.stderr
    assert sorted(row["index"] for row in read_rows()) == list(range(5))


def test_status_sees_a_run_that_runs():
    """`wingbeat status` says that a run is running while it runs, and does not disturb it."""
    write_prompts(40)
    with serving("--latency", "0.5") as server:
        run = Running(("in.jsonl", "-o", "out.jsonl", "--concurrency", 10), server.url)
        wait_until(lambda: len(read_rows()) >= 10)
        done = subprocess.run([*PROGRAM, "status", "out.jsonl"], capture_output=True, text=True, check=True, timeout=20)
        assert run.wait() == 0
    assert "state  running" in done.stdout
    assert " of 40 rows" in done.stdout


def test_the_key_is_in_no_process_title():
    """The command line that other users can see does not hold the key."""
    write_prompts(4)
    with serving("--latency", "1") as server:
        run = Running(("in.jsonl", "-o", "out.jsonl"), server.url)
        wait_until(lambda: server.statistics()["in_flight"] == 4)
        title = Path(f"/proc/{run.process.pid}/cmdline").read_bytes() if os.path.isdir("/proc/self") else b""
        assert run.wait() == 0
    assert b"AIza" not in title


def test_two_thousand_in_flight():
    """Two thousand requests are in flight at once when asked for."""
    write_prompts(2000)
    with serving("--latency", "4") as server:
        run = Running(("in.jsonl", "-o", "out.jsonl", "--concurrency", 2000), server.url)
        assert run.wait() == 0, run.err
        assert server.statistics()["peak_in_flight"] == 2000
    assert len(read_rows()) == 2000


def test_a_small_job_does_not_wait_for_its_quota():
    """Five prompts at ten requests a minute are in flight together."""
    write_prompts(5)
    started = time.monotonic()
    with serving("--latency", "0.5", "--rpm", "10") as server:
        assert Running(("in.jsonl", "-o", "out.jsonl", "--rpm", 10), server.url).wait(20) == 0
        counts = server.statistics()
    assert (counts["peak_in_flight"], counts["refused"]) == (5, 0)
    assert time.monotonic() - started < 20


def test_a_signal_ends_a_run_that_waits_for_its_pipe():
    """A drain does not wait for the next row of a pipe that stays open."""
    with serving("--latency", "0") as server:
        run = Running(("-", "-o", "out.jsonl"), server.url, stdin=subprocess.PIPE)
        assert run.process.stdin is not None
        run.process.stdin.write(b'{"prompt": "Why do some birds migrate?"}\n')
        run.process.stdin.flush()
        wait_until(lambda: Path("out.jsonl").exists() and len(read_rows()) == 1)
        with run.process.stdin:
            run.signal(signal.SIGINT)
            assert run.wait(20) == 130
    assert "Traceback" not in run.err
