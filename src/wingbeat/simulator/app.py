"""
The simulator without sockets: one request and the time go in, one reply goes out.

Holds the quota, the faults and the counters; knows nothing of connections, and never looks at a clock.
"""

import math
from collections.abc import Callable

import msgspec

from wingbeat.simulator import errors
from wingbeat.simulator.answer import Answer, answer, count_input
from wingbeat.simulator.catalogue import Model, catalogue
from wingbeat.simulator.config import SimulatorConfig
from wingbeat.simulator.errors import GoogleError
from wingbeat.simulator.faults import Fault, Faults
from wingbeat.simulator.gemini import (
    Call,
    encode_answer,
    encode_count,
    encode_model,
    encode_models,
    encode_stream,
    headers,
    read_target,
)
from wingbeat.simulator.latency import Latency, Timing
from wingbeat.simulator.mishap import spoil
from wingbeat.simulator.quota import QuotaRefusal, Quotas, SpendingCapRefusal
from wingbeat.simulator.reply import Headers, Reply, whole
from wingbeat.simulator.request import GenerateRequest, check, read_count, read_generate
from wingbeat.simulator.statistics import Counters, Statistics

MAX_BODY_BYTES = 100 * 1024 * 1024
"""Ours, to bound memory; Google's limit on inline data is of this order."""
DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000

_NOT_FOUND_PAGE = (
    b"<!DOCTYPE html>\n<html lang=en>\n  <title>Error 404 (Not Found)!!1</title>\n"
    b"  <p><b>404.</b> <ins>That\xe2\x80\x99s an error.</ins>\n"
)


