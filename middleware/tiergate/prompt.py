"""What the user said in a chat request: the last turn in their own words, and what surrounds it.

System prompts, tool schemas, tool results and what agents wrap around a user's turn are no words of
the user's. Nothing here judges how hard a request is, and nothing raises: what is malformed is as
if it were not there. What is read is bounded.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw, Struct

MAX_TEXT: Final = 8192
"""Characters kept of the last turn, half from its head and half from its tail: people ask before or
after what they paste. Reading so many takes a third of a millisecond."""
MAX_EARLIER: Final = 1000
"""Characters kept of each turn before."""
EARLIER_TURNS: Final = 3
"""Kept of the turns before, and as many of those in few words: after "yes" and "continue" the task
is still what it was."""
FEW_WORDS: Final = 24
"""Characters of such a turn, at most."""
MAX_MESSAGES: Final = 4096
"""Of more than these the last count: an array of a million empty objects is no conversation."""
MAX_PARTS: Final = 256
"""Parts of one message that are looked at."""

KINDS: Final = ("image_url", "input_audio", "file", "video_url", "tool_result")
"""Looked for by name where there is too much to be read."""

_SCAFFOLDING: Final = (
    "system-reminder|environment_details|environment_context|environment|context|user_info|"
    "attached_files|file_content|files|documents?|open_and_recently_viewed_files|rules|"
    "project_layout|git_status|additional_data|tool_result|tool_response|function_results|"
    "command-name|command-message|command-args|local-command-stdout|user_instructions|"
    "INSTRUCTIONS|system|thinking|metadata|environment_info|workspace_info|editorContext|"
    "reminderInstructions|attachments?"
)
_OPENING: Final = re.compile(rf"<({_SCAFFOLDING})(?:\s[^<>]{{0,200}}+)?>")
_OWN: Final = "task|user_query|user_message|user_request|userRequest|feedback"
"""What agents put around the user's own words: then all else is theirs."""
_SPOKEN: Final = re.compile(f"<({_OWN})>")
_WRAPPER: Final = re.compile(f"</?(?:{_OWN}|question|query|prompt|instructions)>")
_SEAM: Final = "\n\0\n"
"""Where the middle of a long turn was cut out."""
_TOOL_ECHO: Final = re.compile(r"\s*\[[a-z_]{2,40}(?: for [^\]\n]{0,300})?\] Result:")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Prompt(Struct, frozen=True):
    """What a request says, and what is counted of it.

    `last_user` is the last turn with words of the user's own, at most `MAX_TEXT` characters;
    `recent` the turns before, the newest first, at most `EARLIER_TURNS` and as many of few words.
    `characters` is the length of the last turn before it was cut. `kinds` are the types of content
    parts anywhere. `read` is false where the messages were too large to be read.
    """

    last_user: str = ""
    recent: tuple[str, ...] = ()
    characters: int = 0
    turns: int = 0
    tool_calls: int = 0
    tool_results: int = 0
    kinds: frozenset[str] = frozenset()
    read: bool = True


class _Message(Struct):
    role: Any = None
    content: Raw = Raw()
    tool_calls: Raw = Raw()


class _Part(Struct):
    type: Any = None
    text: Any = None


T = TypeVar("T")
_messages = msgspec.json.Decoder(list[_Message])
_message = msgspec.json.Decoder(_Message)
_parts = msgspec.json.Decoder(list[_Part])
_part = msgspec.json.Decoder(_Part)
_raws = msgspec.json.Decoder(list[Raw])
_string = msgspec.json.Decoder(str)


