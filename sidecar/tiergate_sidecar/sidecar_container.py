"""The sidecar's container and its volume, as they stand in a pod.

By values alone: nothing here knows the pod that they go into.
"""

from typing import Any, Final

from tiergate_sidecar import labels
from tiergate_sidecar.injector import Injector

STARTUP_SECONDS: Final = 60
"""Until it is ready; the app waits so long, then kubelet starts the sidecar again."""

DRAIN_SECONDS: Final = 10
"""In classic mode the sidecar hears of the end together with the app: so long it goes on as if
nothing were, for the app's last requests."""

CLASSIC_GRACE_SECONDS: Final = 15
"""What is left for requests that run: with the above less than a pod's usual 30 s."""

USUAL_GRACE_SECONDS: Final = 30
"""A pod's `terminationGracePeriodSeconds` where it says nothing."""


def container_of(settings: Injector) -> dict[str, Any]:
    """A complete container: it meets the restricted Pod Security Standard by itself."""
    native = settings.mode == "native"
    return {
        "name": labels.CONTAINER,
        "image": settings.image,
        "args": [
            "serve",
            "-c",
            labels.CONFIG_FILE,
            "--listen",
            f"127.0.0.1:{settings.port}",
            "--admin",
            f"127.0.0.1:{settings.admin_port}",
        ],
        **({"restartPolicy": "Always"} if native else {}),
        "env": [{"name": name, "value": value} for name, value in _variables(settings).items()],
        **({"envFrom": [{"secretRef": {"name": settings.secret}}]} if settings.secret else {}),
        "ports": [{"name": labels.PROBES_PORT_NAME, "containerPort": labels.PROBES_PORT}],
        "startupProbe": {
            "httpGet": {"path": "/health/ready", "port": labels.PROBES_PORT},
            "periodSeconds": 1,
            "failureThreshold": STARTUP_SECONDS,
        },
        # No readiness probe: an app must not leave its Service because a model's provider hiccups.
        "livenessProbe": {
            "httpGet": {"path": "/health/live", "port": labels.PROBES_PORT},
            "periodSeconds": 10,
            "failureThreshold": 3,
        },
        **({} if native else {"lifecycle": {"preStop": {"exec": {"command": _waiting()}}}}),
        "resources": _resources(settings),
        "securityContext": _security(settings),
        "volumeMounts": [
            # The folder, never one file of it (subPath): that would not follow the ConfigMap.
            {"name": labels.CONFIG_VOLUME, "mountPath": labels.CONFIG_FOLDER, "readOnly": True}
        ],
    }


def volume_of(settings: Injector) -> dict[str, Any]:
    """The ConfigMap as a volume of the pod."""
    return {"name": labels.CONFIG_VOLUME, "configMap": {"name": settings.config}}


def _variables(settings: Injector) -> dict[str, str]:
    variables = {
        "TIERGATE_SERVER__PROBES": f":{labels.PROBES_PORT}",
        "TIERGATE_REQUEST_LOG__URL": "stdout:",
        "TIERGATE_SERVER__STRICT": "false",
        "TIERGATE_LOGGING__FORMAT": "json",
    }
    if settings.mode == "classic":
        variables["TIERGATE_SERVER__GRACE_SECONDS"] = str(CLASSIC_GRACE_SECONDS)
    if settings.log_level:
        variables["TIERGATE_LOGGING__LEVEL"] = settings.log_level
    if settings.stream_failover:
        variables["TIERGATE_STREAMING__FAILOVER"] = settings.stream_failover
    return variables


def _waiting() -> list[str]:
    """The image has no shell, and clusters that need classic mode have no `sleep` action."""
    return ["/opt/tiergate/bin/python", "-c", f"import time; time.sleep({DRAIN_SECONDS})"]


def _resources(settings: Injector) -> dict[str, Any]:
    limits = {"cpu": settings.cpu_limit, "memory": settings.memory_limit}
    limits = {name: value for name, value in limits.items() if value}
    return {
        "requests": {"cpu": settings.cpu_request, "memory": settings.memory_request},
        **({"limits": limits} if limits else {}),
    }


def _security(settings: Injector) -> dict[str, Any]:
    user = settings.run_as_user
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        **({} if user is None else {"runAsUser": user, "runAsGroup": user}),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
