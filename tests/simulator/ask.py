"""Ways to put one question to the simulator in process."""

import json
from typing import Any

from wingbeat.simulator import Reply, SimulatorApp, SimulatorConfig

KEY = {"x-goog-api-key": "test-key-0123456789"}


def new_app(text: str = "") -> SimulatorApp:
    """Return an app that answers at once unless `text` says otherwise."""
    return SimulatorApp(SimulatorConfig.parse(f"latency=0,{text}"), start=0.0)


def body(prompt: str = "Why is the sky blue?", **more: Any) -> dict[str, Any]:
    """Return the JSON of a request with one user turn."""
    return {"contents": [{"role": "user", "parts": [{"text": prompt}]}], **more}


def ask(
    app: SimulatorApp,
    payload: Any = None,
    *,
    model: str = "gemini-2.5-flash",
    method: str = "generateContent",
    version: str = "v1beta",
    query: str = "",
    headers: dict[str, str] | None = None,
    now: float = 1.0,
) -> Reply:
    """Post `payload`, as JSON unless it is bytes."""
    raw = payload if isinstance(payload, bytes) else json.dumps(body() if payload is None else payload).encode()
    target = f"/{version}/models/{model}:{method}{query}"
    return app.respond("POST", target, KEY if headers is None else headers, raw, now)


def read(reply: Reply) -> Any:
    """Return the JSON of a reply."""
    return json.loads(reply.body)


def message(reply: Reply) -> str:
    """Return the text of an error reply."""
    return str(read(reply)["error"]["message"])
