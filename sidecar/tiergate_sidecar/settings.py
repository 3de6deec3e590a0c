"""The sidecar's own settings: its tables of the configuration file, beside the library's.

Values only; nothing here opens a socket or reads a file itself.
"""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from tiergate import Config, ConfigError, Document, config_of, decode_tables

REQUEST_LOG: Final = "sqlite:///tiergate.db"
"""`request_log.url` where nothing is said of it."""


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the process listens, and how long it may take to end."""

    listen: str = "127.0.0.1:8080"
    admin: str = "127.0.0.1:9090"
    """For operators; "" turns it off."""
    grace_seconds: Annotated[int, Meta(ge=0)] = 25
    """Below Kubernetes' 30 s, so that the end is ours and not a SIGKILL."""
    strict: bool = True


class Logging(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The process's log, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class Admin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may see the operators' pages, and how much of the past they show."""

    token_env: str = ""
    """Names the variable that holds the token; without one only loopback sees the pages."""
    recent_requests: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    """Kept in memory for the inspector, about 2 kB each. A page that opens is sent all of them, and
    each query looks at all: of more, that takes the one core from the requests for too long."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tables that the library passes by."""

    server: Server = Server()
    admin: Admin = Admin()
    logging: Logging = Logging()


class Address(Struct, frozen=True):
    """A TCP address to listen on; port 0 takes any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, where: str) -> Address:
    """`host:port`, `[v6]:port` or `:port` (every address); raises `ConfigError` naming `where`."""
    host, colon, port = text.rpartition(":")
    named = colon and host.isascii() and host.isprintable()
    numbered = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    if not named or not numbered:
        raise ConfigError(f"{where}: {text!r} is not host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ConfigError(f"{where}: an IPv6 address stands in brackets, as in [::1]:8080")
    return Address(host=host or "0.0.0.0", port=int(port))


def settings_of(document: Document) -> tuple[Settings, Config]:
    """The sidecar's and the library's part of a document; raises `ConfigError`."""
    names = Settings.__struct_fields__
    own: dict[str, Any] = {k: v for k, v in document.values.items() if k in names}
    settings = decode_tables(own, Settings, strict=document.strict)
    for where in ("listen", "admin"):
        text = getattr(settings.server, where)
        if text:
            parse_address(text, f"server.{where}")
    if not settings.server.listen:
        raise ConfigError("server.listen: must not be empty")
    return settings, _with_log(config_of(document), document)


def _with_log(config: Config, document: Document) -> Config:
    """The library keeps no request log unless it is asked to; the sidecar keeps one unless not."""
    if "url" in document.values.get("request_log", {}):
        return config
    return replace(config, request_log=replace(config.request_log, url=REQUEST_LOG))
