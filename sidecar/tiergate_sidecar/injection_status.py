"""The annotation that an injection leaves: enough to tell that it was, by whom, and to undo it.

Nothing here reads a pod; `injection` writes it and `uninjection` follows it.
"""

from hashlib import sha256
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from tiergate_sidecar.injector import Mode

LONGEST: Final = 64
"""Characters of what goes on into an audit log: whoever writes a pod may write this, too."""


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was put into a pod beside the sidecar's container and volume."""

    version: Annotated[str, Meta(max_length=LONGEST)]
    """Of who injected."""
    hash: Annotated[str, Meta(max_length=LONGEST)]
    """Of the sidecar's container and volume, as injected: pods that differ in it have drifted."""
    mode: Mode
    port: Annotated[int, Meta(ge=1, le=65535)]
    env: dict[str, tuple[str, ...]]
    """Each container that was looked at, with the variables it got; perhaps none."""
    annotations: dict[str, str] = {}
    created: tuple[str, ...] = ()
    """Objects and arrays that were not there: `metadata`, `annotations`, `initContainers`,
    `volumes`, `env:<container>`."""
    nulls: tuple[str, ...] = ()
    """The same, where a null stood."""


def read_status(annotation: Any) -> Status | None:
    """None for what no injection has written."""
    if not isinstance(annotation, str):
        return None
    try:
        return msgspec.json.decode(annotation, type=Status)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def written(status: Status) -> str:
    """As compact JSON."""
    return msgspec.json.encode(status).decode()


def hash_of(*parts: dict[str, Any]) -> str:
    """12 hexadecimal digits, the same whatever order the keys stand in."""
    return sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:12]
