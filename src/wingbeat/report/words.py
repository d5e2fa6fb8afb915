"""Numbers as people say them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return seconds as ``1.4 s``, ``2 min 05 s``, ``3 h 20 min`` or ``2 d 4 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def money(amount_usd: float) -> str:
    """Return US dollars with as many digits as tell something."""
    if amount_usd == 0 or amount_usd >= 100:
        return f"${amount_usd:,.2f}"
    if amount_usd >= 1:
        return f"${amount_usd:.2f}"
    if amount_usd >= 0.0001:
        return f"${amount_usd:.4f}"
    return f"${amount_usd:.1e}"


def count(number: float) -> str:
    """Return a count with thousands separated, in millions from ten million on."""
    if number < 10 and number != int(number):
        return f"{number:g}"
    if number >= 10_000_000:
        return f"{number / 1e6:,.1f} M"
    return f"{number:,.0f}"
