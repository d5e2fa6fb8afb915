"""Servers to measure against: nginx with one static reply, or the bundled simulator; each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

REPLY = {
    "candidates": [
        {
            "content": {
                "parts": [
                    {
                        "text": "The Loire is the longest river in France; it flows for a thousand kilometres from the "
                        "Massif Central to the Atlantic Ocean near Saint-Nazaire."
                    }
                ],
                "role": "model",
            },
            "finishReason": "STOP",
            "index": 0,
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 15,
        "candidatesTokenCount": 34,
        "totalTokenCount": 121,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 15}],
        "thoughtsTokenCount": 72,
    },
    "modelVersion": "gemini-2.5-flash",
    "responseId": "5Aq1ao2jLc3Uz7IP0Mm9wQk",
}

NGINX_CONF = """
worker_processes 1; worker_rlimit_nofile 20000; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 16000; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 75s;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port} backlog=8192;
    location / {{ default_type application/json; return 200 '{reply}'; }} }}
}}
"""


@contextlib.contextmanager
def static_server() -> Iterator[tuple[str, str]]:
    """Yield (name, URL) of a server that answers at once: nginx where it is installed, else the simulator."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        with simulator("--latency", "0") as url:
            yield "wingbeat simulate --latency 0 (nginx is not installed)", url
        return
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        conf = Path(folder) / "nginx.conf"
        conf.write_text(NGINX_CONF.format(folder=folder, port=port, reply=json.dumps(REPLY)))
        process = subprocess.Popen([nginx, "-c", str(conf)], stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield "nginx, static reply", f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def simulator(*arguments: str) -> Iterator[str]:
    """Yield the URL of a simulator started with these arguments."""
    command = [sys.executable, "-m", "wingbeat", "simulate", "--port", "0", "--json", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    raise RuntimeError("the server does not listen")
