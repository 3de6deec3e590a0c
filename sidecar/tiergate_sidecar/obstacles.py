"""What keeps a sidecar out of a pod, whoever asked: the node, the network, names and ports.

Which reasons are somebody's mistake and which just make no sense,
`injection` decides.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from tiergate_sidecar.injector import Injector
from tiergate_sidecar.labels import (
    ADMIN,
    CONFIG_VOLUME,
    CONTAINERS,
    PORT,
    PROBES_PORT,
    PROBES_PORT_NAME,
)
from tiergate_sidecar.other_sidecars import OTHERS
from tiergate_sidecar.overrides import Overrides
from tiergate_sidecar.pod_reading import Container, Spec, shown

_LISTENS: Final = re.compile(r"LINKERD2_PROXY_[A-Z]+_LISTEN_ADDRS?")
_PORT_OF_ADDRESS: Final = re.compile(r":([0-9]{1,5})(?![0-9:\]])", re.ASCII)

MOST_TOLD: Final = 3
"""Clashes in one message: who mends these finds the rest."""

OS_LABELS: Final = ("kubernetes.io/os", "beta.kubernetes.io/os")


class Obstacle(Struct, frozen=True):
    """A reason by its id, and a sentence about it."""

    reason: str
    message: str


def place_obstacles(spec: Spec) -> Iterator[Obstacle]:
    """Of the pod as such, whatever the settings."""
    if all(container.name in OTHERS for container in spec.main):
        yield Obstacle("no_containers", "the pod has no container of an app")
    if spec.fields.get("hostNetwork") is True:
        yield Obstacle(
            "host_network",
            "the pod is on its node's network, where every pod's ports meet",
        )
    if _is_windows(spec.fields):
        yield Obstacle("windows", "the pod is for Windows nodes, the sidecar's image for Linux")


def clashes(spec: Spec, asked: Overrides, *, job: bool) -> Iterator[Obstacle]:
    """Of the pod with these settings."""
    if asked.settings.mode == "classic":
        if job:
            yield Obstacle(
                "job_needs_native", "a classic sidecar would keep the Job's pod from ever ending"
            )
        for container in spec.init:
            if container.name in (asked.containers or ()) and not container.keeps_running:
                yield Obstacle(
                    "invalid_annotation",
                    f"{CONTAINERS} names {shown(container.name)},"
                    " an init container: it ends before a classic sidecar begins",
                )
    if any(isinstance(v, Mapping) and v.get("name") == CONFIG_VOLUME for v in spec.volumes):
        yield Obstacle("name_clash", f"the pod has a volume {CONFIG_VOLUME} of its own")
    taken = [
        f"container {shown(container.name)} has {what}"
        for container in spec.containers
        for what in _taken(container, asked.settings)
    ]
    if taken:
        yield Obstacle("port_clash", "; ".join(taken[:MOST_TOLD]))


def _taken(container: Container, settings: Injector) -> Iterator[str]:
    ours = {
        settings.port: f" ({PORT} moves the sidecar's)",
        settings.admin_port: f" ({ADMIN} moves the sidecar's)",
        PROBES_PORT: " (kubelet asks the sidecar there, which cannot move: the app's must)",
    }
    numbers = list(_listening(container))
    for port in _listed(container.fields.get("ports")):
        if _inside(port, "name") == PROBES_PORT_NAME:
            yield f"a port named {PROBES_PORT_NAME} (the sidecar's: rename it)"
        if (_inside(port, "protocol") or "TCP") == "TCP":
            numbers.append(_inside(port, "containerPort"))
    for number, advice in ours.items():
        if number in numbers:
            yield f"port {number}{advice}"


def _listening(container: Container) -> Iterator[int]:
    """Linkerd's proxy listens on 4190 and 4191 unless told otherwise, and declares only one."""
    for each in container.env:
        name, value = _inside(each, "name"), _inside(each, "value")
        if isinstance(name, str) and isinstance(value, str) and _LISTENS.fullmatch(name):
            yield from (int(number) for number in _PORT_OF_ADDRESS.findall(value))


def _is_windows(spec: Mapping[str, Any]) -> bool:
    if _inside(spec, "os", "name") == "windows":
        return True
    if any(_inside(spec, "nodeSelector", label) == "windows" for label in OS_LABELS):
        return True
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    terms = _listed(_inside(spec, "affinity", "nodeAffinity", required, "nodeSelectorTerms"))
    # One term that holds is enough for the scheduler, so each must ask for Windows.
    return bool(terms) and all(
        any(_asks_for_windows(each) for each in _listed(_inside(term, "matchExpressions")))
        for term in terms
    )


def _asks_for_windows(expression: Any) -> bool:
    return (
        _inside(expression, "key") in OS_LABELS
        and _inside(expression, "operator") == "In"
        and _inside(expression, "values") == ["windows"]
    )


def _inside(node: Any, *keys: str) -> Any:
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _listed(node: Any) -> list[Any]:
    return node if isinstance(node, list) else []
