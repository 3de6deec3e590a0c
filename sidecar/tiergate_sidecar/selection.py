"""Whether anybody asked for a sidecar: the truth table of label, annotation and namespace.

An explicit no of the pod wins over all else, then what nobody can read, then the pod's yes, then
the namespace. Whether the pod can have one is `obstacles`.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from tiergate_sidecar.labels import DISABLED, ENABLED, INJECT
from tiergate_sidecar.pod_reading import shown


class Wish(Struct, frozen=True):
    """What was asked; `by_pod` tells a pod's own wish from its namespace's."""

    reason: Literal["asked", "not_asked", "disabled", "invalid_label"]
    message: str
    by_pod: bool = False


def wish_of(
    labels: Mapping[str, Any], annotations: Mapping[str, Any], namespace: Mapping[str, Any]
) -> Wish:
    """Read the three places; `namespace` are its labels."""
    said = {
        f"the pod's {place} {INJECT}": values[INJECT]
        for place, values in (("label", labels), ("annotation", annotations))
        if INJECT in values
    }
    by_pod = bool(said)
    if not by_pod and INJECT in namespace:
        said = {f"the namespace's label {INJECT}": namespace[INJECT]}
    for where, value in said.items():
        if isinstance(value, str) and value in DISABLED:
            return Wish("disabled", f"{where} says {value}", by_pod)
    for where, value in said.items():
        if not isinstance(value, str):
            return Wish("invalid_label", f"{where} is not a text: write it in quotes", by_pod)
        if value not in ENABLED:
            return Wish(
                "invalid_label", f"{where} is {shown(value)}: say enabled or disabled", by_pod
            )
    for where, value in said.items():
        return Wish("asked", f"{where} says {value}", by_pod)
    return Wish("not_asked", f"neither the pod nor its namespace has {INJECT}")
