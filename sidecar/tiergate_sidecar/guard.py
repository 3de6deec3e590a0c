"""Who may do what on the operators' listener: CONTRACT section 15.

On loopback everything is served, to whoever names this listener as the host: a page on the web can
point a name of its own at 127.0.0.1. On any other address only health is.
"""

from ipaddress import ip_address
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tiergate import Answerable
from tiergate_sidecar.errors import EndpointNotFound, HostRefused, NotJson, answered
from tiergate_sidecar.settings import Address

_EVERYWHERE: Final = "/health"


class Guard:
    """The pages `app` behind the rules of the address they are served on."""

    def __init__(self, app: ASGIApp, address: Address) -> None:
        self._app = app
        self._own = address.host.lower()
        self._loopback = is_loopback(self._own)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._refusal(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            await answered(error)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Answerable | None:
        path, headers = scope["path"], Headers(scope=scope)
        if not self._loopback:
            if path == _EVERYWHERE or path.startswith(f"{_EVERYWHERE}/"):
                return None
            return EndpointNotFound("On an address that is not loopback only health is served.")
        host = _host(headers.get("host", ""))
        if host != self._own and not is_loopback(host):
            return HostRefused("Ask by this listener's own name: localhost or its address.")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json":
            return NotJson("Send Content-Type: application/json.")
        return None


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
