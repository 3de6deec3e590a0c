"""A pod's annotations that replace an injector's defaults, each checked under its own name.

What a good value is, `injector` knows; what is done with it, `sidecar_container`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from tiergate_sidecar import labels
from tiergate_sidecar.injector import Injector, InvalidSettingError, check, user_of
from tiergate_sidecar.pod_grammar import is_container_name
from tiergate_sidecar.pod_reading import shown

LONGEST: Final = 16 << 10
"""Characters of an annotation: names of a few hundred containers. The API server measures all of a
pod's annotations (256 KiB) only after the injection."""

LONGEST_PORT: Final = 5
"""Digits."""


class InvalidAnnotationError(ValueError):
    """Annotations that cannot be followed; each of `problems` begins with the annotation's name."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class Overrides(Struct, frozen=True):
    """What a pod asked for."""

    settings: Injector
    containers: tuple[str, ...] | None = None
    """Who gets the app's variables; None: each container of the app."""
    check_config: bool = True
    warnings: tuple[str, ...] = ()


def overrides_of(annotations: Mapping[str, Any], defaults: Injector) -> Overrides:
    """The defaults with a pod's annotations over them; raises `InvalidAnnotationError`."""
    problems: list[str] = []
    values: dict[str, Any] = {}
    for name, parse in _PARSERS.items():
        if name in annotations:
            try:
                values[name] = parse(_text(annotations[name]))
            except ValueError as error:
                problems.append(f"{name} {error}")
    if problems:
        raise InvalidAnnotationError(problems)
    try:
        settings = replace(defaults, **{_FIELDS[n]: v for n, v in values.items() if n in _FIELDS})
    except InvalidSettingError as error:
        raise InvalidAnnotationError([f"{_ANNOTATIONS[error.setting]} {error.reason}"]) from None
    return Overrides(
        settings,
        containers=values.get(labels.CONTAINERS),
        check_config=values.get(labels.CONFIG_CHECK, True),
        warnings=tuple(_unknown(annotations)),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a text: write it in quotes")
    if len(value) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    return value


def _field(setting: str, convert: Callable[[str], Any] = str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = convert(text)
            check(setting, value)
        except InvalidSettingError as error:
            raise ValueError(f"({shown(text)}) {error.reason}") from None
        return value

    return parse


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_PORT):
        raise ValueError(f"({shown(text)}) is not a port's number")
    return int(text)


def _containers(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if not is_container_name(name):
            raise ValueError(f"({shown(text)}) is not a list of containers' names with commas")
    return names


def _check_config(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError(f"({shown(text)}) is neither on nor off")
    return text == "on"


_FIELDS: Final = {
    labels.IMAGE: "image",
    labels.MODE: "mode",
    labels.CONFIG: "config",
    labels.SECRET: "secret",
    labels.PORT: "port",
    labels.ADMIN: "admin_port",
    labels.RUN_AS_USER: "run_as_user",
    labels.LOG_LEVEL: "log_level",
    labels.STREAMING: "stream_failover",
    labels.CPU_REQUEST: "cpu_request",
    labels.CPU_LIMIT: "cpu_limit",
    labels.MEMORY_REQUEST: "memory_request",
    labels.MEMORY_LIMIT: "memory_limit",
}

_ANNOTATIONS: Final = {field: annotation for annotation, field in _FIELDS.items()}

_CONVERT: Final[dict[str, Callable[[str], Any]]] = {
    labels.PORT: _port,
    labels.ADMIN: _port,
    labels.RUN_AS_USER: user_of,
}

_PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    **{name: _field(field, _CONVERT.get(name, str)) for name, field in _FIELDS.items()},
    labels.CONTAINERS: _containers,
    labels.CONFIG_CHECK: _check_config,
}

KNOWN: Final = frozenset(_PARSERS) | {labels.INJECT, labels.STATUS}
"""Every annotation of ours."""


def _unknown(annotations: Mapping[str, Any]) -> Iterator[str]:
    for name in annotations:
        if str(name).startswith(f"{labels.DOMAIN}/") and name not in KNOWN:
            yield f"annotation {shown(name)} is none of tiergate's"
