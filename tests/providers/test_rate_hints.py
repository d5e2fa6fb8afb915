"""What services tell of their limits: recorded headers and texts, and what is read of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wingbeat.model.answer import Completion, Failure, QuotaViolation
from wingbeat.model.http import HttpReply, HttpRequest
from wingbeat.model.limit import LimitHint
from wingbeat.providers.gemini import GeminiCodec
from wingbeat.providers.rate_hints import read_hints, read_limit_text, read_wait, tells_limits
from wingbeat.transport.pool import HttpTransport

DATE = "Mon, 02 Jun 2025 15:14:45 GMT"
DATE_UNIX = 1748877285.0


def openai(what: str, limit: str, remaining: str, reset: str, **more: str) -> dict[str, str]:
    """Return a header set in OpenAI's form."""
    told = {"limit": limit, "remaining": remaining, "reset": reset, **more}
    return {f"x-ratelimit-{field}-{what}": value for field, value in told.items()}


ANTHROPIC = {
    "date": DATE,
    "retry-after": "16",
    "anthropic-ratelimit-requests-limit": "4000",
    "anthropic-ratelimit-requests-remaining": "4000",
    "anthropic-ratelimit-requests-reset": "2025-06-02T15:14:45Z",
    "anthropic-ratelimit-input-tokens-limit": "200000",
    "anthropic-ratelimit-input-tokens-remaining": "0",
    "anthropic-ratelimit-input-tokens-reset": "2025-06-02T15:15:48Z",
    "anthropic-ratelimit-output-tokens-limit": "80000",
    "anthropic-ratelimit-output-tokens-remaining": "80000",
    "anthropic-ratelimit-output-tokens-reset": "2025-06-02T15:14:45Z",
    "anthropic-ratelimit-tokens-limit": "280000",
    "anthropic-ratelimit-tokens-remaining": "80000",
    "anthropic-ratelimit-tokens-reset": "2025-06-02T15:14:45Z",
}

AZURE_SECONDS = {
    **openai("requests", "9000", "8999", "0", renewalperiod="10"),
    **openai("tokens", "1500000", "745399", "30", renewalperiod="60"),
}

RECORDED_BUCKETS = [
    ("requests", "3000", "2999", "20ms", 60.0),
    ("requests", "5000", "4999", "12ms", 60.0),
    ("requests", "500", "499", "120ms", 60.0),
    ("requests", "10000", "9999", "8.64s", 86_400.0),
    ("tokens", "60000", "55904", "4.096s", 60.0),
    ("tokens", "200000", "199938", "18ms", 60.0),
    ("tokens", "200000", "199912", "26ms", 60.0),
    ("tokens", "200000", "199943", "17ms", 60.0),
    ("tokens", "160000", "159976", "9ms", 60.0),
    ("tokens", "30000", "29996", "8ms", 60.0),
    ("tokens", "250000", "249989", "2ms", 60.0),
]


@pytest.mark.parametrize(("what", "limit", "remaining", "reset", "window_s"), RECORDED_BUCKETS)
def test_openai_headers_tell_a_bucket(what: str, limit: str, remaining: str, reset: str, window_s: float) -> None:
    """The reset of each recorded set is the used part of the limit times its window, to a millisecond."""
    (hint,) = read_hints(openai(what, limit, remaining, reset))
    assert (hint.resource, hint.limit, hint.remaining) == (what, float(limit), float(remaining))
    assert hint.limit is not None
    assert hint.remaining is not None
    assert hint.reset_s == pytest.approx((hint.limit - hint.remaining) / hint.limit * window_s, abs=1e-3)


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("8.64s", 8.64),
        ("18ms", 0.018),
        ("0s", 0.0),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("20m52.666s", 1252.666),
        ("2m7.93s", 127.93),
        ("17.399999999s", 17.399999999),
        ("1h2m3s", 3723.0),
        ("114h18m0s", 411_480.0),
        ("45.5", 45.5),
        ("33011.4", 33_011.4),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("9" * 400 + "s", None),
    ],
)
def test_resets_are_spans_of_any_form(reset: str, seconds: float | None) -> None:
    """A reset is read in Go's form or as seconds; any other text leaves it unsaid."""
    expected = None if seconds is None else pytest.approx(seconds)
    assert read_hints(openai("tokens", "10", "5", reset)) == (LimitHint("tokens", 10.0, 5.0, expected),)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            openai("requests", "120", "119", "500", renewalperiod="60"),
            [LimitHint("requests", 120.0, 119.0, 0.5)],
        ),
        (openai("requests", "5", "4", "12", renewalperiod="60"), [LimitHint("requests", 5.0, 4.0, 12.0)]),
        (openai("tokens", "5000", "0", "0", renewalperiod="60"), [LimitHint("tokens", 5000.0, 0.0, 60.0)]),
        (
            AZURE_SECONDS,
            [
                LimitHint("requests", 9000.0, 8999.0, pytest.approx(10 / 9000)),
                LimitHint("tokens", 1_500_000.0, 745_399.0, pytest.approx(30.18, abs=0.01)),
            ],
        ),
        (openai("tokens", "-1", "-1", "0"), []),
    ],
)
def test_azure_resets_are_computed_where_their_unit_is_not_known(
    headers: dict[str, str], expected: list[LimitHint]
) -> None:
    """With a renewal period the reset is what the counts say, whatever the unit of the header's number."""
    assert list(read_hints(headers)) == expected


