"""Gemini's streamGenerateContent as a pure codec: the parts of an answer, as they come, become the whole one."""

from __future__ import annotations

import msgspec

from wingbeat.model.answer import Completion, Failure, FailureKind, Usage
from wingbeat.model.http import HttpReply
from wingbeat.providers.gemini_errors import classify_error, malformed, read_json
from wingbeat.providers.gemini_reply import (
    Candidate,
    Content,
    Part,
    Reply,
    UsageMetadata,
    completion,
    decode_answer,
    read_reply,
    readable,
    usage_of,
)
from wingbeat.providers.rate_hints import with_hints
from wingbeat.providers.sse import EventReader


class GeminiStream:
    """
    Put one streamed answer together; never raises on any bytes, and ends with what `GeminiCodec.decode` would say.

    The first candidate counts, as it does there. Token counts are cumulative, so the last ones hold.

    Source: recorded stream of gemini-2.5-flash, 2025: events end with CRLF CRLF, have no name, and none says "done".
    """

    __slots__ = ("_broken", "_error", "_events", "_finish", "_odd", "_parsed", "_plain", "_texts", "_tokens")

    def __init__(self) -> None:
        self._events = EventReader()
        self._plain: list[bytes] | None = []
        self._parsed = Reply()
        self._tokens: UsageMetadata | None = None
        self._texts: list[str] = []
        self._finish: Candidate | None = None
        self._error: bytes | None = None
        self._broken: bytes | None = None
        self._odd: bytes | None = None

    def __repr__(self) -> str:
        return f"<GeminiStream {len(self._texts)} parts{', ended' if self._is_whole else ''}>"

    @property
    def usage(self) -> Usage | None:
        """Tokens that the service has told so far, or None when it has told none."""
        return None if self._tokens is None else usage_of(self._tokens)

    def feed(self, data: bytes) -> int:
        """Take the next bytes of the body; return how many parts of the answer they have completed."""
        if self._plain is not None:
            self._plain.append(bytes(data))
        return sum(self._take(event) for event in self._events.feed(data))

    def finish(self, reply: HttpReply) -> Completion | Failure:
        """
        Say what came of it, once the body has ended.

        The cases, in order:
            1. The status tells of an error: the reply's body is that error's.
            2. No event came: a whole answer, an array of parts, or anything else in a stream's place.
            3. An error came instead of the rest, or a part can't be read: the answer is lost, its tokens are not.
            4. The answer is whole, whatever came after it.
            5. The stream held nothing of an answer, or ended too soon.

        Args:
            reply: Status and headers; and the body, where the status is not 200.
        """
        return with_hints(self._result(reply), reply.headers)

    def _result(self, reply: HttpReply) -> Completion | Failure:
        if reply.status != 200:
            return classify_error(reply.status, reply.headers, reply.body)
        for event in self._events.close():
            self._take(event)
        if self._plain is not None:
            body = b"".join(self._plain)
            if not self._take_array(body):
                return decode_answer(HttpReply(200, reply.headers, body))
        if self._error is not None:
            return self._billed(classify_error(200, reply.headers, self._error))
        if self._broken is not None:
            return self._billed(malformed(self._broken))
        if self._is_whole:
            return completion(self._whole(), reply)
        if self._odd is not None and not self._texts:
            return self._billed(malformed(self._odd))
        return self._billed(
            Failure(FailureKind.MALFORMED_REPLY, "the stream ended before the answer did", status=reply.status)
        )

    @property
    def _is_whole(self) -> bool:
        return self._finish is not None or self._parsed.promptFeedback is not None

    def _take(self, event: bytes) -> bool:
        """Take one event's data; True when it brought a part of an answer."""
        self._plain = None
        part = read_reply(event)
        if part is None or not (part.candidates or part.promptFeedback or part.usageMetadata):
            self._take_oddity(event)
            return False
        return self._merge(part)

    def _take_oddity(self, event: bytes) -> None:
        """Keep what is no part of an answer: an error, an object of no known shape, or bytes that are no object."""
        if self._is_whole:
            return  # whatever comes after the answer does it no harm
        value = read_json(event)
        error = value[0] if isinstance(value, list) and value else value
        if isinstance(error, dict) and isinstance(error.get("error"), dict):
            self._error = self._error or event
        elif isinstance(error, dict):
            self._odd = self._odd or event
        else:
            self._broken = self._broken or event

    def _take_array(self, body: bytes) -> bool:
        """Take the parts of a stream that came as one JSON array; False when the body is none."""
        value = read_json(body)
        if not isinstance(value, list) or len(value) < 2 or not all(isinstance(item, dict) for item in value):
            return False
        for item in value:
            if isinstance(item.get("error"), dict):
                self._error = self._error or msgspec.json.encode({"error": _told(item["error"])})
            else:
                self._merge(readable(item))
        return True

    def _merge(self, part: Reply) -> bool:
        whole = self._parsed
        feedback = part.promptFeedback
        if feedback is not None and feedback.blockReason:
            whole.promptFeedback = feedback
        whole.modelVersion = part.modelVersion or whole.modelVersion
        whole.responseId = part.responseId or whole.responseId
        if part.usageMetadata is not None:
            self._tokens = _latest(self._tokens, part.usageMetadata)
        for candidate in part.candidates or ():
            if not candidate.index:  # protobuf leaves a zero out
                if candidate.content is not None:
                    self._texts += [one.text for one in candidate.content.parts or () if one.text and not one.thought]
                if candidate.finishReason is not None:
                    self._finish = candidate
        return bool(part.candidates)

    def _whole(self) -> Reply:
        """Return the reply that would have come in one piece."""
        candidates = None
        if self._finish is not None:
            content = Content([Part("".join(self._texts))])
            candidates = [Candidate(content, 0, self._finish.finishReason, self._finish.finishMessage)]
        parsed = self._parsed
        return Reply(candidates, parsed.promptFeedback, self._tokens, parsed.modelVersion, parsed.responseId)

    def _billed(self, failure: Failure) -> Failure:
        usage = self.usage
        return failure if usage is None else msgspec.structs.replace(failure, usage=usage)


def _latest(before: UsageMetadata | None, now: UsageMetadata) -> UsageMetadata:
    """Take each count from the last part that told it."""
    if before is None:
        return now
    told = {name: value for name in now.__struct_fields__ if (value := getattr(now, name)) is not None}
    return msgspec.structs.replace(before, **told)


def _told(error: dict[str, object]) -> dict[str, object]:
    """Return the members of an error that can be written again, whatever its bytes were."""
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in error.items()
        if isinstance(value, str | int) and (not isinstance(value, int) or abs(value) < 2**53)
    }
