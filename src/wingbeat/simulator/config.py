"""What a simulator is told to be: quota, latency, faults. Checked when built, never changed after."""

from typing import Literal, get_args

import msgspec

from wingbeat.simulator.catalogue import tiers

Enforcement = Literal["fixed", "sliding", "bucket", "subsecond"]
ENFORCEMENTS: tuple[str, ...] = get_args(Enforcement)


def _require_at_least(name: str, value: float | None, least: float) -> None:
    # Written so that NaN fails too.
    if value is not None and not value >= least:
        raise ValueError(f"{name} is {value!r}; it must be at least {least:g}")


def _require_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value!r}; a probability lies between 0 and 1")


class QuotaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """
    The limits of each (key, model) pair and how they are enforced; the default is no limit.

    Args:
        rpm: Requests admitted in each window.
        tpm: Input tokens admitted in each window.
        rpd: Requests admitted in each day.
        tier: `free`, `1`, `2` or `3`: take the limits that are not given from the bundled table.
        enforcement: How `rpm` and `tpm` are judged. The day is always a fixed window.
        window_s: Length of the window that `rpm` and `tpm` are counted over.
        day_offset_s: Seconds from the start to the first end of a day; None lets the first day begin at the start.
        count_refused: Whether a refused request is charged too.
        bare_refusals: Answer 429 with the short body that gives neither quota nor wait.
        spending_cap_after: Answers after which a key has reached its spending cap for good.
    """

    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    tier: str | None = None
    enforcement: Enforcement = "fixed"
    window_s: float = 60.0
    day_offset_s: float | None = None
    count_refused: bool = False
    bare_refusals: bool = False
    spending_cap_after: int | None = None

    def __post_init__(self) -> None:
        for name in ("rpm", "tpm", "rpd", "spending_cap_after"):
            _require_at_least(name, getattr(self, name), 0)
        if self.enforcement not in ENFORCEMENTS:
            raise ValueError(f"enforcement is {self.enforcement!r}; known: {', '.join(ENFORCEMENTS)}")
        if self.tier is not None and self.tier not in tiers():
            raise ValueError(f"tier is {self.tier!r}; known: {', '.join(tiers())}")
        if not 0 < self.window_s < float("inf"):
            raise ValueError(f"window_s is {self.window_s!r}; it must be above 0")


class LatencyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """
    How long an answer takes; the default follows the recorded figures of each model.

    Args:
        constant_s: Every answer takes this long; None follows the model, 0 answers at once.
        scale: Factor on the model's figures.
        jitter: Draw anew for each request; without it the same prompt always takes equally long.
    """

    constant_s: float | None = None
    scale: float = 1.0
    jitter: bool = False

    def __post_init__(self) -> None:
        _require_at_least("constant_s", self.constant_s, 0)
        _require_at_least("scale", self.scale, 0)


class Outage(msgspec.Struct, frozen=True):
    """Answer 503 with `probability` from `start_s` after the start, for `length_s` seconds."""

    start_s: float
    length_s: float
    probability: float = 1.0

    def __post_init__(self) -> None:
        _require_at_least("outage start", self.start_s, 0)
        _require_at_least("outage length", self.length_s, 0)
        _require_probability("outage probability", self.probability)


class FaultConfig(msgspec.Struct, frozen=True, kw_only=True):
    """
    The probability of each fault for an admitted request; together at most 1.

    Args:
        error_429: The short 429 which names no quota.
        error_500: `INTERNAL`.
        error_503: `UNAVAILABLE`, in either of the two recorded texts.
        error_504: `DEADLINE_EXCEEDED`.
        reset: The connection is reset before any byte.
        truncate: The body ends before its promised length.
        garbage: 200 with bytes that are not JSON.
        html: 502 with a page of HTML.
        empty: 200 with no body.
        wrong_shape: 200 with JSON of another shape.
        hang: No answer, ever.
        slow_drip: A right answer in small pieces over `drip_s` seconds.
        stream_error: An error event after the first part of a stream.
        outage: A time of 503s, beside the probabilities.
        drip_s: How long a dripped body takes.
    """

    error_429: float = 0.0
    error_500: float = 0.0
    error_503: float = 0.0
    error_504: float = 0.0
    reset: float = 0.0
    truncate: float = 0.0
    garbage: float = 0.0
    html: float = 0.0
    empty: float = 0.0
    wrong_shape: float = 0.0
    hang: float = 0.0
    slow_drip: float = 0.0
    stream_error: float = 0.0
    outage: Outage | None = None
    drip_s: float = 2.0

    def __post_init__(self) -> None:
        for name in FAULT_NAMES:
            _require_probability(f"fault {name}", getattr(self, name))
        total = sum(getattr(self, name) for name in FAULT_NAMES)
        if total > 1 + 1e-9:
            raise ValueError(f"the fault probabilities add up to {total:g}; together they must be at most 1")
        _require_at_least("drip_s", self.drip_s, 0)


