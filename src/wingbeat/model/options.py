"""Generation options: what a user may ask of an answer, in the field's own names."""

from __future__ import annotations

from typing import Any

import msgspec


class Options(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    Generation options; a field that is None is not sent, so the service's own default holds.

    Args:
        temperature: Sampling temperature, 0 and up.
        top_p: Nucleus sampling mass, 0 to 1.
        top_k: Sample among the k likeliest tokens.
        max_output_tokens: Most tokens of the answer, thinking included where the service counts it.
        stop: Texts that end the answer.
        seed: Sampling seed, where the service takes one.
        thinking_budget: Most thinking tokens; 0 turns thinking off, -1 leaves it to the model.
        thinking_level: Named effort instead of a budget: minimal, low, medium, high, xhigh.
        presence_penalty: Penalty for tokens already present.
        frequency_penalty: Penalty by how often a token was used.
        extra: Anything else the service takes, in its own wire names, merged into the request body.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    seed: int | None = None
    thinking_budget: int | None = None
    thinking_level: str | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    extra: dict[str, Any] | None = None

    def merged(self, over: Options) -> Options:
        """Return these options with every set field of ``over`` in place of ours."""
        if over is NO_OPTIONS:
            return self
        if self is NO_OPTIONS:
            return over
        changes = {name: value for name in _FIELDS if (value := getattr(over, name)) is not None}
        if self.extra and over.extra:
            changes["extra"] = {**self.extra, **over.extra}
        return msgspec.structs.replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Return the set fields only, as plain JSON values."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


_FIELDS = Options.__struct_fields__
OPTION_NAMES = frozenset(name for name in _FIELDS if name != "extra")
NO_OPTIONS = Options()


def parse_options(raw: dict[str, Any]) -> Options:
    """
    Read options from plain values; names that are not ours are kept in ``extra`` for the service.

    Args:
        raw: Option names to values. ``stop`` may be one text or a list of texts.

    Raises:
        ValueError: A value has the wrong type or lies outside its range.
    """
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in raw.items():
        if value is None:
            continue
        if name in OPTION_NAMES:
            known[name] = [value] if name == "stop" and isinstance(value, str) else value
        elif name == "extra" and isinstance(value, dict):
            extra.update(value)
        else:
            extra[name] = value
    if extra:
        known["extra"] = extra
    try:
        options = msgspec.convert(known, Options)
    except msgspec.ValidationError as error:
        raise ValueError(f"bad generation option: {error}") from None
    _check_ranges(options)
    return options


def _check_ranges(options: Options) -> None:
    """Refuse values that no service accepts, before anything is sent."""
    if options.temperature is not None and not 0 <= options.temperature <= 10:
        raise ValueError(f"bad generation option: temperature {options.temperature!r} is not 0 or above")
    if options.top_p is not None and not 0 <= options.top_p <= 1:
        raise ValueError(f"bad generation option: top_p {options.top_p!r} is not between 0 and 1")
    if options.top_k is not None and options.top_k < 1:
        raise ValueError(f"bad generation option: top_k {options.top_k!r} is below 1")
    if options.max_output_tokens is not None and options.max_output_tokens < 1:
        raise ValueError(f"bad generation option: max_output_tokens {options.max_output_tokens!r} is below 1")
    if options.thinking_budget is not None and options.thinking_budget < -1:
        raise ValueError(f"bad generation option: thinking_budget {options.thinking_budget!r} is below -1")
