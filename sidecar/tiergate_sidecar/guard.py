"""Who may do what on the operators' listener: CONTRACT section 15.

Health and metrics are everybody's. The rest is for who shows the token, where there is one; without
one it is served on loopback alone. On loopback only who names this listener as the host is heard: a
page on the web can point a name of its own at 127.0.0.1. Elsewhere such a page gains nothing: it
has no token, and no cookie, which a browser keeps for the name that it was set under.
"""

import asyncio
from ipaddress import ip_address
from typing import Final

import msgspec
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tiergate import Answerable
from tiergate_sidecar.errors import EndpointNotFound, HostRefused, NotJson, TokenRequired, answered
from tiergate_sidecar.login import Token
from tiergate_sidecar.sealing import NOT_JSON, is_form
from tiergate_sidecar.settings import Address

LOGIN: Final = "/login"

LONGEST_LOGIN: Final = 4096  # bytes of a login; a token is far shorter

LOGIN_SECONDS: Final = 5.0  # until all of it is here

_EVERYWHERE: Final = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
_PAGE: Final = "/"


class _Login(msgspec.Struct):
    token: str


class Guard:
    """The pages `app` behind the rules of the address they are served on."""

    def __init__(self, app: ASGIApp, address: Address, token: Token | None = None) -> None:
        self._app = app
        self._own = address.host.lower()
        self._loopback = is_loopback(self._own)
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        error = self._refusal(scope)
        if error is not None:
            await answered(error)(scope, receive, send)
        elif self._token is not None and scope["path"] == LOGIN and scope["method"] == "POST":
            await (await self._login(self._token, Request(scope, receive)))(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Answerable | None:
        path, headers = scope["path"], Headers(scope=scope)
        host = _host(headers.get("host", ""))
        if self._loopback and host != self._own and not is_loopback(host):
            return HostRefused("Ask by this listener's own name: localhost or its address.")
        if path in _EVERYWHERE:
            return None
        if self._token is None:
            if self._loopback:
                return None
            return EndpointNotFound(
                "Without admin.token_env an address that is not loopback serves health and metrics."
            )
        # The page itself holds no data: it asks for the token.
        if path in (_PAGE, LOGIN) or self._token.is_shown_by(headers):
            return None
        return TokenRequired("Send Authorization: Bearer with the token of admin.token_env.")

    async def _login(self, token: Token, request: Request) -> Response:
        if is_form(request.scope):
            return answered(NotJson(NOT_JSON))
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                given = msgspec.json.decode(await _short_body(request), type=_Login).token
        except (msgspec.DecodeError, TimeoutError, ClientDisconnect):
            return answered(TokenRequired('Send {"token": "…"}.'))
        if not token.is_right(given):
            return answered(TokenRequired("That is not the token."))
        cookie = token.cookie(secure=request.url.scheme == "https")
        return Response(status_code=204, headers={"set-cookie": cookie})


async def _short_body(request: Request) -> bytes:
    """The body, or of a longer one so much that it is none."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_LOGIN:
            return b""
    return body


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _host(header: str) -> str:
    """The host of a `Host` header, without its port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
