import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from wingbeat.cli.simulate import simulate

from .ask import body

PROGRAM = "from wingbeat.cli.simulate import simulate; simulate()"


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command on a free port; yield the process and its first line."""
    command = [sys.executable, "-c", PROGRAM, "--port", "0", "--latency", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


def post(url: str) -> dict:
    """Ask one question."""
    request = urllib.request.Request(
        f"{url}/v1/models/gemini-2.5-flash:generateContent",
        data=json.dumps(body()).encode(),
        headers={"x-goog-api-key": "AIzaSyExample-0123", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command_serves_until_it_is_told_to_stop(number: signal.Signals):
    """The command prints where it listens, logs a line a request, and ends with 0 and a summary."""
    with running("--log") as (process, first):
        url = re.fullmatch(r"simulator ready at (http://127\.0\.0\.1:\d+)\n", first)[1]
        assert post(url)["candidates"]
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "AIza… generateContent gemini-2.5-flash" in out
    assert f"GOOGLE_GEMINI_BASE_URL={url} GEMINI_API_KEY=anything" in err
    assert "simulator stopped: 1 requests, 1 answered" in err


@pytest.mark.slow
def test_command_tells_its_address_in_json():
    """With --json the first line is an event with the address, and the last one with the counts."""
    with running("--json") as (process, first):
        ready = json.loads(first)
        assert ready["event"] == "ready"
        assert post(ready["url"])["responseId"].startswith("sim-")
        process.terminate()
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    stopped = json.loads(out)
    assert (stopped["event"], stopped["answered"]) == ("stopped", 1)


@pytest.mark.slow
def test_command_says_that_the_port_is_taken():
    """A taken port is one line and a hint, with exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-c", PROGRAM, "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: port {port} is already in use\n\nhint: choose another with --port, or --port 0 for any free one\n"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--fault", "fire=1"], "unknown fault `fire`; known: error_429, error_500"),
        (["--fault", "reset"], "fault `reset` has no probability"),
        (["--fault", "reset=2"], "fault reset is 2"),
        (["--outage", "5"], "START:LENGTH:PROBABILITY"),
        (["--latency", "fast"], "latency: expected `float"),
        (["--rpm", "-1"], "--rpm"),
        (["--enforcement", "loose"], "subsecond"),
    ],
)
def test_command_refuses_bad_options(options: list[str], text: str):
    """A bad option ends the command with 2 and says what is known."""
    result = CliRunner().invoke(simulate, options)
    assert result.exit_code == 2
    assert text in result.output
