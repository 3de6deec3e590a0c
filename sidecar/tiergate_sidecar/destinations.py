"""Where a proxied request goes: the app of the pod, or the provider with somebody else's key.

What is asked for there, with which headers, over which connections, and what is said when nobody
answers. Values and pure functions; sending is `upstreams`'.
"""

import ssl
from typing import Final, Protocol

from msgspec import Struct
from starlette.types import Scope

from tiergate import Answerable, Endpoint
from tiergate_sidecar.errors import (
    AppFailed,
    ProviderFailed,
    RequestInvalid,
    UpstreamBusy,
    UpstreamLate,
)
from tiergate_sidecar.proxy_headers import (
    Headers,
    Pairs,
    RawHeaders,
    headers_for_app,
    headers_for_provider,
    headers_of_app,
    headers_of_provider,
)

APP_CONNECT_SECONDS: Final = 3.0
"""It is in the same pod: what takes longer is not there."""

APP_KEEPALIVE_SECONDS: Final = 1.5
"""An idle connection's life: below that of every server met (gunicorn's 2 s is the shortest), so
that none is closed under a request. A busy app's are never idle for so long."""

APP_PATIENCE_SECONDS: Final = 1.0  # for a free connection, as with a provider

_NOT_OURS_TO_SHOW: Final = frozenset({401, 403})
"""Of a provider, to the operator's key: no client can do anything about it."""


class Silence(Struct, frozen=True):
    """Seconds that each side may be silent: what is asked, and the client that is to read."""

    upstream: float
    reader: float


class Connections(Struct, frozen=True):
    """How connections are made and kept; times in seconds."""

    limit: int
    patience: float
    connect: float
    keepalive: float
    trust: ssl.SSLContext | bool = True
    proxy_url: str = ""


class Destination(Protocol):
    """`place` is which pool it uses, `pool` what that one's connections depend on."""

    @property
    def place(self) -> str: ...

    @property
    def pool(self) -> object: ...

    @property
    def silence(self) -> Silence: ...

    def connections(self) -> Connections:
        """Asked for once, when the pool is opened."""

    def url(self, scope: Scope) -> str:
        """Escaped as it is to be sent; raises `RequestInvalid`."""

    def request_headers(self, scope: Scope) -> Headers:
        """Without framing; raises `RequestInvalid`."""

    def answer_headers(self, headers: RawHeaders, status: int) -> Pairs:
        """What of an answer's headers the client gets; raises `Answerable` for its status."""

    def failed(self) -> Answerable:
        """Nobody is there, or does not speak HTTP."""

    def late(self) -> Answerable:
        """Nobody answers in time."""

    def busy(self) -> Answerable:
        """No connection is free."""


class App(Struct, frozen=True):
    """The app at `proxy.target`: it gets the request as it came, byte for byte.

    `limit` is how many requests it may have at once: a queue would only hide an overload.
    """

    target: str
    idle: float
    limit: int

    @property
    def place(self) -> str:
        return "the app"

    @property
    def pool(self) -> object:
        return self.target, self.limit

    @property
    def silence(self) -> Silence:
        return Silence(self.idle, self.idle)  # without us it would wait for its reader too

    def connections(self) -> Connections:
        return Connections(
            limit=self.limit,
            patience=APP_PATIENCE_SECONDS,
            connect=APP_CONNECT_SECONDS,
            keepalive=APP_KEEPALIVE_SECONDS,
        )

    def url(self, scope: Scope) -> str:
        path = scope["raw_path"].decode("ascii")
        if not path.startswith("/"):  # `OPTIONS *`: behind the host it would be a part of its name
            raise RequestInvalid("Ask for a path that begins with '/'.")
        base = f"{self.target.rstrip('/')}{path}"
        query = scope["query_string"].decode("ascii")
        return f"{base}?{query}" if query else base

    def request_headers(self, scope: Scope) -> Headers:
        return headers_for_app(scope)

    def answer_headers(self, headers: RawHeaders, status: int) -> Pairs:
        return headers_of_app(headers, status)

    def failed(self) -> Answerable:
        return AppFailed("The app behind this proxy cannot be reached or gave no answer.")

    def late(self) -> Answerable:
        return UpstreamLate("The app behind this proxy did not answer in time.")

    def busy(self) -> Answerable:
        return UpstreamBusy("The app behind this proxy is busy.", retry_after=1)


class ProviderPath(Struct, frozen=True):
    """A path of the provider of `proxy.provider`, relative to its base URL: `embeddings`."""

    endpoint: Endpoint
    path: str
    silence: Silence

    @property
    def place(self) -> str:
        return "the provider"

    @property
    def pool(self) -> object:
        return self.endpoint.pool

    def connections(self) -> Connections:
        settings = self.endpoint.settings
        return Connections(
            limit=settings.max_connections,
            patience=settings.acquire_timeout_seconds,
            connect=settings.connect_timeout_seconds,
            keepalive=settings.keepalive,
            trust=self.endpoint.trust(),
            proxy_url=settings.proxy_url,
        )

    def url(self, scope: Scope) -> str:
        return self.endpoint.below(self.path, scope["query_string"].decode("ascii"))

    def request_headers(self, scope: Scope) -> Headers:
        return headers_for_provider(scope, self.endpoint)

    def answer_headers(self, headers: RawHeaders, status: int) -> Pairs:
        if status in _NOT_OURS_TO_SHOW and self.endpoint.own_credential:
            raise ProviderFailed(
                f"The provider refused the gateway's credential ({status}).", provider=self._name
            )
        return headers_of_provider(headers, status, self.endpoint)

    def failed(self) -> Answerable:
        return ProviderFailed(
            "The provider cannot be reached or gave no answer.", provider=self._name
        )

    def late(self) -> Answerable:
        return UpstreamLate("The provider did not answer in time.", provider=self._name)

    def busy(self) -> Answerable:
        return UpstreamBusy(
            "No connection to the provider is free.", provider=self._name, retry_after=1
        )

    @property
    def _name(self) -> str:
        return self.endpoint.name
