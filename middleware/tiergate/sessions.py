"""What a conversation is held to: its candidate and tier, whose it is, and who may write it.

    ── none, or a lower tier ──▶ written
    ── the same tier ──────────▶ written, if it still holds what the writer had read
    ── a higher tier ──────────▶ refused

So a tier only rises, in whatever order requests read and write. The rule is `may_write`;
`shared_sessions` has it once more, in Lua. What a request makes of its session is not known here.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Final, Protocol

from cachetools import Cache, TTLCache
from msgspec import Struct

from tiergate.config import SessionSettings
from tiergate.exchange import ANONYMOUS, Caller
from tiergate.tiers import RANK, Tier

_OWNER_CHARACTERS: Final = 32
"""Of a SHA-256 in hex, 128 bits: nobody finds a second owner with the same."""


class Session(Struct, frozen=True):
    """What a conversation is held to. `created_at` is Unix time, when it was first bound."""

    provider: str
    model: str
    tier: Tier
    created_at: float


class SessionsState(Struct, frozen=True):
    """How sessions are kept: `held` counts those in this process, the rest what went wrong.

    `unsaved` are those that Redis has yet to learn, `dropped` those that it never will, for there
    were too many; `served_without` counts requests that found Redis away, `errors` the sessions
    that it would not take or give.
    """

    name: str
    held: int
    unsaved: int = 0
    dropped: int = 0
    served_without: int = 0
    errors: int = 0


class Sessions(Protocol):
    """Where sessions are kept. No method raises for what may happen to a store."""

    async def find(self, key: str) -> Session | None:
        """The session, which is thereby used: it lives on from now."""
        ...

    async def bind(self, key: str, session: Session, read: Session | None) -> bool:
        """Write as `may_write` says; `read` is what `find` gave. Whether it is what holds now."""
        ...

    def reconfigure(self, settings: SessionSettings) -> None:
        """Live by other limits from now on."""
        ...

    def state(self) -> SessionsState: ...

    async def close(self) -> None: ...


def may_write(held: Session | None, new: Session, read: Session | None) -> bool:
    """Whether `new`, of a request that had read `read`, may take the place of `held`."""
    if held is None or RANK[held.tier] < RANK[new.tier]:
        return True
    return (
        read is not None
        and held.tier == new.tier == read.tier
        and held.provider == read.provider
        and held.model == read.model
    )


def session_key(prefix: str, caller: Caller, authorization: bytes | None, conversation: str) -> str:
    """`{prefix}session:{owner}:{conversation}`; the owner is a digest, never a credential."""
    return f"{prefix}session:{owner_digest(caller, authorization)}:{conversation}"


def owner_digest(caller: Caller, authorization: bytes | None) -> str:
    """Whose a request is, in 32 hex digits.

    Who `authorize` named owns it, else whoever sends the same Authorization, else everybody who
    sends none. The three kinds never share a session, whatever they are called.
    """
    if caller is not ANONYMOUS:
        owner = b"caller:" + caller.id.encode(errors="surrogatepass")
    elif authorization is not None:
        owner = b"authorization:" + authorization
    else:
        return _ANONYMOUS_DIGEST
    return _digest(owner)


def _digest(owner: bytes) -> str:
    return sha256(owner).hexdigest()[:_OWNER_CHARACTERS]


_ANONYMOUS_DIGEST: Final = _digest(b"anonymous:")


class MemorySessions:
    """Sessions of one process: bounded, the least recently used goes first.

    No method awaits, so that in one event loop each is one step. `clock` is in monotonic seconds.
    """

    def __init__(self, settings: SessionSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._held = self._empty()

    async def find(self, key: str) -> Session | None:
        return self.look(key)

    async def bind(self, key: str, session: Session, read: Session | None) -> bool:
        return self.raise_to(key, session, read)

    def state(self) -> SessionsState:
        return SessionsState("memory://", len(self._held))

    async def close(self) -> None:
        """Nothing to let go of: what is remembered outlives an event loop."""

    def look(self, key: str) -> Session | None:
        """`find`, for whoever must not wait."""
        session = self.peek(key)
        if session is not None:
            self._held[key] = session  # set anew: only writing moves the end of a TTLCache's entry
        return session

    def peek(self, key: str) -> Session | None:
        """The session, without using it."""
        if key not in self._held:
            return None
        return Cache.__getitem__(self._held, key)  # a TTLCache's own would count as a use

    def raise_to(self, key: str, session: Session, read: Session | None) -> bool:
        """`bind`, for whoever must not wait."""
        if not may_write(self.peek(key), session, read):
            return False
        self._held[key] = session
        return True

    def remember(self, key: str, session: Session) -> None:
        """Hold what another store says it holds."""
        self._held[key] = session

    def reconfigure(self, settings: SessionSettings) -> None:
        """Other limits: the sessions used last are kept, as far as they fit, as if used now."""
        if settings == self._settings:
            return
        self._settings = settings
        kept = list(self._held.items())[-settings.max_in_process :]  # in the order of their use
        self._held = self._empty()
        self._held.update(kept)

    def _empty(self) -> TTLCache[str, Session]:
        settings = self._settings
        return TTLCache(settings.max_in_process, settings.ttl_seconds, timer=self._clock)
