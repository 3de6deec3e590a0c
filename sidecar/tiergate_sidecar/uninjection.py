"""A pod in, the patch that takes out what an injection put in: that, and nothing else.

The status annotation says what it was; what has been edited since then stays. `injection` is the
way in.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tiergate_sidecar import labels
from tiergate_sidecar.app_env import entry
from tiergate_sidecar.injection_result import Injection
from tiergate_sidecar.injection_status import Status, read_status
from tiergate_sidecar.pod_patch import Path, PodPatch
from tiergate_sidecar.pod_reading import (
    Container,
    InvalidPodError,
    Spec,
    metadata_of,
    shown,
    spec_of,
)

_ANNOTATIONS: Final[Path] = ("metadata", "annotations")
_VOLUMES: Final[Path] = ("spec", "volumes")


def uninject(pod: Mapping[str, Any]) -> Injection:
    """The patch that makes a pod, or a pod's template, as it was; never raises.

    Its reason is `uninjected` or `not_injected`.
    """
    try:
        if not isinstance(pod, Mapping):
            raise InvalidPodError("it is not an object")
        status = read_status(metadata_of(pod, "annotations").get(labels.STATUS))
        spec = spec_of(pod)
    except InvalidPodError as error:
        return _not_injected(f"not a pod that could have been injected: {error}")
    if status is None:
        return _not_injected(f"the pod has no {labels.STATUS} of an injection")
    patch = PodPatch(pod)
    warnings: list[str] = []
    for container in spec.containers:
        warnings += _take_env(patch, container, status)
    for container in reversed(spec.containers):
        if container.name == labels.CONTAINER:
            patch.remove(container.path)
    _restore(patch, ("spec", "initContainers"), status)
    warnings += _take_volume(patch, spec)
    _restore(patch, _VOLUMES, status)
    _take_annotations(patch, status)
    return Injection(
        "uninjected",
        "what the injection had put in is out",
        tuple(patch.operations),
        tuple(warnings),
        audit={"reason": "uninjected"},
    )


def _take_env(patch: PodPatch, container: Container, status: Status) -> Iterator[str]:
    names = status.env.get(container.name, ())
    path: Path = (*container.path, "env")
    for index, each in reversed(list(enumerate(container.env))):
        name = each.get("name") if isinstance(each, Mapping) else None
        if not isinstance(name, str) or name not in names:
            continue
        if each == entry(name, status.port):
            patch.remove((*path, index))
        else:
            yield f"container {shown(container.name)}: {name} was changed since then, and stays"
    _restore(patch, path, status, f"env:{container.name}")


def _take_volume(patch: PodPatch, spec: Spec) -> Iterator[str]:
    for container in spec.containers:
        mounts = container.fields.get("volumeMounts")
        if container.name != labels.CONTAINER and any(
            isinstance(each, Mapping) and each.get("name") == labels.CONFIG_VOLUME
            for each in (mounts if isinstance(mounts, list) else [])
        ):
            yield (
                f"container {shown(container.name)} uses the volume {labels.CONFIG_VOLUME}:"
                " it stays"
            )
            return
    for index, each in reversed(list(enumerate(spec.volumes))):
        if isinstance(each, Mapping) and each.get("name") == labels.CONFIG_VOLUME:
            patch.remove((*_VOLUMES, index))


def _take_annotations(patch: PodPatch, status: Status) -> None:
    for name in (labels.DEFAULT_CONTAINER, labels.DEFAULT_LOGS):
        value = status.annotations.get(name)
        if value is not None and patch.at((*_ANNOTATIONS, name)) == value:
            patch.remove((*_ANNOTATIONS, name))
    patch.remove((*_ANNOTATIONS, labels.STATUS))
    _restore(patch, _ANNOTATIONS, status)
    _restore(patch, _ANNOTATIONS[:1], status)


def _restore(patch: PodPatch, path: Path, status: Status, word: str = "") -> None:
    """What was made for the injection, and is empty now, becomes again what it was."""
    value = patch.at(path)
    if value is None or value:
        return
    word = word or str(path[-1])
    if word in status.created:
        patch.remove(path)
    elif word in status.nulls:
        patch.put(path, None)


def _not_injected(message: str) -> Injection:
    return Injection("not_injected", message, audit={"reason": "not_injected"})