class SimulatorApp:
    """
    Answer each request in the order of the calls; the same calls always get the same replies.

    Args:
        config: How to behave.
        start: When the simulator started, in the caller's seconds; None takes the time of the first request.
        log: Called with one line for each request judged. Keys in it are masked.
    """

    def __init__(
        self, config: SimulatorConfig, start: float | None = None, log: Callable[[str], None] | None = None
    ) -> None:
        self.config = config
        self.counters = Counters()
        self._log = log
        self._start = start
        self._begin_afresh(0.0 if start is None else start)

    def respond(self, method: str, target: str, headers: dict[str, str], body: bytes, now: float) -> Reply:
        """
        Judge one request that has been read whole at `now`; never raises, whatever the bytes.

        Args:
            method: HTTP method in capitals.
            target: Path and query.
            headers: Headers by lower-case name.
            body: The whole body.
            now: Monotonic seconds; never less than in an earlier call.
        """
        if self._start is None:
            self._start = now
            self._begin_afresh(now)
        if target.startswith("/-/"):
            return self._control(method, target, now)
        self.counters.requests += 1
        call = read_target(target)
        if call is None:
            self.counters.rejected += 1
            return whole(404, _html_headers(), _NOT_FOUND_PAGE)
        key = headers.get("x-goog-api-key") or call.key
        if call.method and method == "POST":
            return self._post(call, key, headers, body, now)
        found = self._model_listing(call, key) if method == "GET" and not call.method else None
        if found is None:
            found = errors.model_not_found(call.model, call.version, call.method or "GetModel")
        if isinstance(found, GoogleError):
            return self._reject(call, key, found, now)
        return whole(200, _json_headers(0.0), found)

    def statistics(self) -> Statistics:
        """Return what has happened since the start or the last reset."""
        return self.counters.snapshot()

    def reset(self, now: float) -> None:
        """Forget quotas, draws and counts, as if started at `now`; open connections stay."""
        self._start = now
        self.counters.restart()
        self._begin_afresh(now)

    def _begin_afresh(self, start: float) -> None:
        config = self.config
        self._quotas = Quotas(config.quota, config.seed, start)
        self._faults = Faults(config.faults, config.seed)
        self._latency = Latency(config.latency, config.seed)

    def _control(self, method: str, target: str, now: float) -> Reply:
        match method, target:
            case "GET", "/-/statistics":
                return whole(200, _json_headers(0.0), msgspec.json.encode(self.statistics()))
            case "POST", "/-/reset":
                self.reset(now)
                return whole(200, _json_headers(0.0), b"{}")
            case _:
                return whole(404, _html_headers(), _NOT_FOUND_PAGE)

    def _model_listing(self, call: Call, key: str | None) -> bytes | GoogleError | None:
        refused = _check_key(call, key)
        if refused is not None:
            return refused
        if call.model:
            model = catalogue().find(call.model, call.version)
            return None if model is None else msgspec.json.encode(encode_model(call.model, model))
        size = int(call.page_size) if call.page_size.isdecimal() else 0
        page = encode_models(call.version, min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE), call.page_token)
        return errors.invalid_argument("Invalid page token.") if page is None else page

    def _post(self, call: Call, key: str | None, headers: dict[str, str], body: bytes, now: float) -> Reply:
        """Check key, model and body, in that order; then count, or go on to the quota."""
        refused = _check_key(call, key)
        if refused is not None:
            return self._reject(call, key, refused, now)
        model = catalogue().find(call.model, call.version)
        if model is None or not model.generates:
            return self._reject(call, key, errors.model_not_found(call.model, call.version, call.method), now)
        if len(body) > MAX_BODY_BYTES:
            return self._reject(call, key, errors.body_too_large(MAX_BODY_BYTES), now)
        match call.method:
            case "generateContent" | "streamGenerateContent":
                read = read_generate(body)
                if isinstance(read, GoogleError):
                    return self._reject(call, key, read, now)
                return self._generate(call, key or "", model, read, _timeout_s(headers), now)
            case "countTokens":
                read = read_count(body)
                if isinstance(read, GoogleError):
                    return self._reject(call, key, read, now)
                delay_s = self._latency.count_s()
                tokens, media = count_input(read)
                self._note(call, key, now, f"in={tokens} ok", delay_s)
                return whole(200, _json_headers(delay_s), encode_count(tokens, media), delay_s)
            case _:
                return self._reject(call, key, errors.model_not_found(call.model, call.version, call.method), now)

    def _generate(
        self, call: Call, key: str, model: Model, request: GenerateRequest, timeout_s: float, now: float
    ) -> Reply:
        """Judge the quota, then the faults, then answer."""
        input_tokens, media_tokens = count_input(request)
        wrong = check(request, model, input_tokens)
        if wrong is not None:
            return self._reject(call, key, wrong, now)
        given, dice = answer(request, model, self.config.seed, input_tokens, media_tokens)
        usage = given.usage
        timing = self._latency.timing(model, dice)
        whole_s = timing.after(usage.thought_tokens + usage.output_tokens)
        refusal = self._quotas.judge(key, model.name, usage.input_tokens, now)
        if refusal is not None:
            return self._refuse(call, key, model, usage.input_tokens, refusal, whole_s, now)
        fault = self._faults.draw(now - (self._start or 0.0), streaming=call.is_streaming)
        if fault is not None:
            self.counters.faults[fault.value] += 1
        counts = f"in={usage.input_tokens} out={usage.output_tokens}"
        failed = _failure(fault, self._faults)
        if failed is None and whole_s > timeout_s:
            failed, whole_s = errors.deadline_exceeded(), timeout_s
        elif failed is not None and fault is not Fault.ERROR_504:
            whole_s = timing.first_token_s
        if failed is not None:
            self._note(call, key, now, f"{counts} {failed.code} {failed.status}", whole_s)
            return _error_reply(call, failed, whole_s)
        reply = _answer_reply(call, given, model, timing, whole_s)
        if fault is not None:
            reply = spoil(reply, fault, self.config.faults.drip_s, is_sse=call.is_sse)
        if fault in (None, Fault.SLOW_DRIP):
            self.counters.answered += 1
            if self.config.count_prompts:
                self.counters.answers_by_prompt[request.prompt] += 1
        self._note(call, key, now, f"{counts} {fault.value if fault else 'ok'}", whole_s)
        return reply

    def _refuse(
        self,
        call: Call,
        key: str,
        model: Model,
        tokens: int,
        refusal: QuotaRefusal | SpendingCapRefusal,
        whole_s: float,
        now: float,
    ) -> Reply:
        self.counters.refused += 1
        quota = self.config.quota
        if isinstance(refusal, SpendingCapRefusal):
            error, reason = errors.spending_cap(), "spending cap"
        else:
            full = errors.quota_exceeded(refusal, model.name, quota.tier)
            error = errors.exhausted() if quota.bare_refusals else full
            reason = ", ".join(violation.dimension.value for violation in refusal.violations)
        delay_s = whole_s if self.config.late_refusals else self.config.refusal_latency_s
        self._note(call, key, now, f"in={tokens} 429 ({reason})", delay_s)
        return _error_reply(call, error, delay_s)

    def _reject(self, call: Call, key: str | None, error: GoogleError, now: float) -> Reply:
        self.counters.rejected += 1
        self._note(call, key, now, f"{error.code} {error.status}", 0.0)
        return _error_reply(call, error, 0.0)

    def _note(self, call: Call, key: str | None, now: float, verdict: str, delay_s: float) -> None:
        if self._log is not None:
            elapsed = now - (self._start or 0.0)
            self._log(
                f"{elapsed:.3f} {mask(key)} {call.method or 'models'} {call.model or '-'} {verdict} {delay_s:.3f}s"
            )


