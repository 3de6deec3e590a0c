"""Prompts and answers as the GenAI conventions spell them, for those who have asked to see them.

Only with `telemetry.capture_content`: they are the users' own words. Text and tool calls are kept,
of an image or a sound only that there was one; all of it is bounded. Nothing here judges.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from tiergate.sse import EventReader
from tiergate.transport import Answer, RawHeaders

MAX_PROMPT_BYTES: Final = 262_144
"""Of messages that are looked into: it is done on the event loop, while others wait."""
MAX_TAPE_BYTES: Final = 131_072
"""Kept of one answer, likewise: a stream spends 200 bytes on a token of four letters."""
MAX_TEXT: Final = 16_384
"""Characters of one text; spans are not the place for a book."""
MAX_TEXTS: Final = 65_536
"""Characters of all of them: what backends take of one attribute, at best."""

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Message = dict[str, Any]


class Tape:
    """An answer that keeps what is read of it, up to `MAX_TAPE_BYTES`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._pieces: list[bytes] = []
        self._left = MAX_TAPE_BYTES

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> RawHeaders:
        return self._answer.headers

    async def read(self) -> bytes:
        piece = await self._answer.read()
        if self._left > 0:
            self._pieces.append(piece[: self._left])
            self._left -= len(piece)
        return piece

    def close(self) -> None:
        self._answer.close()

    @property
    def kept(self) -> bytes:
        return b"".join(self._pieces)


class Prompt:
    """The messages of one request, put into words once for all its attempts."""

    def __init__(self) -> None:
        self._told: str | None = None
        self._is_told = False

    def told(self, raw: bytes) -> str | None:
        if not self._is_told:
            self._is_told, self._told = True, input_messages(raw)
        return self._told


def input_messages(raw: bytes) -> str | None:
    """The messages of a request as JSON, the newest that have room.

    None where there are none, or more than `MAX_PROMPT_BYTES` of them.
    """
    if memoryview(raw).nbytes > MAX_PROMPT_BYTES:
        return None
    return _told(_message(each) for each in _objects(_decoded(raw)))


def output_messages(body: bytes, *, stream: bool) -> str | None:
    """The answers of a provider as JSON, of a stream put together; None where there are none."""
    return _told(_assembled(body) if stream else _chosen(_objects(_member(_decoded(body)))))


def _told(messages: Iterable[Message]) -> str | None:
    room = MAX_TEXTS
    kept: list[Message] = []
    for message in reversed(list(messages)):
        fitting = []
        for part in message["parts"]:
            room -= sum(map(len, part.values()))
            if room >= 0:
                fitting.append(part)
        if room < 0 and not fitting:
            break
        kept.append({**message, "parts": fitting})
    return msgspec.json.encode(kept[::-1]).decode() if kept else None


def _chosen(choices: Iterable[dict[str, Any]]) -> Iterable[Message]:
    for choice in choices:
        message = choice.get("message")
        if isinstance(message, dict):
            yield {**_message(message), "finish_reason": _text(choice.get("finish_reason"))}


def _assembled(body: bytes) -> Iterable[Message]:
    """Deltas put together: text and arguments grow, everything else comes once."""
    reader, found = EventReader(MAX_TAPE_BYTES), dict[int, dict[str, Any]]()
    for event in reader.feed(body):
        for choice in _objects(_member(_decoded(event.data or b""))):
            said = found.setdefault(_index(choice), {"content": "", "tool_calls": {}})
            said["finish_reason"] = choice.get("finish_reason") or said.get("finish_reason")
            delta = choice.get("delta")
            if isinstance(delta, dict):
                said["content"] += _text(delta.get("content"))
                for call in _objects(delta.get("tool_calls")):
                    _grow(said["tool_calls"].setdefault(_index(call), {}), call)
    return _chosen(
        {
            "message": {**said, "role": "assistant", "tool_calls": [*said["tool_calls"].values()]},
            "finish_reason": said["finish_reason"],
        }
        for said in found.values()
    )


def _grow(call: dict[str, Any], more: dict[str, Any]) -> None:
    function = more.get("function")
    said = function if isinstance(function, dict) else {}
    known = call.setdefault("function", {"name": "", "arguments": ""})
    call["id"] = call.get("id") or more.get("id")
    for name in ("name", "arguments"):
        known[name] += _text(said.get(name))


def _message(message: dict[str, Any]) -> Message:
    content = message.get("content")
    parts = [_part(each) for each in _objects(content)]
    if isinstance(content, str) and content:
        parts = [{"type": "text", "content": _text(content)}]
    if message.get("role") == "tool":
        answer = "".join(part.get("content", "") for part in parts)
        name = _text(message.get("tool_call_id"))
        parts = [{"type": "tool_call_response", "id": name, "response": answer}]
    parts += [_call(each) for each in _objects(message.get("tool_calls"))]
    return {"role": _text(message.get("role")), "parts": parts}


def _part(part: dict[str, Any]) -> dict[str, str]:
    kind = _text(part.get("type"))
    return {"type": kind, "content": _text(part.get("text"))} if kind == "text" else {"type": kind}


def _call(call: dict[str, Any]) -> dict[str, str]:
    function = call.get("function")
    said = function if isinstance(function, dict) else {}
    return {
        "type": "tool_call",
        "id": _text(call.get("id")),
        "name": _text(said.get("name")),
        "arguments": _text(said.get("arguments")),
    }


def _index(entry: dict[str, Any]) -> int:
    index = entry.get("index")
    return index if isinstance(index, int) else 0


def _text(value: Any) -> str:
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def _member(value: Any) -> Any:
    return value.get("choices") if isinstance(value, dict) else None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _decoded(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except _UNREADABLE:
        return None
