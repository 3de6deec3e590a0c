"""What all pages of the operators have in common, wherever they are served: headers, and no forms.

A foreign page's form can send no JSON: so a `POST` that is no JSON was none of ours. Who may see
the pages is `guard`'s or the host's to say.
"""

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiergate_sidecar.errors import NotJson, answered

COMMON: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Pages hold what clients have sent: nobody keeps them, frames them, or runs what stands in them.
A page with a policy of its own keeps it."""


class Sealed:
    """The pages `app`, with these headers, and closed to forms. What is sealed twice is as once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def seal(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in COMMON.items():
                    headers.setdefault(name, value)
            await send(message)

        app = answered(NotJson(NOT_JSON)) if is_form(scope) else self._app
        await app(scope, receive, seal)


NOT_JSON: Final = "Send Content-Type: application/json."


def is_form(scope: Scope) -> bool:
    """Whether this is a `POST` that a foreign page's form could have made."""
    kind = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
    return scope["method"] == "POST" and kind != "application/json"
