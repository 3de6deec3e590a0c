"""A configuration to be tried on the requests of a log: the tables of routing, and nothing else.

No key, file of keys, address or network is needed to try one. What is tried on is `what_if`'s.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec.structs import asdict, replace

from tiergate.config import FOREIGN_TABLES, Config, TierConfig
from tiergate.crosscheck import crosschecked
from tiergate.decoding import decode_tables
from tiergate.document import SourceError, parse_document
from tiergate.errors import ConfigError
from tiergate.loading import Document, read_document, read_tables
from tiergate.routing_config import TierEntry

_LEFT_OUT: Final = (FOREIGN_TABLES | set(Config.__struct_fields__)) - {
    *("routing", "classifier", "policies", "providers", "tiers", "tier_config", "sessions")
}
_OF_PROVIDERS: Final = ("base_url", "credentials")  # who may stand beside whom depends on them
_OF_SESSIONS: Final = ("ttl_seconds",)
_NOT_OF_SOURCE: Final = ("url", "api_key_env", "ttl_seconds", "timeout_seconds")


def trial_config(
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    alone: bool = False,
) -> Config:
    """The routing of a configuration, checked; raises `ConfigError` with the path of what is wrong.

    Of `source`, a path or tables, it takes `routing`, `classifier`, `policies`, `tiers`,
    `tier_config`, the names of the providers and how long a session lives; a `${VAR}` elsewhere may
    be of a variable that is not set. Tiers in a file are read and become inline ones; a service is
    not asked. `alone` is for what somebody sends: neither files nor the environment are read then.
    """
    given = source if isinstance(source, Mapping) else read_tables(Path(source))
    read = read_document(_routing_of(given), environ={} if alone else environ)
    tables = {name: value for name, value in read.values.items() if name not in _LEFT_OUT}
    strict = Document(values=dict(given), origins={}).strict
    config = decode_tables(tables, Config, strict=strict)
    if config.tier_config.source == "http":
        raise ConfigError(
            'tier_config.source: "http" is not asked in a trial; give the tiers inline, or the '
            'document of the service as a file (source = "file")'
        )
    if config.tier_config.source == "file" and alone:
        raise ConfigError("tier_config.file: no file is read here; give the tiers inline")
    config = crosschecked(config)
    return config if config.tier_config.source == "inline" else _with_tiers_of_file(config)


def _routing_of(given: Mapping[str, Any]) -> dict[str, Any]:
    tables = {name: value for name, value in given.items() if name not in _LEFT_OUT}
    providers, sessions = tables.get("providers"), tables.get("sessions")
    if isinstance(providers, Mapping):
        tables["providers"] = {name: _provider(name, each) for name, each in providers.items()}
    if isinstance(sessions, Mapping):
        tables["sessions"] = {name: sessions[name] for name in _OF_SESSIONS if name in sessions}
    if isinstance(tables.get("tier_config"), Mapping):
        tables["tier_config"] = {
            name: value
            for name, value in tables["tier_config"].items()
            if name not in _NOT_OF_SOURCE
        }
    return tables


def _provider(name: str, given: Any) -> Any:
    """What routing depends on of it; an address that only the environment knows has a stand-in."""
    if not isinstance(given, Mapping):
        return given
    kept = {key: given[key] for key in _OF_PROVIDERS if key in given}
    if "${" in str(kept.get("base_url", "")):
        kept["base_url"] = f"https://{name}.invalid"
    return kept


def _with_tiers_of_file(config: Config) -> Config:
    raw = read_tables(Path(config.tier_config.file), "tier_config.file")
    try:
        document = parse_document(raw, fetched_at=0)
    except SourceError as error:
        raise ConfigError(f"tier_config.file: {error}") from None
    tiers = {
        tier: tuple(TierEntry(**asdict(each)) for each in entries)
        for tier, entries in document.tiers.items()
    }
    return replace(config, tiers=tiers, tier_config=TierConfig())
