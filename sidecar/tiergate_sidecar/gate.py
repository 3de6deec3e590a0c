"""Where the token of a client is shown: on the way to our own paths, and to whatever is behind.

Whose a token is, `tokens` knows. What is behind never gets it: it is not theirs.
"""

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from tiergate import Caller, Refused
from tiergate_sidecar.errors import answered
from tiergate_sidecar.tokens import Tokens

_MESSAGE = "Send Authorization: Bearer with a token of this gateway."


class Gate:
    """The app behind our own paths, for those who show a token; `authorize` is for our paths."""

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await self.authorize(scope)
            except Refused as error:
                await answered(error)(scope, receive, send)
                return
            headers = [pair for pair in scope["headers"] if pair[0] != b"authorization"]
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send)

    async def authorize(self, scope: Scope) -> Caller:
        """Who calls; raises `Refused`."""
        caller = self._tokens.caller(_shown(scope["headers"]))
        if caller is None:
            raise Refused(401, _MESSAGE)
        return caller


def _shown(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The token that a request brings, or "", which is nobody's. Two are one too many."""
    given = [value for name, value in headers if name == b"authorization"]
    if len(given) != 1:
        return ""
    scheme, _, token = given[0].decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
