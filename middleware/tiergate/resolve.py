"""Which tier a request gets, and why: CONTRACT section 3, in its order. Pure.

What is drawn from that tier is in `routing`.
"""

from typing import Final

from tiergate.config import Routing
from tiergate.errors import ModelNotFound, TiergateError, TierNotAllowed
from tiergate.exchange import Caller, Decision
from tiergate.request_headers import RequestHeaders
from tiergate.snapshot import Snapshot
from tiergate.tiers import RANK, Tier, is_tier
from tiergate.wire import ChatRequest

AUTO: Final = "auto"
_SHOWN: Final = 100  # characters of a client's model name that an error repeats


class NotOurs(TiergateError):
    """An unknown model under `unknown_model = "pass"`: the request belongs to the host app."""


def resolve(
    request: ChatRequest,
    headers: RequestHeaders,
    caller: Caller,
    snapshot: Snapshot,
    routing: Routing,
) -> Decision:
    """Decide; raises `ModelNotFound`, `TierNotAllowed` or `NotOurs`."""
    return granted(asked_for(request, headers, caller, snapshot, routing), caller)


def granted(decision: Decision, caller: Caller) -> Decision:
    """What the caller gets of what was asked for; raises `TierNotAllowed`."""
    if caller.max_tier is not None and RANK[decision.tier] > RANK[caller.max_tier]:
        if decision.reason == "default":  # the caller asked for nothing that it may not have
            return Decision(tier=caller.max_tier, reason="default")
        raise TierNotAllowed(f"This caller may not use the tier {decision.tier}.", param="tier")
    return decision


def asked_for(
    request: ChatRequest,
    headers: RequestHeaders,
    caller: Caller,
    snapshot: Snapshot,
    routing: Routing,
) -> Decision:
    """The decision but for what the caller may have; raises `ModelNotFound` or `NotOurs`."""
    named = request.tier or headers.tier
    if named is not None:
        return Decision(tier=named, reason="explicit")
    default = Decision(tier=caller.tier or routing.default_tier, reason="default")
    model = request.model
    if model is None:
        return _defaulted(default, snapshot, routing)
    alias: Tier | None = model if is_tier(model) else snapshot.alias(model)
    if alias is not None:
        return Decision(tier=alias, reason="alias")
    route = snapshot.models.get(model)
    if route is not None and model != AUTO:
        return Decision(tier=route.tier, reason="model", model=model)
    return _unknown(model, routing, default)


def _defaulted(default: Decision, snapshot: Snapshot, routing: Routing) -> Decision:
    """A tier that nobody serves yet is no reason to keep a request from who is behind us."""
    if routing.unknown_model == "pass" and not snapshot.pools[default.tier]:
        raise NotOurs("The request names no model, and its default tier has no candidate.")
    return default


def _unknown(model: str, routing: Routing, default: Decision) -> Decision:
    if model == AUTO:
        raise ModelNotFound(
            "The model 'auto' needs the classifier, which this version does not have; name a tier.",
            param="model",
        )
    if routing.unknown_model == "default":
        return default
    shown = model if len(model) <= _SHOWN else f"{model[:_SHOWN]}…"
    text = f"The model {shown!r} is not configured; name a tier, an alias or a configured model."
    if routing.unknown_model == "pass":
        raise NotOurs(text)
    raise ModelNotFound(text, param="model")
