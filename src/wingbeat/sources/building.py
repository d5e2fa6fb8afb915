"""Rows become records: the prompt is found or rendered, checked, and given its key."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec

from wingbeat.model.options import NO_OPTIONS, OPTION_NAMES, Options, parse_options
from wingbeat.model.record import Message, Record, Request
from wingbeat.sources.rows import BadRow, Row
from wingbeat.sources.template import Template, TemplateFault

PROMPT_COLUMNS = ("prompt", "messages", "contents")

_encode_key = msgspec.json.Encoder(order="deterministic").encode
_decode_json = msgspec.json.Decoder().decode

_ROLES = {"user": "user", "model": "model", "assistant": "model"}


class _Fault(Exception):
    """This row is unusable; the message says why."""


class RecordBuilder:
    """
    Turn rows into records; a bad row becomes a record with a fault, so that it still has its place in the output.

    Args:
        template: Renders prompts from columns; None to take ``prompt``, ``messages`` or ``contents``.
        system: System text of rows that bring none, or a template of one.
        options: Options of rows that bring none.
        check_options: Says what the service can't take, or None.
        keep_columns: Whether the outcome carries the row's columns.
    """

    def __init__(
        self,
        *,
        template: Template | None = None,
        system: str | Template | None = None,
        options: Options = NO_OPTIONS,
        check_options: Callable[[Options], str | None] = lambda _options: None,
        keep_columns: bool = False,
    ) -> None:
        self._template = template
        self._system = system
        self._options = options
        self._check_options = check_options
        self._keep_columns = keep_columns

    def build(self, index: int, row: Row | BadRow) -> Record:
        """Build the record at a position of the input."""
        if isinstance(row, BadRow):
            key = blake2b(b"bad" + _encode_key([row.number, row.reason]), digest_size=16).digest()
            return Record(index, None, key, None, None, row.reason)
        columns = row.columns
        kept = columns if self._keep_columns else None
        row_id: str | int | None = None
        try:
            row_id = _identifier(columns.get("id"))
            request, content = self._request(columns)
            key = blake2b(_encode_key([row_id, content, kept]), digest_size=16).digest()
            return Record(index, row_id, key, request, kept)
        except _Fault as fault:
            key = blake2b(b"bad" + _encode_key([row_id, row.number, str(fault)]), digest_size=16).digest()
            return Record(index, row_id, key, None, kept if _is_json(kept) else None, str(fault))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            key = blake2b(b"bad" + _encode_key([row.number]), digest_size=16).digest()
            return Record(index, row_id, key, None, None, f"can't be encoded as JSON: {error}")

    def _request(self, columns: dict[str, Any]) -> tuple[Request, list[Any]]:
        """Return the request, and the row's own part of it, from which the key is made."""
        prompt: str | None = None
        messages: tuple[Message, ...] = ()
        contents: list[Any] | None = None
        if self._template is not None:
            prompt = _text(self._rendered(self._template, columns), "the rendered prompt")
        elif not _is_blank(columns.get("prompt")):
            prompt = _text(columns["prompt"], "column `prompt`")
        elif not _is_blank(columns.get("messages")):
            messages, spoken = _messages(columns["messages"])
            if spoken is not None and not columns.get("system"):
                columns = {**columns, "system": spoken}
        elif not _is_blank(columns.get("contents")):
            contents = _contents(columns["contents"])
        else:
            raise _Fault(_nothing_to_ask(columns))
        system, own_system = self._system_of(columns)
        own = self._own_options(columns)
        options = self._options.merged(own)
        content = [prompt, messages, contents, own_system, own.as_dict() if own is not NO_OPTIONS else None]
        return Request(prompt, messages, contents, system, options), content

    def _system_of(self, columns: dict[str, Any]) -> tuple[str | None, str | None]:
        """Return the system text, and the part of it that the row itself brings."""
        if self._template is None and columns.get("system"):
            own = _text(columns["system"], "column `system`")
            return own, own
        if isinstance(self._system, Template):
            own = self._rendered(self._system, columns)
            return own, own
        return self._system, None

    @staticmethod
    def _rendered(template: Template, columns: dict[str, Any]) -> str:
        try:
            return template.render(columns)
        except TemplateFault as fault:
            raise _Fault(str(fault)) from None

    def _own_options(self, columns: dict[str, Any]) -> Options:
        """Read the row's options: an ``options`` object, and single columns unless a template uses columns as data."""
        raw: dict[str, Any] = {}
        given = columns.get("options")
        if given:
            given = _from_json(given, "options")
            if not isinstance(given, dict):
                raise _Fault("column `options` must be a JSON object")
            raw.update((name, value) for name, value in given.items() if value is not None)
        if self._template is None:
            for name in OPTION_NAMES.intersection(columns):
                value = columns[name]
                if value is not None and value != "":
                    raw[name] = _from_json(value, name) if isinstance(value, str) and name not in _TEXTS else value
        if not raw:
            return NO_OPTIONS
        try:
            options = parse_options(raw)
        except ValueError as error:
            raise _Fault(str(error)) from None
        refused = self._check_options(options)
        if refused is not None:
            raise _Fault(refused)
        return options


