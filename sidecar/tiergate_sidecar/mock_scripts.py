"""What a fault does to an answer: pure functions from an answer and a fault to what is sent.

Here live the scripts: the bytes to send, how long to wait before the first token, and how the
connection ends. What must not live here: sockets, clocks, and faults that come before the body.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from tiergate_sidecar.mock_answers import DONE, LONG_TEXT, Answer, Pieces, encode, event
from tiergate_sidecar.mock_faults import Fault, error_body

__all__ = ["BODIES", "LONG", "STREAMS", "Ending", "Script", "body_script", "stream_script"]

# Where a fault without an argument strikes: early enough that much is missing, late enough that
# something was said.
_EARLY = 5
_MIDDLE = len(LONG_TEXT) // 2
# Two, three and four bytes long.
_WIDE = "ñ€🙂"
_CUT_IN_WIDE = len(_WIDE.encode()) - 2

_ERROR = error_body("server_error", "internal_error", "The model failed while it was answering.")


class Ending(Enum):
    """What comes after the last bytes of a script."""

    FINISH = auto()
    HANG_UP = auto()
    STALL = auto()


@dataclass(frozen=True, slots=True)
class Script:
    """`steps` in order, with `wait` seconds before the first token or the whole body.

    `length` is the Content-Length the head promises; None means chunked.
    """

    steps: Sequence[bytes]
    ending: Ending = Ending.FINISH
    wait: float = 0
    length: int | None = None


def stream_script(answer: Answer, fault: Fault | None) -> Script:
    pieces = answer.pieces()
    change = STREAMS.get(fault.name) if fault else None
    if fault is None or change is None:
        return Script(_whole(pieces))
    return change(answer, pieces, fault.argument or 0)


def body_script(answer: Answer, fault: Fault | None) -> Script:
    body = answer.completion(answer.finish_reason)
    change = BODIES.get(fault.name) if fault else None
    if fault is None or change is None:
        return _whole_body(body)
    return change(answer, body, fault.argument or 0)


def _whole(pieces: Pieces) -> list[bytes]:
    return [pieces.opening, *pieces.tokens, *_end(pieces)]


def _end(pieces: Pieces) -> list[bytes]:
    return [pieces.closing + pieces.usage, DONE]


def _until(pieces: Pieces, tokens: float, *more: bytes) -> list[bytes]:
    return [pieces.opening, *pieces.tokens[: int(tokens)], *more]


def _slow(_: Answer, pieces: Pieces, seconds: float) -> Script:
    return Script(_whole(pieces), wait=seconds)


def _cut(_: Answer, pieces: Pieces, tokens: float) -> Script:
    return Script(_until(pieces, tokens), Ending.HANG_UP)


def _stall(_: Answer, pieces: Pieces, tokens: float) -> Script:
    return Script(_until(pieces, tokens), Ending.STALL)


def _cut_utf8(answer: Answer, pieces: Pieces, _: float) -> Script:
    wide = answer.token(_WIDE)
    cut = wide.index(_WIDE.encode()) + _CUT_IN_WIDE
    return Script(_until(pieces, _MIDDLE, wide[:cut]), Ending.HANG_UP)


def _cut_frame(_: Answer, pieces: Pieces, __: float) -> Script:
    # Half of the last event: with several choices the ones before it are whole.
    before, mark, last = pieces.tokens[_MIDDLE].rpartition(b"data: ")
    torn = before + mark + last[: len(last) // 2]
    return Script(_until(pieces, _MIDDLE, torn), Ending.HANG_UP)


def _malformed(_: Answer, pieces: Pieces, __: float) -> Script:
    broken = b'data: {"id":"chatcmpl-broken","choices":[{"index":0,"delta":{"con\n\n'
    return Script([*_until(pieces, _MIDDLE, broken), *pieces.tokens[_MIDDLE:], *_end(pieces)])


def _no_done(_: Answer, pieces: Pieces, __: float) -> Script:
    return Script(_whole(pieces)[:-1])


def _no_finish(_: Answer, pieces: Pieces, __: float) -> Script:
    return Script([pieces.opening, *pieces.tokens, pieces.usage, DONE])


def _error_event(_: Answer, pieces: Pieces, __: float) -> Script:
    return Script(_until(pieces, _EARLY, event(_ERROR)))


def _big_event(answer: Answer, pieces: Pieces, size: float) -> Script:
    bare = len(answer.token("")) // answer.asked.choices
    return Script([pieces.opening, answer.token("x" * (int(size) - bare)), *_end(pieces)])


def _whole_body(body: bytes, wait: float = 0) -> Script:
    return Script([body], wait=wait, length=len(body))


def _part(body: bytes, ending: Ending, end: int | None = None) -> Script:
    sent = body[: len(body) // 2 if end is None else end]
    return Script([sent], ending, length=len(body))


def _slow_body(_: Answer, body: bytes, seconds: float) -> Script:
    return _whole_body(body, seconds)


def _cut_body(_: Answer, body: bytes, __: float) -> Script:
    return _part(body, Ending.HANG_UP)


def _stalled_body(_: Answer, body: bytes, __: float) -> Script:
    return _part(body, Ending.STALL)


def _cut_utf8_body(answer: Answer, _: bytes, __: float) -> Script:
    body = _with_text(answer, *answer.text, _WIDE).completion(answer.finish_reason)
    return _part(body, Ending.HANG_UP, body.index(_WIDE.encode()) + _CUT_IN_WIDE)


def _malformed_body(_: Answer, __: bytes, ___: float) -> Script:
    return _whole_body(b'{"id": "chatcmpl-broken", "choices": [oops]}')


def _no_finish_body(answer: Answer, _: bytes, __: float) -> Script:
    return _whole_body(answer.completion(None))


def _error_body(_: Answer, __: bytes, ___: float) -> Script:
    return _whole_body(encode(_ERROR))


def _truncated_body(_: Answer, body: bytes, __: float) -> Script:
    return _whole_body(body[: len(body) // 2])


def _big_body(answer: Answer, _: bytes, size: float) -> Script:
    short = _with_text(answer, "")
    fill = (int(size) - len(short.completion(answer.finish_reason))) // answer.asked.choices
    return _whole_body(_with_text(answer, "x" * fill).completion(answer.finish_reason))


def _with_text(answer: Answer, *text: str) -> Answer:
    return replace(answer, text=text)


# A name in neither table leaves the answer as it is, or strikes before the body.
STREAMS: dict[str, Callable[[Answer, Pieces, float], Script]] = {
    "slow": _slow,
    "cut": _cut,
    "stall": _stall,
    "cut-utf8": _cut_utf8,
    "cut-frame": _cut_frame,
    "malformed": _malformed,
    "no-done": _no_done,
    "no-finish": _no_finish,
    "error-event": _error_event,
    "truncated": _cut_frame,
    "big-event": _big_event,
}
BODIES: dict[str, Callable[[Answer, bytes, float], Script]] = {
    "slow": _slow_body,
    "cut": _cut_body,
    "stall": _stalled_body,
    "cut-utf8": _cut_utf8_body,
    "cut-frame": _cut_body,
    "malformed": _malformed_body,
    "no-finish": _no_finish_body,
    "error-event": _error_body,
    "truncated": _truncated_body,
    "big-event": _big_body,
}
# The faults whose answers have the long text, so that there is a middle to break.
LONG = frozenset(STREAMS) - {"slow", "big-event"}
