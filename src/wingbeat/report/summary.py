"""How a run went, said at its end."""

from __future__ import annotations

from pathlib import Path

import msgspec

from wingbeat.engine.statistics import Statistics
from wingbeat.model.limit import LearntLimit
from wingbeat.report.learning import limits_text
from wingbeat.report.words import count, duration, money


class Summary(msgspec.Struct, frozen=True):
    """
    How a run went; the fields of an ``end`` event.

    Args:
        route: Route and model.
        output: The output file, or None for standard output.
        rows: Rows of the input, or None when it was not read to its end.
        done: Rows that have an outcome now.
        answered: Rows answered by this run.
        withheld: Answered rows whose answer the service blocked or refused.
        shortened: Answered rows cut at the token limit.
        failed: Rows failed in this run.
        failures: How often each kind of failure was a row's end.
        first_messages: The first message of each kind of failure.
        sent: Requests sent.
        refused: Requests refused for quota.
        retried: Requests sent again after a failure.
        input_tokens: Input tokens of the answers.
        output_tokens: Output tokens of the answers, thinking included.
        cost_usd: Their price, or None when no price is known.
        elapsed_s: Seconds from connecting to the end.
        peak_in_flight: Most requests in flight at once.
        learnt: What was found out about the service's limits.
        learnt_is_kept: Whether that is kept for the next run.
        hedged: Second requests sent beside late first ones.
        hedges_won: Those of them that answered first.
        hedges_share: What second requests have cost, as a part of what the answers cost.
    """

    route: str
    output: str | None
    rows: int | None
    done: int
    answered: int
    withheld: int
    shortened: int
    failed: int
    failures: dict[str, int]
    first_messages: dict[str, str]
    sent: int
    refused: int
    retried: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    elapsed_s: float
    peak_in_flight: int
    learnt: tuple[LearntLimit, ...] = ()
    learnt_is_kept: bool = False
    hedged: int = 0
    hedges_won: int = 0
    hedges_share: float = 0.0

    @classmethod
    def of(
        cls,
        statistics: Statistics,
        elapsed_s: float,
        route: str,
        output: Path | None,
        learnt: tuple[LearntLimit, ...] = (),
        *,
        learnt_is_kept: bool = False,
    ) -> Summary:
        """Read the counters of a run that has ended."""
        return cls(
            route=route,
            output=None if output is None else str(output),
            rows=statistics.rows,
            done=statistics.done,
            answered=statistics.answered,
            withheld=statistics.withheld,
            shortened=statistics.shortened,
            failed=statistics.failed,
            failures=dict(statistics.failures),
            first_messages=statistics.first_messages,
            sent=statistics.sent,
            refused=statistics.refused,
            retried=statistics.retried,
            input_tokens=statistics.input_tokens,
            output_tokens=statistics.output_tokens,
            cost_usd=None if statistics.unpriced and not statistics.cost_usd else round(statistics.cost_usd, 6),
            elapsed_s=round(elapsed_s, 3),
            peak_in_flight=statistics.peak_in_flight,
            learnt=learnt,
            learnt_is_kept=learnt_is_kept,
            hedged=statistics.hedged,
            hedges_won=statistics.hedges_won,
            hedges_share=round(statistics.hedges_share, 6),
        )


def summary_lines(summary: Summary) -> list[tuple[str, str]]:
    """Return the summary as (name, text) lines."""
    lines = [("done", _done_text(summary))]
    if summary.failed:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(summary.failures.items()))
        lines.append(("failed", f"{summary.failed:,}: {kinds}"))
        lines += [("", f"{kind}: {message[:200]}") for kind, message in sorted(summary.first_messages.items())]
    notes = []
    if summary.withheld:
        notes.append(f"{summary.withheld:,} withheld by the service")
    if summary.shortened:
        notes.append(f"{summary.shortened:,} cut at the token limit")
    if notes:
        lines.append(("note", ", ".join(notes)))
    if summary.sent:
        lines.append(("sent", _sent_text(summary)))
    if summary.hedged:
        share = f"+{summary.hedges_share * 100:.1f} % cost"
        lines.append(("hedged", f"{summary.hedged:,} ({summary.hedges_won:,} won), {share}"))
    if summary.learnt:
        kept = "; kept for the next run, see wingbeat limits" if summary.learnt_is_kept else ""
        lines.append(("learnt", f"{limits_text(summary.learnt)}{kept}"))
    if summary.answered:
        cost = "no price known" if summary.cost_usd is None else money(summary.cost_usd)
        if summary.route.startswith("sim/") and summary.cost_usd is not None:
            cost = f"{cost} had they been real"
        tokens = f"{count(summary.input_tokens)} tokens in, {count(summary.output_tokens)} out"
        lines.append(("cost", f"{cost}; {tokens}"))
    return lines


def _done_text(summary: Summary) -> str:
    total = "" if summary.rows is None else f" of {summary.rows:,}"
    simulated = ", simulated" if summary.route.startswith("sim/") else ""
    text = (
        f"{summary.done:,}{total} rows, {summary.answered:,} answered now{simulated}, in {duration(summary.elapsed_s)}"
    )
    return text if summary.output is None else f"{text}: {summary.output}"


def _sent_text(summary: Summary) -> str:
    rate = summary.sent / max(summary.elapsed_s, 1e-9)
    said = f"{rate:,.1f} a second" if rate < 1000 else f"{rate:,.0f} a second"
    requests = "1 request" if summary.sent == 1 else f"{summary.sent:,} requests"
    text = f"{requests}, {said}, at most {summary.peak_in_flight:,} in flight"
    text += f", {summary.refused:,} refused for quota"
    if summary.retried:
        text += f", {summary.retried:,} sent again"
    return text
