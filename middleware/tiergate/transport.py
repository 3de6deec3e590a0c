"""The seam to the providers' HTTP: one method to send, one to read on. The aiohttp side of it.

Every aiohttp exception is translated here, into a row of `faults`. Knows no tier, no retry, no SSE.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary, WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from tiergate.endpoint import Endpoint
from tiergate.faults import (
    BUSY,
    DISCONNECTED,
    GARBLED,
    STALE,
    UNREACHABLE,
    AttemptFailed,
    Fault,
)

RawHeaders = tuple[tuple[bytes, bytes], ...]


class Answer(Protocol):
    """A provider's answer, headers here and body to come."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> RawHeaders: ...

    async def read(self) -> bytes:
        """The next piece of the body, as it arrived; empty at its end. Raises `AttemptFailed`."""

    def close(self) -> None:
        """Let go: a body read to its end leaves the connection usable, any other ends it."""


class Transport(Protocol):
    """Sends a request to a provider."""

    async def post(self, endpoint: Endpoint, headers: list[tuple[str, str]], body: bytes) -> Answer:
        """Send, and wait for the headers of the answer. Raises `AttemptFailed`."""

    async def probe(self, endpoint: Endpoint) -> bool:
        """Whether the provider answers `GET /models` well. Raises `AttemptFailed`."""

    async def close(self) -> None:
        """Close what the running loop holds open."""


class AiohttpTransport:
    """One session and connector per provider and event loop, opened on first use.

    A pool closes with `close`, or when its loop shuts its generators down: hosts without a
    lifespan (a test client, a mounted app) leave nothing behind either.
    """

    def __init__(self) -> None:
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Pool]]
        self._pools = WeakKeyDictionary()

    async def post(self, endpoint: Endpoint, headers: list[tuple[str, str]], body: bytes) -> Answer:
        return await (await self._pool(endpoint)).post(headers, body)

    async def probe(self, endpoint: Endpoint) -> bool:
        return await (await self._pool(endpoint)).probe(endpoint)

    async def close(self) -> None:
        pools = self._pools.pop(asyncio.get_running_loop(), {})
        for pool in list(pools.values()):
            await pool.close()

    async def _pool(self, endpoint: Endpoint) -> "_Pool":
        pools = self._pools.setdefault(asyncio.get_running_loop(), {})
        pool = pools.get(endpoint.name)
        if pool is None:
            pool = pools[endpoint.name] = _Pool(endpoint, pools)
            await pool.open()
        return pool


_reused: ContextVar[bool] = ContextVar("tiergate_connection_reused", default=False)


class _Connector(aiohttp.TCPConnector):
    """Tells whether the connection of the current request had been used before.

    aiohttp says so through a TraceConfig only, at 23 µs a request; this costs one look-up.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._used: WeakSet[ResponseHandler] = WeakSet()

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        _reused.set(False)
        connection = await super().connect(*args, **kwargs)
        protocol = connection.protocol
        assert protocol is not None  # aiohttp's word for a connection that was given back
        if protocol in self._used:
            _reused.set(True)
        else:
            self._used.add(protocol)
        return connection


class _Pool:
    """The connections to one provider, in one loop; `among` are that loop's pools by name."""

    def __init__(self, endpoint: Endpoint, among: dict[str, "_Pool"]) -> None:
        settings = endpoint.settings
        self._name = endpoint.name
        self._among = among
        self._url = URL(endpoint.url, encoded=True)
        self._places = asyncio.Semaphore(settings.max_connections)
        self._patience = settings.acquire_timeout_seconds
        self._session = aiohttp.ClientSession(
            # limit=0: the places above bound it, and waiting for one has an end.
            connector=_Connector(limit=0, keepalive_timeout=settings.keepalive),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=settings.connect_timeout_seconds, sock_read=None
            ),
            cookie_jar=aiohttp.DummyCookieJar(),  # the default jar hands cookies from user to user
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        self._keeper = self._keep()

    async def open(self) -> None:
        await anext(self._keeper)

    async def close(self) -> None:
        await self._keeper.aclose()

    async def _keep(self) -> AsyncGenerator[None, None]:
        # asyncio closes the generators of a loop before the loop: the one hook that every host has.
        try:
            yield
        finally:
            del self._among[self._name]  # a session holds its loop: none may outlive it here
            await self._session.close()

    async def post(self, headers: list[tuple[str, str]], body: bytes) -> "_AiohttpAnswer":
        await self._acquire()
        try:
            response = await self._session.post(
                self._url, data=body, headers=headers, allow_redirects=False
            )
        except BaseException as error:
            self._places.release()
            if isinstance(error, aiohttp.ClientError | OSError | UnicodeError):
                raise AttemptFailed(_fault_of(error)) from error
            raise
        return _AiohttpAnswer(response, self._places)

    async def probe(self, endpoint: Endpoint) -> bool:
        url = URL(endpoint.models_url, encoded=True)
        try:
            async with self._session.get(
                url, headers=endpoint.fixed, allow_redirects=False
            ) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            raise AttemptFailed(_fault_of(error)) from error

    async def _acquire(self) -> None:
        if not self._places.locked():
            await self._places.acquire()  # does not wait
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise AttemptFailed(BUSY) from None


class _AiohttpAnswer:
    def __init__(self, response: aiohttp.ClientResponse, places: asyncio.Semaphore) -> None:
        self.status = response.status
        self.headers: RawHeaders = response.raw_headers
        self._response = response
        self._places: asyncio.Semaphore | None = places

    async def read(self) -> bytes:
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise AttemptFailed(GARBLED, status=self.status) from error

    def close(self) -> None:
        self._response.close()
        if self._places is not None:
            self._places.release()
            self._places = None


# UnicodeError: what the resolver says of a name that is none (a label of 64 characters).
_NOT_CONNECTED: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    UnicodeError,
)


def _fault_of(error: BaseException) -> Fault:
    if isinstance(error, _NOT_CONNECTED):
        return UNREACHABLE
    if isinstance(
        error, aiohttp.ClientResponseError
    ):  # its status 400 is aiohttp's, not a provider's
        return GARBLED
    return STALE if _reused.get() and not _answer_begun(error) else DISCONNECTED


def _answer_begun(error: BaseException) -> bool:
    """Whether a part of the head had come: aiohttp then puts that, not a text, into its error."""
    if not isinstance(error, aiohttp.ServerDisconnectedError):
        return False
    return not isinstance(error.message, str)
