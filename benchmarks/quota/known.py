"""Rows 1 to 7 and 11: the client knows its limits, but not how they are enforced."""

from __future__ import annotations

from random import Random

from benchmarks.quota.delays import Profile
from benchmarks.quota.meters import Bucket, FixedWindow, Meter, OnePerRequest, SlidingLog, constant
from benchmarks.quota.scenario import (
    TOLD,
    Bar,
    Knows,
    MakeServer,
    Scenario,
    bucket,
    counter,
    fixed,
    sliding,
)
from benchmarks.quota.servers import CountsAsProduced, HoldsMost, Server, Shut
from benchmarks.quota.wire import Ask, Asks

from wingbeat.model.answer import FailureKind

WHOLE = Bar(used=0.994, refused=0.0)
"""The whole limit, less what the spread of delays costs, and nothing refused."""

LIMITS = (10, 60, 1000, 30_000)
NETWORKS: tuple[Profile, ...] = ("lan", "wan", "bad")


def known() -> list[Scenario]:
    """Return the rows, in order."""
    return [*_whole_limit(), *_short_windows(), *_tokens(), *_output_tokens(), *_bad_weather()]


def _minutes(limit: float) -> float:
    """Return how long to run: long enough that one request is not a visible part of what is used."""
    return 180.0 if limit < 100 else 30.0


def _rpm(row: str, name: str, server: MakeServer, limit: float, bar: Bar, network: Profile = "wan") -> Scenario:
    return Scenario(
        row=row,
        name=f"{name}, {limit:,} rpm" + (f", {network}" if network != "wan" else ""),
        server=server,
        knows=Knows(limit),
        bar=bar,
        minutes=_minutes(limit),
        network=network,
    )


def _whole_limit() -> list[Scenario]:
    """Rows 1 to 3: a bucket, a window, a log, a counter."""
    counted = Bar(used=0.98, refused=0.013)
    return [
        *(_rpm("1", "bucket", bucket(limit), limit, WHOLE) for limit in LIMITS),
        *(_rpm("2", "fixed 60 s", fixed(limit), limit, WHOLE) for limit in LIMITS),
        *(
            _rpm("3", "sliding log", sliding(limit), limit, WHOLE, network)
            for limit in (10, 60, 1000)
            for network in NETWORKS
        ),
        *(
            _rpm("3", "sliding counter", counter(limit), limit, counted if limit < 100 else WHOLE)
            for limit in (60, 1000)
        ),
    ]


def _short_windows() -> list[Scenario]:
    """Row 4: the limit of a minute is enforced over shorter spans."""
    return [
        _rpm("4", "fixed 10 s", fixed(1000, 10.0), 1000, Bar(used=0.993, refused=0.002)),
        _rpm("4", "bucket n/60", bucket(1000, 1.0), 1000, WHOLE),
        # 16 a second of 16.67: what is used is a part of these 16.
        _rpm("4", "fixed 1 s floored", fixed(1000, 1.0, whole=True), 1000, Bar(used=0.979, refused=0.005)),
        _rpm("4", "fixed 1 s floored", fixed(30_000, 1.0, whole=True), 30_000, Bar(used=0.979, refused=0.0001)),
    ]


def _some_long(random: Random) -> Ask:
    """Draw a prompt; one in twenty has 30,000 tokens."""
    tokens = 30_000 if random.random() < 0.05 else random.randint(500, 2000)
    return Ask(float(tokens), tokens, 200)


def _heavy_tailed(random: Random) -> Ask:
    """Draw a prompt of 3 % of a million tokens in the mean, and 30 % at most."""
    tokens = int(min(300_000, max(500, random.lognormvariate(9.8, 1.1))))
    return Ask(float(tokens), tokens, 200)


