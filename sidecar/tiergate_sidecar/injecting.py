"""The patch of an injection that nothing speaks against, and the little that a pod still gets which
has its sidecar already.

A sidecar stays as it was injected: other annotations or settings only warn, and `uninject` comes
first. But a container that came later, by another webhook, gets the app's variables.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from tiergate import __version__
from tiergate_sidecar import labels
from tiergate_sidecar.app_env import added_env, entry
from tiergate_sidecar.injection_result import Injection
from tiergate_sidecar.injection_status import Status, hash_of, read_status, written
from tiergate_sidecar.injector import Injector
from tiergate_sidecar.other_sidecars import MESH, OTHERS
from tiergate_sidecar.overrides import InvalidAnnotationError, Overrides, overrides_of
from tiergate_sidecar.pod_patch import PodPatch
from tiergate_sidecar.pod_reading import Container, Spec, shown
from tiergate_sidecar.sidecar_container import USUAL_GRACE_SECONDS, container_of, volume_of

_ANNOTATIONS: Final = ("metadata", "annotations")


def injected(
    pod: Mapping[str, Any],
    spec: Spec,
    annotations: Mapping[str, Any],
    asked: Overrides,
    warnings: list[str],
) -> Injection:
    """The sidecar's container, its volume, the app's variables, and what says so."""
    settings = asked.settings
    native = settings.mode == "native"
    patch = PodPatch(pod)
    warnings = [*warnings, *asked.warnings, *_missing(spec, asked)]
    env = _with_env(patch, _chosen(spec, asked), settings.port, warnings)
    container, volume = container_of(settings), volume_of(settings)
    if native:
        patch.insert(("spec", "initContainers"), [container], _first_place(spec.init))
    else:
        patch.insert(("spec", "containers"), [container])
        warnings += _short_grace(spec)
    patch.insert(("spec", "volumes"), [volume])
    added = _for_kubectl(spec, annotations)
    for name, value in added.items():
        patch.put((*_ANNOTATIONS, name), value)
    # The status comes last, so that what it needs itself has been made and is noted.
    created, nulls = _places(patch, spec)
    status = Status(
        version=__version__,
        hash=hash_of(container, volume),
        mode=settings.mode,
        port=settings.port,
        env=env,
        annotations=added,
        created=created,
        nulls=nulls,
    )
    patch.put((*_ANNOTATIONS, labels.STATUS), written(status))
    where = "as an init container that keeps running" if native else "beside the app's containers"
    return _done(f"the sidecar is in the pod, {where}", patch, status, warnings)


def kept(
    pod: Mapping[str, Any], spec: Spec, annotations: Mapping[str, Any], settings: Injector
) -> Injection:
    """What becomes of a pod that has a container of the sidecar's name."""
    status = read_status(annotations.get(labels.STATUS))
    if status is None:
        return _by_hand(spec, settings)
    try:
        asked = overrides_of(annotations, settings)
    except InvalidAnnotationError as error:
        return _already(status, list(error.problems))
    warnings = [*asked.warnings, *_drift(status, asked.settings)]
    patch = PodPatch(pod)
    later = [each for each in _chosen(spec, asked) if each.name not in status.env]
    env = _with_env(patch, later, status.port, warnings)
    if not patch.operations:
        return _already(status, warnings)
    created, nulls = _places(patch, spec)
    status = replace(
        status,
        env=status.env | env,
        created=status.created + created,
        nulls=status.nulls + nulls,
    )
    patch.put((*_ANNOTATIONS, labels.STATUS), written(status))
    names = ", ".join(shown(name) for name in env)
    return _done(f"the sidecar was there; new containers: {names}", patch, status, warnings)


def _chosen(spec: Spec, asked: Overrides) -> list[Container]:
    """Who gets the app's variables."""
    if asked.containers is None:
        return [each for each in spec.main if each.name not in OTHERS | {labels.CONTAINER}]
    names = frozenset(asked.containers) - {labels.CONTAINER}
    return [each for each in spec.containers if each.name in names]