def read_prompt(members: Mapping[str, Raw], *, most_bytes: int) -> Prompt:
    """The prompt of a request's members; never raises. `most_bytes` is of the messages as JSON."""
    raw = members.get("messages", Raw())
    size = memoryview(raw).nbytes
    if size > most_bytes:
        data = bytes(raw)
        found = frozenset(kind for kind in KINDS if b'"%b"' % kind.encode() in data)
        return Prompt(characters=size, kinds=found, read=False)
    kinds: set[str] = set()
    last: tuple[str, int] | None = None
    recent: list[str] = []
    room = {True: EARLIER_TURNS, False: EARLIER_TURNS}
    turns = calls = results = 0
    for message in reversed(_each(_messages, _message, raw)[-MAX_MESSAGES:]):
        if memoryview(message.tool_calls)[:1].tobytes() == b"[":
            calls += len(_each(_raws, None, message.tool_calls))
        if message.role == "user":
            text = _text(message.content, kinds)
            own, length = _own(text)
            turns += bool(own)
            is_short = len(own) <= FEW_WORDS
            if own and last is None:
                last = own, length
            elif own and room[is_short]:
                room[is_short] -= 1
                recent.append(_cut(own, MAX_EARLIER))
            continue
        if memoryview(message.content)[:1].tobytes() == b"[":
            _text(message.content, kinds)
        if message.role in ("tool", "function"):
            results += 1
    said, length = last or ("", 0)
    return Prompt(
        last_user=said,
        recent=tuple(recent),
        characters=length,
        turns=turns,
        tool_calls=calls,
        tool_results=results,
        kinds=frozenset(kinds),
    )


def _text(content: Raw, kinds: set[str]) -> str:
    """The text of a message's content; the types of its parts go into `kinds`."""
    first = memoryview(content)[:1].tobytes()
    if first == b'"':
        return _decoded(_string, content) or ""
    if first != b"[":
        return ""
    texts = []
    for part in _each(_parts, _part, content)[:MAX_PARTS]:
        if isinstance(part.type, str):
            kinds.add(part.type[:64])
        if part.type in ("text", "input_text") and isinstance(part.text, str):
            texts.append(part.text)
    return "\n".join(texts)


def _own(text: str) -> tuple[str, int]:
    """The user's own words, cut, and how many characters there were; of tool output nothing."""
    whole = len(text)
    text = _cut(text, MAX_TEXT, _SEAM)
    left_out = 0
    if "<" in text:
        outside, _ = _parted(text, _OPENING)
        _, inside = _parted(outside, _SPOKEN)
        text = _WRAPPER.sub("\n", inside.strip() or outside)
    if text[:1] in "[ \n" and _TOOL_ECHO.match(text):
        return "", 0
    if whole > MAX_TEXT and _SEAM in text:  # else it was in a block that is gone
        text = text.replace(_SEAM, "\n\n")
        left_out = whole - MAX_TEXT - 2
    text = text.strip()
    return text, len(text) + left_out


def _parted(text: str, opens: re.Pattern[str]) -> tuple[str, str]:
    """What is outside of the blocks that are opened so, and inside; outside if it is not closed."""
    outside: list[str] = []
    inside: list[str] = []
    at = 0
    unclosed: set[str] = set()
    for opening in opens.finditer(text):
        name = opening[1]
        if opening.start() < at or name in unclosed:
            continue
        closing = f"</{name}>"
        end = text.find(closing, opening.end())
        if end < 0:
            unclosed.add(name)  # so that a text of nothing but openings is searched once
            continue
        outside.append(text[at : opening.start()])
        inside.append(text[opening.end() : end])
        at = end + len(closing)
    outside.append(text[at:])
    return "\n".join(outside), "\n".join(inside)


def _cut(text: str, most: int, seam: str = "\n\n") -> str:
    return text if len(text) <= most else f"{text[: most // 2]}{seam}{text[-(most // 2) :]}"


def _each(
    whole: "msgspec.json.Decoder[list[T]]", one: "msgspec.json.Decoder[T] | None", raw: Raw
) -> list[T]:
    """The members of an array; one by one where some are not what they should be."""
    found = _decoded(whole, raw)
    if found is not None:
        return found
    each = _decoded(_raws, raw) or []
    read = [_decoded(one, member) for member in each] if one else []
    return [member for member in read if member is not None]


def _decoded(decoder: "msgspec.json.Decoder[T]", raw: Raw) -> T | None:
    """None where it cannot be read; half a surrogate pair is taken for an unknown character."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        return None
    except _UNREADABLE:
        pass
    try:
        return decoder.decode(_SURROGATE.sub(rb"\\ufffd", bytes(raw)))
    except _UNREADABLE:
        return None