def test_anthropic_headers_count_from_the_replys_own_date() -> None:
    """Resets are relative to the date of the same reply, so that a clock wrong by minutes does no harm."""
    expected = (
        LimitHint("requests", 4000.0, 4000.0, 0.0),
        LimitHint("input_tokens", 200_000.0, 0.0, 63.0),
        LimitHint("output_tokens", 80_000.0, 80_000.0, 0.0),
        LimitHint("tokens", 280_000.0, 80_000.0, 0.0),
    )
    for now_unix in (None, 0.0, DATE_UNIX + 420.0):
        assert read_hints(ANTHROPIC, now_unix) == expected


def test_without_a_date_our_own_clock_counts() -> None:
    """In a reply without a date, resets count from the time given, and are left out when none is given."""
    headers = {name: value for name, value in ANTHROPIC.items() if name != "date"}
    assert [hint.reset_s for hint in read_hints(headers, DATE_UNIX + 3.0)] == [0.0, 60.0, 0.0, 0.0]
    assert [hint.reset_s for hint in read_hints(headers)] == [None] * 4


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"ratelimit-limit": "100", "ratelimit-remaining": "50", "ratelimit-reset": "30"}, (100.0, 50.0, 30.0)),
        ({"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "50"}, (100.0, 50.0, None)),
        ({"ratelimit-limit": "10", "ratelimit-policy": "10;w=1, 50;w=60"}, None),
        ({"ratelimit-policy": '"default";q=100;w=60', "ratelimit": '"default";r=50;t=30'}, (100.0, 50.0, 30.0)),
        ({"ratelimit": '"default";r=50;t=30'}, (None, 50.0, 30.0)),
        ({"ratelimit": "limit=100, remaining=50, reset=5", "ratelimit-policy": "100;w=60"}, (100.0, 50.0, 5.0)),
        ({"ratelimit-policy": '"core";q=5000;w=3600', "ratelimit": '"core";r=0;t=120'}, None),
        ({"ratelimit-policy": '"fixed window";"resolvers";q=3000;w=300', "ratelimit": '"resolvers";r=0;t=52'}, None),
        ({"ratelimit-policy": '"a";q=9;w=60;qu="content-bytes"', "ratelimit": '"a";r=5;t=1'}, None),
        (
            {
                "ratelimit-policy": '"day";q=5000;w=86400, "burst";q=10;w=60',
                "ratelimit": '"day";r=4998;t=69076, "burst";r=8;t=1',
            },
            (10.0, 8.0, 1.0),
        ),
        ({"x-ratelimit-limit": "20", "x-ratelimit-remaining": "19", "x-ratelimit-reset": "3"}, (20.0, 19.0, 3.0)),
        (
            {
                "x-ratelimit-limit": "20",
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": "1748877315000",
                "date": DATE,
            },
            (20.0, 0.0, 30.0),
        ),
        ({"ratelimit-limit": "20", "ratelimit-reset": "1748877315", "date": DATE}, (20.0, None, 30.0)),
        ({"ratelimit-reset": "30"}, None),
    ],
)
def test_the_draft_in_all_its_versions(headers: dict[str, str], expected: tuple[float | None, ...] | None) -> None:
    """The draft's fields count requests; a limit of another window than a minute's is left out."""
    assert read_hints(headers) == (() if expected is None else (LimitHint("requests", *expected),))


def test_windows_that_are_named_and_no_minute_are_left_out() -> None:
    """Cerebras names its windows: a minute's limit is read, a day's or month's is not taken for one."""
    headers = {
        **openai("requests-day", "14400", "14399", "33011.4"),
        **openai("tokens-minute", "200000", "195000", "30.2"),
        **openai("tokens-month", "4000000", "3999000", "100"),
        **openai("req-10-second", "5", "4", "1"),
    }
    assert read_hints(headers) == (LimitHint("tokens", 200_000.0, 195_000.0, 30.2),)


