"""The live panel of a run, for terminals from 50 columns on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wingbeat.ledgers.limits import Limits
from wingbeat.report.learning import limits_text
from wingbeat.report.words import count, duration, money

if TYPE_CHECKING:
    from wingbeat.report.progress import Snapshot


def panel(name: str, now: Snapshot, limits: Limits) -> Table:
    """Lay a snapshot out: a bar, then what is done, at which rate, at what cost, and what the run waits for."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(ratio=1)
    grid.add_row(_bar(name, now))
    grid.add_row(_counts(now))
    grid.add_row(_rates(now, limits))
    if now.learnt:
        grid.add_row(Text(f"learnt: {limits_text(now.learnt)}", style="dim"))
    return grid


def _bar(name: str, now: Snapshot) -> Table:
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(no_wrap=True, max_width=28)
    row.add_column(ratio=1)
    row.add_column(no_wrap=True, justify="right")
    total = now.rows
    share = f"{now.done / total:.0%}" if total else ""
    done = Text(f"{now.done:,}/{total:,} {share}" if total is not None else f"{now.done:,}", style="bold")
    bar = ProgressBar(total=total or 1, completed=now.done, pulse=total is None)
    row.add_row(Text(name, overflow="ellipsis"), bar, done)
    return row


def _counts(now: Snapshot) -> Text:
    text = Text()
    text.append(f"{now.in_flight:,} in flight")
    text.append(f" · {now.waiting + now.backing_off:,} waiting", style="dim")
    text.append(f" · {now.failed:,} failed", style="red" if now.failed else "dim")
    if now.refused:
        text.append(f" · {now.refused:,} refused", style="yellow")
    if now.retried:
        text.append(f" · {now.retried:,} retried", style="dim")
    if now.waiting_for:
        text.append(f" · waiting for {now.waiting_for}", style="cyan")
    return text


def _rates(now: Snapshot, limits: Limits) -> Text:
    text = Text(style="dim")
    text.append(_rate(now.requests_per_minute, limits.rpm, "requests", now.elapsed_s))
    text.append(f" · {_rate(now.input_tokens_per_minute, limits.tpm, 'tokens', now.elapsed_s)}")
    if now.cost_usd:
        text.append(f" · {money(now.cost_usd)}{_of_money(limits.max_cost)}")
    text.append(f" · {duration(now.elapsed_s)}")
    if now.eta_s is not None:
        text.append(f", {duration(now.eta_s)} left")
    return text


def _rate(per_minute: float, limit: float | None, unit: str, elapsed_s: float) -> str:
    """Say a rate; beside a limit say what was counted in the last minute, which is what the limit bounds."""
    if limit is None:
        return f"{count(per_minute)} {unit}/min"
    counted = per_minute * min(60.0, max(1.0, elapsed_s)) / 60.0
    return f"{count(counted)} of {count(limit)} {unit} in the last minute"


def _of_money(limit: float | None) -> str:
    return "" if limit is None else f"/{money(limit)}"
