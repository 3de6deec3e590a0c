"""The keys and certificates that a configuration names: read from files and variables, checked.

They are values of their own beside the configuration, for they change without it: a rotated key
file is read again, nothing else is.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from tiergate.config import Config, Provider
from tiergate.errors import ConfigError
from tiergate.loading import environment, read_text


class Credentials(Struct, frozen=True):
    """By provider: its API key, and the certificates (PEM) it is trusted by; None where none is
    named. `service_key` opens the service of the tiers. `files` are what to watch.
    """

    keys: dict[str, str | None]
    authorities: dict[str, str | None]
    service_key: str | None
    files: frozenset[Path]

    def __repr__(self) -> str:
        return f"<Credentials of {', '.join(self.keys)}>"  # never a key


def read_credentials(config: Config, environ: Mapping[str, str] | None) -> Credentials:
    """Everything that a configuration names; raises `ConfigError` with every problem."""
    environ = environment(environ)
    problems: list[str] = []
    keys: dict[str, str | None] = {}
    authorities: dict[str, str | None] = {}
    service_key: str | None = None
    for name, provider in config.providers.items():
        try:
            keys[name] = _api_key(f"providers.{name}", provider, environ)
            authorities[name] = _authority(f"providers.{name}.ca_file", provider.ca_file)
        except ConfigError as error:
            problems.append(str(error))
    variable = config.tier_config.api_key_env
    if config.tier_config.source == "http" and variable:
        try:
            service_key = _value_of(variable, "tier_config.api_key_env", environ)
            if not _sound(service_key):
                problem = f"tier_config.api_key_env: no usable key in the variable {variable}"
                raise ConfigError(problem)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("; ".join(problems))
    files = {
        Path(name)
        for provider in config.providers.values()
        for name in (provider.api_key_file, provider.ca_file)
        if name
    }
    return Credentials(keys, authorities, service_key, frozenset(files))


def read_secret(variable: str, where: str, *, environ: Mapping[str, str] | None = None) -> str:
    """What an environment variable holds that the setting `where` names; raises `ConfigError`."""
    secret = _value_of(variable, where, environment(environ))
    if not _sound(secret):
        raise ConfigError(f"{where}: no usable value in the environment variable {variable}")
    return secret


def _api_key(where: str, provider: Provider, environ: Mapping[str, str]) -> str | None:
    if provider.credentials == "client":
        return None
    if provider.api_key_file:
        key = read_text(Path(provider.api_key_file), f"{where}.api_key_file").strip()
    elif provider.api_key_env:
        key = _value_of(provider.api_key_env, f"{where}.api_key_env", environ)
    else:
        return None
    if not _sound(key):
        place = provider.api_key_file or f"the environment variable {provider.api_key_env}"
        raise ConfigError(
            f"{where}: no usable key in {place}; set it, or name another place with"
            " api_key_env or api_key_file"
        )
    return key


def _value_of(variable: str, where: str, environ: Mapping[str, str]) -> str:
    if not (variable.isascii() and variable.isidentifier()):  # a key, perhaps: never repeated
        raise ConfigError(f"{where}: not the name of a variable; the key itself goes into one")
    return environ.get(variable, "").strip()


def _sound(key: str) -> bool:
    return bool(key) and key.isascii() and key.isprintable()


def _authority(where: str, name: str) -> str | None:
    if not name:
        return None
    # A bundle's comments may be in any language; Python's ssl takes text in ASCII only.
    text = read_text(Path(name), where).encode("ascii", "replace").decode()
    try:
        ssl.create_default_context(cadata=text or " ")  # "" would be the system's certificates
    except ssl.SSLError:
        raise ConfigError(f"{where}: {name} holds no certificate in PEM form") from None
    return text
