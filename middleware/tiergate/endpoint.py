"""A provider, compiled: where its requests go and what headers they carry.

Made once for each configuration, of settings that `crosscheck` has passed; header hygiene lives
here and nowhere else. Sending is `transport`'s.
"""

import ssl
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

from tiergate.config import Provider
from tiergate.request_headers import CLIENT_CREDENTIALS, PASSED_ON, RequestHeaders

USER_AGENT: Final = "tiergate"

_ALWAYS_EXPOSED: Final = (b"content-type", b"content-encoding", b"retry-after", b"x-request-id")
_EXPOSED_PREFIXES: Final = (b"x-ratelimit-", b"openai-")


class Endpoint(Struct, frozen=True):
    """One provider's endpoints: `url` for chats, `models_url` to ask whether it is there.

    `fixed` goes with every request, `passed` names what of the client's headers may, `exposed` what
    of the provider's answer may go back. `own_credential` says whose key a 401 speaks of. `ca` is
    the certificates (PEM) to trust instead of the system's. `pool` is what the connections depend
    on: endpoints that differ in it never share one, others (a new key, another header) do.
    """

    name: str
    url: str
    models_url: str
    settings: Provider
    fixed: tuple[tuple[str, str], ...]
    passed: frozenset[bytes]
    exposed: frozenset[bytes]
    ca: str | None
    pool: tuple[str | float | None, ...]

    def __repr__(self) -> str:
        return f"<Endpoint {self.name} {self.url}>"  # never the key

    @property
    def own_credential(self) -> bool:
        return self.settings.credentials == "own"

    def below(self, path: str, query: str = "") -> str:
        """The address of another path of the provider, as in `embeddings`; neither is quoted here.

        A query of the base URL (Azure's `api-version`) stays, in front of the one given.
        """
        return _below(self.settings.base_url, path, query)

    def trust(self) -> ssl.SSLContext | bool:
        """What a connection trusts, as aiohttp takes it."""
        if self.ca is None:
            return True  # aiohttp's own context, made once
        context = ssl.create_default_context(cadata=self.ca)
        context.set_alpn_protocols(("http/1.1",))  # as aiohttp's own says; it speaks nothing else
        return context

    def request_headers(self, headers: RequestHeaders, key: str) -> list[tuple[str, str]]:
        """The headers of one attempt; `key` identifies the request on every one of them."""
        pairs = [*self.fixed, *headers.named(self.passed), ("idempotency-key", key)]
        if "content-type" not in dict(pairs):
            pairs.append(("content-type", "application/json"))
        return pairs

    def answer_headers(self, headers: tuple[tuple[bytes, bytes], ...]) -> list[tuple[bytes, bytes]]:
        """What the client may see of a provider's: nothing that speaks for the host's domain."""
        exposed = self.exposed
        return [
            (lower, value)
            for name, value in headers
            if (lower := name.lower()) in exposed or lower.startswith(_EXPOSED_PREFIXES)
        ]


def compile_endpoints(
    providers: Mapping[str, Provider],
    keys: Mapping[str, str | None],
    authorities: Mapping[str, str | None] = MappingProxyType({}),
) -> dict[str, Endpoint]:
    """The endpoint of every provider; `keys` holds the API keys read for them.

    `authorities` holds the text (PEM) of each `ca_file`; None, or none: the system's are trusted.
    """
    return {
        name: _endpoint(name, each, keys.get(name), authorities.get(name))
        for name, each in providers.items()
    }


def _endpoint(name: str, provider: Provider, key: str | None, ca: str | None) -> Endpoint:
    passed = PASSED_ON | {header.lower().encode() for header in provider.forward_headers}
    fixed = {"accept-encoding": "identity"}
    if b"user-agent" not in passed:
        fixed["user-agent"] = USER_AGENT
    if key is not None:
        fixed["authorization"] = f"Bearer {key}"
    fixed.update((header.lower(), value) for header, value in provider.headers.items())
    if provider.credentials == "client":
        passed |= CLIENT_CREDENTIALS
    return Endpoint(
        name=name,
        url=_below(provider.base_url, "chat/completions"),
        models_url=_below(provider.base_url, "models"),
        settings=provider,
        fixed=tuple(fixed.items()),
        passed=passed - {header.encode() for header in fixed},
        exposed=frozenset(_ALWAYS_EXPOSED)
        | {header.lower().encode() for header in provider.expose_headers},
        ca=ca,
        pool=(
            name,
            provider.base_url,
            provider.max_connections,
            provider.acquire_timeout_seconds,
            provider.connect_timeout_seconds,
            provider.keepalive,
            provider.proxy_url,
            ca,
        ),
    )


def _below(base_url: str, path: str, more: str = "") -> str:
    """A path below the base; a query (Azure's `api-version`) stays behind it, before any more."""
    scheme, host, base, query, _ = urlsplit(base_url)
    query = "&".join(filter(None, (query, more)))
    return urlunsplit((scheme, host, f"{base.rstrip('/')}/{path}", query, ""))
