"""What one setting demands of another: the one place where a decoded configuration is checked.

Fills in the well-known providers and answers with a configuration that the rest may trust.
"""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from tiergate.config import Config, Provider
from tiergate.errors import ConfigError
from tiergate.wellknown import WELL_KNOWN

HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

_PROVIDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OURS: Final = frozenset({
    "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer",
    "upgrade", "expect", "proxy-authorization", "proxy-connection", "accept-encoding",
    "idempotency-key", "traceparent", "tracestate",
})  # fmt: skip
"""Headers towards a provider that delivery owns: framing, and what identifies an attempt."""
_CREDENTIALS: Final = frozenset(
    {"authorization", "api-key", "openai-organization", "openai-project", "cookie"}
)
"""A client's; only `credentials = "client"` hands them on, and cookies nothing does."""
_NEVER_EXPOSED: Final = re.compile(
    r"(connection|keep-alive|content-length|transfer-encoding|te|trailer|upgrade"
    r"|set-cookie|strict-transport-security|alt-svc|clear-site-data)"
    r"|(access-control|content-security-policy|cross-origin|x-sentinel|x-arbstr)-?.*"
)
"""Headers of an answer that are ours to set, or would speak for the host's domain."""


def crosschecked(config: Config) -> Config:
    """Fill in the well-known providers and check; raises `ConfigError` with every problem."""
    config = replace(
        config, providers={name: _filled(name, p) for name, p in config.providers.items()}
    )
    problems = [
        *_routing(config),
        *_providers(config),
        *_tiers(config),
        *_credentials(config),
        *_times(config),
    ]
    if problems:
        raise ConfigError("; ".join(problems))
    return config


def warnings_of(config: Config) -> list[str]:
    """What is allowed, and likely to hurt: for `tiergate check`."""
    return [
        f"tiers.{tier}: a single candidate; one failure there leaves nobody to fall back to"
        for tier, entries in config.tiers.items()
        if len(entries) == 1
    ]


def _filled(name: str, provider: Provider) -> Provider:
    known = WELL_KNOWN.get(name)
    if known is None:
        return provider
    own_key = provider.api_key_env or provider.api_key_file or provider.credentials == "client"
    return replace(
        provider,
        base_url=provider.base_url or known.base_url,
        api_key_env=provider.api_key_env if own_key else known.api_key_env,
    )


def _routing(config: Config) -> Iterator[str]:
    for path in config.routing.paths:
        if not path.startswith("/") or set(path) & set("{}*?#"):
            yield f"routing.paths: {path!r} must be a plain path that begins with '/'"
    for pattern in config.routing.aliases:
        if not pattern or "*" in pattern[:-1]:
            yield f"routing.aliases.{pattern}: '*' may stand only at the end"


def _providers(config: Config) -> Iterator[str]:
    for name, provider in config.providers.items():
        where = f"providers.{name}"
        if not _PROVIDER_NAME.fullmatch(name):
            yield f"{where}: a name is up to 64 letters, digits, '.', '_' and '-'"
        yield from _base_url(where, provider.base_url)
        for header in (*provider.forward_headers, *provider.expose_headers, *provider.headers):
            if not HEADER_NAME.fullmatch(header):
                yield f"{where}: {header!r} is not the name of a header"
        for header in (*provider.forward_headers, *provider.headers):
            if header.lower() in _OURS:
                yield f"{where}: the header {header!r} is set by tiergate itself"
        for header in provider.forward_headers:
            if header.lower() in _CREDENTIALS:
                yield f'{where}.forward_headers: {header!r} goes only with credentials = "client"'
        for header in provider.expose_headers:
            if _NEVER_EXPOSED.fullmatch(header.lower()):
                yield f"{where}.expose_headers: {header!r} of a provider must not reach clients"
        for header, value in provider.headers.items():
            if not value.isascii() or not value.isprintable():
                yield f"{where}.headers.{header}: must be printable ASCII"


def _base_url(where: str, text: str) -> Iterator[str]:
    if not text:
        name = where.partition(".")[2]
        yield f"{where}.base_url: missing, and no address is known for {name!r}"
        return
    url = None
    try:
        url = urlsplit(text)
        sound = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        sound = False
    if not url or not sound or not text.isascii() or not text.isprintable() or " " in text:
        yield f"{where}.base_url: must be an http:// or https:// address"
    elif url.username or url.password or url.fragment:
        yield f"{where}.base_url: no user name, password or fragment; keys go to api_key_env"


def _tiers(config: Config) -> Iterator[str]:
    if not any(config.tiers.values()):
        yield "tiers: no tier has a candidate; add [[tiers.simple]] with a provider and a model"
    for tier, entries in config.tiers.items():
        seen = set()
        for index, entry in enumerate(entries):
            where = f"tiers.{tier}[{index}]"
            if entry.provider not in config.providers:
                yield f"{where}.provider: {entry.provider!r} is not in [providers]"
            if not entry.model.isprintable() or not entry.model.isascii():
                yield f"{where}.model: must be printable ASCII"
            if (entry.provider, entry.model) in seen:
                yield f"{where}: {entry.provider}/{entry.model} is listed twice"
            seen.add((entry.provider, entry.model))


def _credentials(config: Config) -> Iterator[str]:
    """A fallback must not hand the caller's key to another company."""
    groups: dict[str, list[Provider]] = {}
    for tier, entries in config.tiers.items():
        for entry in entries:
            if entry.provider in config.providers:
                provider = config.providers[entry.provider]
                groups.setdefault(f"tiers.{tier}", []).append(provider)
                groups.setdefault(f"model {entry.model}", []).append(provider)
    for where, providers in groups.items():
        hosts = {provider.base_url.partition("://")[2].partition("/")[0] for provider in providers}
        if len(hosts) > 1 and any(provider.credentials == "client" for provider in providers):
            yield f'{where}: credentials = "client" must not reach more than one host'


def _times(config: Config) -> Iterator[str]:
    retry, where = config.retry, "attempt_timeout_seconds: must not be longer than the deadline"
    if retry.attempt_timeout_seconds > retry.deadline_seconds:
        yield f"retry.{where}"
    for tier in retry.tiers:
        deadline = retry.deadline(tier)
        if retry.attempt_timeout(tier, deadline) > deadline:
            yield f"retry.tiers.{tier}.{where}"