_TEXTS = frozenset({"stop", "thinking_level"})


def _identifier(value: Any) -> str | int | None:
    if value is None or isinstance(value, bool):
        return None if value is None else str(value)
    if isinstance(value, int):
        return value
    if not isinstance(value, str):
        return _encode_key(value).decode()
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _Fault(f"column `id` holds half a surrogate pair at position {error.start}") from None
    return value or None


def _is_blank(value: Any) -> bool:
    """True for a cell that holds nothing; a table has an empty text where other formats have no value."""
    return value is None or value == ""


def _is_json(value: Any) -> bool:
    try:
        _encode_key(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    return True


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _Fault(f"{what} must be a text, not {type(value).__name__}")
    if not value or value.isspace():
        raise _Fault(f"{what} is empty")
    if "\x00" in value:
        raise _Fault(f"{what} holds a NUL character at position {value.index(chr(0))}")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise _Fault(f"{what} holds half a surrogate pair at position {error.start}") from None
    return value


def _from_json(value: Any, name: str) -> Any:
    """Read a column that a CSV could only give as text."""
    if not isinstance(value, str):
        return value
    try:
        return _decode_json(value.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise _Fault(f"column `{name}` is not valid JSON: {value[:40]!r}") from None


def _messages(value: Any) -> tuple[tuple[Message, ...], str | None]:
    """Read a conversation in the widespread form; return its turns and its system text."""
    value = _from_json(value, "messages")
    if not isinstance(value, list) or not value:
        raise _Fault("column `messages` must be a list of messages")
    turns: list[Message] = []
    system: list[str] = []
    for position, raw in enumerate(value):
        if not isinstance(raw, dict):
            raise _Fault(f"message {position} must be an object with `role` and `content`")
        text = _message_text(raw.get("content"), position)
        role = raw.get("role")
        if role in ("system", "developer"):
            system.append(text)
        elif isinstance(role, str) and role in _ROLES:
            turns.append(Message(_ROLES[role], text))
        else:
            raise _Fault(f"message {position} has the role {role!r}; known are system, user and assistant")
    if not turns:
        raise _Fault("column `messages` has no user message")
    return tuple(turns), "\n\n".join(system) or None


def _message_text(content: Any, position: int) -> str:
    if isinstance(content, list):
        texts = [
            part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content
        ]
        if any(not isinstance(text, str) for text in texts):
            raise _Fault(f"message {position} has a part that is not text; only text is taken so far")
        content = "".join(text for text in texts if text is not None)
    return _text(content, f"message {position}")


def _contents(value: Any) -> list[Any]:
    value = _from_json(value, "contents")
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value or not all(isinstance(turn, dict) for turn in value):
        raise _Fault("column `contents` must be a list of turns with `role` and `parts`")
    return value


def _nothing_to_ask(columns: dict[str, Any]) -> str:
    present = next((name for name in PROMPT_COLUMNS if name in columns), None)
    if present is not None:
        return f"column `{present}` is empty"
    names = ", ".join(f"`{name}`" for name in list(columns)[:8]) or "none"
    return f"has no column `prompt`, `messages` or `contents` (its columns: {names})"