def _missing(spec: Spec, asked: Overrides) -> list[str]:
    """No error: another webhook may bring the container, and then we are asked again."""
    names = {each.name for each in spec.containers}
    return [
        f"{labels.CONTAINERS} names {shown(name)}, which the pod does not have"
        for name in asked.containers or ()
        if name not in names
    ]


def _with_env(
    patch: PodPatch, containers: list[Container], port: int, warnings: list[str]
) -> dict[str, tuple[str, ...]]:
    env = {}
    for container in containers:
        added = added_env(container, port)
        warnings += added.warnings
        env[container.name] = added.names
        if added.names:
            entries = [entry(name, port) for name in added.names]
            patch.insert((*container.path, "env"), entries, added.index)
    return env


def _first_place(init: tuple[Container, ...]) -> int:
    """Before all, so that init containers find a sidecar too; only a mesh's proxy that runs already
    comes earlier. One that will run with the app does not: what turns the traffic to it would leave
    us without a network until then, and the app waits for us."""
    place = 0
    for index, container in enumerate(init):
        if container.name not in MESH:
            break
        if container.keeps_running:
            place = index + 1
    return place


def _short_grace(spec: Spec) -> list[str]:
    seconds = spec.fields.get("terminationGracePeriodSeconds")
    if not isinstance(seconds, int) or seconds >= USUAL_GRACE_SECONDS:
        return []
    return [
        f"terminationGracePeriodSeconds is {seconds}: a classic sidecar needs"
        f" {USUAL_GRACE_SECONDS}, or requests are cut when the pod ends"
    ]


def _for_kubectl(spec: Spec, annotations: Mapping[str, Any]) -> dict[str, str]:
    """`kubectl exec` and `kubectl logs` go on meaning the app: which, the one may say of both."""
    names = (labels.DEFAULT_CONTAINER, labels.DEFAULT_LOGS)
    said = [annotations.get(name) for name in names]
    apps = [each.name for each in spec.main if each.name not in OTHERS]
    app = next((name for name in apps if name in said), apps[0])
    return {name: app for name in names if name not in annotations}


def _places(patch: PodPatch, spec: Spec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the patch made, in the words of `Status`: where nothing was, and where a null was."""
    names = {each.path: each.name for each in spec.containers}
    found: tuple[list[str], list[str]] = ([], [])
    for path, was_null in patch.created.items():
        word = f"env:{names[path[:-1]]}" if path[-1] == "env" else str(path[-1])
        found[was_null].append(word)
    return tuple(found[False]), tuple(found[True])


def _drift(status: Status, settings: Injector) -> list[str]:
    if hash_of(container_of(settings), volume_of(settings)) == status.hash:
        return []
    return [
        f"the sidecar was injected by version {shown(status.version)} or with other settings, and"
        " stays as it is: take it out (uninject) and inject again"
    ]


def _by_hand(spec: Spec, settings: Injector) -> Injection:
    """A container of our name without our status: written by hand, or somebody else's."""
    container = next(each for each in spec.containers if each.name == labels.CONTAINER)
    image = container.fields.get("image")
    if isinstance(image, str) and _repository(image) in ("tiergate", _repository(settings.image)):
        return Injection("already_injected", "the pod has a sidecar that no injection put there")
    message = f"the pod has a container {labels.CONTAINER} of another image"
    return Injection("name_clash", message, refused=True)


def _repository(image: str) -> str:
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _already(status: Status, warnings: list[str]) -> Injection:
    message = "the pod has its sidecar"
    return Injection("already_injected", message, warnings=tuple(warnings), audit=_audit(status))


def _done(message: str, patch: PodPatch, status: Status, warnings: list[str]) -> Injection:
    operations = tuple(patch.operations)
    return Injection("injected", message, operations, tuple(warnings), audit=_audit(status))


def _audit(status: Status) -> dict[str, str]:
    return {"mode": status.mode, "version": status.version, "hash": status.hash}
