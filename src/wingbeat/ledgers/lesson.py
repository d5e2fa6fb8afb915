"""What a refusal teaches: from the circumstances of one to the rate and the volume to keep to. No state, no time."""

from __future__ import annotations

from enum import Enum

import msgspec

BLOCKED_AFTER_S = 3.0
"""A service that lets nothing through for longer than this, and longer than three requests take at the pace, counts
over windows; a bucket would have refilled."""

SAME_VOLUME = 0.01
"""Two refusals at volumes this close to each other (relative) are of one limit."""

CAUTION = 0.98
"""Part of a measured limit that is used: network delay varies, and the measure may be a request too high."""

SOON_S = 30.0
SOON_REQUESTS = 200
"""A refusal within so many seconds and requests (for each one refused) of the last one is no accident."""

BORNE = 0.004
"""Refused part of a probe that is borne."""

LEAST_COUNTED = 30
"""Requests in a window from which its volume is read; of a few, what a bucket had saved up is too great a part."""

LARGE = 3.0
"""A request of so many times the mean size is refused where others would pass: of the rate that says little."""

LEAST_MEASURED = 8
"""Requests between two refusals from which a refill rate is read; fewer say too little."""


class Phase(Enum):
    """What a limit that is being learnt is doing."""

    FREE = "free"
    """Nothing has been refused: nothing is limited here."""
    HOLD = "hold"
    """Refused: everything waits, and one request at a time asks whether it is over."""
    MEASURE = "measure"
    """Refused by a bucket, or by a short window: doubling from far below until the next refusal brackets the rate."""
    CLIMB = "climb"
    """Growing steadily from what is surely allowed, to find the top."""
    CRUISE = "cruise"
    """Keeping to what was learnt."""
    PROBE = "probe"
    """Trying a little more, for longer than a window."""


class Episode(msgspec.Struct, frozen=True):
    """
    One refusal and its circumstances; units are requests or tokens.

    Args:
        phase: What the limit was doing.
        pace: Units a second that were being sent; 0 in `Phase.FREE`.
        base: Units a second that were kept to before a probe; else the same as ``pace``.
        blocked_s: Seconds from the refused request to the first that passed.
        volume: Units let through in the window that ends with the refused request.
        window_volume: Units let through in the window that ended when requests passed again.
        since_last: Units let through since the previous episode began, or None when that is too long ago.
        since_last_s: Seconds since the previous episode began.
        last_volume: ``volume`` of the previous episode, or None.
        phase_units: Units let through since the phase began.
        refused_units: Units of the request that was refused first.
        refusals: Requests refused in this episode.
        request_units: Mean units of a request.
        window_s: Seconds of the window that volumes are counted over.
    """

    phase: Phase
    pace: float
    base: float
    blocked_s: float
    volume: float
    window_volume: float
    since_last: float | None
    since_last_s: float
    last_volume: float | None
    phase_units: float
    refused_units: float
    refusals: int
    request_units: float
    window_s: float

    @property
    def is_blocked(self) -> bool:
        """True when the service let nothing through for as long as only a window does."""
        longest_s = 3 * self.request_units / self.pace if self.pace else 0.0
        return self.blocked_s > max(BLOCKED_AFTER_S, longest_s) and self.window_volume > 0

    @property
    def is_of_a_large_one(self) -> bool:
        """True when the refused request is much larger than most."""
        return self.refused_units > LARGE * self.request_units

    @property
    def is_at_the_same_volume(self) -> bool:
        """True when the previous refusal came at the same volume."""
        if self.last_volume is None or self.since_last is None or self.volume <= 0:
            return False
        return abs(self.volume - self.last_volume) <= SAME_VOLUME * self.volume

    @property
    def is_soon(self) -> bool:
        """True when the previous refusal was so short ago that this one is no accident."""
        if self.since_last is None or self.since_last_s >= SOON_S:
            return False
        return self.since_last / self.request_units < SOON_REQUESTS * self.refusals

    @property
    def excess(self) -> float:
        """Part of the requests since the previous refusal that was refused; 0 when that is too long ago to tell."""
        if self.since_last is None:
            return 0.0
        return self.refusals / max(1.0, self.since_last / self.request_units)

    @property
    def refill(self) -> float | None:
        """
        Units a second let through since the previous refusal, or None when those were too few.

        A bucket is empty at both refusals, so this is its refill rate exactly. For any other limit it is no more
        than what it allows.
        """
        if self.since_last is None or self.since_last / self.request_units < LEAST_MEASURED:
            return None
        return self.since_last / max(self.since_last_s, 1e-3)


class Keep(msgspec.Struct, frozen=True):
    """Keep to ``rate`` units a second; ``volume`` is the window's limit, or None to leave it."""

    rate: float
    volume: float | None = None


class Climb(msgspec.Struct, frozen=True):
    """Grow from ``rate`` until refused; ``volume`` is the window's limit so far, or None when none is known."""

    rate: float
    volume: float | None = None