def test_the_more_precise_kind_wins() -> None:
    """Where a gateway adds fields of its own to those of the service, the service's are read."""
    headers = {"ratelimit-limit": "7", **openai("requests", "60", "59", "1s")}
    assert read_hints(headers) == (LimitHint("requests", 60.0, 59.0, 1.0),)


@pytest.mark.parametrize("headers", [{}, {"content-type": "x", "retry-after": "3", "date": DATE}])
def test_most_replies_tell_nothing(headers: dict[str, str]) -> None:
    """Headers that name no limit give no hint."""
    assert read_hints(headers) == ()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "16"}, 16.0),
        ({"retry-after": "7.66"}, 7.66),
        ({"retry-after": "Mon, 02 Jun 2025 15:16:00 GMT", "date": DATE}, 75.0),
        ({"retry-after": "Mon, 02 Jun 2025 15:10:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Mon, 02 Jun 2025 15:16:00 GMT"}, None),
        ({"retry-after": "1m12s"}, 72.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"x-ms-retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "0", "retry-after": "1"}, 1.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "later", "date": DATE}, None),
        ({}, None),
    ],
)
def test_waits_in_headers(headers: dict[str, str], seconds: float | None) -> None:
    """Retry-After is read as seconds, milliseconds, a span, or a date against the reply's own."""
    assert read_wait(headers, "") == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please retry in 12.3s.", 12.3),
        ("Please retry in 644.5ms", 0.6445),
        ("Please try again in 770ms.", 0.77),
        ("Please try again in 9.816s. Visit https://example.org", 9.816),
        ("Please try again in 1m12s", 72.0),
        ("Please try again in 9m38.016s. Need more tokens?", 578.016),
        ("Please try again in 1h53m56.832s.", 6836.832),
        ("Please try again in 114h18m0s.", 411_480.0),
        ("Please try again in 1.984999999s.", 1.984999999),
        ("Please retry after 6 seconds. Please go here", 6.0),
        ("Please retry after 86400 seconds.", 86_400.0),
        ("Rate limit is exceeded. Try again in 30 seconds.", 30.0),
        ("Please retry after 21 days.", 21 * 86_400.0),
        ("Try again in 1 minute 5 seconds", 65.0),
        ("Please retry in 3 months", None),
        ("Please try again later.", None),
        ("try again in " + "9" * 400 + "s", None),
        ("in 5s", None),
    ],
)
def test_waits_in_words(text: str, seconds: float | None) -> None:
    """The wait in a message is read in each of the forms that services write."""
    expected = None if seconds is None else pytest.approx(seconds)
    assert read_wait({}, text) == expected


def test_the_message_is_more_precise_than_the_header() -> None:
    """Where both tell a wait the message counts: Retry-After is cut to whole seconds."""
    assert read_wait({"retry-after": "1"}, "Please try again in 644ms.") == 0.644


