"""Where the request log is: what `request_log.url` says, and that its drivers are installed.

Reads text and opens nothing. No message repeats a value: a password with a stray character in it
ends up in any part of a URL.
"""

from importlib.util import find_spec
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote

from msgspec import Struct

from tiergate.errors import ConfigError

Kind = Literal["sqlite", "postgresql", "stdout"]

_SECRETS: Final = ("password", "sslpassword")  # what libpq also takes behind the question mark


class LogUrl(Struct, frozen=True):
    """A place for rows. `where` is SQLite's file, or the URL that PostgreSQL's own library reads.

    `name` is for people, without credentials and options; `options` are those that the URL sets.
    """

    kind: Kind
    where: str
    name: str
    options: frozenset[str] = frozenset()
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return self.name

    def without_secrets(self, text: str) -> str:
        """`text` with every mention of a password masked."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def read_log_url(url: str) -> LogUrl:
    """`sqlite:///FILE` (a fourth slash for an absolute path), `postgresql://…` or `stdout:`.

    PostgreSQL's is a URI of libpq, with several hosts and any option that libpq knows. Raises
    `ConfigError`.
    """
    scheme, colon, rest = url.partition(":")
    if url == "stdout:":
        return LogUrl("stdout", "", url)
    if colon and scheme == "sqlite":
        return _sqlite(rest)
    if colon and scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        return _postgresql(f"postgresql:{rest}")
    raise _wrong("it begins with none of sqlite:///, postgresql:// and stdout:")


def need_drivers(url: LogUrl) -> None:
    """Raises `ConfigError` where a package is missing; imports nothing."""
    if url.kind != "stdout" and find_spec("sqlalchemy") is None:
        raise ConfigError("the request log needs SQLAlchemy: pip install 'tiergate[log]'")
    if url.kind == "postgresql" and find_spec("psycopg") is None:
        raise ConfigError("PostgreSQL needs psycopg: pip install 'tiergate[postgres]'")


def _sqlite(rest: str) -> LogUrl:
    path = rest.removeprefix("///")
    if path == rest or not path or path == ":memory:" or path.endswith("/"):
        raise _wrong("sqlite:/// is followed by the name of a file")
    if "?" in path or "\0" in path:
        raise _wrong("a file of SQLite has no options")
    return LogUrl("sqlite", path, f"sqlite:///{path}")


def _postgresql(url: str) -> LogUrl:
    if not url.startswith("postgresql://"):
        raise _wrong("two slashes follow postgresql:")
    # Not urlsplit's: what it makes of several hosts with brackets is another thing in each Python.
    place, _, fragment = url.removeprefix("postgresql://").partition("#")
    place, _, query = place.partition("?")
    place, slash, database = place.partition("/")
    user, _, hosts = place.rpartition("@")
    if hosts.count("[") != hosts.count("]"):
        raise _wrong("its host cannot be read")
    if "@" in user + database + query or fragment or not url.isprintable():
        raise _wrong("in a password, / is written %2F, ? is %3F, # is %23, and @ is %40")
    for host in hosts.split(","):
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not (port.isascii() and port.isdigit() and int(port[:6]) in range(1, 65536)):
            raise _wrong("its port is not a number")
    options = dict(parse_qsl(query, keep_blank_values=True))
    said = [user.partition(":")[2], *(options.get(name, "") for name in _SECRETS)]
    shown = f"{user.partition(':')[0]}@{hosts}" if user else hosts
    return LogUrl(
        kind="postgresql",
        where=url,
        name=f"postgresql://{shown}{slash}{database}",
        options=frozenset(options),
        secrets=tuple(dict.fromkeys(each for raw in said for each in (raw, unquote(raw)) if each)),
    )


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"the URL of the request log cannot be used: {what}")
