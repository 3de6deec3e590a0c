"""The gateway as one route of a host app, behind that route's own dependencies and limits."""

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from tiergate.errors import ModelNotFound
from tiergate.exchange import ANONYMOUS, Caller
from tiergate.gateway import Gateway
from tiergate.resolve import NotOurs
from tiergate.respond import Responder


class TierResponse(Response):
    """A Starlette response that answers `request` through `gateway`.

    Return it from a route: `return TierResponse(gateway, request, caller=Caller("ada"))`. What the
    route's dependencies have read of the body is used, not read again.
    """

    def __init__(self, gateway: Gateway, request: Request, *, caller: Caller = ANONYMOUS) -> None:
        super().__init__()
        self._gateway = gateway
        self._request = request
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        responder = Responder(self._gateway, scope, receive, send)
        try:
            await responder.run(self._who, _body_of(self._request))
        except NotOurs as unknown:  # a route has nobody to pass it on to
            await responder.refuse(ModelNotFound(str(unknown), param="model"))
        if self.background is not None:
            await self.background()

    async def _who(self, _: Scope) -> Caller:
        return self._caller


def _body_of(request: Request) -> Receive:
    """The body again as ASGI brings it: Starlette remembers what was read of it."""
    pieces = aiter(request.stream())

    async def receive() -> Message:
        try:
            return {"type": "http.request", "body": await anext(pieces), "more_body": True}
        except StopAsyncIteration:
            return {"type": "http.request"}
        except ClientDisconnect:
            return {"type": "http.disconnect"}

    return receive
