"""What a stream has said so far: which of its events go on, and whether its answer is complete.

Pure: bytes in, bytes out. An event goes on with the bytes it came in, whole, or not at all; nothing
is re-encoded. When to read, how long to wait and where the bytes go is `relay`'s.
"""

from typing import Final

import msgspec

from tiergate.completion import Usage, read_chunk
from tiergate.sse import DONE, Event, EventReader

DONE_EVENT: Final = b"data: [DONE]\n\n"

DONE_PATIENCE_SECONDS: Final = 2.0
"""A complete answer gets its `[DONE]` from us when the provider has not sent one for so long."""


class Transcript:
    """One answer, read event by event.

    `choices` is how many answers the client asked for: complete means that so many have a finish
    reason. `relay_usage` is whether it asked for the usage event; one that it did not ask for is
    read and kept back. `comments` are counted apart from `events`: they tell that the provider
    lives, not that it has more to say.
    """

    def __init__(self, *, choices: int, relay_usage: bool, max_event_bytes: int) -> None:
        self.usage: Usage | None = None
        self.has_token = False
        self.has_error = False
        self.events = 0
        self.comments = 0
        self.dropped = 0
        self._reader = EventReader(max_event_bytes)
        self._choices = choices
        self._relay_usage = relay_usage
        self._finished: set[int] = set()
        self._done: bytes | None = None

    @property
    def complete(self) -> bool:
        """Every choice has its finish reason, and no error was reported."""
        return len(self._finished) >= self._choices and not self.has_error

    @property
    def ended(self) -> bool:
        """The provider has said its last word: `[DONE]`, or an error event."""
        return self._done is not None or self.has_error

    def feed(self, piece: bytes) -> bytes:
        """The bytes of `piece` (and of what was held of an unfinished event) that go on.

        `[DONE]` is held back until `end`. Raises `sse.EventTooLarge`.
        """
        events = self._reader.feed(piece)
        if len(events) == 1:  # as of a provider that writes token by token
            return self._take(events[0])
        return b"".join([self._take(event) for event in events])

    def finish(self) -> bytes:
        """What the provider left unfinished and yet said, once its body has ended."""
        event = self._reader.finish()
        return b"" if event is None else self._take(event)

    def done_event(self) -> bytes:
        """The one `[DONE]`: the provider's own bytes where it sent one."""
        return self._done or DONE_EVENT

    def _take(self, event: Event) -> bytes:
        if self._done is not None or self.has_error:
            return b""
        data = event.data
        if data is None:
            self.comments += 1
            return event.raw
        self.events += 1
        if data == DONE:
            self._done = event.raw
            return b""
        chunk = read_chunk(data)
        if chunk is None:
            self.dropped += 1
            return b""
        self.has_token = self.has_token or chunk.token or bool(chunk.finished)
        self.has_error = chunk.error.present or event.name == b"error"
        if chunk.finished:
            self._finished.update(chunk.finished)
        if chunk.usage is not None:
            self.usage = self.usage.updated(chunk.usage) if self.usage else chunk.usage
            if chunk.usage_only and not self._relay_usage and not self.has_error:
                return b""
        return event.raw


def error_event(code: str, message: str, provider: str) -> bytes:
    """An error within a stream, in the one shape of CONTRACT section 10."""
    error = {
        "message": message,
        "type": "upstream_error",
        "param": None,
        "code": code,
        "provider": provider,
    }
    return event(msgspec.json.encode({"error": error}))


def event(data: bytes) -> bytes:
    """The bytes of an event; data of several lines is put together again by whoever reads it."""
    return b"".join(b"data: %b\n" % line for line in data.splitlines()) + b"\n"
