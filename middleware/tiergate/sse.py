"""Server-sent events: bytes in, whole events out, each with the very bytes it came in.

The rules are those of the WHATWG event stream: a line ends with CRLF, LF or CR in any mix, a blank
line ends an event, a leading BOM is ignored. Any split of the bytes gives the same events. What the
data of an event means is not known here.
"""

import re
from typing import Final

from msgspec import Struct

DONE: Final = b"[DONE]"

# Atomic groups: a CRLF is one line end and may not be taken for two when the match backtracks.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


def _blank_line(text: bytes, start: int) -> int:
    """Where the first blank line ends; 0 where there is none."""
    match = _BLANK_LINE.search(text, start)
    return match.end() if match is not None else 0


def _blank_lf(text: bytes, start: int) -> int:
    """The same of a text without CR, at a quarter of the cost."""
    found = text.find(b"\n\n", start)
    return found + 2 if found >= 0 else 0


class EventTooLarge(Exception):
    """One event is larger than the reader may hold."""


class Event(Struct, frozen=True):
    """One event: `raw` is what came, blank line included; `data` is None for a mere comment."""

    raw: bytes
    data: bytes | None
    name: bytes | None = None


class EventReader:
    """Cuts a byte stream into events. Holds at most one unfinished event of `max_event_bytes`."""

    def __init__(self, max_event_bytes: int) -> None:
        self._max = max_event_bytes
        self._held = b""
        self._begun = False
        self._after_cr = False
        self._owed = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes; raises `EventTooLarge`.

        An event is given as soon as it ends, perhaps between the CR and the LF of its last line
        end. Unless its lines end with CR alone, the LF is then given with it, and taken off
        what follows.
        """
        events = []
        if self._owed and chunk:
            chunk, self._owed = chunk.removeprefix(b"\n"), False
        held, start, scan = chunk, 0, 0
        if self._held:
            held, scan = self._held + chunk, max(0, len(self._held) - 2)
        if self._after_cr and held.startswith(b"\n"):
            scan = max(scan, 1)  # the other half of a CRLF that already ended an event
        blank, size = _blank_line if b"\r" in held else _blank_lf, len(held)
        while start < size and (end := blank(held, scan)) > 0:
            raw = held[start:end]
            start = scan = end
            self._after_cr = end == size and raw.endswith(b"\r")
            if self._after_cr and raw.endswith(b"\n\r"):
                raw, self._owed, self._after_cr = raw + b"\n", True, False
            events.append(self._event(raw))
        self._held = held[start:]
        if size - start > self._max:
            raise EventTooLarge
        return events

    def finish(self) -> Event | None:
        """What is left when the bytes end: an event that lacks only its blank line, or None."""
        left, self._held = self._held, b""
        event = self._event(left)
        if event.data is None:
            return None
        return Event(raw=left.rstrip(b"\r\n") + b"\n\n", data=event.data, name=event.name)

    def _event(self, raw: bytes) -> Event:
        if len(raw) > self._max:
            raise EventTooLarge
        text = raw
        if not self._begun:
            self._begun = True
            text = raw.removeprefix(_BOM)
        end = len(text) - 2
        if text.startswith(b"data: ") and text.find(b"\n") == end and b"\r" not in text:
            return Event(raw, text[6:end])  # as nearly every one is: a line, and the blank one
        return _parse(raw, text)


def _parse(raw: bytes, text: bytes) -> Event:
    data: list[bytes] = []
    name = None
    for line in _LINE_END.split(text):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return Event(raw=raw, data=b"\n".join(data) if data else None, name=name)
