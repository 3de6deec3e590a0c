"""A pod in, the patch that puts a sidecar into it out: no API server, no clock, no file.

The webhook and the command line ask here, so that both give the same answer. The conditions, one
after the other; what the patch then holds is `injecting`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from msgspec.structs import replace

from tiergate_sidecar.app_breakage import breakage_of
from tiergate_sidecar.injecting import injected, kept
from tiergate_sidecar.injection_result import Injection
from tiergate_sidecar.injector import Injector, InvalidSettingError
from tiergate_sidecar.labels import CONFIG_CHECK, CONFIG_KEY, CONTAINER
from tiergate_sidecar.obstacles import Obstacle, clashes, place_obstacles
from tiergate_sidecar.overrides import InvalidAnnotationError, overrides_of
from tiergate_sidecar.pod_reading import (
    InvalidPodError,
    is_owned_by_job,
    metadata_of,
    shown,
    spec_of,
)
from tiergate_sidecar.selection import wish_of
from tiergate_sidecar.uninjection import uninject

__all__ = ["Injection", "Injector", "InvalidSettingError", "ReadConfig", "inject", "uninject"]

ReadConfig = Callable[[str], str | None]
"""The TOML text, under `tiergate.toml`, of the ConfigMap of this name in the pod's namespace; None:
there is none. Raises `LookupError` when that cannot be known."""

JOBS: Final = frozenset({"Job", "CronJob"})

KINDS: Final = JOBS | {
    *("Pod", "PodTemplate", "Deployment", "ReplicaSet", "ReplicationController"),
    *("StatefulSet", "DaemonSet"),
}
"""Of objects that hold a pod's template."""

_MIRROR: Final = "kubernetes.io/config.mirror"
"""The annotation of what only shows a pod that a kubelet runs from a file. Where it differs from
that, the kubelet deletes it and makes it anew, without end."""


def inject(
    pod: Mapping[str, Any],
    *,
    namespace_labels: Mapping[str, str],
    settings: Injector,
    read_config: ReadConfig | None = None,
    kind: str = "Pod",
) -> Injection:
    """The patch for a pod, or a pod's template; never raises, whatever the pod is.

    `kind` is of the object that holds the template. Without `read_config` nobody looks into the
    configuration.
    """
    try:
        result = _inject(pod, namespace_labels, settings, read_config, kind)
    except InvalidPodError as error:
        message = f"not a pod that could be injected: {error}"
        result = Injection("invalid_pod", message, warnings=(message,))
    return replace(result, audit={"reason": result.reason} | result.audit)


def _inject(
    pod: Mapping[str, Any],
    namespace_labels: Mapping[str, str],
    settings: Injector,
    read_config: ReadConfig | None,
    kind: str,
) -> Injection:
    if not isinstance(pod, Mapping):
        raise InvalidPodError("it is not an object")
    for each in (kind, pod.get("kind") or kind):
        if not isinstance(each, str) or each not in KINDS:
            return Injection("unsupported_kind", f"{shown(each)} holds no pod's template")
    annotations = metadata_of(pod, "annotations")
    wish = wish_of(metadata_of(pod, "labels"), annotations, namespace_labels)
    if wish.reason == "invalid_label":
        return Injection(wish.reason, wish.message, warnings=(wish.message,))
    if wish.reason != "asked":
        return Injection(wish.reason, wish.message)
    if _MIRROR in annotations:
        message = "the pod only shows one that a kubelet runs from a file: inject that file"
        return Injection("mirror_pod", message, warnings=(message,))
    spec = spec_of(pod)
    if any(each.name == CONTAINER for each in spec.containers):
        return kept(pod, spec, annotations, settings)
    for obstacle in place_obstacles(spec):
        return _held(obstacle, refused=wish.by_pod)
    try:
        asked = overrides_of(annotations, settings)
    except InvalidAnnotationError as error:
        return Injection("invalid_annotation", str(error), refused=True)
    job = kind in JOBS or is_owned_by_job(pod)
    for obstacle in clashes(spec, asked, job=job):
        # A namespace's Jobs in classic mode are nobody's mistake; a clash is.
        mistake = obstacle.reason != "job_needs_native"
        return _held(obstacle, refused=mistake or wish.by_pod)
    warnings: list[str] = []
    if read_config is not None and asked.check_config:
        for obstacle in _of_config(asked.settings.config, read_config, warnings):
            return _held(obstacle, refused=True)
    return injected(pod, spec, annotations, asked, warnings)


def _held(obstacle: Obstacle, *, refused: bool) -> Injection:
    """Whatever is refused is told anyway; the rest would go unheard."""
    warnings = () if refused else (obstacle.message,)
    return Injection(obstacle.reason, obstacle.message, warnings=warnings, refused=refused)


def _of_config(name: str, read_config: ReadConfig, warnings: list[str]) -> Iterator[Obstacle]:
    try:
        text = read_config(name)
        breakage = "" if text is None else breakage_of(text)
    except LookupError as error:
        warnings.append(f"ConfigMap {shown(name)} was not checked: {shown(str(error))}")
        return
    if text is None:
        yield Obstacle(
            "config_missing", f"the namespace has no ConfigMap {shown(name)} with {CONFIG_KEY}"
        )
    elif breakage:
        yield Obstacle(
            "config_breaks_app",
            f"ConfigMap {shown(name)}: {breakage}; where that is meant, say {CONFIG_CHECK}: off",
        )
