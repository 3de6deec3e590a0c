"""The seam to the providers' HTTP: one method to send, one to read on. The aiohttp side of it.

Every aiohttp exception is translated here, into a row of `faults`. Knows no tier, no retry, no SSE.
"""

import asyncio
from collections.abc import Iterable
from contextvars import ContextVar
from enum import Enum
from typing import Any, Protocol
from weakref import WeakSet

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
from tiergate.pools import Held, Pools

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

    def retain(self, endpoints: Iterable[Endpoint]) -> None:
        """These are now all that is configured: what other endpoints need is closed after use."""

    async def close(self) -> None:
        """Close what the running loop holds open."""


class AiohttpTransport:
    """One session and connector per provider, its connection settings, and event loop.

    `Pools` opens them on first use and closes them.
    """

    def __init__(self) -> None:
        self._pools: Pools[_Pool] = Pools()

    async def post(self, endpoint: Endpoint, headers: list[tuple[str, str]], body: bytes) -> Answer:
        held = self._pools.at_hand(endpoint.pool)
        if held is None:
            held = await self._pools.take(endpoint.pool, lambda: _Pool(endpoint))
        try:
            response = await held.thing.post(headers, body)
        except BaseException:
            held.give_back()
            raise
        return _AiohttpAnswer(response, held)

    async def probe(self, endpoint: Endpoint) -> bool:
        held = await self._pools.take(endpoint.pool, lambda: _Pool(endpoint))
        try:
            return await held.thing.probe(endpoint)
        finally:
            held.give_back()

    def retain(self, endpoints: Iterable[Endpoint]) -> None:
        self._pools.retain(endpoint.pool for endpoint in endpoints)

    async def close(self) -> None:
        await self._pools.close()


class _Connection(Enum):
    """How far the current request has come: an error means another thing at each."""

    NONE = "not connected yet"
    FRESH = "connected for this request"
    USED = "connected before this request"


_connection: ContextVar[_Connection] = ContextVar("tiergate_connection", default=_Connection.NONE)


class _Connector(aiohttp.TCPConnector):
    """Tells whether the current request has a connection, and whether that had been used before.

    aiohttp says so through a TraceConfig only, at 23 µs a request; this costs one look-up.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._used: WeakSet[ResponseHandler] = WeakSet()

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        _connection.set(_Connection.NONE)
        connection = await super().connect(*args, **kwargs)
        protocol = connection.protocol
        assert protocol is not None  # aiohttp's word for a connection that was given back
        if protocol in self._used:
            _connection.set(_Connection.USED)
        else:
            _connection.set(_Connection.FRESH)
            self._used.add(protocol)
        return connection


class _Pool:
    """The connections to one provider, in one loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        settings = endpoint.settings
        self.places = asyncio.Semaphore(settings.max_connections)
        self._url = URL(endpoint.url, encoded=True)
        self._patience = settings.acquire_timeout_seconds
        self._proxied = bool(settings.proxy_url)
        self._session = aiohttp.ClientSession(
            # limit=0: the places above bound it, and waiting for one has an end.
            connector=_Connector(
                limit=0, keepalive_timeout=settings.keepalive, ssl=endpoint.trust()
            ),
            # connect, not sock_connect: names, TLS and the word of a proxy take time too.
            timeout=aiohttp.ClientTimeout(
                total=None, connect=settings.connect_timeout_seconds, sock_read=None
            ),
            proxy=settings.proxy_url or None,
            cookie_jar=aiohttp.DummyCookieJar(),  # the default jar hands cookies from user to user
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def close(self) -> None:
        await self._session.close()

    async def post(self, headers: list[tuple[str, str]], body: bytes) -> aiohttp.ClientResponse:
        """The answer, which occupies one of the places."""
        await self._acquire()
        try:
            return await self._ask("POST", self._url, headers, body)
        except BaseException:
            self.places.release()
            raise

    async def probe(self, endpoint: Endpoint) -> bool:
        url = URL(endpoint.models_url, encoded=True)
        async with await self._ask("GET", url, endpoint.fixed) as response:
            return response.status == 200

    async def _ask(
        self, method: str, url: URL, headers: Iterable[tuple[str, str]], body: bytes | None = None
    ) -> aiohttp.ClientResponse:
        _connection.set(_Connection.NONE)
        try:
            response = await self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            raise AttemptFailed(_fault_of(error)) from error
        # To an http address a proxy answers as the provider would: only 407 cannot be a provider's.
        if self._proxied and response.status == 407:
            response.close()
            raise AttemptFailed(UNREACHABLE)
        return response

    async def _acquire(self) -> None:
        if not self.places.locked():
            await self.places.acquire()  # does not wait
            return
        try:
            async with asyncio.timeout(self._patience):
                await self.places.acquire()
        except TimeoutError:
            raise AttemptFailed(BUSY) from None


class _AiohttpAnswer:
    def __init__(self, response: aiohttp.ClientResponse, held: Held[_Pool]) -> None:
        self.status = response.status
        self.headers: RawHeaders = response.raw_headers
        self._response = response
        self._held: Held[_Pool] | None = held

    async def read(self) -> bytes:
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise AttemptFailed(GARBLED, status=self.status) from error

    def close(self) -> None:
        self._response.close()
        if self._held is not None:
            self._held.thing.places.release()
            self._held.give_back()
            self._held = None


def _fault_of(error: BaseException) -> Fault:
    state = _connection.get()
    # Names, TLS, whatever a proxy says to CONNECT; UnicodeError: a label of 64 characters.
    if state is _Connection.NONE:
        return UNREACHABLE
    if isinstance(
        error, aiohttp.ClientResponseError
    ):  # its status 400 is aiohttp's, not a provider's
        return GARBLED
    return STALE if state is _Connection.USED and not _answer_begun(error) else DISCONNECTED


def _answer_begun(error: BaseException) -> bool:
    """Whether a part of the head had come: aiohttp then puts that, not a text, into its error."""
    if not isinstance(error, aiohttp.ServerDisconnectedError):
        return False
    return not isinstance(error.message, str)
