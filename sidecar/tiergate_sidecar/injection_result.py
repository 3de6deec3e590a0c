"""What an injection, or its undoing, comes to: a value for the webhook and the command line."""

from typing import Any

import msgspec


class Injection(msgspec.Struct, frozen=True):
    """What becomes of a pod, and why."""

    reason: str
    """`injected`, `uninjected`, or the id of why not; docs/kubernetes.md lists them."""
    message: str
    """One sentence for people."""
    patch: tuple[dict[str, Any], ...] = ()
    """RFC 6902 operations that apply to the very pod that was given; none: it stays as it is."""
    warnings: tuple[str, ...] = ()
    """Sentences for people. When a sidecar was asked for, makes no sense, and so nothing was
    refused, `message` is among them: somebody should hear of it."""
    refused: bool = False
    """True: somebody asked for a sidecar and cannot have it. False: it is there, or nobody asked,
    or it makes no sense in such a pod."""
    audit: dict[str, str] = {}
    """For an audit log: `reason`, and of an injected pod `mode`, `version` and `hash`."""
