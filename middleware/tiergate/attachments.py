"""What the messages of a request carry beside text: images, sounds and files, found by their bytes.

Nothing is decoded: a text of a message cannot hold these names in unescaped quotes. What follows
from them is `estimate`'s and `profile`'s.
"""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from tiergate.routing_config import Feature

MOST_PARTS: Final = 1000
"""Of one kind that are looked at; OpenAI takes 500 images. A body of nothing but their names would
hold the loop for a second."""

_ANY_TYPE: Final = b'"type"'  # of a part, of a call of a tool
_PARTS: Final[tuple[tuple[bytes, Feature], ...]] = (
    (b'"image_url"', "vision"),
    (b'"input_audio"', "audio"),
    (b'"file_data"', "files"),
    (b'"file_id"', "files"),
)
_RESULT: Final = b'"tool_call_id"'

_NAME_ENDS: Final = re.compile(rb"\s*:\s*")
_DATA_URL: Final = b'"data:'
_BASE64: Final = b";base64,"
_LONGEST_KIND: Final = 128  # between the two: a media type
_BACKSLASH: Final = ord("\\")


class Attachments(Struct, frozen=True):
    """How many there are, what a model needs to take them, and how many bytes of the messages are
    their base64, whose length says nothing of their tokens.
    """

    count: int = 0
    features: tuple[Feature, ...] = ()
    encoded_bytes: int = 0


def attachments_of(messages: bytes) -> Attachments:
    """Those of a request's `messages`, of which at most `MOST_PARTS` of a kind are counted.

    Results of tools count as a need of tools: a model without them does not take these messages.
    """
    if _ANY_TYPE not in messages:  # one search, for most requests
        return Attachments()
    found: dict[Feature, int] = {}
    for name, feature in _PARTS:
        number = sum(1 for _ in _values(messages, name))
        if number:
            found[feature] = found.get(feature, 0) + number
    count = sum(found.values())
    if _RESULT in messages:
        found["tools"] = 0
    return Attachments(count, tuple(found), _encoded_bytes(messages) if count else 0)


def _encoded_bytes(messages: bytes) -> int:
    starts = [
        at
        for at in _places(messages, _DATA_URL)
        if messages[at - 1] != _BACKSLASH  # else a text quotes it, and its tokens are a text's
        and _BASE64 in messages[at : at + _LONGEST_KIND]
    ]
    for at in _values(messages, b'data"'):  # of a sound, of a file without its kind
        if messages[at : at + 1] == b'"' and not messages.startswith(_DATA_URL, at):
            starts.append(at)
    return sum(messages.find(b'"', at + 1) - at for at in starts)


def _values(messages: bytes, name: bytes) -> Iterator[int]:
    """Where the values of a name begin."""
    for at in _places(messages, name):
        found = _NAME_ENDS.match(messages, at + len(name))
        if found is not None:
            yield found.end()


def _places(messages: bytes, text: bytes) -> Iterator[int]:
    at = -1
    for _ in range(MOST_PARTS):
        at = messages.find(text, at + 1)
        if at < 0:
            return
        yield at
