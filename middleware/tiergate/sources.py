"""Where a tier configuration comes from, each place behind the one `Source` seam.

All of them give Sentinel's document (CONTRACT section 11), which `document` reads. When a source is
asked, and what becomes of its failures, is `store`'s.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec.structs import replace

from tiergate.aside import Aside, Busy
from tiergate.config import Config
from tiergate.document import DocumentEntry, SourceError, TierDocument, parse_document
from tiergate.errors import ConfigError
from tiergate.loading import read_tables
from tiergate.names import LookUp, Resolver

DEFAULT_PATH: Final = "/api/v1/tiers/config"
"""The seeds'."""

MAX_DOCUMENT_BYTES: Final = 4_194_304
"""Ten thousand entries are 2 MB; a service that sends more is not sending tiers."""


class Source(Protocol):
    """Something that can be asked for the tiers."""

    name: str
    shared: bool
    """Whether its documents may go to a cache that other replicas read."""

    async def fetch(self, held: TierDocument | None) -> TierDocument:
        """The present document; `held` is the last one it gave. Raises `SourceError`."""


class InlineSource:
    """The `[[tiers.*]]` of the configuration itself."""

    name = "inline"
    shared = False

    def __init__(self, config: Config) -> None:
        self.document = _inline_document(config)

    async def fetch(self, held: TierDocument | None) -> TierDocument:
        del held
        return self.document


class FileSource:
    """A document in a file: JSON, TOML or YAML by its extension."""

    shared = False

    def __init__(self, path: str, *, wall: Callable[[], float], aside: Aside | None = None) -> None:
        """`aside` is where it is read: its limit holds for all who share it."""
        self.name = f"file {path}"
        self._path = Path(path)
        self._wall = wall
        self._aside = aside or Aside("tiergate-tiers")

    async def fetch(self, held: TierDocument | None) -> TierDocument:
        del held
        try:
            return await asyncio.get_running_loop().run_in_executor(self._aside, self._read)
        except Busy as error:
            raise SourceError(f"{self.name}: {error}") from None

    def _read(self) -> TierDocument:
        with suppress(OSError):  # what is not there is told below
            if self._path.stat().st_size > MAX_DOCUMENT_BYTES:
                raise SourceError(f"{self.name}: over {MAX_DOCUMENT_BYTES} bytes")
        try:
            raw = read_tables(self._path, "tier_config.file")
        except ConfigError as error:
            raise SourceError(str(error)) from None
        return parse_document(raw, fetched_at=self._wall())


class HttpSource:
    """A service: `GET url` with `x-api-key`, and with `If-None-Match` where it gave an ETag.

    One connection per question: there is one in half an hour. Redirects are not followed, for the
    key would go along.
    """

    shared = True

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        wall: Callable[[], float],
        look_up: LookUp = socket.getaddrinfo,
    ) -> None:
        scheme, host, path, query, _ = urlsplit(url)
        path = path if path.strip("/") else DEFAULT_PATH
        self.name = f"{scheme}://{host}{path}"
        self.url = urlunsplit((scheme, host, path, query, ""))
        self._headers = {"accept": "application/json"} | ({"x-api-key": key} if key else {})
        self._wall = wall
        self._names = _Names(wall, look_up)

    def __repr__(self) -> str:
        return f"<HttpSource {self.name}>"  # never the key

    async def fetch(self, held: TierDocument | None) -> TierDocument:
        etag = _sound(held.etag) if held is not None else None
        headers = self._headers | ({"if-none-match": etag} if etag else {})
        try:
            connector = aiohttp.TCPConnector(resolver=self._names)
            async with (
                aiohttp.ClientSession(
                    connector=connector, cookie_jar=aiohttp.DummyCookieJar()
                ) as session,
                session.get(self.url, headers=headers, allow_redirects=False) as response,
            ):
                if response.status == 304 and held is not None and etag is not None:
                    return replace(held, fetched_at=self._wall())
                if response.status != 200:
                    raise SourceError(f"{self.name} answered with status {response.status}")
                body = await self._read(response)
                etag = _sound(response.headers.get("etag"))
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            raise SourceError(f"{self.name}: {_said(error)}") from None
        try:
            return parse_document(msgspec.json.decode(body), fetched_at=self._wall(), etag=etag)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            raise SourceError(f"{self.name}: the answer is not JSON") from None
        except SourceError as error:
            raise SourceError(f"{self.name}: {error}") from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > MAX_DOCUMENT_BYTES:
                raise SourceError(f"{self.name}: the answer is over {MAX_DOCUMENT_BYTES} bytes")
        return bytes(body)


class _Names(AbstractResolver):
    """A `Resolver` in aiohttp's words, which asks one source for one host."""

    def __init__(self, wall: Callable[[], float], look_up: LookUp) -> None:
        self._wall = wall
        self._look_up = look_up
        self._resolver: Resolver | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family  # any
        if self._resolver is None:
            self._resolver = Resolver(host, clock=self._wall, look_up=self._look_up)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._resolver.addresses()
        ]

    async def close(self) -> None:
        """Nothing is open."""


def _sound(etag: str | None) -> str | None:
    """What can be kept and sent of it; a service, or who wrote the cache, may say anything."""
    return etag if etag and etag.isascii() and etag.isprintable() else None


def _said(error: BaseException) -> str:
    """An exception in few words; aiohttp's own repeat the whole address."""
    cause = getattr(error, "os_error", error)
    return getattr(cause, "strerror", None) or type(error).__name__


def _inline_document(config: Config) -> TierDocument:
    tiers = {
        tier: tuple(
            DocumentEntry(
                **{name: getattr(entry, name) for name in DocumentEntry.__struct_fields__}
            )
            for entry in entries
        )
        for tier, entries in config.tiers.items()
    }
    return TierDocument(version="inline", tiers=tiers)
