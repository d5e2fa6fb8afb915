"""When Gemini's day begins and ends: at midnight Pacific time. Source: Gemini API documentation, "Rate limits"."""

from __future__ import annotations

import datetime


def day_resets(now: datetime.datetime) -> str:
    """
    Say when the quotas of the day reset, for a person.

    Args:
        now: The time, with its zone.
    """
    pacific = _pacific(now)
    if pacific is None:
        return "midnight Pacific time"
    tomorrow = pacific.date() + datetime.timedelta(days=1)
    midnight = datetime.datetime.combine(tomorrow, datetime.time(), tzinfo=pacific.tzinfo)
    return f"midnight Pacific time ({midnight.astimezone(datetime.UTC):%Y-%m-%d %H:%M} UTC)"


def day_of(now: datetime.datetime) -> str:
    """
    Return the date of the quota's day.

    Args:
        now: The time, with its zone.
    """
    pacific = _pacific(now)
    standard_time = datetime.timedelta(hours=-8)
    return str((pacific or now.astimezone(datetime.timezone(standard_time))).date())


def _pacific(now: datetime.datetime) -> datetime.datetime | None:
    """Return the time there, or None where the system knows no time zones."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return now.astimezone(ZoneInfo("America/Los_Angeles"))
    except ZoneInfoNotFoundError:
        return None
