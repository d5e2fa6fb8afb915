"""Bring your own call: the engine over any async function, whatever client is inside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from wingbeat.ledgers.estimate import BYTES_PER_TOKEN
from wingbeat.ledgers.watch import Watch
from wingbeat.model.answer import Completion, Failure, FailureKind, Usage
from wingbeat.model.record import Record
from wingbeat.providers.foreign_errors import classify_foreign, refusal_kind
from wingbeat.providers.gemini_errors import classify_error
from wingbeat.providers.rate_hints import read_limit_text, read_wait, with_hints

_NO_USAGE = Usage()


class FunctionCaller:
    """
    Ask by calling an async function; what it raises becomes a failure value.

    Args:
        call: Called with one item.
        input_tokens: Estimates an item's input tokens, for a token limit.
        usage: Reads the tokens of a result.
    """

    def __init__(
        self,
        call: Callable[[Any], Awaitable[Any]],
        input_tokens: Callable[[Any], float] | None = None,
        usage: Callable[[Any], Usage] | None = None,
    ) -> None:
        self._call = call
        self._input_tokens = input_tokens
        self._usage = usage

    def prepare(self, record: Record) -> Any:
        """Return the item itself."""
        return record.item

    def text_size(self, record: Record) -> tuple[int, int]:
        """Return the size of a text of as many tokens as the user estimates (four bytes each)."""
        return int(self.estimated_tokens(record.item) * BYTES_PER_TOKEN), 0

    def estimated_tokens(self, item: Any) -> float:
        """Return the input tokens that the user estimates for an item; 0 without an estimate."""
        return 0.0 if self._input_tokens is None else self._input_tokens(item)

    async def call(self, prepared: Any, timeout_s: float, watch: Watch | None = None) -> Completion | Failure:  # noqa: ARG002
        """Call once; only cancellation and errors that end the program are raised. Nobody sees into the call."""
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task is not None else 0
        try:
            async with asyncio.timeout(timeout_s) as patience:
                value = await self._call(prepared)
        except asyncio.CancelledError:
            if task is not None and task.cancelling() > cancelled_before:
                raise
            return Failure(FailureKind.CALL_ERROR, "CancelledError: something that the call waits for was cancelled")
        except Exception as error:  # noqa: BLE001 - any client may be inside
            if isinstance(error, TimeoutError) and patience.expired():
                return Failure(FailureKind.TIMEOUT, f"no result within {timeout_s:g} s")
            return classify_exception(error)
        usage = _NO_USAGE if self._usage is None else self._usage(value)
        completion = Completion(value if isinstance(value, str) else None, None, usage, value=value)
        headers = {} if isinstance(value, _WITHOUT_HEADERS) else _headers(value)
        return with_hints(completion, headers) if headers else completion


def classify_exception(error: Exception) -> Failure:
    """
    Say what an exception of some client means.

    The cases, in order:
        1. It carries an HTTP status (google-genai, openai, anthropic, httpx), or the body of an error that came in
           the middle of a stream: judged as that reply would be.
        2. Its name, or a base's, speaks of a time-out or of a connection: transient.
        3. Anything else is the call's own fault: the record fails.
    """
    status, body = _status(error), _body(error)
    headers = _headers(getattr(error, "response", None))
    failure = classify_foreign(status, headers, body)
    if failure is not None:
        return with_hints(failure, headers)
    if status is not None:
        failure = classify_error(status, headers, body)
        if failure.provider_code is None:
            failure = _by_its_words(msgspec.structs.replace(failure, detail=_said(error)), error)
        return with_hints(failure, headers)
    names = " ".join(kind.__name__ for kind in type(error).__mro__)
    if isinstance(error, TimeoutError) or "Timeout" in names:
        return Failure(FailureKind.TIMEOUT, _said(error))
    if isinstance(error, ConnectionError) or any(word in names for word in _CONNECTION_WORDS):
        return Failure(FailureKind.CONNECTION, _said(error))
    return Failure(FailureKind.CALL_ERROR, _said(error))


def _by_its_words(failure: Failure, error: Exception) -> Failure:
    """Read a refusal of which the client kept the service's words but not its body."""
    if failure.kind is not FailureKind.RATE_LIMITED or failure.violations:
        return failure
    text = str(error)
    if "insufficient_quota" in text:
        return msgspec.structs.replace(failure, kind=FailureKind.SPENDING_LIMIT)
    wait_s = failure.retry_after_s if failure.retry_after_s is not None else read_wait({}, text)
    violations = read_limit_text(text)
    kind = refusal_kind(text, violations, wait_s)
    return msgspec.structs.replace(failure, kind=kind, retry_after_s=wait_s, violations=violations)


_WITHOUT_HEADERS = (str, bytes, int, float, list, tuple, dict, type(None))
"""What most calls return; a look at anything else for headers may cost more."""

_CONNECTION_WORDS = (
    "ConnectError",
    "APIConnectionError",
    "Disconnected",
    "NetworkError",
    "TransportError",
    "ReadError",
)


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _status(error: Exception) -> int | None:
    for name in ("status_code", "code", "status"):
        value = getattr(error, name, None)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    return None


def _headers(source: Any) -> dict[str, str]:
    """
    Return the headers of a reply that some client gave out, names in lower case; none where it has none.

    openai's and anthropic's ``with_raw_response``, httpx, aiohttp and requests have them as a mapping.
    """
    try:
        headers = getattr(source, "headers", None)
        if not isinstance(headers, Mapping):
            return {}
        return {str(name).lower(): str(value) for name, value in headers.items()}
    except Exception:  # noqa: BLE001 - foreign objects may compute what looks like a field
        return {}


def _body(error: Exception) -> bytes:
    """Return the error body that the client kept: parsed, or as bytes."""
    for source in (getattr(error, "details", None), getattr(error, "body", None)):
        if isinstance(source, dict | list):
            if isinstance(source, dict) and not ({"error", "message"} & source.keys()):
                continue  # anthropic's `details` are a part of the body
            try:
                body = source if isinstance(source, list) or "error" in source else {"error": source}
                return msgspec.json.encode(body)
            except (TypeError, ValueError):
                continue
    content = getattr(getattr(error, "response", None), "content", None)
    return content if isinstance(content, bytes) else b""
