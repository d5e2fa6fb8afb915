"""What makes two runs the same run: the model, and everything that shapes every request."""

from __future__ import annotations

from typing import Any

import msgspec

from wingbeat.errors import ChangedRunError
from wingbeat.journal.store import Journal


class RunIdentity(msgspec.Struct, frozen=True):
    """
    What must not change between a run and its resumption. The input's rows are found by content instead.

    Args:
        model: Route and model, as written into every output row.
        options: Generation options of the run.
        system: System text or its template.
        template: Prompt template, or None.
        keep_columns: Whether rows carry the input's columns.
    """

    model: str
    options: dict[str, Any] = {}
    system: str | None = None
    template: str | None = None
    keep_columns: bool = False

    def differs(self, journal: Journal) -> bool:
        """
        Compare with the run that the journal was begun with.

        Returns:
            True when something differs but nothing was answered, so that its failures bind nobody.

        Raises:
            ChangedRunError: Something differs, and there are answers that must not be mixed; the message says what.
        """
        kept = journal.read("run")
        changes = [] if kept is None else _changes(msgspec.convert(kept, RunIdentity), self)
        if changes and journal.has_answers():
            raise ChangedRunError(
                f"`{journal.path}` holds another run: {'; '.join(changes)}",
                hint="give the same options again, choose another output, or start over with --overwrite",
            )
        return bool(changes)


def _changes(before: RunIdentity, now: RunIdentity) -> list[str]:
    found = []
    if before.model != now.model:
        found.append(f"the model was `{before.model}`, now `{now.model}`")
    for name in sorted({*before.options, *now.options}):
        old, new = before.options.get(name), now.options.get(name)
        if old != new:
            found.append(f"{name} was {_shown(old)}, now {_shown(new)}")
    for name in ("system", "template"):
        old, new = getattr(before, name), getattr(now, name)
        if old != new:
            found.append(f"the {name} was {_shown(old)}, now {_shown(new)}")
    if before.keep_columns != now.keep_columns:
        found.append("--keep-columns was " + ("given" if before.keep_columns else "not given"))
    return found


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…'"
