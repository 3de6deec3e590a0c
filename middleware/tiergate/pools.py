"""What is kept open per key and event loop: counted while in use, closed once nobody wants it.

The life of the connection pools without the connections: who uses one, which a reload still wants,
and that none outlives its loop. Knows no HTTP; what is kept is made elsewhere and closed here.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary


class Closable(Protocol):
    async def close(self) -> None:
        """Let go of everything; a second call does nothing."""


T = TypeVar("T", bound=Closable)


class Pools(Generic[T]):
    """Every loop has its own, opened on first use; all are wanted until `retain` says which.

    They close with `close`, or when their loop shuts its generators down: hosts without a lifespan
    (a test client, a mounted app) leave nothing behind either.
    """

    def __init__(self) -> None:
        self._wanted: frozenset[Hashable] | None = None
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Here[T]] = WeakKeyDictionary()
        self._lock = threading.Lock()  # loops of other threads come while `retain` counts them

    async def take(self, key: Hashable, make: Callable[[], T]) -> "Held[T]":
        """The one of the running loop, made if there is none; to be given back after use."""
        loop = asyncio.get_running_loop()
        here = self._loops.get(loop)
        if here is None:
            with self._lock:
                here = self._loops[loop] = _Here(self)
        return await here.take(key, make)

    def at_hand(self, key: Hashable) -> "Held[T] | None":
        """What `take` would give, where it need not be made; to be given back, too."""
        here = self._loops.get(asyncio.get_running_loop())
        return None if here is None else here.at_hand(key)

    def retain(self, keys: Iterable[Hashable]) -> None:
        """Retire all but these, in every loop: each closes as soon as nobody uses it.

        May be called from any thread. A retired one that is asked for meanwhile is still given, one
        that is wanted again before it has closed stays.
        """
        self._wanted = frozenset(keys)
        with self._lock:
            loops = list(self._loops.items())
        for loop, here in loops:
            with suppress(RuntimeError):  # closed, and what it held with it
                loop.call_soon_threadsafe(here.sweep)

    async def close(self) -> None:
        """Close what the running loop holds, in use or not."""
        here = self._loops.get(asyncio.get_running_loop())
        if here is not None:
            await here.close()

    def wants(self, key: Hashable) -> bool:
        return self._wanted is None or key in self._wanted


class Held(Generic[T]):
    """One of them, and how many use it."""

    def __init__(self, key: Hashable, thing: T, here: "_Here[T]") -> None:
        self.thing = thing
        self.key = key
        self.users = 0
        self._here = here

    def give_back(self) -> None:
        """Once for every `take`."""
        self.users -= 1
        self._here.look_at(self)


class _Here(Generic[T]):
    """Those of one loop. `_leaving` are no longer to be had; each has the task that closes it."""

    def __init__(self, pools: Pools[T]) -> None:
        self._pools = pools
        self._held: dict[Hashable, Held[T]] = {}
        self._leaving: dict[Held[T], asyncio.Task[None]] = {}
        self._keeper: AsyncGenerator[None, None] | None = None

    async def take(self, key: Hashable, make: Callable[[], T]) -> Held[T]:
        if self._keeper is None:
            self._keeper = self._keep()
            await anext(self._keeper)
        held = self._held.get(key)
        if held is None:
            held = self._held[key] = Held(key, make(), self)
        held.users += 1
        return held

    def at_hand(self, key: Hashable) -> Held[T] | None:
        held = self._held.get(key)
        if held is not None:
            held.users += 1
        return held

    def look_at(self, held: Held[T]) -> None:
        """Close it if it is neither used nor wanted."""
        idle = held.users == 0 and self._held.get(held.key) is held
        if idle and not self._pools.wants(held.key):
            self._retire(held)

    def sweep(self) -> None:
        for held in list(self._held.values()):
            self.look_at(held)

    async def close(self) -> None:
        for held in list(self._held.values()):
            self._retire(held)
        if self._leaving:
            await asyncio.wait(list(self._leaving.values()))
        keeper = self._keeper
        if keeper is not None and not self._held and not self._leaving:
            self._keeper = None  # it holds its loop: what is done must not be kept alive here
            await keeper.aclose()

    def _retire(self, held: Held[T]) -> None:
        del self._held[held.key]
        self._leaving[held] = asyncio.get_running_loop().create_task(self._end(held))

    async def _end(self, held: Held[T]) -> None:
        await held.thing.close()
        self._leaving.pop(held, None)  # gone already where the loop ended meanwhile

    async def _keep(self) -> AsyncGenerator[None, None]:
        # asyncio closes the generators of a loop before the loop: the one hook that every host has.
        try:
            yield
        finally:
            self._keeper = None
            # Those leaving too: a task that was cancelled before its first step has closed nothing.
            left = [*self._leaving, *self._held.values()]
            self._leaving.clear()
            self._held.clear()
            for held in left:
                await held.thing.close()
