"""What a run may use: limits, and the service that a model name, a key and the environment mean."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from wingbeat.errors import ConfigurationError
from wingbeat.providers.gemini import DEFAULT_BASE_URL, is_gemini_name


class Service(msgspec.Struct, frozen=True):
    """
    Whom to ask, as a model name, options and environment say.

    Args:
        kind: ``gemini`` for the real service, ``sim`` for the bundled simulator.
        model: The model's own name.
        base_url: Where to send; None for the simulator that is started for the run.
        api_version: Path segment of the API version, or None for the codec's default.
        key: The API key; never shown.
        warnings: What the user should know, in one line each.
    """

    kind: Literal["gemini", "sim"]
    model: str
    base_url: str | None
    api_version: str | None
    key: str
    warnings: tuple[str, ...] = ()

    @property
    def route_name(self) -> str:
        """Route and model, as written into every output row."""
        return f"{self.kind}/{self.model}"

    def __repr__(self) -> str:
        return f"<Service {self.route_name} at {self.base_url or 'the bundled simulator'}>"

    __str__ = __repr__


def find_service(
    model: str,
    *,
    base_url: str | None = None,
    api_version: str | None = None,
    environment: Mapping[str, str] | None = None,
    needs_key: bool = True,
) -> Service:
    """
    Work out which service a model name means.

    Args:
        model: ``gemini/NAME``, a bare Gemini name, or ``sim/NAME`` for the simulator.
        base_url: As the vendor's own client takes it: without the API version.
        api_version: As the vendor's own client takes it: ``v1``, ``v1beta``.
        environment: Environment variables; the process's own by default. The names are the vendor's:
            GOOGLE_API_KEY before GEMINI_API_KEY, GOOGLE_GEMINI_BASE_URL, GOOGLE_GENAI_API_VERSION.
        needs_key: Whether requests will be sent; a plan needs no key.

    Raises:
        ConfigurationError: The name means no service, or there is no key.
    """
    env = os.environ if environment is None else environment
    kind, name = _split(model)
    version = api_version or env.get("GOOGLE_GENAI_API_VERSION") or None
    version = "v1beta" if version == "beta" else version
    if version is not None and not _VERSION.fullmatch(version):
        raise ConfigurationError(f"the API version {version!r} is none", hint="write it like v1 or v1beta")
    if kind == "sim":
        if base_url is not None:
            raise ConfigurationError(
                "`sim/…` starts a simulator of its own, so it takes no base URL",
                hint=f"to ask a simulator that runs already, write --model {name} --base-url URL",
            )
        return Service("sim", name, None, version, "simulated")
    key, warnings = _key(env) if needs_key or _has_key(env) else ("", ())
    url = base_url or env.get("GOOGLE_GEMINI_BASE_URL") or DEFAULT_BASE_URL
    return Service("gemini", name, url, version, key, warnings)


_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


def _split(model: str) -> tuple[Literal["gemini", "sim"], str]:
    kind, slash, name = model.partition("/")
    name = name.removeprefix("models/")
    if kind == "sim" and slash and name:
        if not is_gemini_name(name):
            raise ConfigurationError(
                f"the simulator has no model {name!r}", hint="name a Gemini model: sim/gemini-2.5-flash"
            )
        return "sim", name
    if kind == "gemini" and slash and name:
        return "gemini", name
    if is_gemini_name(model):
        return "gemini", model.removeprefix("models/")
    raise ConfigurationError(
        f"unknown model {model!r}",
        hint="write gemini/NAME or a bare gemini-… name; sim/gemini-2.5-flash asks the bundled simulator",
    )


def _has_key(env: Mapping[str, str]) -> bool:
    return bool(env.get("GOOGLE_API_KEY", "").strip() or env.get("GEMINI_API_KEY", "").strip())


def _key(env: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    google, gemini = env.get("GOOGLE_API_KEY", "").strip(), env.get("GEMINI_API_KEY", "").strip()
    key = google or gemini
    if not key:
        raise ConfigurationError(
            "there is no API key for Gemini",
            hint="set GEMINI_API_KEY (from Google AI Studio); or try the simulator: --model sim/gemini-2.5-flash",
        )
    if not key.isascii() or not key.isprintable():
        name = "GOOGLE_API_KEY" if google else "GEMINI_API_KEY"
        raise ConfigurationError(f"the key in {name} holds characters that no key has", hint="copy it again")
    if google and gemini and google != gemini:
        return key, ("GOOGLE_API_KEY and GEMINI_API_KEY are both set; using GOOGLE_API_KEY, as Google's client does",)
    return key, ()
