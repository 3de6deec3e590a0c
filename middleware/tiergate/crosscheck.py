"""What one setting demands of another: the one place where a decoded configuration is checked.

Fills in the well-known providers and answers with a configuration that the rest may trust.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from msgspec.structs import replace

from tiergate.candidates import Candidate
from tiergate.classify import problems_of
from tiergate.config import Config, Provider
from tiergate.entry_rules import wrong_in
from tiergate.errors import ConfigError
from tiergate.log_url import read_log_url
from tiergate.policies import Policies
from tiergate.redis_url import read_redis_url
from tiergate.routing_config import Policy
from tiergate.tiers import Tier
from tiergate.wellknown import WELL_KNOWN

MORE_THAN_ONE_HOST: Final = 'credentials = "client" must not reach more than one host'

MOST_KEYWORDS: Final = 200
"""Of a policy: the last message of every request is searched for all of them."""

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
        *_policies(config),
        *problems_of(config.classifier),
        *_credentials(config),
        *_times(config),
        *_source(config),
        *_stores(config),
    ]
    if problems:
        raise ConfigError("; ".join(problems))
    return config


def warnings_of(config: Config) -> list[str]:
    """What is allowed, and likely to hurt: for `tiergate check`."""
    alone = [
        f"tiers.{tier}: a single candidate; one failure there leaves nobody to fall back to"
        for tier, entries in config.tiers.items()
        if len(entries) == 1
    ]
    return [*alone, *_policies_of_nobody(config)]


def _policies_of_nobody(config: Config) -> Iterator[str]:
    if config.tier_config.source != "inline":
        return  # of a document nothing is known yet
    listed = [
        Candidate(each.provider, each.model, 1, output_price=each.output_price_per_million)
        for entries in config.tiers.values()
        for each in entries
    ]
    rules = Policies(config.policies, most_bytes=0)
    for index, policy in enumerate(config.policies):
        if not any(map(rules.rule(policy.name).allows, listed)):
            yield f"policies[{index}]: {policy.name!r} allows no candidate of any tier"


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
        if provider.proxy_url:
            yield from _proxy(f"{where}.proxy_url", provider.proxy_url)
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
    yield from _address(f"{where}.base_url", text)


def _address(where: str, text: str) -> Iterator[str]:
    url = _split(text)
    if url is None or url.scheme not in ("http", "https") or not url.hostname:
        yield f"{where}: must be an http:// or https:// address"
    elif url.username or url.password or url.fragment:
        yield f"{where}: no user name, password or fragment; keys go to api_key_env"


def _proxy(where: str, text: str) -> Iterator[str]:
    """A proxy is an address with nothing behind it; a user name and a password may stand in it."""
    url = _split(text)
    if url is None or url.scheme != "http" or not url.hostname or url.path.strip("/"):
        yield f"{where}: must be http://[user:password@]host:port"


def _split(text: str) -> SplitResult | None:
    """The parts of an address; None where it is none."""
    try:
        url = urlsplit(text)
        sound = url.port != 0
    except ValueError:
        return None
    return url if sound and text.isascii() and text.isprintable() and " " not in text else None


def _tiers(config: Config) -> Iterator[str]:
    # With "pass" a gateway that has no tier yet is of use: it hands everything on.
    serves = any(config.tiers.values()) or config.routing.unknown_model == "pass"
    if config.tier_config.source == "inline" and not serves:
        yield "tiers: no tier has a candidate; add [[tiers.simple]] with a provider and a model"
    for tier, entries in config.tiers.items():
        seen = set()
        for index, entry in enumerate(entries):
            where = f"tiers.{tier}[{index}]"
            if entry.provider not in config.providers:
                yield f"{where}.provider: {entry.provider!r} is not in [providers]"
            for problem in wrong_in(entry):
                yield f"{where}.{problem}"
            if (entry.provider, entry.model) in seen:
                yield f"{where}: {entry.provider}/{entry.model} is listed twice"
            seen.add((entry.provider, entry.model))


def _policies(config: Config) -> Iterator[str]:
    names = set()
    for index, policy in enumerate(config.policies):
        where = f"policies[{index}]"
        if policy.name in names:
            yield f"{where}.name: {policy.name!r} is the name of another policy"
        names.add(policy.name)
        yield from _policy(where, policy)


def _policy(where: str, policy: Policy) -> Iterator[str]:
    name = policy.name
    if not name.isascii() or not name.isprintable() or name != name.strip():
        yield f"{where}.name: must be printable ASCII, for it stands in a header"
    for model in policy.allowed_models:
        if not model or "*" in model[:-1]:
            yield f"{where}.allowed_models: {model!r}: a model's name, '*' only at the end"
    if not all(map(str.strip, policy.keywords)):
        yield f"{where}.keywords: one is blank"
    if len(policy.keywords) > MOST_KEYWORDS:
        yield f"{where}.keywords: more than {MOST_KEYWORDS}"


def split_hosts(
    listed: Iterable[tuple[Tier, str, str]], providers: Mapping[str, Provider]
) -> set[str]:
    """The groups (a tier, a model) in which a caller's own key could go to more than one host.

    `listed` are tier, provider and model. A fallback must not hand the key to another company.
    """
    groups: dict[str, list[Provider]] = {}
    for tier, name, model in listed:
        if name in providers:
            groups.setdefault(f"tiers.{tier}", []).append(providers[name])
            groups.setdefault(f"model {model}", []).append(providers[name])
    return {
        where
        for where, group in groups.items()
        if len({provider.host for provider in group}) > 1
        and any(provider.credentials == "client" for provider in group)
    }


def _credentials(config: Config) -> Iterator[str]:
    listed = [
        (tier, each.provider, each.model) for tier, pool in config.tiers.items() for each in pool
    ]
    for where in sorted(split_hosts(listed, config.providers)):
        yield f"{where}: {MORE_THAN_ONE_HOST}"


def _source(config: Config) -> Iterator[str]:
    tiers = config.tier_config
    if tiers.source == "file" and not tiers.file:
        yield 'tier_config.file: missing, with source = "file"'
    if tiers.source == "http":
        yield from _address("tier_config.url", tiers.url)
    unused = {"inline": ("url", "file"), "file": ("url",), "http": ("file",)}[tiers.source]
    for name in unused:
        if getattr(tiers, name):
            yield f'tier_config.{name}: set, but source = "{tiers.source}" does not use it'


def _stores(config: Config) -> Iterator[str]:
    urls = {"cache.url": config.cache.url, "sessions.url": config.sessions.url or "memory://"}
    for where, url in urls.items():
        if url != "memory://":
            try:
                read_redis_url(url)
            except ConfigError as error:
                yield f"{where}: neither memory:// nor Redis: {error}"
    if config.request_log.url:
        try:
            read_log_url(config.request_log.url)
        except ConfigError as error:
            yield f"request_log.url: {error}"
    if not config.cache.key_prefix.isprintable():
        yield "cache.key_prefix: must be printable"


def _times(config: Config) -> Iterator[str]:
    retry, where = config.retry, "attempt_timeout_seconds: must not be longer than the deadline"
    if retry.attempt_timeout_seconds > retry.deadline_seconds:
        yield f"retry.{where}"
    for tier in retry.tiers:
        deadline = retry.deadline(tier)
        if retry.attempt_timeout(tier, deadline) > deadline:
            yield f"retry.tiers.{tier}.{where}"
