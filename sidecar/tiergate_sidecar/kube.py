"""ConfigMaps as the API server has them: the only thing that we ever ask it for.

It needs `get` on `configmaps`, nothing else. The token and the authority's certificate are read
again for each request and each change: both rotate.
"""

import re
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from cachetools import TTLCache
from yarl import URL

from tiergate import ConfigError
from tiergate_sidecar.labels import CONFIG_KEY

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")

SECONDS: Final = 1.0
"""For one answer: the API server itself waits for ours, for 5 s."""
FRESH_SECONDS: Final = 10.0
"""A Deployment's pods come at once, and ask for one ConfigMap. After an edit so long passes until
it is seen; kubelet takes a minute."""
MOST: Final = 16 << 20
"""Characters of all ConfigMaps remembered: of a thousand namespaces' with 10 kB each. By their
number alone those of a hostile few could be gigabytes."""
OWN_SIZE: Final = 500
"""Bytes that an entry takes besides."""
LARGEST: Final = 4 << 20
"""Bytes of an answer: a ConfigMap has 1 MiB at most, its JSON a little more."""
CONNECTIONS: Final = 10

_LONGEST_NAME: Final = 253
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


class _ConfigMap(msgspec.Struct):
    data: dict[str, str] = {}


def api_server(environ: Mapping[str, str]) -> str:
    """The API server's URL as each pod is told it; raises `ConfigError` outside of one."""
    host, port = (environ.get(f"KUBERNETES_SERVICE_{each}", "") for each in ("HOST", "PORT"))
    if not host or not port:
        raise ConfigError("--read-config: this is not a pod: KUBERNETES_SERVICE_HOST is not set")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


class ConfigMaps:
    """A reader with a short memory; `account` is the folder of `token` and `ca.crt`.

    `clock` is monotonic, in seconds. Made within a running loop; `close` it.
    """

    def __init__(
        self, url: str, account: Path, clock: Callable[[], float], *, seconds: float = SECONDS
    ) -> None:
        self._url = url
        self._account = account
        self._known: TTLCache[tuple[str, str], str] = TTLCache(
            MOST, FRESH_SECONDS, timer=clock, getsizeof=lambda text: len(text) + OWN_SIZE
        )
        self._trust: tuple[bytes, ssl.SSLContext] | None = None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=seconds),
        )

    async def close(self) -> None:
        await self._session.close()

    async def read(self, namespace: str, name: str) -> str | None:
        """The text under `tiergate.toml`; None where there is no such ConfigMap, or no such key.

        Raises `LookupError`, which says why, when that cannot be known.
        """
        for each in (namespace, name):  # both stand in a path, and may be of a pod's author
            if len(each) > _LONGEST_NAME or not _NAME.fullmatch(each) or ".." in each:
                raise LookupError(f"{each!r} is no name")
        asked = (namespace, name)
        text = self._known.get(asked)
        if text is None:
            text = await self._fetch(namespace, name)
            if text is not None:  # one that is missing may be made in the next moment
                self._known[asked] = text
        return text

    async def _fetch(self, namespace: str, name: str) -> str | None:
        url = URL(f"{self._url}/api/v1/namespaces/{namespace}/configmaps/{name}", encoded=True)
        try:
            token = (self._account / "token").read_text().strip()
            async with self._session.get(
                url,
                ssl=self._trusted((self._account / "ca.crt").read_bytes()),
                headers={"authorization": f"Bearer {token}", "accept": "application/json"},
                allow_redirects=False,  # nobody else gets the token
            ) as response:
                if response.status == 404:
                    return None
                if response.status != 200:
                    raise LookupError(f"the API server answered {response.status}")
                body = await _bounded(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            why = str(error) or type(error).__name__
            raise LookupError(f"the API server cannot be asked: {why}") from None
        try:
            return msgspec.json.decode(body, type=_ConfigMap).data.get(CONFIG_KEY)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise LookupError(f"the API server's answer is no ConfigMap: {error}") from None

    def _trusted(self, authority: bytes) -> ssl.SSLContext:
        if self._trust is None or self._trust[0] != authority:
            self._trust = authority, ssl.create_default_context(cadata=authority.decode())
        return self._trust[1]


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > LARGEST:
            raise LookupError(f"the API server's answer is longer than {LARGEST} bytes")
    return bytes(body)