FAULT_NAMES: tuple[str, ...] = tuple(name for name in FaultConfig.__struct_fields__ if name not in ("outage", "drip_s"))


class SimulatorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """
    Everything that decides how a simulator behaves; two with equal configuration answer alike.

    Args:
        quota: Limits and their enforcement.
        latency: How long answers take.
        faults: What goes wrong.
        seed: Seeds answers, latencies, window phases and faults.
        refusal_latency_s: How long a refusal takes; the quota itself is judged on arrival.
        late_refusals: Refuse only after the time that an answer would have taken.
        count_prompts: Count the answers of each prompt; memory grows with the number of prompts.
    """

    quota: QuotaConfig = QuotaConfig()
    latency: LatencyConfig = LatencyConfig()
    faults: FaultConfig = FaultConfig()
    seed: int = 0
    refusal_latency_s: float = 0.05
    late_refusals: bool = False
    count_prompts: bool = False

    def __post_init__(self) -> None:
        _require_at_least("refusal_latency_s", self.refusal_latency_s, 0)

    @classmethod
    def parse(cls, text: str) -> "SimulatorConfig":
        """
        Build a configuration from `key=value` pairs between commas, as in ``rpm=60,latency=0.2,fault.reset=0.01``.

        Raises:
            ValueError: A key is unknown or a value does not fit; the message names it.
        """
        groups: dict[str, dict[str, object]] = {"quota": {}, "latency": {}, "faults": {}, "": {}}
        for pair in filter(None, (piece.strip() for piece in text.split(","))):
            key, equals, value = (piece.strip() for piece in pair.partition("="))
            if key not in _KEYS:
                raise ValueError(f"unknown key {key!r}; known: {', '.join(_KEYS)}")
            if not equals:
                raise ValueError(f"key {key!r} has no value; write {key}=VALUE")
            group, field = _KEYS[key]
            groups[group][field] = _parse_value(key, value)
        nested = {**groups.pop(""), **groups}
        try:
            return msgspec.convert(nested, cls, strict=False)
        except msgspec.ValidationError as error:
            # The cause is our own check's message, if it was one; else msgspec names the type and the place.
            raise ValueError(_with_key(str(error)) if error.__cause__ is None else str(error.__cause__)) from None


_KEYS: dict[str, tuple[str, str]] = {
    "rpm": ("quota", "rpm"),
    "tpm": ("quota", "tpm"),
    "rpd": ("quota", "rpd"),
    "tier": ("quota", "tier"),
    "enforcement": ("quota", "enforcement"),
    "window": ("quota", "window_s"),
    "day_offset": ("quota", "day_offset_s"),
    "count_refused": ("quota", "count_refused"),
    "bare_refusals": ("quota", "bare_refusals"),
    "spending_cap_after": ("quota", "spending_cap_after"),
    "latency": ("latency", "constant_s"),
    "latency_scale": ("latency", "scale"),
    "jitter": ("latency", "jitter"),
    "seed": ("", "seed"),
    "refusal_latency": ("", "refusal_latency_s"),
    "late_refusals": ("", "late_refusals"),
    "count_prompts": ("", "count_prompts"),
    "drip": ("faults", "drip_s"),
    "outage": ("faults", "outage"),
    **{f"fault.{name}": ("faults", name) for name in FAULT_NAMES},
}


def parse_outage(text: str) -> Outage:
    """
    Read ``START:LENGTH[:PROBABILITY]``, in seconds from the start.

    Raises:
        ValueError: The text has another form, or a number is out of range.
    """
    pieces = text.split(":")
    try:
        numbers = [float(piece) for piece in pieces]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3):
        raise ValueError(f"outage is {text!r}; write START:LENGTH:PROBABILITY, for example 30:10:0.8")
    return Outage(*numbers)


def _with_key(message: str) -> str:
    """Replace the path at the end of msgspec's message by the key that the user wrote."""
    reason, _, path = message.partition(" - at `$.")
    wanted = path.rstrip("`")
    for key, (group, field) in _KEYS.items():
        if wanted == (f"{group}.{field}" if group else field):
            return f"{key}: {reason[:1].lower()}{reason[1:]}"
    return message


def _parse_value(key: str, value: str) -> object:
    if key == "outage":
        return msgspec.to_builtins(parse_outage(value))
    if key == "latency" and value == "model":
        return None
    return value
