"""The proxy's connections, and the one file of it that knows aiohttp: its errors end here.

A pool each for the app and the provider, opened with the first request and replaced when a
configuration asks for other connections. Nothing here decides where a request goes.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from yarl import URL

from tiergate_sidecar.destinations import Connections, Destination
from tiergate_sidecar.proxy_headers import Headers

READ_BYTES: Final = 65_536
"""Read ahead of a client that is slow; uvloop adds up to 256 kB of its own. One that has stopped
reading costs 0.9 MB until its time is over (measured, 200 of them). Taking less at a time costs a
large answer half as much CPU again."""

HEAD_BYTES: Final = 65_536
"""Of one line of an answer's head. aiohttp's own 8 kB is less than a page's policies may take, and
what reaches the client without us must reach it through us."""

HEAD_LINES: Final = 1000

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_WORDS = re.compile(r"[^:'\"\n]*")


class UpstreamError(Exception):
    """Nobody was reached, or what came is no HTTP; the text is for our log alone."""


class UpstreamSlow(UpstreamError):
    """It took too long to connect."""


class Body:
    """What is still to be sent of a request, piece by piece; it can be sent once only.

    aiohttp sends a `PUT` or `DELETE` again when a kept connection turns out to be closed: of a body
    that has been read already it would send nothing, or a part, as if it were the whole.
    """

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces: AsyncIterator[bytes] | None = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._pieces is None:
            raise aiohttp.ClientConnectionError("a body that was read cannot be sent again")
        pieces, self._pieces = self._pieces, None
        return pieces


class Answer:
    """The head of an answer, and its body piece by piece."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers = response.raw_headers
        self._response = response

    async def read(self) -> tuple[bytes, bool]:
        """What has arrived, and whether it is the last; raises `UpstreamError` for one cut off."""
        content = self._response.content
        try:
            return await content.readany(), content.at_eof()
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamError(f"an answer ended midway: {_told(error)}") from error

    def close(self) -> None:
        """Let go: a body read to its end leaves the connection usable, any other ends it."""
        if not self._response.closed:  # at the end of its body it has let go by itself
            self._response.close()


class Pool:
    """The connections to one place, opened in the running loop."""

    def __init__(self, key: object, connections: Connections) -> None:
        self.key = key
        self.users = 0
        self.places = asyncio.Semaphore(connections.limit)
        self.patience = connections.patience
        self._is_proxied = bool(connections.proxy_url)
        self._session = aiohttp.ClientSession(
            # limit=0: the places above bound it, and waiting for one has an end.
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=connections.keepalive, ssl=connections.trust
            ),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=connections.connect, sock_connect=None, sock_read=None
            ),
            proxy=connections.proxy_url or None,
            cookie_jar=aiohttp.DummyCookieJar(),  # the default jar hands cookies from user to user
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            read_bufsize=READ_BYTES,
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
            max_headers=HEAD_LINES,
        )

    async def ask(
        self, method: str, url: str, headers: Headers, body: bytes | Body | None
    ) -> Answer:
        """The head of the answer; raises `UpstreamError`."""
        try:
            response = await self._session.request(
                method, URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            )
        except aiohttp.ConnectionTimeoutError as error:
            raise UpstreamSlow(_told(error)) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UpstreamError(_told(error)) from error
        amiss = self._amiss(response)
        if amiss:
            response.close()
            raise UpstreamError(amiss)
        return Answer(response)

    def _amiss(self, response: aiohttp.ClientResponse) -> str:
        """What of an answer no server could send on, if anything."""
        if not 200 <= response.status <= 599:  # 101 was not asked for
            return f"status {response.status}"
        # To an http address a proxy on the way answers as the provider would: only this cannot be
        # a provider's.
        if self._is_proxied and response.status == 407:
            return "the proxy on the way asks for a password"
        if _CONTROL.search(b"\t".join([value for _, value in response.raw_headers])):
            return "a control character in its head"
        return ""

    async def close(self) -> None:
        await self._session.close()


class Upstreams:
    """The pools in use: one for each place, and those replaced until their last request ends."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}
        self._replaced: set[Pool] = set()

    async def take(self, destination: Destination) -> Pool:
        """The pool of a destination; to be given back after use."""
        old = self._pools.get(destination.place)
        if old is not None and old.key == destination.pool:
            old.users += 1
            return old
        pool = self._pools[destination.place] = Pool(destination.pool, destination.connections())
        pool.users += 1  # before any wait: it may be replaced meanwhile, and closed if nobody's
        if old is not None:
            self._replaced.add(old)
            try:
                await self._close_unused(old)
            except BaseException:
                pool.users -= 1
                raise
        return pool

    async def give_back(self, pool: Pool) -> None:
        pool.users -= 1
        await self._close_unused(pool)

    async def close(self) -> None:
        """Close all, in use or not; a later request opens new ones."""
        pools = [*self._pools.values(), *self._replaced]
        self._pools.clear()
        self._replaced.clear()
        for pool in pools:
            await pool.close()

    async def _close_unused(self, pool: Pool) -> None:
        if pool.users == 0 and pool in self._replaced:
            self._replaced.discard(pool)
            await pool.close()


def _told(error: Exception) -> str:
    """What went wrong, in words for our log.

    Never aiohttp's own text of an error: the headers of both sides are in it, and so are keys.
    """
    text = ""
    if isinstance(error, aiohttp.ClientResponseError):
        text = error.message  # behind its words are the bytes that came
    elif isinstance(error, OSError) and not isinstance(error, aiohttp.ServerTimeoutError):
        return f"{type(error).__name__}: {error}"
    elif error.__cause__ is not None:
        text = type(error.__cause__).__name__
    words = _WORDS.match(text)
    assert words is not None  # it matches what is empty too
    return f"{type(error).__name__}: {words[0]}" if words[0] else type(error).__name__
