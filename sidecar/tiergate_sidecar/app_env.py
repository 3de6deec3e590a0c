"""The variables by which an app's OpenAI client finds the sidecar, for one container of the app.

What the app sets itself stays. Which containers get them is `injection`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from tiergate_sidecar.pod_reading import Container, shown

BASE_URLS: Final = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
"""Today's name and the older one: two spellings of one setting."""

KEY: Final = "OPENAI_API_KEY"
"""An official client refuses to start without one."""

NO_KEY: Final = "unused"

# `$$` is an escaped dollar, so that `$$(NAME)` refers to nothing. What is never closed is taken as
# a whole: else a megabyte of `$(` is looked through from each of them, for hours.
_REFERENCE: Final = re.compile(r"\$\$|\$\(([^)]*)\)|\$\([^)]*\Z")


class AddedEnv(Struct, frozen=True):
    """What one container gets: `names` before the entry at `index`; None: after all."""

    names: tuple[str, ...] = ()
    index: int | None = None
    warnings: tuple[str, ...] = ()


def entry(name: str, port: int) -> dict[str, str]:
    """One of our variables, for a sidecar that listens on `port`."""
    return {"name": name, "value": NO_KEY if name == KEY else f"http://127.0.0.1:{port}/v1"}


def added_env(container: Container, port: int) -> AddedEnv:
    """What to add to a container's `env`.

    An app that sets either base URL has decided where its requests go: then it gets none of the
    three, for half a decision could send a key to where it does not belong.
    """
    present = {
        each["name"]: each
        for each in container.env
        if isinstance(each, Mapping) and isinstance(each.get("name"), str)
    }
    for name in BASE_URLS:
        if name in present and present[name] != entry(name, port):
            return AddedEnv(
                warnings=(
                    f"container {shown(container.name)} sets {name} itself:"
                    " its requests do not come to the sidecar",
                )
            )
    names = [name for name in BASE_URLS if name not in present]
    warnings = tuple(
        f"container {shown(container.name)} has envFrom: where that sets {name}, the sidecar's wins"
        for name in names
        if _may_come(container.env_from, name)
    )
    if KEY not in present and not _may_come(container.env_from, KEY):
        names.append(KEY)
    return AddedEnv(tuple(names), _first_reference(container.env, names), warnings)


def _may_come(env_from: list[Any], name: str) -> bool:
    """Whether a ConfigMap or Secret, which nobody can look into here, may set it."""
    for each in env_from:
        prefix = each.get("prefix") if isinstance(each, Mapping) else None
        if not isinstance(prefix, str) or (name.startswith(prefix) and name != prefix):
            return True
    return False


def _first_reference(env: list[Any], names: list[str]) -> int | None:
    """The first entry that refers to one of them: kubelet knows only what stands before it."""
    for index, each in enumerate(env):
        value = each.get("value") if isinstance(each, Mapping) else None
        if isinstance(value, str) and any(n in names for n in _REFERENCE.findall(value)):
            return index
    return None