def mask(key: str | None) -> str:
    """Return the first four characters of a key and an ellipsis; none of a key that is hardly longer."""
    if not key:
        return "-"
    return f"{key[:4]}…" if len(key) > 8 else "…"


def _check_key(call: Call, key: str | None) -> GoogleError | None:
    if not key:
        return errors.key_missing()
    if key.startswith("invalid"):
        return errors.key_invalid()
    if key.startswith("blocked"):
        return errors.key_blocked(call.version, call.method or "listModels")
    return None


def _timeout_s(headers: dict[str, str]) -> float:
    """Return the deadline that the client gave the server, which is infinite without a usable header."""
    text = headers.get("x-server-timeout")
    if text is None:
        return math.inf
    try:
        seconds = float(text)
    except ValueError:
        return math.inf
    return seconds if seconds > 0 else math.inf


def _failure(fault: Fault | None, faults: Faults) -> GoogleError | None:
    match fault:
        case Fault.ERROR_429:
            return errors.exhausted()
        case Fault.ERROR_500:
            return errors.internal()
        case Fault.ERROR_503:
            return errors.unavailable(new_text=faults.coin())
        case Fault.ERROR_504:
            return errors.deadline_exceeded()
        case _:
            return None


def _answer_reply(call: Call, given: Answer, model: Model, timing: Timing, whole_s: float) -> Reply:
    if not call.is_streaming:
        body = encode_answer(given, model)
        return whole(200, headers("application/json", round(whole_s * 1000), has_tier=True), body, whole_s)
    chunks = encode_stream(given, model)
    media_type = "text/event-stream" if call.is_sse else "application/json"
    parts: list[tuple[float, bytes]] = []
    sent_at = 0.0
    for number, (tokens, data) in enumerate(chunks):
        due = timing.after(tokens)
        if call.is_sse:
            framed = b"data: " + data + b"\r\n\r\n"
        else:
            framed = (b"[" if number == 0 else b",\r\n") + data + (b"]" if number == len(chunks) - 1 else b"")
        parts.append((due - sent_at, framed))
        sent_at = due
    first_ms = round(timing.first_token_s * 1000)
    return Reply(200, headers(media_type, first_ms, has_tier=True), tuple(parts))


def _error_reply(call: Call, error: GoogleError, delay_s: float) -> Reply:
    return whole(error.code, _json_headers(delay_s), error.body(wrapped=call.is_wrapped), delay_s)


def _json_headers(delay_s: float) -> Headers:
    return headers("application/json", round(delay_s * 1000))


def _html_headers() -> Headers:
    return headers("text/html", 0)