GROQ = "Rate limit reached for model `llama-3.3-70b-versatile` in organization `org_0` service tier `on_demand` on "
OPENAI = "Rate limit reached for gpt-4o in organization org-0 on "
ANTHROPIC_LONG = (
    "This request would exceed the rate limit for your organization (00000000-0000-4000-8000-000000000000) of "
)
ANTHROPIC_TEXT = "This request would exceed your organization's rate limit of "
AZURE = "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            OPENAI + "tokens per min (TPM): Limit 30000, Used 29937, Requested 385. Please try again in 644ms.",
            ("tokens per min (TPM)", "tokens", 60.0, 30_000.0),
        ),
        (
            OPENAI + "requests per min (RPM): Limit 500, Used 500, Requested 1. Please try again in 120ms.",
            ("requests per min (RPM)", "requests", 60.0, 500.0),
        ),
        (
            OPENAI + "requests per day (RPD): Limit 200, Used 200, Requested 1. Please try again in 7m12s.",
            ("requests per day (RPD)", "requests", 86_400.0, 200.0),
        ),
        (
            "Request too large for gpt-4o in organization org-0 on tokens per min (TPM): Limit 30000, Requested 31538.",
            ("tokens per min (TPM)", "tokens", 60.0, 30_000.0),
        ),
        (
            OPENAI + "requests per min. Limit: 3 / min. Please try again in 20s.",
            ("requests per min", "requests", 60.0, 3.0),
        ),
        (
            OPENAI + "requests per min. Limit: 20.000000 / min. Current: 24.000000 / min.",
            ("requests per min", "requests", 60.0, 20.0),
        ),
        (
            OPENAI + "tokens per min (TPM): Limit 100000, Used 96749, Requested 19126. Please try again in 114h18m0s.",
            ("tokens per min (TPM)", "tokens", None, 100_000.0),
        ),
        (
            GROQ + "tokens per minute (TPM): Limit 12000, Used 4437, Requested 9854. Please try again in 11.455s.",
            ("tokens per minute (TPM)", "tokens", 60.0, 12_000.0),
        ),
        (
            GROQ + "tokens per day (TPD): Limit 100000, Used 97050, Requested 3619. Please try again in 9m38.016s.",
            ("tokens per day (TPD)", "tokens", 86_400.0, 100_000.0),
        ),
        (
            GROQ + "input tokens per minute (ITPM): Limit 12,000, Used 4437, Requested 9854.",
            ("input tokens per minute (ITPM)", "input_tokens", 60.0, 12_000.0),
        ),
        (
            GROQ + ": Limit 500000, Used 500370, Requested 252. Please try again in 1m47.5854s.",
            ("", None, None, 500_000.0),
        ),
        (OPENAI + "images per min: Limit 5, Used 5, Requested 1.", ("images per min", None, 60.0, 5.0)),
        (
            ANTHROPIC_LONG + "40,000 input tokens per minute. For details, refer to: https://docs.anthropic.com.",
            ("input tokens per minute", "input_tokens", 60.0, 40_000.0),
        ),
        (
            ANTHROPIC_TEXT + "8,000 output tokens per minute (org: 0, model: claude-sonnet-4-6).",
            ("output tokens per minute", "output_tokens", 60.0, 8000.0),
        ),
        (ANTHROPIC_TEXT + "50 requests per minute", ("requests per minute", "requests", 60.0, 50.0)),
        (
            ANTHROPIC_TEXT + "0 fast mode input tokens per minute.",
            ("fast mode input tokens per minute", "input_tokens", 60.0, 0.0),
        ),
        (
            "Number of request tokens has exceeded your per-minute rate limit (https://docs.anthropic.com); see the …",
            ("per-minute rate limit", "tokens", 60.0, None),
        ),
        (
            "Number of requests has exceeded your per-minute rate limit",
            ("per-minute rate limit", "requests", 60.0, None),
        ),
        (
            "Number of request tokens has exceeded your daily rate limit",
            ("daily rate limit", "tokens", 86_400.0, None),
        ),
        (
            AZURE + "token rate limit of your current OpenAI S0 pricing tier. Please retry after 6 seconds.",
            ("token rate limit", "tokens", None, None),
        ),
        (
            AZURE + "call rate limit of your current OpenAI S0 pricing tier. Please retry after 9 seconds.",
            ("call rate limit", "requests", None, None),
        ),
    ],
)
def test_limits_in_words(text: str, expected: tuple[Any, ...]) -> None:
    """A refusal's words name one limit: what it counts, over which window, and its value."""
    assert read_limit_text(text) == (QuotaViolation(*expected),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "This request would exceed your account's rate limit. Please try again later.",
        "Your request rate increased too quickly.",
        "You exceeded your current quota, please check your plan and billing details.",
        "The limit on requests per prompt is fine.",
    ],
)
def test_other_words_name_no_limit(text: str) -> None:
    """Words that state no limit are not read as one."""
    assert read_limit_text(text) == ()


@pytest.mark.parametrize(
    ("limit", "used", "requested", "wait", "window_s"),
    [
        (10_000, 8554, 3082, "9.816s", 60.0),
        (30_000, 29_937, 385, "644ms", 60.0),
        (30_000, 14_567, 24_754, "18.642s", 60.0),
        (200_000, 162_960, 42_288, "1.574s", 60.0),
        (100_000, 97_050, 3619, "9m38.016s", 86_400.0),
        (200, 200, 1, "7m12s", 86_400.0),
        (2000, 2000, 1, "43.2s", 86_400.0),
    ],
)
def test_the_told_wait_fits_a_bucket_of_the_told_window(
    limit: int, used: int, requested: int, wait: str, window_s: float
) -> None:
    """In recorded refusals the wait is the excess over the limit, times the window that the words name."""
    span = "min" if window_s == 60.0 else "day"
    text = f"on tokens per {span}: Limit {limit}, Used {used}, Requested {requested}. Please try again in {wait}."
    (violation,) = read_limit_text(text)
    assert violation.window_s == window_s
    assert violation.limit == limit
    assert read_wait({}, text) == pytest.approx((used + requested - limit) / limit * window_s, abs=1e-3)


