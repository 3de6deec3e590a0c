"""Where settings come from: a file or mapping, the environment, flags.

Precedence: flags, environment, file, defaults. The only module that reads the environment or a
file of settings; what the values must look like is known to `decoding`, what they mean to nobody
here.
"""

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from tiergate.config import FOREIGN_TABLES, Config
from tiergate.crosscheck import crosschecked
from tiergate.decoding import decode_tables
from tiergate.errors import ConfigError

ENVIRONMENT_PREFIX: Final = "TIERGATE_"
TTL_VARIABLE: Final = "TIER_CONFIG_TTL_SECONDS"
"""The seeds' name for `tier_config.ttl_seconds`; our own name wins over it."""

_VARIABLE = re.compile(r"\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\})?")


class Document(Struct, frozen=True):
    """Settings before they are decoded, and where each one came from (`origins`: path to text)."""

    values: dict[str, Any]
    origins: dict[str, str]

    @property
    def strict(self) -> bool:
        """`server.strict`: whether an unknown key is an error or a warning."""
        server = self.values.get("server")
        said = server.get("strict", True) if isinstance(server, Mapping) else True
        return str(said).lower() not in ("false", "0")


def load_config(
    source: str | os.PathLike[str] | Mapping[str, Any] | Config,
    *,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """The checked configuration of a path, a mapping or a `Config`; raises `ConfigError`."""
    if isinstance(source, Config):
        return crosschecked(source)
    return config_of(read_document(source, environ=environ))


def config_of(document: Document) -> Config:
    """The library's part of a document, checked; raises `ConfigError`."""
    tables = {k: v for k, v in document.values.items() if k not in FOREIGN_TABLES}
    return crosschecked(decode_tables(tables, Config, strict=document.strict))


def read_document(
    source: str | os.PathLike[str] | Mapping[str, Any] | None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Document:
    """Read and merge; `flags` maps a dotted path to its value. Raises `ConfigError`."""
    environ = environment(environ)
    if source is None or isinstance(source, Mapping):
        origin, given = "given", source or {}
    else:
        origin, given = f"file {os.fspath(source)}", read_tables(Path(source))
    try:
        values = _expand(given, environ)
    except RecursionError:  # a YAML anchor may hold itself
        raise ConfigError(f"{origin}: nested too deeply") from None
    origins = {path: origin for path, _ in _leaves(values)}
    if TTL_VARIABLE in environ:
        text = environ[TTL_VARIABLE]
        _put(values, origins, ["tier_config", "ttl_seconds"], text, TTL_VARIABLE)
    for name, text in environ.items():
        path = name.removeprefix(ENVIRONMENT_PREFIX)
        # Kubernetes puts TIERGATE_PORT and its like beside every pod of a service of our name.
        if path != name and "__" in path:
            _put(values, origins, path.lower().split("__"), _parse_text(name, text), name)
    for path, value in (flags or {}).items():
        _put(values, origins, path.split("."), value, "flag")
    return Document(values=values, origins=origins)


def environment(given: Mapping[str, str] | None) -> Mapping[str, str]:
    """The environment that was given, else the process's."""
    return os.environ if given is None else given


def read_tables(path: Path, what: str = "configuration") -> dict[str, Any]:
    """The tables of a file, parsed by its extension; raises `ConfigError`."""
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise ConfigError(f"{path}: the name must end in {', '.join(_PARSERS)}")
    text = read_text(path, what)
    try:
        values = parse(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold tables of settings, not a {type(values).__name__}")
    return values


def read_text(path: Path, what: str) -> str:
    """A file's text; raises `ConfigError` that names `what` it should have held."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        reason = "not UTF-8"
    except (OSError, ValueError) as error:  # ValueError: no file has a NUL in its name
        reason = getattr(error, "strerror", None) or str(error)
    else:
        return text
    raise ConfigError(f"{what}: cannot read {path}: {reason}")


def _parse_yaml(text: str) -> Any:
    try:
        import yaml  # an extra: only those who write YAML need it
    except ImportError:
        raise ConfigError("YAML needs PyYAML: pip install 'tiergate[yaml]'") from None
    try:
        # The same in C is ten times faster: a large file would hold up requests while it reloads.
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


_PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    ".toml": tomllib.loads,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
    ".json": json.loads,
}


def _expand(value: Any, environ: Mapping[str, str], path: str = "") -> Any:
    """`${VAR}` and `${VAR:-default}` in every string of a tree, as a shell would."""
    if isinstance(value, Mapping):
        return {k: _expand(v, environ, f"{path}.{k}" if path else str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_expand(v, environ, f"{path}[{i}]") for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, default = match.groups()
        if name is None:
            raise ConfigError(f"{path}: '${{' is not followed by a variable's name and '}}'")
        if default is not None:
            return environ.get(name) or str(default).removeprefix(":-")
        if name not in environ:
            raise ConfigError(f"{path}: the environment variable {name} is not set")
        return environ[name]

    return _VARIABLE.sub(replace, value)


def _parse_text(name: str, text: str) -> Any:
    """An environment variable's value; a list or a table is written as JSON."""
    if text[:1] + text[-1:] not in ("[]", "{}"):  # "[::1]:8080" is an address
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the environment variable {name}: {error}") from None


def _put(
    values: dict[str, Any], origins: dict[str, str], path: list[str], value: Any, origin: str
) -> None:
    table = values
    for key in path[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{origin}: {key} is not a table, so {'.'.join(path)} cannot be set")
    table[path[-1]] = value
    dotted = ".".join(path)
    for known in [known for known in origins if known.startswith(f"{dotted}.")]:
        del origins[known]  # a whole table replaced
    leaves = _leaves(value, dotted) if isinstance(value, Mapping) else [(dotted, value)]
    origins |= {leaf: origin if origin == "flag" else f"environment {origin}" for leaf, _ in leaves}


def _leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            yield from _leaves(value, here)
        else:
            yield here, value
