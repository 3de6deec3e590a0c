"""What a client says in headers: ours are read, some go on to the provider, the rest stop here.

The answer's headers are in `response_headers`.
"""

from typing import Final, cast, get_args

from msgspec import Struct

from tiergate.config import Failover
from tiergate.errors import InvalidRequest, UnsupportedEncoding
from tiergate.tiers import Tier
from tiergate.wire import parse_conversation, parse_tier

Pairs = list[tuple[bytes, bytes]]

TRACE_CONTEXT: Final = frozenset({"traceparent", "tracestate"})

PASSED_ON: Final = frozenset(
    {b"content-type", b"accept", b"openai-beta", b"traceparent", b"tracestate"}
)
"""What every provider gets of the client's headers; `forward_headers` adds to it per provider.

The trace context passes through as it came where no trace of our own is recorded.
"""

CLIENT_CREDENTIALS: Final = frozenset(
    {b"authorization", b"api-key", b"openai-organization", b"openai-project"}
)
"""What a provider with `credentials = "client"` gets as well. Cookies never leave."""

_READ: Final = frozenset(
    {
        *(b"x-sentinel-tier", b"x-sentinel-conversation", b"x-sentinel-deadline-ms"),
        *(b"x-sentinel-stream-failover", b"x-arbstr-policy"),
        *(b"x-request-id", b"idempotency-key", b"authorization"),
    }
)

_LONGEST_DEADLINE_DIGITS: Final = 12  # 31 years of milliseconds; more is no number but an attack
_LONGEST_KEY: Final = 255


class RequestHeaders(Struct, frozen=True):
    """The headers of one request. `deadline_seconds` may only shorten the configured one."""

    pairs: Pairs
    tier: Tier | None = None
    conversation: str | None = None
    deadline_seconds: float | None = None
    failover: Failover | None = None
    policy: str | None = None
    client_request_id: str | None = None
    idempotency_key: str | None = None
    authorization: bytes | None = None

    def __repr__(self) -> str:
        return f"<RequestHeaders, {len(self.pairs)} of them>"  # never a credential

    def named(self, names: frozenset[bytes]) -> list[tuple[str, str]]:
        """The client's headers of these names, for a provider; raises `InvalidRequest`."""
        return [
            (name.decode("ascii"), _plain(name, value))
            for name, value in self.pairs
            if name in names
        ]


def check_encoding(pairs: Pairs) -> None:
    """Raise `UnsupportedEncoding` for a body that we would have to unpack before reading it."""
    for name, value in pairs:
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise UnsupportedEncoding(
                "Send the body without Content-Encoding.", param="Content-Encoding"
            )


def read_headers(pairs: Pairs) -> RequestHeaders:
    """Read the headers that are ours; raises `InvalidRequest` naming the one that is malformed.

    Of a header that comes twice the first counts.
    """
    said: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in _READ:
            said.setdefault(name, value)
    authorization = said.pop(b"authorization", None)
    if not said:  # as most requests are
        return RequestHeaders(pairs, authorization=authorization)
    return RequestHeaders(
        pairs=pairs,
        tier=parse_tier(_text(said, "X-Sentinel-Tier"), param="X-Sentinel-Tier"),
        conversation=parse_conversation(
            _text(said, "X-Sentinel-Conversation"), param="X-Sentinel-Conversation"
        ),
        deadline_seconds=_deadline(_text(said, "X-Sentinel-Deadline-Ms")),
        failover=_failover(_text(said, "X-Sentinel-Stream-Failover")),
        policy=_text(said, "X-Arbstr-Policy"),
        client_request_id=_identifier(said, "X-Request-Id", refuse=False),
        idempotency_key=_identifier(said, "Idempotency-Key", refuse=True),
        authorization=authorization,
    )


def _text(said: dict[bytes, bytes], name: str) -> str | None:
    value = said.get(name.lower().encode())
    if value is None:
        return None
    try:
        return value.decode().strip()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name!r} is not valid UTF-8.", param=name) from None


def _failover(text: str | None) -> Failover | None:
    if text is None or text in get_args(Failover):
        return cast("Failover | None", text)
    raise InvalidRequest(
        f"'X-Sentinel-Stream-Failover' must be one of {', '.join(get_args(Failover))}.",
        param="X-Sentinel-Stream-Failover",
    )


def _deadline(text: str | None) -> float | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= _LONGEST_DEADLINE_DIGITS and int(text):
        return int(text) / 1000
    raise InvalidRequest(
        "'X-Sentinel-Deadline-Ms' must be a positive whole number.", param="X-Sentinel-Deadline-Ms"
    )


def _identifier(said: dict[bytes, bytes], name: str, *, refuse: bool) -> str | None:
    """An id of the client's: what is not short, printable ASCII is refused, or not kept."""
    value = said.get(name.lower().encode(), b"").strip()
    if not value:
        return None
    if len(value) <= _LONGEST_KEY and value.isascii() and value.decode().isprintable():
        return value.decode()
    if refuse:
        raise InvalidRequest(
            f"{name!r} must be up to {_LONGEST_KEY} printable ASCII characters.", param=name
        )
    return None


def _plain(name: bytes, value: bytes) -> str:
    """A header that goes on must not be able to break out of its line."""
    try:
        text = value.decode("ascii")
    except UnicodeDecodeError:
        text = "\0"
    if text.isprintable() or text.replace("\t", " ").isprintable():
        return text
    shown = name.decode("ascii")
    raise InvalidRequest(f"{shown!r} must be printable ASCII.", param=shown)
