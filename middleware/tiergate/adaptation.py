"""What a request needs to have changed for one model: members renamed, dropped, set.

Values are spliced as they are: those of the client stay the bytes they were. Compiled once for each
candidate; what an entry may say of it is in `entry_rules`.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

OURS: Final = frozenset(
    {"model", "messages", "stream", "stream_options", "n", "tier", "conversation_id"}
)
"""Members that routing and relaying depend on; `stream_usage` of a provider is for the options."""


class Adaptation(Struct, frozen=True):
    """Changes in their order: renamed, then dropped, then set. `set` holds JSON by name."""

    rename: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    set: tuple[tuple[str, bytes], ...] = ()

    def apply(self, members: dict[str, Any]) -> None:
        """Change the members of one attempt. A new name that the client used itself stays its."""
        for old, new in self.rename:
            if old in members:
                value = members.pop(old)
                members.setdefault(new, value)
        for name in self.drop:
            members.pop(name, None)
        for name, value in self.set:
            members[name] = Raw(value)


def adaptation_of(
    rename: Mapping[str, str], drop: Sequence[str], values: Mapping[str, Any]
) -> Adaptation | None:
    """The compiled changes of an entry; None for one that needs none. Raises what `as_json` does.

    `values` are those to be set.
    """
    if not (rename or drop or values):
        return None
    return Adaptation(
        rename=tuple(rename.items()),
        drop=tuple(drop),
        set=tuple((name, as_json(value)) for name, value in values.items()),
    )


def as_json(value: Any) -> bytes:
    """A value of a configuration file as JSON; raises `ValueError` for what JSON does not have."""
    try:
        if _is_json(value):
            return msgspec.json.encode(value)
    except RecursionError:
        pass
    raise ValueError("no value of JSON")


def _is_json(value: Any) -> bool:
    """msgspec itself makes texts of dates and bytes, and of whole numbers over 64 bits."""
    match value:
        case None | bool() | str():
            return True
        case int():
            return -(2**63) <= value < 2**64
        case float():
            return isfinite(value)
        case list():
            return all(map(_is_json, value))
        case dict():
            return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    return False