def _tokens() -> list[Scenario]:
    """Rows 5 and 6: prompts of very different sizes, and two limits at once."""

    def both(tokens: float, log: bool) -> MakeServer:
        def make(_random: Random) -> Server:
            meters: list[Meter] = [
                SlidingLog(constant(limit)) if log else Bucket(constant(limit)) for limit in (tokens, 600.0)
            ]
            return Server(meters[0], OnePerRequest(meters[1]))

        return make

    two = [
        Scenario(
            row="5",
            name=f"600 rpm and {tokens / 1e6:g} M tpm, {'sliding log' if log else 'bucket'}",
            server=both(tokens, log),
            knows=Knows(600, tokens),
            bar=Bar(used=used, refused=0.0),
            asks=Asks(_some_long),
        )
        for tokens, used in ((1_200_000, 0.98), (1_610_000, 0.95), (4_000_000, 0.99))
        for log in (False, True)
    ]
    large = [
        Scenario(
            row="6",
            name=f"prompts to 30 % of 1 M tpm, {name}",
            server=server,
            knows=Knows(None, 1_000_000),
            bar=Bar(used=0.94, refused=0.0),
            asks=Asks(_heavy_tailed),
        )
        for name, server in (("fixed 60 s", fixed(1_000_000)), ("sliding log", sliding(1_000_000)))
    ]
    return [*two, *large]


OUTPUT_TPM = 400_000
SHIFT_S = 600.0


def _long_answers(random: Random) -> Ask:
    """Draw an answer of 400 tokens in the mean, and 2,000 at most."""
    output = int(min(2000, max(20, random.lognormvariate(5.68, 0.8))))
    return Ask(1.0, 300, output)


def _output_tokens() -> list[Scenario]:
    """Row 7: output tokens, which nobody knows beforehand; they grow threefold after ten minutes."""
    asks = Asks(_long_answers, lambda now: 1.0 if now < SHIFT_S else 3.0)
    return [
        Scenario(
            row="7",
            name=f"output tokens counted as produced, {part}",
            server=lambda _random: CountsAsProduced(constant(OUTPUT_TPM), says=TOLD),
            knows=Knows(output_tokens=OUTPUT_TPM),
            bar=Bar(used=used, refused=0.0),
            asks=asks,
            measured_from_min=begins,
            may_exceed=True,
        )
        for part, begins, used in (("across a shift", 2.0, 0.95), ("after it", 15.0, 0.98))
    ] + [
        Scenario(
            row="7",
            name="the most output tokens held",
            server=lambda _random: HoldsMost(constant(OUTPUT_TPM), lambda _tokens: 6000.0),
            knows=Knows(output_tokens=OUTPUT_TPM),
            bar=Bar(refused=0.0),
            asks=asks,
            may_exceed=True,
        )
    ]


BROWN_OUT = (600.0, 660.0)
PAUSE_AT_S = 200.0


def _brown_out(now: float, random: Random) -> FailureKind | None:
    """Fail four requests of five for a minute."""
    begins, ends = BROWN_OUT
    return FailureKind.OVERLOADED if begins <= now < ends and random.random() < 0.8 else None


def _bad_weather() -> list[Scenario]:
    """Row 11, of one process: a minute of failures, and a pause that all are told at once."""
    return [
        Scenario(
            row="11",
            name="brown-out of a minute, 1,000 rpm",
            server=bucket(1000),
            knows=Knows(1000),
            bar=Bar(refused=0.0, recovered_s=(15.0,), wasted=0.10),
            minutes=20.0,
            changes_s=(BROWN_OUT[1],),
            weather=_brown_out,
            brown_out_s=BROWN_OUT,
        ),
        Scenario(
            row="11",
            name="told to wait for 30 s, 6,000 rpm",
            server=lambda _random: Shut(
                Server(FixedWindow(constant(6000)), says=TOLD), PAUSE_AT_S, PAUSE_AT_S + 1.0, 30.0
            ),
            knows=Knows(6000),
            bar=Bar(refused=0.01, first_second=1.05),
            minutes=10.0,
            pause_at_s=PAUSE_AT_S,
        ),
    ]
