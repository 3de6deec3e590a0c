"""Which headers a proxied request and its answer keep. Pure; nothing here is sent.

Framing and the hop are never the other side's to say: what `Connection` names stays here as well.
An app of our own gets all else and is told by whom, at which name and how it was asked. A provider
gets what makes its endpoints work, and of the answer clients see what belongs to its content.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from starlette.types import Scope

from tiergate import Endpoint
from tiergate_sidecar.errors import RequestInvalid

RawHeaders = Iterable[tuple[bytes, bytes]]
Headers = list[tuple[str, str]]
Pairs = list[tuple[bytes, bytes]]

HOP_BY_HOP: Final = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate",
    b"proxy-authorization", b"te", b"trailer", b"transfer-encoding", b"upgrade",
})  # fmt: skip

_FORWARDED: Final = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
"""Not for `Connection` to name: a client could hide from the app what proxies before us said."""

_TOLD_ANEW: Final = frozenset({b"host", *_FORWARDED})
_NOT_FOR_AN_APP: Final = HOP_BY_HOP | {b"content-length", b"expect"} | _TOLD_ANEW
_NOT_OF_AN_APP: Final = HOP_BY_HOP | {b"date"}  # the server writes one itself

_FOR_A_PROVIDER: Final = frozenset({
    b"accept-encoding", b"content-encoding", b"idempotency-key", b"if-match", b"if-modified-since",
    b"if-none-match", b"if-range", b"if-unmodified-since", b"range",
})  # fmt: skip
"""Beside what every provider gets of a chat request's headers."""

_OF_CONTENT: Final = frozenset({
    b"accept-ranges", b"allow", b"cache-control", b"content-disposition", b"content-language",
    b"content-length", b"content-range", b"etag", b"expires", b"last-modified", b"location",
    b"vary", b"x-accel-buffering",
})  # fmt: skip
"""Beside what clients see of a provider's answer to a chat: none of it speaks for our domain."""

_BODILESS: Final = frozenset({204, 304})
"""The length that a 304 tells is that of another answer; servers would wait for that many bytes."""


class Framing(Struct, frozen=True):
    """How long the body of a request is: `length` in bytes, None where only its end will tell."""

    length: int | None

    @property
    def is_empty(self) -> bool:
        return self.length == 0


_EMPTY: Final = Framing(0)
_OPEN: Final = Framing(None)


def framing_of(scope: Scope) -> Framing:
    """Of a request as a server gives it; raises `RequestInvalid` where its headers disagree."""
    lengths, codings = [], []
    for name, value in scope["headers"]:
        if name == b"content-length":
            lengths.append(value.strip())
        elif name == b"transfer-encoding":
            codings.append(value.strip().lower())
    if codings:
        if lengths or codings != [b"chunked"]:
            raise RequestInvalid("Send either Content-Length or Transfer-Encoding: chunked.")
        return _OPEN
    if not lengths:  # without either a request of HTTP/1 has no body; HTTP/2 has its own framing
        return _EMPTY if scope.get("http_version", "1.1").startswith("1") else _OPEN
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
        raise RequestInvalid("Send one Content-Length, a whole number.")
    return Framing(int(lengths[0]))


def headers_for_app(scope: Scope) -> Headers:
    """The client's, without its hop and with its trace: raises `RequestInvalid` for two `Host`."""
    pairs = scope["headers"]
    dropped = _with_named(_NOT_FOR_AN_APP, pairs)
    headers = _texts([pair for pair in pairs if pair[0] not in dropped])
    said: dict[str, list[str]] = {}
    for name, text in _texts([pair for pair in pairs if pair[0] in _TOLD_ANEW]):
        said.setdefault(name, []).append(text)
    hosts = said.get("host", [])
    if len(hosts) > 1:
        raise RequestInvalid("Send one Host.")
    if hosts:  # the client's own: the app makes its links and redirects of it
        headers.append(("host", hosts[0]))
    client = scope.get("client")
    chain = said.get("x-forwarded-for", []) + ([_plain_address(client[0])] if client else [])
    forwarded = {
        "x-forwarded-for": ", ".join(chain),
        "x-forwarded-proto": _first(said, "x-forwarded-proto") or scope.get("scheme", "http"),
        "x-forwarded-host": _first(said, "x-forwarded-host") or "".join(hosts),
    }
    headers += [pair for pair in forwarded.items() if pair[1]]
    return headers


