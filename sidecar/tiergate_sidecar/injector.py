"""What an injector puts beside an app, as values that have been checked.

Whoever makes an `Injector` (the command line, the webhook, a pod's annotations) hears here, by the
name of the setting, what would otherwise show itself much later as a pod that does not start.
Which annotation stands for which setting is `overrides`.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from tiergate_sidecar.labels import ADMIN_PORT, CLIENT_PORT, PROBES_PORT, USER
from tiergate_sidecar.pod_grammar import amount_of, is_image, is_object_name

Mode = Literal["native", "classic"]

MODES: Final = ("native", "classic")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
FAILOVERS: Final = ("off", "first_token", "buffered")

LOWEST_PORT: Final = 1024
"""Below it a process may need a capability, and the sidecar has dropped all of them."""

HIGHEST_PORT: Final = 65535

LARGEST_USER: Final = 2**31 - 1

LONGEST_USER: Final = 10
"""Digits."""

LEAST_CPU: Final = Decimal("0.001")
"""Cores; the API server knows nothing finer."""

LEAST_MEMORY: Final = Decimal(2**20)
"""Bytes. Whoever asks for less has written `128m`, an eighth of a byte, for `128Mi`."""


class InvalidSettingError(ValueError):
    """A value that no sidecar can have; `setting` is the name of the `Injector`'s field."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(f"{setting} {reason}")
        self.setting = setting
        self.reason = reason


class Injector(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults of an injector; a pod's annotations replace some of them for that pod.

    Raises `InvalidSettingError` for a value that a pod cannot start with.
    """

    image: str
    """A reference, as in a pod: `name:tag` or `name@sha256:…`."""
    mode: Mode = "native"
    """`native`: an init container that keeps running, from Kubernetes 1.29 on; `classic`: one more
    container, for clusters before that."""
    config: str = "tiergate"
    """A ConfigMap of the pod's own namespace."""
    secret: str = ""
    """A Secret of the pod's own namespace, whose keys become the sidecar's variables; "": none."""
    port: int = CLIENT_PORT
    """For the app, on loopback."""
    admin_port: int = ADMIN_PORT
    """For operators, on loopback."""
    run_as_user: int | None = USER
    """Its group too; None leaves both to the cluster, as OpenShift wants it."""
    log_level: str = ""
    """"" leaves it to the configuration, as `stream_failover` does."""
    stream_failover: str = ""
    cpu_request: str = "50m"
    cpu_limit: str = ""
    """"" is none: a throttled gateway slows down each request of the app."""
    memory_request: str = "128Mi"
    memory_limit: str = "256Mi"

    def __post_init__(self) -> None:
        for setting in self.__struct_fields__:
            check(setting, getattr(self, setting))
        if self.admin_port == self.port:
            raise InvalidSettingError("port", f"is {self.port}, where the operators' pages are")
        for kind in ("cpu", "memory"):
            request, limit = getattr(self, f"{kind}_request"), getattr(self, f"{kind}_limit")
            if limit and amount_of(limit) < amount_of(request):
                raise InvalidSettingError(
                    f"{kind}_limit", f"is {limit}, less than the {kind} request of {request}"
                )


def check(setting: str, value: Any) -> None:
    """Raises `InvalidSettingError` when the `Injector`'s field of this name cannot be `value`."""
    try:
        _CHECKS[setting](value)
    except ValueError as error:
        raise InvalidSettingError(setting, str(error)) from None


def user_of(text: str) -> int | None:
    """`run_as_user` as people write it, "" for the cluster's; raises `InvalidSettingError`."""
    if text and not (text.isascii() and text.isdigit() and len(text) <= LONGEST_USER):
        raise InvalidSettingError("run_as_user", "is neither a user's number nor empty")
    return int(text) if text else None


def _image(value: str) -> None:
    if not is_image(value):
        raise ValueError("is not the reference of an image, as name:tag or name@sha256:… are")


def _name(value: str) -> None:
    if not is_object_name(value):
        raise ValueError("is not a name of Kubernetes: a-z, 0-9, '-' and '.'")


def _port(value: int) -> None:
    if not LOWEST_PORT <= value <= HIGHEST_PORT:
        raise ValueError(f"is not a port from {LOWEST_PORT} to {HIGHEST_PORT}")
    if value == PROBES_PORT:
        raise ValueError("is where kubelet asks how the sidecar is")


def _user(value: int | None) -> None:
    if value is not None and not 1 <= value <= LARGEST_USER:
        raise ValueError(f"is not a user from 1 to {LARGEST_USER}; root is none")


def _cpu(value: str) -> None:
    if amount_of(value) < LEAST_CPU:
        raise ValueError("is less than 1m")


def _memory(value: str) -> None:
    if amount_of(value) < LEAST_MEMORY:
        raise ValueError("is less than 1Mi")


def _one_of(*values: str) -> Callable[[str], None]:
    def among(value: str) -> None:
        if value not in values:
            raise ValueError(f"is none of {', '.join(values)}")

    return among


def _or_none(rule: Callable[[str], None]) -> Callable[[str], None]:
    """Of a setting that "" turns off."""

    def unless_empty(value: str) -> None:
        if value:
            rule(value)

    return unless_empty


_CHECKS: Final[dict[str, Callable[[Any], None]]] = {
    "image": _image,
    "mode": _one_of(*MODES),
    "config": _name,
    "secret": _or_none(_name),
    "port": _port,
    "admin_port": _port,
    "run_as_user": _user,
    "log_level": _or_none(_one_of(*LOG_LEVELS)),
    "stream_failover": _or_none(_one_of(*FAILOVERS)),
    "cpu_request": _cpu,
    "cpu_limit": _or_none(_cpu),
    "memory_request": _memory,
    "memory_limit": _or_none(_memory),
}
