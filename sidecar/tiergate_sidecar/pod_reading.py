"""A pod as anybody may have written it, read into what an injection asks about.

What is missing or null is empty; what has another shape than Kubernetes' is an `InvalidPodError`,
and the API server would have refused that pod anyway. Nothing here decides about the injection.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from tiergate_sidecar.pod_grammar import is_container_name
from tiergate_sidecar.pod_patch import Path

SHOWN: Final = 60
"""Characters of somebody's text in a sentence of ours: the API server cuts a warning at 256."""


MOST_CONTAINERS: Final = 1000
"""In either list: a node runs 110 pods. Nothing that is asked of each container of a pod with ten
thousand may hold up the injection of all others."""


class InvalidPodError(ValueError):
    """Not the shape of a pod; the message says where."""


class Container(Struct, frozen=True):
    """One container, and where it stands."""

    name: str
    where: str
    """`containers` or `initContainers`."""
    index: int
    fields: Mapping[str, Any]
    env: list[Any]
    """As written, entries of any shape."""
    env_from: list[Any]

    @property
    def path(self) -> Path:
        return ("spec", self.where, self.index)

    @property
    def keeps_running(self) -> bool:
        """Whether it runs beside the app's containers."""
        return self.where == "containers" or self.fields.get("restartPolicy") == "Always"


class Spec(Struct, frozen=True):
    """A pod's specification."""

    fields: Mapping[str, Any]
    init: tuple[Container, ...]
    main: tuple[Container, ...]
    volumes: list[Any]

    @property
    def containers(self) -> tuple[Container, ...]:
        return self.init + self.main


def metadata_of(pod: Mapping[str, Any], table: str) -> Mapping[str, Any]:
    """The labels or the annotations; raises `InvalidPodError`."""
    return _object(_object(pod, "metadata", "metadata"), table, f"metadata.{table}")


def spec_of(pod: Mapping[str, Any]) -> Spec:
    """Raises `InvalidPodError`."""
    fields = _object(pod, "spec", "spec")
    init, main = _containers(fields, "initContainers"), _containers(fields, "containers")
    names = set()
    for each in init + main:
        if each.name in names:
            raise InvalidPodError(f"two containers have the name {shown(each.name)}")
        names.add(each.name)
    return Spec(fields, init, main, _array(fields, "volumes", "spec.volumes"))


def is_owned_by_job(pod: Mapping[str, Any]) -> bool:
    """Whether a Job has made it."""
    owners = _object(pod, "metadata", "metadata").get("ownerReferences")
    return isinstance(owners, list) and any(
        isinstance(owner, Mapping) and owner.get("kind") == "Job" for owner in owners
    )


def shown(value: Any) -> str:
    """Somebody's value within a sentence."""
    text = value if isinstance(value, str) else type(value).__name__
    text = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    return repr(text)


def _containers(spec: Mapping[str, Any], where: str) -> tuple[Container, ...]:
    found: list[Container] = []
    given = _array(spec, where, f"spec.{where}")
    if len(given) > MOST_CONTAINERS:
        raise InvalidPodError(f"spec.{where} has more than {MOST_CONTAINERS} containers")
    for index, each in enumerate(given):
        path = f"spec.{where}[{index}]"
        if not isinstance(each, Mapping):
            raise InvalidPodError(f"{path} is not an object")
        name = each.get("name")
        if not isinstance(name, str) or not is_container_name(name):
            raise InvalidPodError(f"{path} has no name that a container can have")
        env = _array(each, "env", f"{path}.env")
        env_from = _array(each, "envFrom", f"{path}.envFrom")
        found.append(Container(name, where, index, each, env, env_from))
    return tuple(found)


def _object(parent: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidPodError(f"{path} is not an object")
    return value


def _array(parent: Mapping[str, Any], key: str, path: str) -> list[Any]:
    value = parent.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidPodError(f"{path} is not an array")
    return value
