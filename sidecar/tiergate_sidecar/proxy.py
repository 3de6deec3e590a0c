"""The reverse proxy of the sidecar: what is not ours goes to a provider, or to the app in the pod.

Which of the two, or neither, is decided here; how one request passes is `passage`'s. CONTRACT
section 1.
"""

from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from tiergate import Gateway
from tiergate_sidecar.allowed_paths import AllowedPaths, is_below_root
from tiergate_sidecar.destinations import App, Destination, ProviderPath, Silence
from tiergate_sidecar.errors import EndpointNotAllowed
from tiergate_sidecar.passage import Passage
from tiergate_sidecar.settings import Proxy
from tiergate_sidecar.upstreams import Upstreams

_CHAT = "chat/completions"


class ReverseProxy:
    """Passes requests on by what `settings` gives at that moment: a reload needs no restart."""

    def __init__(self, gateway: Gateway, settings: Callable[[], Proxy]) -> None:
        self._gateway = gateway
        self._settings = settings
        self._upstreams = Upstreams()
        self._allowed: tuple[Proxy, AllowedPaths] | None = None

    def __repr__(self) -> str:
        settings = self._settings()
        return f"<ReverseProxy to {settings.provider or '-'} and {settings.target or '-'}>"

    def destination(self, scope: Scope) -> Destination | None:
        """Where a request goes; None: nobody takes it. Raises `EndpointNotAllowed`.

        A `POST` to a path of the gateway's is one that the gateway has handed on: it goes to the
        provider, whatever the list of paths says.
        """
        settings = self._settings()
        ours = scope["path"] in self._gateway.paths
        if settings.provider:
            if ours and scope["method"] == "POST":
                return self._to_provider(settings, _CHAT)
            if is_below_root(scope["raw_path"]):
                path = self._paths(settings).normal_form(scope["raw_path"])
                if path is not None:
                    return self._to_provider(settings, path.removeprefix("/v1/"))
                if not ours:
                    raise EndpointNotAllowed(
                        "This gateway does not pass this path on: see proxy.paths."
                    )
        if settings.target and not ours:
            limit = self._gateway.config.limits.max_in_flight
            return App(settings.target, settings.idle_timeout_seconds, limit)
        return None

    async def pass_on(
        self, destination: Destination, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Let one request pass, and answer it whatever happens."""
        await Passage(destination, self._upstreams, scope, receive, send).run()

    async def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        await self._upstreams.close()

    def _paths(self, settings: Proxy) -> AllowedPaths:
        if self._allowed is None or self._allowed[0] is not settings:
            self._allowed = settings, AllowedPaths(settings.paths)
        return self._allowed[1]

    def _to_provider(self, settings: Proxy, path: str) -> ProviderPath:
        endpoint = self._gateway.endpoint(settings.provider)
        assert endpoint is not None  # `settings_of` has checked the name against the same document
        silence = Silence(
            settings.idle_timeout_seconds, self._gateway.config.limits.send_timeout_seconds
        )
        return ProviderPath(endpoint, path, silence)