class Measure(msgspec.Struct, frozen=True):
    """Start at ``rate`` and double every few seconds until refused."""

    rate: float


Lesson = Keep | Climb | Measure


def lesson(episode: Episode, last_window_rate: float, *, is_windowed: bool) -> Lesson:
    """
    Draw the lesson from one refusal of a limit whose value is unknown.

    Args:
        episode: The refusal.
        last_window_rate: Rate that the last blocked episode measured; 0 when there was none.
        is_windowed: Whether some episode was blocked as only windows block.

    The cases, in order:
        1. Blocked for long: the volume of the window that ended is the limit. Unless two such measures agree, climb
           on from there: the window may be shorter than thought.
        2. Doubling was refused: the rate lies between the stage before and this one; climb in between.
        3. A window's, at the same volume as the last refusal: that volume is the limit.
        4. Soon after the last refusal: a bucket's refill, measured between the two; a window's, a step down.
        5. A climb ended: its pace is the limit, as far as is known.
        6. A probe failed: what was kept to before stands, or what the window showed to be possible. If it went well
           for long, hardly less than its own pace stands: a limit enforced by the second refuses now and then.
        7. An accident (delay in the network, a request larger than most): a small step down.
    """
    pace, phase = episode.pace, episode.phase
    by_volume = CAUTION * episode.volume / episode.window_s
    if episode.is_blocked:
        return _blocked(episode, last_window_rate)
    if phase is Phase.MEASURE:
        refill = episode.refill
        return Measure(0.7 * pace) if refill is None else Climb(max(0.97 * refill, 0.45 * pace))
    if is_windowed and episode.is_at_the_same_volume:
        return Keep(min(pace, by_volume), episode.volume)
    if phase is Phase.CRUISE and episode.is_of_a_large_one:
        return Keep(0.999 * pace)
    if episode.is_soon and not (phase is Phase.CLIMB and episode.since_last_s > LEAST_MEASURED):
        return Keep(_step_down(episode, is_windowed=is_windowed))
    if phase is Phase.CLIMB:
        return Keep(0.97 * pace)
    if phase is Phase.PROBE:
        shown = by_volume if episode.volume / episode.request_units >= LEAST_COUNTED else 0.0
        kept = max(episode.base, min(CAUTION * pace, shown))
        refused = episode.refusals * episode.request_units / max(episode.phase_units, 1e-9)
        return Keep(max(kept, pace * (1 - 2 * refused)) if refused < BORNE else kept)
    return Keep(pace * (1 - min(0.01, max(0.001, 2 * episode.excess))))


def _blocked(episode: Episode, last_window_rate: float) -> Lesson:
    volume = episode.window_volume
    rate = CAUTION * volume / episode.window_s
    is_severe = episode.blocked_s > episode.window_s / 4
    match episode.phase:
        case Phase.FREE | Phase.MEASURE:
            return Climb(rate, volume)
        case Phase.CLIMB:
            return Climb(rate, volume) if rate > 1.1 * last_window_rate else Keep(min(episode.pace, rate), volume)
        case _ if is_severe:
            return Climb(rate, volume)
        case Phase.PROBE:
            kept = max(episode.base, min(CAUTION * episode.pace, rate))
            return Keep(kept, max(volume, episode.base * episode.window_s))
        case _:
            return Keep(min(episode.pace, rate), volume)


def _step_down(episode: Episode, *, is_windowed: bool) -> float:
    """Return the pace less twice the part that was refused; for a bucket, its refill if that is less."""
    pace = episode.pace
    refill = episode.refill
    if is_windowed:
        return pace * (1 - min(0.05, 2 * episode.excess))
    if refill is None:
        return 0.9 * pace
    # Over a short time the pause itself weighs on the measure: what is no bucket refills nothing meanwhile.
    most = 0.12 if episode.since_last_s < 5.0 else max(0.025, min(0.05, 2 * episode.excess))
    return min(CAUTION * pace, max(CAUTION * refill, (1 - most) * pace))


def first_lesson(episode: Episode, before_s: float, burst: float) -> Lesson:
    """
    Draw the lesson from the first refusal of all, when no pace was kept.

    Args:
        episode: The refusal.
        before_s: Seconds from the first request to the refused one.
        burst: Units a second let through in the three seconds before it.

    A bucket that holds a window's limit ``n`` and refills ``n`` in a window has let through ``n (1 + t / w)`` after
    ``t`` seconds, which gives ``n`` exactly. Any other bucket refills faster than that, so it is where doubling starts.
    """
    if episode.is_blocked:
        return _blocked(episode, 0.0)
    window_s = episode.window_s
    full = episode.volume / (window_s + before_s) if before_s < window_s else episode.volume / window_s / 2
    return Measure(max(full, burst / 16, episode.request_units / 8))
