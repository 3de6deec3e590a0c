"""The ASGI entry: is this request ours? If not, the wrapped app gets it untouched.

The guard comes first and costs one comparison. Everything a request of ours needs is in `respond`,
one object per request; nothing of a request is kept on the middleware.
"""

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from tiergate.config import Config
from tiergate.errors import ConfigError
from tiergate.gateway import Gateway
from tiergate.resolve import NotOurs
from tiergate.respond import Authorize, Responder

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger("tiergate")


class TierMiddleware:
    """Answers `POST` to the configured paths; everything else is the wrapped app's.

    `config` is a path, a mapping or a `Config`, with `watch=True` read again when a file changes;
    `gateway` is one made elsewhere instead. `authorize`
    is asked before anything of a request is read: the host's routing, and so its `Depends`, never
    runs for our paths. `authorize="open"` says that everybody may call. The two providers are
    OpenTelemetry's, in place of the global ones.
    """

    def __init__(
        self,
        app: "ASGIApp",
        *,
        config: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None,
        gateway: Gateway | None = None,
        watch: bool = False,
        authorize: Authorize | Literal["open"] | None = None,
        tracer_provider: Any = None,
        meter_provider: Any = None,
    ) -> None:
        if (config is None) == (gateway is None):
            raise ConfigError("give TierMiddleware either config= or gateway=")
        self.app = app
        self.gateway = gateway or Gateway(
            config,  # type: ignore[arg-type]  # one is given
            watch=watch,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
        )
        self._authorize = None if authorize == "open" else authorize
        self._warn = authorize is None and self.gateway.uses_own_keys

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and self._is_ours(scope):
            self._warn_once()
            responder = Responder(self.gateway, scope, receive, send)
            try:
                await responder.run(self._authorize)
            except NotOurs:
                await self.app(scope, _replay(responder.body, receive), send)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _is_ours(self, scope: "Scope") -> bool:
        path: str = scope["path"]
        root: str = scope.get("root_path", "")
        if root and path.startswith(root) and path[len(root) : len(root) + 1] == "/":
            path = path[len(root) :]
        return path in self.gateway.paths

    async def _lifespan(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """The app's lifespan with our opening and closing inside it.

        Some apps (Django) raise instead of answering; then the protocol is answered here. We close
        before the app's last message goes out: when the app has returned, the server may be gone.
        """
        begun = False

        async def receive_and_note() -> "Message":
            nonlocal begun
            begun = True
            return await receive()

        async def send_with_ours(message: "Message") -> None:
            if message["type"] == "lifespan.startup.complete":
                await self._open()
            elif message["type"].startswith("lifespan.shutdown."):
                await self.gateway.close()
            await send(message)

        try:
            await self.app(scope, receive_and_note, send_with_ours)
        except Exception:
            if begun:
                raise
            await _answer_lifespan(receive, send_with_ours)

    async def _open(self) -> None:
        self._warn_once()
        await self.gateway.open()

    def _warn_once(self) -> None:
        if self._warn:
            self._warn = False
            _log.warning(
                "anybody who reaches this app spends your provider keys: give TierMiddleware"
                ' authorize=, or authorize="open" if that is meant'
            )


async def _answer_lifespan(receive: "Receive", send: "Send") -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _replay(body: bytes, receive: "Receive") -> "Receive":
    """A `receive` that brings the body once more, and then whatever comes."""
    replayed = False

    async def replay() -> "Message":
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
