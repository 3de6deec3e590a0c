"""What the mock providers say when nothing is wrong: a request read, an answer written, as bytes.

Here live the reading of a chat request, the JSON of a completion, and the pieces of a stream. What
must not live here: sockets and faults.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tiergate_sidecar.mock_faults import TOKENS

__all__ = ["LONG_TEXT", "Answer", "Asked", "BadRequestError", "Pieces", "read_request"]

LONG_TEXT = tuple(f"word{number} " for number in range(1, TOKENS + 1))
DONE = b"data: [DONE]\n\n"

_MOST_CHOICES = 8
_ECHO_CHARACTERS = 40
_TOOL_WORD = re.compile(r"\btools?\b", re.IGNORECASE)

Json = dict[str, Any]


class BadRequestError(ValueError):
    """The request is not a chat completion; `param` names the member at fault."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Asked:
    """What a chat request asks for, as far as the mock cares. `tool` is the one to be called."""

    model: str
    stream: bool
    choices: int
    include_usage: bool
    user_text: str
    tool: str | None
    prompt_tokens: int


def read_request(body: bytes) -> Asked:
    """Raises `BadRequestError`; shapes it does not know inside `messages` are passed over."""
    asked = _object(body)
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("'messages' must be a list that is not empty", "messages")
    model = asked.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequestError("you must provide a model parameter", "model")
    text = _last_user_text(messages)
    return Asked(
        model=model,
        stream=asked.get("stream") is True,
        choices=_choices(asked.get("n")),
        include_usage=_member(asked.get("stream_options"), "include_usage") is True,
        user_text=text,
        tool=_first_tool(asked.get("tools")) if _TOOL_WORD.search(text) else None,
        prompt_tokens=max(1, len(body) // 4),  # four bytes a token, as the rule of thumb goes
    )


def _object(body: bytes) -> Json:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequestError("the body is not valid JSON") from None
    if not isinstance(asked, dict):
        raise BadRequestError("the body is not a JSON object")
    return asked


def _choices(n: object) -> int:
    if n is None:
        return 1
    if type(n) is not int or not 1 <= n <= _MOST_CHOICES:
        raise BadRequestError(f"'n' must be a whole number from 1 to {_MOST_CHOICES}", "n")
    return n


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _last_user_text(messages: Sequence[object]) -> str:
    for message in reversed(messages):
        if _member(message, "role") == "user":
            return _text(_member(message, "content"))
    return ""


def _text(content: object) -> str:
    if isinstance(content, list):
        return " ".join(_text(_member(part, "text")) for part in content)
    return content if isinstance(content, str) else ""


def _first_tool(tools: object) -> str | None:
    for tool in tools if isinstance(tools, list) else ():
        name = _member(_member(tool, "function"), "name")
        if isinstance(name, str):
            return name
    return None


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer before it is bytes: a tool call, or `text` token by token."""

    id: str
    created: int
    asked: Asked
    text: tuple[str, ...]

    @property
    def finish_reason(self) -> str:
        return "tool_calls" if self.asked.tool else "stop"

    def usage(self) -> Json:
        prompt, completion = self.asked.prompt_tokens, len(self.text) * self.asked.choices
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": 0},
        }

    def completion(self, finish_reason: str | None) -> bytes:
        """The whole chat.completion."""
        message: Json = {"role": "assistant", "content": "".join(self.text), "refusal": None}
        if self.asked.tool:
            message["content"] = None
            message["tool_calls"] = [self._tool_call(self.asked.tool, "{}")]
        choices = [
            {"index": index, "message": message, "logprobs": None, "finish_reason": finish_reason}
            for index in range(self.asked.choices)
        ]
        return encode({**self._head("chat.completion"), "choices": choices, "usage": self.usage()})

    def pieces(self) -> Pieces:
        """The stream, cut where a token begins."""
        last = {"choices": [], "usage": self.usage()}
        tail = self._event(last) if self.asked.include_usage else b""
        return Pieces(
            opening=self._deltas({"role": "assistant", "content": ""}),
            tokens=self._tool_deltas() if self.asked.tool else self._text_deltas(),
            closing=self._deltas({}, self.finish_reason),
            usage=tail,
        )

    def token(self, text: str) -> bytes:
        return self._deltas({"content": text})

    def _text_deltas(self) -> tuple[bytes, ...]:
        return tuple(self.token(text) for text in self.text)

    def _tool_deltas(self) -> tuple[bytes, ...]:
        first = {"index": 0, **self._tool_call(self.asked.tool, "")}
        rest = {"index": 0, "function": {"arguments": "{}"}}
        return tuple(self._deltas({"tool_calls": [call]}) for call in (first, rest))

    def _tool_call(self, name: str | None, arguments: str) -> Json:
        function = {"name": name, "arguments": arguments}
        return {"id": f"call_{self.id}", "type": "function", "function": function}

    def _deltas(self, delta: Json, finish_reason: str | None = None) -> bytes:
        """One event per choice, sent together."""
        return b"".join(
            self._event({"choices": [{"index": i, "delta": delta, "finish_reason": finish_reason}]})
            for i in range(self.asked.choices)
        )

    def _event(self, members: Json) -> bytes:
        return event({**self._head("chat.completion.chunk"), **members})

    def _head(self, kind: str) -> Json:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.asked.model}


@dataclass(frozen=True, slots=True)
class Pieces:
    """A stream in its parts, each of whole events; `usage` is empty when nobody asked for it."""

    opening: bytes
    tokens: tuple[bytes, ...]
    closing: bytes
    usage: bytes


def short_text(provider: str, asked: Asked) -> tuple[str, ...]:
    """Who speaks, and a piece of what was heard, in tokens of a word each."""
    heard = " ".join(asked.user_text.split())[:_ECHO_CHARACTERS]
    said = f"{provider} with {asked.model} heard: {heard or 'nothing'}"
    return tuple(re.findall(r"\S+\s*", said))


def encode(value: object) -> bytes:
    """Compact JSON in plain UTF-8; a lone surrogate a client may have sent becomes `?`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def event(value: object) -> bytes:
    return b"data: " + encode(value) + b"\n\n"
