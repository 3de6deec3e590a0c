"""A chat request: a tolerant view of its bytes.

We decode the top level only and look into the few members that are ours. Everything else stays the
bytes it was (number spelling, escapes, inner spaces) and is spliced into what each provider gets:
we never re-encode what we do not own. What providers say is in `completion`.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tiergate.adaptation import Adaptation
from tiergate.errors import InvalidRequest
from tiergate.tiers import TIERS, Tier, is_tier

MAX_CONVERSATION_CHARACTERS: Final = 256
"""Of a conversation id: long enough for any UUID or path, short enough for a Redis key."""

_members = msgspec.json.Decoder(dict[str, Raw])
_optional_text: msgspec.json.Decoder[str | None] = msgspec.json.Decoder(str | None)
_optional_flag: msgspec.json.Decoder[bool | None] = msgspec.json.Decoder(bool | None)
_encoder = msgspec.json.Encoder()


class ChatRequest(Struct, frozen=True):
    """What we read of a chat request, and the members that go on as they came.

    `members` are the top-level members, in their order, less `tier` and `conversation_id`. A name
    that occurs twice keeps its last value, as every JSON decoder behind us would have it.
    `choices` is how many answers the client wants (`n`). `wants_usage` is what the client said of
    `stream_options.include_usage`: None when it said nothing; `stream_options` are all of them.
    """

    members: dict[str, Raw]
    tier: Tier | None
    model: str | None
    stream: bool
    conversation: str | None
    choices: int
    wants_usage: bool | None
    stream_options: dict[str, Raw]

    def render(
        self, model: str, *, stream_usage: bool, adaptation: Adaptation | None = None
    ) -> bytes:
        """The body for one attempt: `model` set, and usage asked for in a stream.

        `stream_usage` is whether the provider may be asked for usage when the client left it open,
        `adaptation` what else the model needs to have changed.
        """
        members: dict[str, Any] = {**self.members, "model": model}
        if self.stream and self.wants_usage is None and stream_usage:
            members["stream_options"] = {**self.stream_options, "include_usage": True}
        if adaptation is not None:
            adaptation.apply(members)
        return _encoder.encode(members)


def parse_request(body: bytes) -> ChatRequest:
    """Read a chat request; raise `InvalidRequest` naming the member that is wrong."""
    return read_request(read_members(body))


def read_request(members: dict[str, Raw]) -> ChatRequest:
    """The request that these members are; takes ours out of them. Raises `InvalidRequest`."""
    if memoryview(members.get("messages", b""))[:1].tobytes() != b"[":
        raise InvalidRequest("'messages' must be an array of messages.", param="messages")
    tier = conversation = None
    if "tier" in members:
        tier = parse_tier(_text(members, "tier", take=True), param="tier")
    if "conversation_id" in members:
        named = _text(members, "conversation_id", take=True)
        conversation = parse_conversation(named, param="conversation_id")
    options: dict[str, Raw] | None = {}
    if "stream_options" in members:
        options = _stream_options(members["stream_options"])
    return ChatRequest(
        members=members,
        tier=tier,
        model=_text(members, "model") or None,
        stream="stream" in members and _flag(members["stream"]),
        conversation=conversation,
        choices=_choices(members["n"]) if "n" in members else 1,
        wants_usage=_wants_usage(options) if options != {} else None,
        stream_options=options or {},
    )


def parse_tier(name: str | None, *, param: str) -> Tier | None:
    """A tier by its name; None means the client named none."""
    if name is None or is_tier(name):
        return name
    raise InvalidRequest(f"{param!r} must be one of {', '.join(TIERS)}.", param=param)


def parse_conversation(name: str | None, *, param: str) -> str | None:
    """A conversation id: 1 to 256 printable characters; None means there is none."""
    if name is None or (0 < len(name) <= MAX_CONVERSATION_CHARACTERS and name.isprintable()):
        return name
    raise InvalidRequest(
        f"{param!r} must be 1 to {MAX_CONVERSATION_CHARACTERS} printable characters.", param=param
    )


def read_members(body: bytes) -> dict[str, Raw]:
    """The members of a JSON object, as they came; raises `InvalidRequest` for anything else."""
    try:
        if not body.isascii():
            body.decode()  # msgspec does not look inside the strings it keeps raw
        return _members.decode(body)
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not valid UTF-8.") from None
    except msgspec.ValidationError:
        raise InvalidRequest("The body must be a JSON object.") from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None
    except RecursionError:  # msgspec's answer to very deep nesting
        raise InvalidRequest("The body is nested too deeply.") from None


def _text(members: dict[str, Raw], name: str, *, take: bool = False) -> str | None:
    raw = members.pop(name, None) if take else members.get(name)
    if raw is None:
        return None
    try:
        return _optional_text.decode(raw)
    except msgspec.ValidationError:
        raise InvalidRequest(f"{name!r} must be a string.", param=name) from None


def _flag(raw: Raw) -> bool:
    try:
        return _optional_flag.decode(raw) or False
    except msgspec.ValidationError:
        raise InvalidRequest("'stream' must be true or false.", param="stream") from None


def _choices(raw: Raw) -> int:
    """`n`, where it is a sensible number; what is not is the provider's to refuse."""
    try:
        return max(1, msgspec.json.decode(raw, type=int))
    except msgspec.ValidationError:
        return 1


def _stream_options(raw: Raw) -> dict[str, Raw] | None:
    """The client's options; None when they are no object."""
    if bytes(raw) == b"null":
        return {}
    try:
        return _members.decode(raw)
    except msgspec.ValidationError:
        return None


def _wants_usage(options: dict[str, Raw] | None) -> bool | None:
    """The client's `include_usage`; false too where its options are not ours to mend."""
    if options is None:
        return False
    include = options.get("include_usage")
    try:
        return None if include is None else _optional_flag.decode(include)
    except msgspec.ValidationError:
        return False
