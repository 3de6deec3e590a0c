"""A request before anybody is asked: read, decided, held to its conversation, planned.

What each of these means is in the file of its name; here is their order, and what is noted of them.
Nothing is sent.
"""

from contextlib import suppress
from typing import Final

from msgspec import Raw

from tiergate.assembly import Assembly
from tiergate.attempt import Tools
from tiergate.conversation import Conversation, conversation_of, raised
from tiergate.errors import InvalidRequest
from tiergate.exchange import Decision, Exchange
from tiergate.forward import Delivery
from tiergate.metrics import Metrics
from tiergate.profile import Profile, profile_of
from tiergate.reach import placed, reach_of
from tiergate.request_headers import read_headers
from tiergate.resolve import asked_for, granted
from tiergate.routing import make_plan, shares
from tiergate.snapshot import Snapshot
from tiergate.times import in_time, seconds_left
from tiergate.wire import ChatRequest, read_members, read_request

_NEVER_REFUSED: Final = (b"x-request-id", b"authorization")


async def prepare(
    parts: Assembly, metrics: Metrics, exchange: Exchange, body: bytes
) -> tuple[Delivery, Conversation | None]:
    """Decide; raises `Answerable` or `NotOurs`.

    What is live at this moment serves the request to its end.
    """
    members = read_members(body)
    exchange.is_read = True
    parts.tend()
    try:
        exchange.headers = read_headers(exchange.pairs)
        exchange.request = read_request(members)
    except InvalidRequest:
        _keep_legible(exchange, members)
        raise
    if parts.store.snapshot is None:
        await in_time(parts.store.load(), parts.tools, exchange)
    # Read together, with no await between them: a reload swaps them together.
    snapshot, tools = parts.store.snapshot, parts.tools
    assert snapshot is not None
    config, caller = tools.config, exchange.caller
    exchange.requested = asked_for(
        exchange.request, exchange.headers, caller, snapshot, config.routing, tools.classifier
    )
    # Noted before it is granted: also of who may not have it.
    exchange.requested = exchange.decision = granted(exchange.requested, caller)
    exchange.policy = tools.policies.applied(exchange.headers.policy, exchange.request.members)
    exchange.profile = _profile(exchange.request, exchange.decision, snapshot, tools)
    exchange.decision = placed(
        exchange.decision, snapshot, exchange.policy, exchange.profile, caller.max_tier
    )
    conversation = conversation_of(exchange, lambda: parts.sessions, parts.key_prefix, tools.wall)
    session = None
    if conversation is not None:
        # Half of what is left, so that a silent store leaves the request its turn.
        seconds = seconds_left(tools, exchange) / 2
        session = await conversation.recall(caller, snapshot, seconds=seconds)
        exchange.decision = raised(exchange.decision, session)
    metrics.decided(exchange.decision.tier)
    exchange.reach = reach_of(
        exchange.decision,
        snapshot,
        policy=exchange.policy,
        profile=exchange.profile,
        escalate=config.routing.escalate,
        highest=caller.max_tier,
    )
    exchange.pool = shares(exchange.reach, tools.health)
    if exchange.trace is not None:
        exchange.trace.decided(exchange)
    plan = make_plan(
        exchange.reach,
        tools.health,
        tools.chance,
        session=session,
        last_resort=config.health.last_resort,
    )
    metrics.selected(plan.tiers[0], plan.candidates[0])
    return Delivery(tools, exchange, plan), conversation


def _profile(
    request: ChatRequest, decision: Decision, snapshot: Snapshot, tools: Tools
) -> Profile | None:
    """The profile of a request, where anything depends on it or is to be kept."""
    model, verdict = decision.model, decision.verdict
    measures_all = tools.config.classifier.measure == "all"
    by_price = model is not None and snapshot.models[model].by_price
    if verdict is None and not (measures_all or by_price or snapshot.is_choosy):
        return None
    if verdict is not None:
        signals = {each.name: each.value for each in verdict.signals}
    else:
        signals = tools.classifier.measure(request.members) if measures_all else {}
    return profile_of(request.members, request.choices, signals)


def _keep_legible(exchange: Exchange, members: dict[str, Raw]) -> None:
    """What can be read of a malformed request all the same; for its record, it goes nowhere."""
    if exchange.headers is None:
        exchange.headers = read_headers(
            [each for each in exchange.pairs if each[0] in _NEVER_REFUSED]
        )
    legible = {"messages": Raw(b"[]")}
    for name in ("model", "stream"):
        if name in members:
            with suppress(InvalidRequest):
                read_request({**legible, name: members[name]})
                legible[name] = members[name]
    exchange.request = read_request(legible)