def headers_for_provider(scope: Scope, endpoint: Endpoint) -> Headers:
    """Of the client's those that such a provider may see, and ours: its credential among them."""
    fixed = dict(endpoint.fixed)
    dropped = _with_named(HOP_BY_HOP, scope["headers"])
    headers: Headers = []
    for name, value in scope["headers"]:
        if (name in endpoint.passed or name in _FOR_A_PROVIDER) and name not in dropped:
            headers.append((name.decode("ascii"), _plain(name, value)))
    if any(name == "accept-encoding" for name, _ in headers):
        del fixed["accept-encoding"]  # the answer passes as it comes: it may be compressed
    return [*fixed.items(), *(pair for pair in headers if pair[0] not in fixed)]


def headers_of_app(headers: RawHeaders, status: int) -> Pairs:
    """Of the app's answer all but the hop; each stays one, in its order."""
    pairs = [(name.lower(), value) for name, value in headers]
    dropped = _with_named(_NOT_OF_AN_APP, pairs)
    if not _has_length(pairs, status):
        dropped |= {b"content-length"}
    return [pair for pair in pairs if pair[0] not in dropped]


def headers_of_provider(headers: RawHeaders, status: int, endpoint: Endpoint) -> Pairs:
    """Of a provider's answer what CONTRACT section 9 lets pass, and what its content needs."""
    pairs = [(name.lower(), value) for name, value in headers]
    if not _has_length(pairs, status):
        pairs = [pair for pair in pairs if pair[0] != b"content-length"]
    content = [pair for pair in pairs if pair[0] in _OF_CONTENT]
    others = tuple(pair for pair in pairs if pair[0] not in _OF_CONTENT)
    return content + endpoint.answer_headers(others)


def asks_for_websocket(scope: Scope) -> bool:
    return any(
        name == b"upgrade" and b"websocket" in value.lower() for name, value in scope["headers"]
    )


def _with_named(known: frozenset[bytes], pairs: RawHeaders) -> frozenset[bytes]:
    """With the headers that `Connection` says are of this hop alone."""
    for name, value in pairs:
        if name == b"connection" and value not in (b"keep-alive", b"close"):
            known |= {token.strip().lower() for token in value.split(b",")}
    return known


def _has_length(pairs: Pairs, status: int) -> bool:
    """Whether a body of the length comes that the answer tells, if it tells one."""
    return status not in _BODILESS and not any(name == b"transfer-encoding" for name, _ in pairs)


def _plain_address(text: str) -> str:
    """IPv4 as itself: on every address we listen in IPv6, where it is `::ffff:10.0.0.9`."""
    return text.removeprefix("::ffff:") if "." in text else text


def _first(said: dict[str, list[str]], name: str) -> str:
    """Of several that say the same thing the one that was said first, nearest to the client."""
    return said.get(name, [""])[0]


def _texts(pairs: Pairs) -> Headers:
    """aiohttp writes UTF-8: bytes of another kind arrive as the same characters, spelled in it."""
    try:
        return [(name.decode("ascii"), value.decode()) for name, value in pairs]
    except UnicodeDecodeError:
        return [(name.decode("ascii"), _characters(value)) for name, value in pairs]


def _characters(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _plain(name: bytes, value: bytes) -> str:
    """As for a chat: what goes to a provider must not be able to break out of its line."""
    text = value.decode("latin-1")
    if text.isascii() and text.replace("\t", " ").isprintable():
        return text
    raise RequestInvalid(f"{name.decode('ascii')!r} must be printable ASCII.")
