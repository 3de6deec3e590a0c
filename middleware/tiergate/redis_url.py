"""What a Redis URL says: where, which database, as whom, and how TLS is checked.

Reads text and opens nothing. No message repeats a value: a password with a stray character in it
ends up in any part of a URL.
"""

from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct

from tiergate.errors import ConfigError

_TLS_FILES: Final = frozenset({"ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"})
_TLS_CHECKS: Final = {
    "ssl_cert_reqs": ("required", "optional", "none"),
    "ssl_check_hostname": ("true", "false"),
}
_OPTIONS: Final = sorted({*_TLS_FILES, *_TLS_CHECKS, "client_name"})


class RedisUrl(Struct, frozen=True):
    """One Redis server. `options` are what redis-py's connections take beyond the rest."""

    host: str
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = None
    tls: bool = False
    options: dict[str, Any] = {}

    def __repr__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """The URL without credentials and options."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{'s' if self.tls else ''}://{host}:{self.port}/{self.db}"

    def without_secrets(self, text: str) -> str:
        """`text` with every mention of the password masked."""
        return text.replace(self.password, "***") if self.password else text


def read_redis_url(url: str) -> RedisUrl:
    """`redis://[user:password@]host[:port][/db][?option=value&…]`, or `rediss://` for TLS.

    Options: `ssl_ca_certs`, `ssl_ca_path`, `ssl_certfile`, `ssl_keyfile` (paths), `ssl_cert_reqs`
    (required, optional, none), `ssl_check_hostname` (true, false), `client_name`. Anything else is
    a `ConfigError`, time limits included: those are `timeout_seconds`.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _wrong("its host or port cannot be read") from None
    if parts.scheme not in ("redis", "rediss"):
        raise _wrong("it begins with neither redis:// nor rediss://")
    if "@" in parts.path + parts.query or parts.fragment:
        raise _wrong("in a password, / is written %2F, ? is %3F, # is %23, and @ is %40")
    if not host:
        raise _wrong("it names no host")
    database = parts.path.strip("/") or "0"
    if not (database.isascii() and database.isdigit()):
        raise _wrong("what follows its host is not the number of a database")
    return RedisUrl(
        host=unquote(host),
        port=6379 if port is None else port,
        db=int(database),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=parts.scheme == "rediss",
        options=_options(parts),
    )


def _options(parts: SplitResult) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise _wrong(f"it has the option {name!r}; known are {', '.join(_OPTIONS)}")
        if name.startswith("ssl_") and parts.scheme != "rediss":
            raise _wrong(f"its option {name} needs rediss://")
        allowed = _TLS_CHECKS.get(name)
        if allowed and value.lower() not in allowed:
            raise _wrong(f"its option {name} is none of {', '.join(allowed)}")
        if not value:
            raise _wrong(f"its option {name} is empty")
        options[name] = value.lower() if allowed else value
    if parts.scheme == "rediss":
        # Said even where it is redis-py's default: before version 6 that was not to check.
        checked = options.get("ssl_check_hostname", "true") == "true"
        options["ssl_check_hostname"] = checked and options.get("ssl_cert_reqs") != "none"
    return options


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"the Redis URL cannot be used: {what}")
