"""The sidecar's own settings: its tables of the configuration file, beside the library's.

Values only; nothing here opens a socket or reads a file itself.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct
from msgspec.structs import replace

from tiergate import Config, ConfigError, Document, config_of, decode_tables

DEFAULT_FILE: Final = Path("tiergate.toml")
"""Read where no file is named and this one is there."""

REQUEST_LOG: Final = "sqlite:///tiergate.db"
"""`request_log.url` where nothing is said of it."""


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the process listens, and how long it may take to end."""

    listen: str = "127.0.0.1:8080"
    admin: str = "127.0.0.1:9090"
    """For operators; "" turns it off."""
    probes: str = ""
    """A third listener, for pods: live, ready and metrics alone. "" is none."""
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


PASSED_PATHS: Final = (
    "/v1/embeddings",
    "/v1/responses",
    "/v1/completions",
    "/v1/audio/*",
    "/v1/images/*",
    "/v1/moderations",
)
"""What a caller may do with somebody else's key. Files, batches and fine-tunes belong to everyone
who uses that key, so they are not among them."""


class Proxy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the paths go that are not ours; both empty: nowhere."""

    target: str = ""
    """The base URL of the app in the same pod: it gets every path that nobody else does."""
    provider: str = ""
    """The name of a provider: it gets `paths`, and what `unknown_model = "pass"` hands on."""
    paths: tuple[str, ...] = PASSED_PATHS
    """Below `/v1/`, `*` only at the end; `*` alone is all of them."""
    idle_timeout_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 600
    """How long either side may be silent. Official clients wait as long; an app's long poll or its
    stream of rare events is alive all the while."""


class Auth(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may use the clients' listener."""

    tokens_file: str = ""
    """Lines of `name:token`, read again when the file changes; "" lets everybody in."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tables that the library passes by."""

    server: Server = Server()
    admin: Admin = Admin()
    proxy: Proxy = Proxy()
    auth: Auth = Auth()
    logging: Logging = Logging()


class Address(Struct, frozen=True):
    """A TCP address to listen on; port 0 takes any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, where: str) -> Address:
    """`host:port`, `[v6]:port` or `:port` (every address, IPv4 and IPv6).

    Raises `ConfigError` naming `where`.
    """
    host, colon, port = text.rpartition(":")
    named = colon and host.isascii() and host.isprintable()
    numbered = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    if not named or not numbered:
        raise ConfigError(f"{where}: {text!r} is not host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ConfigError(f"{where}: an IPv6 address stands in brackets, as in [::1]:8080")
    return Address(host=host or "::", port=int(port))


def settings_of(document: Document) -> tuple[Settings, Config]:
    """The sidecar's and the library's part of a document; raises `ConfigError`."""
    names = Settings.__struct_fields__
    own: dict[str, Any] = {k: v for k, v in document.values.items() if k in names}
    settings = decode_tables(own, Settings, strict=document.strict)
    for where in ("listen", "admin", "probes"):
        text = getattr(settings.server, where)
        if text:
            parse_address(text, f"server.{where}")
    if not settings.server.listen:
        raise ConfigError("server.listen: must not be empty")
    config = config_of(document)
    check_auth(settings.auth, config)
    _check_proxy(settings.proxy, config)
    return settings, _with_log(config, document)


def check_auth(auth: Auth, config: Config) -> None:
    """What clients show us is not for others to see; raises `ConfigError`."""
    theirs = [name for name, each in config.providers.items() if each.credentials == "client"]
    if auth.tokens_file and theirs:
        raise ConfigError(
            f'providers.{theirs[0]}.credentials: with auth.tokens_file it cannot be "client":'
            " the token would go to the provider"
        )


def _check_proxy(proxy: Proxy, config: Config) -> None:
    problems = []
    if proxy.target and not _is_base(proxy.target):
        problems.append("proxy.target: must be an http:// or https:// address without a query")
    if proxy.provider and proxy.provider not in config.providers:
        problems.append(f"proxy.provider: {proxy.provider!r} is not in [providers]")
    for path in proxy.paths:
        if path != "*" and not re.fullmatch(r"/v1/[A-Za-z0-9_~.:@/-]*\*?", path):
            problems.append(f"proxy.paths: {path!r} must begin with /v1/; '*' only at the end")
    if problems:
        raise ConfigError("; ".join(problems))


def _is_base(text: str) -> bool:
    try:
        url = urlsplit(text)
        sound = url.port != 0 and text.isascii() and text.isprintable() and " " not in text
    except ValueError:
        return False
    extra = url.query or url.fragment or url.username or url.password or text.endswith(("?", "#"))
    return sound and url.scheme in ("http", "https") and bool(url.hostname) and not extra


def settings_warnings(settings: Settings, config: Config) -> list[str]:
    """What is allowed, and likely not what was meant: for `tiergate check`."""
    if config.routing.unknown_model == "pass" and not settings.proxy.provider:
        return ['routing.unknown_model: "pass" without proxy.provider is "reject" here: 404']
    return []


def _with_log(config: Config, document: Document) -> Config:
    """The library keeps no request log unless it is asked to; the sidecar keeps one unless not."""
    if "url" in document.values.get("request_log", {}):
        return config
    return replace(config, request_log=replace(config.request_log, url=REQUEST_LOG))
