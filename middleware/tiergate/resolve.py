"""Which tier a request gets, and why: CONTRACT section 3, in its order. Pure.

What is drawn from that tier is in `routing`, what the classifier sees in `classify`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from tiergate.candidates import Candidate
from tiergate.classify import Classifier
from tiergate.errors import ModelNotFound, TiergateError, TierNotAllowed
from tiergate.exchange import Caller, Decision
from tiergate.request_headers import RequestHeaders
from tiergate.routing_config import Routing
from tiergate.snapshot import Snapshot
from tiergate.tiers import RANK, TIERS, Tier, is_tier
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
    classifier: Classifier,
) -> Decision:
    """Decide; raises `ModelNotFound`, `TierNotAllowed` or `NotOurs`."""
    return granted(asked_for(request, headers, caller, snapshot, routing, classifier), caller)


def granted(decision: Decision, caller: Caller) -> Decision:
    """What the caller gets of what was asked for; raises `TierNotAllowed`."""
    if caller.max_tier is not None and RANK[decision.tier] > RANK[caller.max_tier]:
        if decision.reason in ("default", "auto"):  # nothing was asked for that it may not have
            return replace(decision, tier=caller.max_tier)
        raise TierNotAllowed(f"This caller may not use the tier {decision.tier}.", param="tier")
    return decision


def asked_for(
    request: ChatRequest,
    headers: RequestHeaders,
    caller: Caller,
    snapshot: Snapshot,
    routing: Routing,
    classifier: Classifier,
) -> Decision:
    """The decision but for what the caller may have; raises `ModelNotFound` or `NotOurs`."""
    named = request.tier or headers.tier
    if named is not None:
        return Decision(tier=named, reason="explicit")
    model = request.model
    if model is not None:
        alias: Tier | None = model if is_tier(model) else snapshot.alias(model)
        if alias is not None:
            return Decision(tier=alias, reason="alias")
        if model == AUTO:
            return _classified(request, caller, snapshot, classifier)
        route = snapshot.models.get(model)
        if route is not None:
            return Decision(tier=route.tier, reason="model", model=model)
        _check_unknown(model, routing)
    default = caller.tier or routing.default_tier
    if is_tier(default):
        decision = Decision(tier=default, reason="default")
    else:
        decision = _classified(request, caller, snapshot, classifier)
    # A tier that nobody serves yet is no reason to keep a request from who is behind us.
    if model is None and routing.unknown_model == "pass" and not snapshot.pools[decision.tier]:
        raise NotOurs("The request names no model, and its default tier has no candidate.")
    return decision


def nearest(wanted: Tier, pools: Mapping[Tier, Sequence[Candidate]], highest: Tier | None) -> Tier:
    """The tier that is wanted, or with nobody in it the next higher one that has somebody, up to
    `highest`, else the next lower one; with nobody anywhere that which is wanted.

    For a tier that is nobody's wish: a request is not refused for a guess of ours.
    """
    rank = RANK[wanted]
    end = len(TIERS) if highest is None else RANK[highest] + 1
    tiers = [*TIERS[rank:end], *reversed(TIERS[: min(rank, end)])]
    return next((each for each in tiers if pools[each]), wanted)


def _classified(
    request: ChatRequest, caller: Caller, snapshot: Snapshot, classifier: Classifier
) -> Decision:
    verdict = classifier.classify(request.members)
    tier = nearest(verdict.tier, snapshot.pools, caller.max_tier)
    return Decision(tier=tier, reason="auto", verdict=verdict)


def _check_unknown(model: str, routing: Routing) -> None:
    """Raise for a model that nobody offers, unless the default is to serve it."""
    if routing.unknown_model == "default":
        return
    shown = model if len(model) <= _SHOWN else f"{model[:_SHOWN]}…"
    text = f"The model {shown!r} is not configured; name a tier, an alias or a configured model."
    if routing.unknown_model == "pass":
        raise NotOurs(text)
    raise ModelNotFound(text, param="model")
