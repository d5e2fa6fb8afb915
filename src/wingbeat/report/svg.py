"""Parts of pictures that stand alone as SVG files: elements, text, numbers, scales; not what is drawn with them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

Colours = Sequence[tuple[str, str, str, str]]
"""Class, property, and its colour on light and on dark; plain colours, since not every viewer knows CSS variables."""

FONT = "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;font-size:12px}"

WORDS = (
    FONT + ".title{font-size:20px;font-weight:600}.subtitle{font-size:13px}.heading{font-size:14px;font-weight:600}"
    ".small{font-size:11px}.end{text-anchor:end}.middle{text-anchor:middle}"
    ".halo{paint-order:stroke;stroke-width:4;stroke-linejoin:round;font-weight:600}"
)
"""How words look in every picture."""

PAGE_COLOURS: Colours = (
    (".paper", "fill", "#ffffff", "#0d1117"),
    (".ink", "fill", "#1f2328", "#e6edf3"),
    (".soft", "fill", "#59636e", "#9198a1"),
    (".halo", "stroke", "#ffffff", "#0d1117"),
    (".grid", "stroke", "#e7eaee", "#21262d"),
)
"""Paper, words and grid lines, as in every picture."""

_UNITS: tuple[tuple[float, float, str], ...] = ((1, 0.001, "ms"), (180, 1, "s"), (10_800, 60, "min"))
"""Durations below the first number of seconds are given in units of the second number."""


def document(
    parts: Sequence[str], *, width: float, height: float, title: str, description: str, style: str, class_: str = ""
) -> str:
    """
    Return a whole document.

    Args:
        parts: Its markup, from back to front; empty parts are left out.
        width: Width in pixels.
        height: Height in pixels.
        title: Its name, read aloud and shown as a tooltip.
        description: What it shows, in words.
        style: Its rules, by `style_of`.
        class_: What its rules are bound to besides ``wingbeat``.
    """
    return element(
        "svg",
        element("title", escape(printable(title)), id="wingbeat-title"),
        element("desc", escape(printable(description)), id="wingbeat-desc"),
        element("style", style),
        *(part for part in parts if part),
        xmlns="http://www.w3.org/2000/svg",
        class_=f"wingbeat {class_}".rstrip(),
        viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
        width=width,
        height=height,
        role="img",
        aria_labelledby="wingbeat-title wingbeat-desc",
    )


def style_of(shapes: str, colours: Colours) -> str:
    """Every rule is bound to this picture, since a page that holds it inline shares one style space with it."""
    light = "".join(f"{name}{{{what}:{colour}}}" for name, what, colour, _ in colours)
    dark = "".join(f"{name}{{{what}:{colour}}}" for name, what, _, colour in colours)
    return f"{_bound(shapes + light)}@media (prefers-color-scheme:dark){{{_bound(dark)}}}"


def _bound(rules: str) -> str:
    selectors = (rule.split("{", 1) for rule in rules.split("}") if rule)
    return "".join(f"{','.join('.wingbeat ' + one for one in names.split(','))}{{{body}}}" for names, body in selectors)


def element(tag: str, *inside: str, **attributes: str | float) -> str:
    """Write one element; ``inside`` is markup already, attributes are values yet to be quoted."""
    named = "".join(f" {_attribute(name)}={quoteattr(coordinate(value))}" for name, value in attributes.items())
    return f"<{tag}{named}>{''.join(inside)}</{tag}>" if inside else f"<{tag}{named}/>"


def caption(x: float, y: float, words: str, look: str) -> str:
    """Write words; ``look`` names their classes."""
    return element("text", escape(words), class_=look, x=x, y=y)


def segment(x: float, y: float, to_x: float, to_y: float) -> str:
    """Return the path data of a straight line."""
    return f"M{coordinate(x)} {coordinate(y)}L{coordinate(to_x)} {coordinate(to_y)}"


def coordinate(value: str | float) -> str:
    """Round to a tenth of a pixel, the finest that shows."""
    return value if isinstance(value, str) else f"{round(value, 1) + 0.0:g}" if abs(value) < 1e5 else f"{value:.0f}"


def _attribute(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def printable(text: str) -> str:
    """Put text on one line, without the characters that XML forbids."""
    return " ".join("".join(" " if unicodedata.category(one) in {"Cc", "Cs", "Cn"} else one for one in text).split())


def shortened(text: str, most: int) -> str:
    """Cut text to a width, counting wide characters (as in Chinese) twice."""
    text, width = printable(text), 0
    for place, one in enumerate(text):
        width += 2 if unicodedata.east_asian_width(one) in "WF" else 1
        if width > most:
            return text[: place - 1].rstrip() + "…"
    return text


def time_unit(seconds: float) -> tuple[float, str]:
    """Return the unit for a time of about so many seconds: its size in seconds, and its name."""
    return next(((size, unit) for below, size, unit in _UNITS if seconds < below), (3600, "h"))


def round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5, 10, 20, 50 … (and 0.5, 0.2, 0.1 …) that is at least ``least``."""
    power = 1e-6
    while True:
        for digit in (1, 2, 5):
            if digit * power >= least * (1 - 1e-9):
                return float(f"{digit * power:.3g}")
        power *= 10
