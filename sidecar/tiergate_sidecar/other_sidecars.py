"""Containers that other injectors put into a pod, by the names they give them.

They speak to no model: the app's variables are not for them, unless an annotation names them. Some
are the pod's way to the network: where we stand among them matters.
"""

from typing import Final

MESH: Final = frozenset(
    {
        "istio-init",
        "istio-validation",
        "istio-proxy",
        "linkerd-init",
        "linkerd-network-validator",
        "linkerd-proxy",
        "consul-connect-inject-init",
        "consul-dataplane",
        "kuma-init",
        "kuma-validation",
        "kuma-sidecar",
    }
)
"""They turn all of the pod's traffic to a proxy of theirs: without it there is no network, which
the sidecar may need to become ready (`tier_config.source = "http"`)."""

OTHERS: Final = MESH | {
    "daprd",  # Dapr
    "otc-container",  # the OpenTelemetry operator's collector
    "vault-agent",
    "azwi-proxy",  # Azure workload identity
}
