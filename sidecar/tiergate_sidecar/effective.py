"""The configuration as it is in effect: every setting, its value without secrets, and its origin.

Where it is shown is not known here: `tiergate check` prints it, `/config` answers with it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from tiergate import Config, Document
from tiergate_sidecar.settings import Settings

MASK: Final = "****"

_CREDENTIALS = re.compile(r"(?<=://)([^:/@]*:)?.*@")
"""Of a URL: all before its last `@`, for a password may hold any character; a user name stays where
a password follows it."""

_QUERY = re.compile(r"([?&;])([^=&;#]+)(=[^&;#]*)?")
"""A parameter of a URL's query: what stands before it, its name, its value."""

_READABLE: Final = frozenset(
    {
        *("api-version", "sslmode", "ssl_cert_reqs", "ssl_check_hostname"),
        *("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"),  # where files are
    }
)
"""Parameters that hold no secret. Of any other nobody knows: a signature has many names."""


class Setting(Struct, frozen=True):
    """One setting: dotted path, value as JSON has it, and where it came from."""

    path: str
    value: Any
    origin: str


def effective(
    settings: Settings | None, config: Config, document: Document | None
) -> list[Setting]:
    """Every setting, by its path. Without a document (a host's gateway) there is only one origin
    but the defaults.
    """
    tables = msgspec.to_builtins(config)
    defaults = dict(_leaves(msgspec.to_builtins(Config())))
    if settings is not None:
        tables = {**msgspec.to_builtins(settings), **tables}

    def origin(path: str, value: Any) -> str:
        if document is not None:
            return document.origins.get(path, "default")
        return "default" if path in defaults and defaults[path] == value else "given"

    return [
        Setting(path, _masked(path, value), origin(path, value))
        for path, value in sorted(_leaves(tables), key=lambda leaf: leaf[0])
    ]


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _masked(path: str, value: Any) -> Any:
    if ".headers." in path:
        return MASK
    if isinstance(value, str):
        if path.endswith(("api_key_env", "token_env")):  # what names no variable may be the key
            return value if not value or (value.isascii() and value.isidentifier()) else MASK
        shown = _CREDENTIALS.sub(rf"\1{MASK}@", value)
        is_url = "://" in shown or path.endswith(("url", "trace_link"))
        return _QUERY.sub(_masked_parameter, shown) if is_url else shown
    if isinstance(value, list | tuple):
        return [_masked(path, each) for each in value]
    if isinstance(value, dict):
        return {name: _masked(f"{path}.{name}", each) for name, each in value.items()}
    return value


def _masked_parameter(found: re.Match[str]) -> str:
    before, name, value = found.groups()
    if "{trace_id}" in (value or name) or name.lower() in _READABLE:
        return found[0]
    return f"{before}{MASK}" if value is None else f"{before}{name}={MASK}"
