"""The words by which a pod, its namespace and the injector understand each other.

Names only, each explained in docs/kubernetes.md. Who reads and writes them is `injection` and its
neighbours.
"""

from typing import Final

DOMAIN: Final = "tiergate.io"

INJECT: Final = "tiergate.io/inject"
"""A label of a namespace or a pod, or an annotation of a pod: `enabled` or `disabled`."""
ENABLED: Final = frozenset({"enabled", "true"})
DISABLED: Final = frozenset({"disabled", "false"})

STATUS: Final = "tiergate.io/status"
"""The annotation that an injection leaves: JSON of version, hash, and what was added."""

DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
DEFAULT_LOGS: Final = "kubectl.kubernetes.io/default-logs-container"
"""kubectl's own: which container `exec` and `logs` mean when they name none."""

CONFIG: Final = "tiergate.io/config"
CONFIG_CHECK: Final = "tiergate.io/config-check"
SECRET: Final = "tiergate.io/secret"
IMAGE: Final = "tiergate.io/image"
MODE: Final = "tiergate.io/mode"
PORT: Final = "tiergate.io/port"
ADMIN: Final = "tiergate.io/admin-port"
CONTAINERS: Final = "tiergate.io/containers"
LOG_LEVEL: Final = "tiergate.io/log-level"
STREAMING: Final = "tiergate.io/stream-failover"
CPU_REQUEST: Final = "tiergate.io/cpu-request"
CPU_LIMIT: Final = "tiergate.io/cpu-limit"
MEMORY_REQUEST: Final = "tiergate.io/memory-request"
MEMORY_LIMIT: Final = "tiergate.io/memory-limit"
RUN_AS_USER: Final = "tiergate.io/run-as-user"

CONTAINER: Final = "tiergate"
CONFIG_VOLUME: Final = "tiergate-config"
CONFIG_FOLDER: Final = "/etc/tiergate"
CONFIG_FILE: Final = "/etc/tiergate/tiergate.toml"
CONFIG_KEY: Final = "tiergate.toml"

CLIENT_PORT: Final = 4190
"""On loopback: only the pod's own containers reach it."""
ADMIN_PORT: Final = 4191
"""On loopback: `kubectl port-forward` arrives there."""
PROBES_PORT: Final = 4192
"""On the pod's address: kubelet's probes, and /metrics."""
PROBES_PORT_NAME: Final = "tiergate-probes"  # 15 characters, the longest that a port may have

USER: Final = 65532
"""The image's user, by number: kubelet cannot tell from a name that it is not root."""
