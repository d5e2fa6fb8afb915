"""Rows 8 and 9, and servers that nothing was tuned on: the client knows nothing of its limits."""

from __future__ import annotations

from random import Random

from benchmarks.quota.meters import Bucket, FixedWindow, Gcra, Limit, SlidingLog, constant, stepped
from benchmarks.quota.scenario import TOLD, UNTOLD, Bar, MakeServer, Scenario, bucket, fixed, sliding
from benchmarks.quota.servers import OutsideUser, RateServer, Server

from wingbeat.model.limit import REQUESTS

LEARNT = Bar(used=0.95, refused=0.01, reached_95_s=360.0)


def unknown() -> list[Scenario]:
    """Return the rows, in order."""
    return [*_to_learn(), *_changing(), *_shared(), *_unseen()]


def _learn(
    row: str, name: str, server: MakeServer, *, bar: Bar = LEARNT, minutes: float = 30.0, concurrency: int = 2000
) -> Scenario:
    return Scenario(
        row=row, name=name, server=server, bar=bar, minutes=minutes, measured_from_min=5.0, concurrency=concurrency
    )


def _to_learn() -> list[Scenario]:
    """Row 8: six ways of enforcing three limits, telling a wait or not."""
    rows = []
    for limit in (100, 1000, 6000):
        for says, words in ((UNTOLD, "untold"), (TOLD, "told")):
            kinds = {
                "bucket n": bucket(limit, 60.0, says),
                "bucket n/6": bucket(limit, 10.0, says),
                "bucket n/60": bucket(limit, 1.0, says),
                "fixed 60 s": fixed(limit, 60.0, says),
                "sliding log": sliding(limit, 60.0, says),
                "fixed 1 s floored": fixed(limit, 1.0, says, whole=True),
            }
            rows += [_learn("8", f"? {kind}, {limit:,} rpm, {words}", server) for kind, server in kinds.items()]
    return rows


HALVED_S, DOUBLED_S = 1200.0, 2400.0


def _changing() -> list[Scenario]:
    """Row 9: a limit that is halved after 20 minutes and restored after 40."""
    limit = stepped(1000.0, (HALVED_S, 500.0), (DOUBLED_S, 1000.0))

    def one(name: str, headers: str | None, doubled_s: float, log: bool) -> Scenario:
        return Scenario(
            row="9",
            name=f"? halved, then doubled: {name}, {'headers' if headers else 'no headers'}",
            server=lambda _random: Server(SlidingLog(limit) if log else Bucket(limit), resource=headers),
            bar=Bar(recovered_s=(60.0, doubled_s), refused_after_change=0.01),
            minutes=65.0,
            measured_from_min=5.0,
            changes_s=(HALVED_S, DOUBLED_S),
        )

    return [
        one("bucket", None, 600.0, False),
        one("sliding log", None, 1260.0, True),
        one("bucket", REQUESTS, 5.0, False),
        one("sliding log", REQUESTS, 5.0, True),
    ]


def _shared() -> list[Scenario]:
    """Row 9, continued: somebody else takes 30 % of the limit."""

    def make(headers: str | None, log: bool) -> MakeServer:
        def server(random: Random) -> RateServer:
            meter = SlidingLog(constant(1000)) if log else Bucket(constant(1000))
            return OutsideUser(Server(meter, resource=headers), constant(300.0), random)

        return server

    bar = Bar(used=0.95, refused=0.01)
    return [
        _learn("9", "? outside user takes 30 %: bucket, no headers", make(None, False), bar=bar),
        _learn("9", "? outside user takes 30 %: sliding log, no headers", make(None, True), bar=bar),
        _learn("9", "? outside user takes 30 %: bucket, headers", make(REQUESTS, False), bar=bar),
    ]


def _unseen() -> list[Scenario]:
    """Servers of other kinds than those that the constants of the client were chosen with."""
    whole = Bar(used=0.95, refused=0.01)
    return [
        _learn("unseen", "? gcra, tolerance 0.37 s, 1,000 rpm", _gcra(1000, 0.37)),
        _learn("unseen", "? gcra, tolerance 4.3 s, 1,000 rpm", _gcra(1000, 4.3)),
        _learn("unseen", "? fixed 30 s, 1,000 rpm", fixed(1000, 30.0)),
        _learn("unseen", "? sliding log of 30 s, 1,000 rpm", sliding(1000, 30.0)),
        _learn("unseen", "? fixed 10 s, 1,000 rpm, told", fixed(1000, 10.0, TOLD)),
        _learn("unseen", "? sliding log, 1,000 rpm, whole seconds told", sliding(1000, 60.0, "whole seconds")),
        _learn("unseen", "? 300 a minute and 10 a second", _stacked),
        _learn("unseen", "? drops at a random minute", _drops, bar=whole),
        _learn("unseen", "? outside user of varying load, bucket", _varying(log=False), bar=whole),
        _learn("unseen", "? outside user of varying load, sliding log", _varying(log=True), bar=whole),
        _slow_refusals("bucket n/6", bucket(1000, 10.0)),
        _slow_refusals("sliding log", sliding(1000)),
        _learn("unseen", "? bucket, 1,000 rpm, headers", _headers(Bucket, 0.0)),
        _learn("unseen", "? sliding log, 1,000 rpm, headers", _headers(SlidingLog, 0.0)),
        _learn("unseen", "? bucket, headers, clock 3 min ahead", _headers(Bucket, 180.0)),
        _learn("unseen", "? fixed 60 s, headers, clock 3 min behind", _fixed_with_headers(-180.0)),
        _learn("unseen", "? bucket n, 5 rpm", bucket(5), minutes=180.0),
        _learn("unseen", "? sliding log, 5 rpm", sliding(5), minutes=180.0),
        _learn("unseen", "? bucket n, 50,000 rpm", bucket(50_000), concurrency=4000),
    ]


def _gcra(limit: float, tolerance_s: float) -> MakeServer:
    return lambda _random: Server(Gcra(constant(limit), tolerance_s))


def _stacked(_random: Random) -> Server:
    return Server(SlidingLog(constant(300)), FixedWindow(constant(600), 1.0))


def _drops(random: Random) -> Server:
    at_s, part = random.uniform(600.0, 1500.0), random.uniform(0.3, 0.8)
    return Server(Bucket(stepped(1000.0, (at_s, 1000.0 * part))))


def _varying(*, log: bool) -> MakeServer:
    """Make a server whose other user takes between 5 and 45 % of it, anew every three minutes."""

    def server(random: Random) -> RateServer:
        steps = [(180.0 * number, random.uniform(50.0, 450.0)) for number in range(1, 20)]
        takes: Limit = stepped(random.uniform(50.0, 450.0), *steps)
        meter = SlidingLog(constant(1000)) if log else Bucket(constant(1000))
        return OutsideUser(Server(meter), takes, random)

    return server


def _slow_refusals(name: str, server: MakeServer) -> Scenario:
    return Scenario(
        row="unseen",
        name=f"? refusals as slow as answers: {name}",
        server=server,
        bar=LEARNT,
        measured_from_min=5.0,
        refusal_s=None,
    )


def _headers(meter: type[Bucket] | type[SlidingLog], offset_s: float) -> MakeServer:
    return lambda _random: Server(meter(constant(1000)), resource=REQUESTS, clock_offset_s=offset_s)


def _fixed_with_headers(offset_s: float) -> MakeServer:
    return lambda random: Server(
        FixedWindow(constant(1000), 60.0, random.uniform(0.0, 60.0)), resource=REQUESTS, clock_offset_s=offset_s
    )
