"""One request's part in its conversation: what it is held to, and what it leaves behind.

Bound on success only, and once. Where sessions are kept, and who may write one, is in `sessions`.
"""

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from tiergate.exchange import Caller, Decision, Exchange
from tiergate.sessions import Session, Sessions, session_key
from tiergate.snapshot import Snapshot
from tiergate.tiers import RANK

Kept = Callable[[], Sessions]
"""Where sessions are kept now: a reload may move them while a request runs."""


class Conversation:
    """The session of one request. `wall` is Unix time in seconds."""

    def __init__(self, kept: Kept, key: str, wall: Callable[[], float]) -> None:
        self.session: Session | None = None
        self._kept = kept
        self._key = key
        self._wall = wall

    async def recall(self, caller: Caller, snapshot: Snapshot, *, seconds: float) -> Session | None:
        """Read the session; it holds to nothing where its tier can no longer be had.

        That is a tier above what the caller may have by now, or one of nobody. Nor does one that
        was not there in so many seconds.
        """
        try:
            async with asyncio.timeout(seconds):
                session = await self._kept().find(self._key)
        except TimeoutError:
            return None
        highest = caller.max_tier
        if session is None or not snapshot.pools[session.tier]:
            return None
        if highest is None or RANK[session.tier] <= RANK[highest]:
            self.session = session
        return self.session

    async def bind(self, exchange: Exchange) -> None:
        """Hold the conversation to whoever has served this request, but not to a higher tier that
        stood in for its own."""
        assert exchange.candidate is not None
        assert exchange.decision is not None
        if exchange.escalated is not None:
            return
        session, candidate, tier = self.session, exchange.candidate, exchange.decision.tier
        served = (candidate.provider, candidate.model, tier)
        if session is not None and served == (session.provider, session.model, session.tier):
            return  # reading it was using it
        created_at = session.created_at if session is not None else float(int(self._wall()))
        await self._kept().bind(self._key, Session(*served, created_at), session)


def conversation_of(
    exchange: Exchange, kept: Kept, prefix: str, wall: Callable[[], float]
) -> Conversation | None:
    """That of a request which names one, in its body or else its header; None for any other.

    Who is routed by a model has chosen it, and is held to nothing. `prefix` begins every key.
    """
    assert exchange.request is not None
    assert exchange.headers is not None
    assert exchange.decision is not None
    name = exchange.request.conversation or exchange.headers.conversation
    if name is None or exchange.decision.model is not None:
        return None
    key = session_key(prefix, exchange.caller, exchange.headers.authorization, name)
    return Conversation(kept, key, wall)


def raised(decision: Decision, session: Session | None) -> Decision:
    """The decision with the session's tier, where that is higher; never a lower one."""
    if session is None or RANK[session.tier] <= RANK[decision.tier]:
        return decision
    return replace(decision, tier=session.tier, reason="session")
