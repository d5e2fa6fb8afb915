"""The key is sent in its header and is found nowhere else, whatever goes wrong."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from wingbeat import Client
from wingbeat.config import find_service
from wingbeat.transport import HttpTransport

from .conftest import KEY, Running, serving, write_prompts


@contextmanager
def echoing(status: int, content_type: str, wrap: str = "{}") -> Iterator[str]:
    """Serve every request with a body that repeats the headers that it came with, as some gateways do."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            said = wrap.format(self.headers["x-goog-api-key"]).encode()
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("x-echo", self.headers["x-goog-api-key"])
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def assert_unseen(secret: str = KEY) -> None:
    """Assert that no file of this folder holds the key: output, journal and its companions, what was written."""
    found = [path for path in Path().rglob("*") if path.is_file()]
    assert any(path.name.startswith("stderr") for path in found)
    for path in found:
        assert secret.encode() not in path.read_bytes(), path


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--json",), (), ("--retry-failed", "--overwrite")])
def test_the_key_is_nowhere_after_every_fault(options: tuple[str, ...]):
    """After a run with every fault, the key is in no file and no stream."""
    write_prompts(60)
    names = ("error_500", "error_503", "error_504", "reset", "truncate", "garbage", "html", "empty", "wrong_shape")
    faults = [word for name in (*names, "hang") for word in ("--fault", f"{name}=0.04")]
    with serving("--latency", "0", *faults) as server:
        run = Running(
            ("in.jsonl", "-o", "out.jsonl", "--max-attempts", 1, "--timeout", "0.5", "--keep-columns", *options),
            server.url,
        )
        assert run.wait() == 1
    assert_unseen()


@pytest.mark.slow
def test_the_key_is_not_in_the_journal_of_a_killed_run():
    """Neither is it in the write-ahead log that a killed run leaves."""
    write_prompts(60)
    with serving("--latency", "0.2") as server:
        run = Running(("in.jsonl", "-o", "out.jsonl", "--concurrency", 10), server.url)
        while server.statistics()["answered"] < 30:
            assert run.process.poll() is None
        run.process.kill()
        run.wait()
    assert Path("out.jsonl.journal-wal").exists()
    assert_unseen()


@pytest.mark.slow
@pytest.mark.parametrize("key", ["invalid-key-0123456789-secret", "blocked-key-0123456789-secret"])
def test_a_refused_key_is_not_repeated(key: str):
    """A refused key stops the run with exit code 3 and a hint, and is not shown."""
    write_prompts(5)
    with serving("--latency", "0") as server:
        run = Running(("in.jsonl", "-o", "out.jsonl"), server.url, key)
        assert run.wait() == 3
    assert "refuses this run" in run.err
    assert "hint: " in run.err
    assert_unseen(key)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "content_type", "wrap"),
    [
        (400, "application/json", '{{"error": {{"code": 400, "message": "bad key {0}"}}}}'),
        (403, "text/html", "<p>{}</p>"),
        (500, "text/plain", "{}"),
        (200, "text/plain", "you sent {}"),
        (200, "application/json", '{{"headers": {{"x-goog-api-key": "{0}"}}}}'),
    ],
)
def test_a_gateway_that_echoes_the_key_spreads_it_nowhere(status: int, content_type: str, wrap: str):
    """A reply that repeats the key is masked before anything is made of it."""
    write_prompts(2)
    with echoing(status, content_type, wrap) as url:
        run = Running(("in.jsonl", "-o", "out.jsonl", "--max-attempts", 1), url)
        assert run.wait() in (1, 3)
    assert_unseen()


@pytest.mark.slow
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", "http://[", "ftp://x", "http://127.0.0.1:9/a b", "http://nohost.invalid"]
)
def test_a_bad_base_url_shows_no_key(url: str):
    """Errors about the address do not hold the key."""
    write_prompts(1)
    run = Running(("in.jsonl", "-o", "out.jsonl", "--max-attempts", 1), url)
    assert run.wait() in (1, 2)
    assert "Traceback" not in run.err
    assert_unseen()


@pytest.mark.parametrize("key", ["schlüssel-geheim-0123456789", "two\nlines-0123456789"])
def test_a_key_that_is_none_is_not_repeated(key: str):
    """A key with impossible characters is refused by the variable's name alone."""
    with pytest.raises(ValueError, match="GEMINI_API_KEY") as caught:
        find_service("gemini-2.5-flash", environment={"GEMINI_API_KEY": key})
    assert "0123456789" not in str(caught.value)


def test_no_repr_shows_the_key(monkeypatch: pytest.MonkeyPatch):
    """Service, client and transport can be printed safely."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    service = find_service("gemini-2.5-flash")
    transport = HttpTransport("http://user:password@127.0.0.1:9", {"x-goog-api-key": KEY})
    client = Client("gemini-2.5-flash")
    for thing in (service, client, transport, [service], {"a": client}):
        for text in (repr(thing), str(thing), f"{thing!r}"):
            assert KEY not in text
            assert "password" not in text
