"""Sessions that replicas share: in Redis, with a shadow in this process for when it is away.

    Redis answers      it is asked, and what it says is noted in the shadow
    Redis is away      the shadow is read and raised; what was used is owed to Redis
    Redis is back      what is owed is raised there, before any request asks it again

The rule of who may write is `sessions.may_write`, here in Lua so that in Redis too it is one step.
When Redis counts as away, and how it comes back, is `redis_link`'s.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha1
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from tiergate.config import SessionSettings
from tiergate.redis_link import RedisDown, RedisLink, RedisRefused
from tiergate.sessions import MemorySessions, Session, SessionsState
from tiergate.tiers import RANK

if TYPE_CHECKING:
    from redis.asyncio import Redis

_BATCH: Final = 100
"""Sessions saved by one call: what it takes of Redis and of our loop stays near a millisecond."""

Write = tuple[str, Session, Session | None]
"""A key, what shall be held there, and what its writer had read."""

_RANKS: Final = ", ".join(f"{tier} = {rank}" for tier, rank in RANK.items())

_COMPARE_AND_RAISE: Final = (
    f"local ranks = {{{_RANKS}}}"
    """
local function session(text)
  local is_json, it = pcall(cjson.decode, text)
  if is_json and type(it) == 'table' and ranks[it.tier] and type(it.provider) == 'string'
      and type(it.model) == 'string' and type(it.created_at) == 'number' then
    return it
  end
end

local function may_write(held, new, read)
  if not held or ranks[held.tier] < ranks[new.tier] then
    return true
  end
  return read and held.tier == new.tier and held.tier == read.tier
    and held.provider == read.provider and held.model == read.model
end

local held_instead = {}
for i, key in ipairs(KEYS) do
  local text, read, garbage = ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1]
  local found = redis.pcall('GET', key)
  local held = type(found) == 'string' and session(found)
  if found == garbage or may_write(held, session(text), session(read)) then
    redis.call('SET', key, text, 'PX', ARGV[1])
    held_instead[i] = ''
  else
    held_instead[i] = found
  end
