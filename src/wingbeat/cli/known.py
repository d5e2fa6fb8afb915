"""How known limits look: a table a route, or two lines a limit where the terminal is narrow."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import NamedTuple, assert_never

from wingbeat.learnt import KnownLimit, KnownRoute, Trust
from wingbeat.report.learning import age_text, enforcement_text, limit_text, limits_text, origin_text

GAP = "  "

KEY_DIGITS = 4
"""Digits of a key's digest that are shown, and only where one host has several keys."""


class Line(NamedTuple):
    """One line: what stands out, and what stands back."""

    strong: str
    plain: str = ""
    dim: str = ""


def known_lines(routes: Sequence[KnownRoute], now: datetime.datetime, width: int | None) -> Iterator[Line]:
    """
    Lay known limits out.

    Args:
        routes: What is known.
        now: The time, for ages.
        width: Columns of the terminal; None for as wide as it gets.
    """
    rows = {each.route: [_cells(limit, now) for limit in each.limits] for each in routes}
    columns = zip(*(row for found in rows.values() for row in found), strict=True)
    widths = [max(map(len, column)) for column in columns]
    shown = [place for place, size in enumerate(widths) if size]
    is_wide = width is None or sum(len(GAP) + widths[place] for place in shown) <= width
    for number, each in enumerate(routes):
        if number:
            yield Line("")
        name, where = f"{each.route.api}/{each.route.model}", f"at {each.route.host}{_key(each, routes)}"
        if width is None or len(name) + 1 + len(where) <= width:
            yield Line(name, dim=f" {where}")
        else:
            yield Line(name)
            yield Line("", dim=where)
        for limit, row in zip(each.limits, rows[each.route], strict=True):
            if is_wide:
                what, *rest = (row[place].ljust(widths[place]) for place in shown)
                yield Line("", GAP + what, (GAP + GAP.join(rest)).rstrip())
            else:
                yield Line("", GAP + limits_text([limit]))
                yield Line("", dim=f"{GAP}{GAP}{row[2]} {row[3]}, {row[4]}")


def use_of(trust: Trust | None) -> str:
    """Name what the next run does with a limit, in one word for programs."""
    return "kept" if trust is None else trust.name.lower()


def _cells(limit: KnownLimit, now: datetime.datetime) -> tuple[str, str, str, str, str]:
    return (
        limit_text(limit),
        enforcement_text(limit.enforcement),
        origin_text(limit.origin),
        age_text((now - limit.learnt_at).total_seconds()),
        _use_text(limit, now),
    )


def _use_text(limit: KnownLimit, now: datetime.datetime) -> str:
    believed = limit.trust(now)
    match believed:
        case None:
            return "kept to"
        case Trust.FRESH:
            return "runs start from it" if limit.part(now) == 1 else "runs start at half"
        case Trust.OLD:
            return "runs start at half"
        case Trust.STALE:
            return "too old, not used"
    assert_never(believed)


def _key(shown: KnownRoute, routes: Sequence[KnownRoute]) -> str:
    """Tell keys apart where one host has several; the digits are of the digest, not of the key."""
    keys = {
        each.route.key for each in routes if (each.route.api, each.route.host) == (shown.route.api, shown.route.host)
    }
    return f", key #{shown.route.key[:KEY_DIGITS] or 'none'}" if len(keys) > 1 else ""