FIELDS = ["limit", "remaining", "reset", "renewalperiod", "policy"]
WHAT = ["requests", "tokens", "input-tokens", "output-tokens", "tokens-minute", "requests-day", "unified-5h", ""]
NAMES = st.one_of(
    st.builds("x-ratelimit-{}-{}".format, st.sampled_from(FIELDS), st.sampled_from(WHAT)),
    st.builds("anthropic-ratelimit-{}-{}".format, st.sampled_from(WHAT), st.sampled_from(FIELDS)),
    st.builds("ratelimit-{}".format, st.sampled_from(FIELDS)),
    st.sampled_from(["ratelimit", "x-ratelimit-limit", "date", "retry-after", "retry-after-ms"]),
    st.text(max_size=20),
)
VALUES = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["6m0s", "1s", DATE, "2025-06-02T15:15:48Z", "0001-01-01", "9" * 400, '"a";q=1;w=60', "r=1;t=,;=", "1ſ"]
    ),
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=8), st.one_of(st.none(), st.floats()))
@example({"ratelimit": '"a";' * 5000}, None)
@example(
    {"anthropic-ratelimit-tokens-limit": "1", "anthropic-ratelimit-tokens-reset": "0001-01-01T00:00:00+23:59"}, 0.0
)
def test_no_headers_make_it_raise(headers: Mapping[str, str], now_unix: float | None) -> None:
    """Whatever headers hold, the hints are of known resources and their numbers are finite and not negative."""
    hints = read_hints(headers, now_unix)
    assert len({hint.resource for hint in hints}) == len(hints)
    for hint in hints:
        assert hint.resource in ("requests", "input_tokens", "output_tokens", "tokens")
        assert hint.limit is None or 0 < hint.limit < 1e15
        assert hint.remaining is None or 0 <= hint.remaining < 1e15
        assert hint.reset_s is None or 0 <= hint.reset_s < 1e17
        assert hint.limit is not None or hint.remaining is not None


WORDS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "on tokens per min", "on ", "(TPM)", ": Limit ", "30000", ", Used ", "Requested ~", "try again in ",
                "retry after ", "1m12s", "6 seconds", "ms", "rate limit of ", "input tokens per minute", "Number of ",
                "has exceeded your per-minute rate limit", "exceeded token rate limit", "1,,,", "9" * 50, "\ud800", "ſ",
            ]
        ),
        st.text(max_size=6),
    ),
    max_size=25,
).map("".join)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(WORDS)
@example("on " * 20_000)
@example("try again in " + "1s" * 20_000)
@example("rate limit for " * 5000)
@example("on " + " " * 20_000 + ":")
def test_no_words_make_it_raise(text: str) -> None:
    """Whatever a text holds, waits and limits are finite and not negative."""
    wait_s = read_wait({"retry-after": text[:50]}, text)
    assert wait_s is None or 0 <= wait_s < 1e9
    for violation in read_limit_text(text):
        assert violation.limit is None or 0 <= violation.limit < 1e15


GEMINI_OK = b'{"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}'


@pytest.mark.parametrize(("status", "kind"), [(200, Completion), (429, Failure), (503, Failure)])
def test_the_codec_gives_the_hints_on(status: int, kind: type) -> None:
    """What a gateway's headers tell is on the completion as on the failure."""
    result = GeminiCodec("gemini-2.5-flash").decode(HttpReply(status, openai("requests", "60", "59", "1s"), GEMINI_OK))
    assert isinstance(result, kind)
    assert result.hints == (LimitHint("requests", 60.0, 59.0, 1.0),)


@pytest.mark.parametrize(
    "headers", [ANTHROPIC, AZURE_SECONDS, {"ratelimit": '"a";r=1;t=1'}, {"x-ratelimit-limit": "5"}]
)
def test_each_kind_is_found_by_name(headers: dict[str, str]) -> None:
    """Headers that hold limits are told from those that don't by a few look-ups."""
    assert tells_limits(headers)
    assert not tells_limits({"date": DATE, "content-type": "application/json"})


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (["RateLimit-Limit: 60", "RateLimit-Reset: 1"], {"ratelimit-limit", "ratelimit-reset", "date"}),
        (["X-Other: 1"], set()),
    ],
)
async def test_an_answer_keeps_no_other_headers_than_these(sent: list[str], kept: set[str]) -> None:
    """Of the headers of an answer those about limits are kept, with the date they count from, and no others."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        lines = ["HTTP/1.1 200 OK", f"Date: {DATE}", "Server: x", *sent, "Content-Length: 2", "Connection: close"]
        writer.write("\r\n".join([*lines, "", "{}"]).encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, HttpTransport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as transport:
        reply = await transport.send(HttpRequest("/", b"", "GET"), 5.0)
    assert isinstance(reply, HttpReply)
    assert set(reply.headers) == kept
