"""The models and quota tiers that the simulator offers, read from the data files beside this module."""

from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec

Thinking = Literal["never", "optional", "default", "always"]


class Model(msgspec.Struct, frozen=True):
    """One model: its limits, what it can do and how long it takes."""

    name: str
    display_name: str
    version: str
    input_token_limit: int
    output_token_limit: int
    thinking: Thinking
    first_token_s: float
    seconds_per_token: float
    latency_basis: str
    methods: tuple[str, ...]

    @property
    def generates(self) -> bool:
        """Whether the model answers prompts."""
        return "generateContent" in self.methods

    @property
    def signs_thoughts(self) -> bool:
        """Whether text parts carry a thought signature, as from Gemini 3 on."""
        return self.name >= "gemini-3" and self.thinking != "never"


class ModelLimits(msgspec.Struct, frozen=True):
    """What one tier allows for one model; None means no limit, 0 that the model is not on the plan."""

    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None


class Catalogue(msgspec.Struct, frozen=True):
    """Every model by name, and the aliases that v1beta resolves."""

    source: str
    checked: str
    models: tuple[Model, ...]
    aliases: dict[str, str]

    def find(self, name: str, version: str) -> Model | None:
        """Return the model called `name` in API version `version`, aliases resolved; None when there is none."""
        table = _by_name()
        if name in self.aliases:
            # The `-latest` aliases exist on v1beta only. Source: package metadata of google-genai 3.4.0, 2026.
            return None if version == "v1" else table[self.aliases[name]]
        return table.get(name)

    def listed(self, version: str) -> tuple[tuple[str, Model], ...]:
        """Return the (name, model) pairs which `GET /{version}/models` shows, in a stable order."""
        table = _by_name()
        plain = tuple((model.name, model) for model in self.models)
        if version == "v1":
            return plain
        return plain + tuple((alias, table[name]) for alias, name in self.aliases.items())


class Tiers(msgspec.Struct, frozen=True):
    """The limits of each tier by model."""

    source: str
    checked: str
    tiers: dict[str, dict[str, ModelLimits]]


@cache
def catalogue() -> Catalogue:
    """Return the model catalogue."""
    return msgspec.json.decode(files(__package__).joinpath("models.json").read_bytes(), type=Catalogue)


@cache
def tiers() -> dict[str, dict[str, ModelLimits]]:
    """Return tier name -> model name -> limits."""
    data = files(__package__).joinpath("tiers.json").read_bytes()
    return msgspec.json.decode(data, type=Tiers).tiers


@cache
def _by_name() -> dict[str, Model]:
    return {model.name: model for model in catalogue().models}