end
return held_instead
"""
)
"""For each key: nothing if it was written, else what is held. Not a session counts as none, and
`garbage` is what only Lua takes for one, as with bad UTF-8 in a name."""

_DIGEST: Final = sha1(_COMPARE_AND_RAISE.encode(), usedforsecurity=False).hexdigest()


class RedisSessions:
    """Sessions in the Redis of `link`; before version 6.2 (GETEX) reading takes two commands.

    A value is a `Session` in JSON. `clock`, in monotonic seconds, is the shadow's. The link belongs
    to whoever made it.
    """

    def __init__(
        self, link: RedisLink, settings: SessionSettings, clock: Callable[[], float]
    ) -> None:
        self._link = link
        self._settings = settings
        self._shadow = MemorySessions(settings, clock)
        self._owed: dict[str, None] = {}
        self._dropped = 0
        self._served_without = 0
        self._errors = 0
        self._has_getex = True

    async def find(self, key: str) -> Session | None:
        """One round trip, which reads and lets it live on."""

        async def read(client: "Redis") -> bytes | None:
            if key in self._owed:
                await self._save(client, [key])
            return await self._use(client, key)

        try:
            found = await self._link.run(read)
        except RedisDown:
            self._served_without += 1
            session = self._shadow.look(key)
            if session is not None:
                self._owe(key)  # should Redis come back empty, it learns this one again
            return session
        except RedisRefused as refused:  # full, or not permitted; but no text is garbage
            self._errors += 1
            return None if str(refused).startswith("WRONGTYPE") else self._shadow.look(key)
        return None if found is None else self._heard(key, found)

    async def bind(self, key: str, session: Session, read: Session | None) -> bool:
        """One round trip. What Redis cannot take is held here, and owed to it."""

        async def write(client: "Redis") -> bytes:
            if key in self._owed:
                await self._save(client, [key])
            (held,) = await _compare_and_raise(client, self._lifetime, [(key, session, read)])
            return held

        try:
            held = await self._link.run(write)
        except (RedisDown, RedisRefused) as error:
            self._errors += isinstance(error, RedisRefused)
            written = self._shadow.raise_to(key, session, read)
            if written:
                self._owe(key)
            return written
        if held:
            self._heard(key, held)
        else:
            self._note(key, session)
        return not held

    def reconfigure(self, settings: SessionSettings) -> None:
        self._settings = settings
        self._shadow.reconfigure(settings)

    def state(self) -> SessionsState:
        return SessionsState(
            name=self._link.name,
            held=self._shadow.state().held,
            unsaved=len(self._owed),
            dropped=self._dropped,
            served_without=self._served_without,
            errors=self._errors,
        )

    async def close(self) -> None:
        """The link forgets us. What is owed is still paid by later uses."""
        if self._pay in self._link.on_return:
            self._link.on_return.remove(self._pay)

    async def _use(self, client: "Redis", key: str) -> bytes | None:
        """What is there, which lives on; in two commands where Redis has or permits no GETEX."""
        # A costly driver, and optional; where there is a link it is installed.
        from redis.exceptions import ResponseError

        if self._has_getex:
            # redis-py may decode, the link does not let it
            with suppress(ResponseError):  # what is not about GETEX is said again below
                return cast("bytes | None", await client.getex(key, px=self._lifetime))
        both = client.pipeline(transaction=False)
        both.get(key)
        both.pexpire(key, self._lifetime)
        said: list[Any] = await both.execute(raise_on_error=False)  # which rewords, with the key
        for each in said:
            if isinstance(each, ResponseError):
                raise each
        self._has_getex = False
        return cast("bytes | None", said[0])

    @property
    def _lifetime(self) -> int:
        """In milliseconds, for the settings allow fractions of a second."""
        return max(1, round(self._settings.ttl_seconds * 1000))

    def _heard(self, key: str, found: bytes) -> Session | None:
        """What Redis holds, noted in the shadow; garbage is no session."""
        session = _session(found)
        if session is None:
            self._errors += 1
        else:
            self._note(key, session)
        return session

    def _note(self, key: str, session: Session) -> None:
        """Keep the shadow warm. Answers may overtake each other: an older one lowers nothing."""
        held = self._shadow.peek(key)
        if held is None or RANK[held.tier] <= RANK[session.tier]:
            self._shadow.remember(key, session)

    def _owe(self, key: str) -> None:
        if self._pay not in self._link.on_return:
            self._link.on_return.append(self._pay)
        self._owed.pop(key, None)  # the most recent stands last
        self._owed[key] = None
        while len(self._owed) > self._settings.max_in_process:
            del self._owed[next(iter(self._owed))]
            self._dropped += 1

    async def _pay(self, client: "Redis") -> None:
        """Raise in Redis what was used while it was away, also what is added meanwhile."""
        # A costly driver, and optional; where there is a link it is installed.
        from redis.exceptions import ResponseError

        try:
            while self._owed:
                await self._save(client, list(islice(self._owed, _BATCH)))
        except ResponseError:  # full: the link is none the worse, each is tried again when used
            self._errors += 1

    async def _save(self, client: "Redis", keys: Sequence[str]) -> None:
        """Redis keeps what it has unless ours is higher; from then on the shadow follows it."""
        sessions = [(key, self._shadow.peek(key)) for key in keys]
        writes = [(key, session, None) for key, session in sessions if session is not None]
        outcome = await _compare_and_raise(client, self._lifetime, writes)
        instead = {key: held for (key, _, _), held in zip(writes, outcome, strict=True)}
        for key, saved in sessions:
            now = self._shadow.peek(key)
            if saved is None or now is None or RANK[now.tier] <= RANK[saved.tier]:
                self._owed.pop(key, None)
            if held := instead.get(key):
                self._heard(key, held)


def _session(text: bytes) -> Session | None:
    try:
        return msgspec.json.decode(text, type=Session)
    except (ValueError, RecursionError):
        return None


async def _compare_and_raise(
    client: "Redis", lifetime: int, writes: Sequence[Write]
) -> list[bytes]:
    """One round trip, but for what only Lua took for a session: that is replaced by a second."""
    outcome = await _run_script(client, lifetime, [(*write, b"") for write in writes])
    wrong = [i for i, held in enumerate(outcome) if held and _session(held) is None]
    if wrong:
        again = [(*writes[i], outcome[i]) for i in wrong]
        for i, held in zip(wrong, await _run_script(client, lifetime, again), strict=True):
            outcome[i] = held
    return outcome


async def _run_script(
    client: "Redis", lifetime: int, writes: Sequence[tuple[str, Session, Session | None, bytes]]
) -> list[bytes]:
    """One round trip, but for a Redis that has not seen the script since it started."""
    # A costly driver, and optional; where there is a link it is installed.
    from redis.exceptions import NoScriptError

    keys = [key for key, *_ in writes]
    values: list[bytes | int] = [lifetime]
    for _, session, read, garbage in writes:
        values.append(msgspec.json.encode(session))
        values.append(b"" if read is None else msgspec.json.encode(read))
        values.append(garbage)
    outcome: list[bytes]
    try:
        outcome = await client.evalsha(_DIGEST, len(keys), *keys, *values)
    except NoScriptError:
        outcome = await client.eval(_COMPARE_AND_RAISE, len(keys), *keys, *values)
    return outcome
