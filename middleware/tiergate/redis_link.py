"""The one link of a process to Redis, and the breaker that keeps a bad Redis out of the way.

What is kept there and what is done without it belong to the callers. Foreign exceptions are
translated here: what Redis says of itself is `RedisDown`, what it says of one command or key is
`RedisRefused`.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from importlib.util import find_spec
from socket import getaddrinfo
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakKeyDictionary

from msgspec import Struct

from tiergate.errors import ConfigError, TiergateError
from tiergate.names import LookUp, Resolver
from tiergate.redis_client import CONNECTIONS, is_of_one_command, make_client
from tiergate.redis_url import read_redis_url

if TYPE_CHECKING:
    from redis.asyncio import Redis

T = TypeVar("T")
Operation = Callable[["Redis"], Awaitable[T]]

_log = logging.getLogger("tiergate")

_SHARE: Final = 0.9  # of the time limit; the rest is for letting go, so that all of it is kept
_QUEUE: Final = 4  # time limits to wait for a connection and be served, in a burst of our own
_TRY_SECONDS: Final = 1.0  # between two tries; with a try and the hooks, back within 5 s
_HOOKS_SECONDS: Final = 2.0
_MOST_TOLD: Final = 16  # kinds of refusals in the log
# Deleting what is not there is a write that changes nothing: only it tells a read-only replica.
_NO_KEY: Final = "tiergate:no-such-key"


class RedisDown(TiergateError):
    """Redis does not answer, or refuses to work; nothing is tried again before it is back."""


class RedisRefused(TiergateError):
    """Redis is there and refused one command: wrong type, no memory left, unknown script."""


class StoreState(Struct, frozen=True):
    """How a store is doing.

    `errors` counts the operations it did not serve, those not tried while it was down included;
    `last_error` is kept when it is back; `seconds_down` is 0 while it is available.
    """

    name: str
    available: bool
    errors: int = 0
    last_error: str | None = None
    seconds_down: float = 0


class RedisLink:
    """Connections to one Redis, opened on first use in each event loop; a breaker over them.

    `timeout`, in seconds, is what an operation may add to a request in all. The first that takes
    longer opens the breaker: every other in flight ends with it, later ones at once, and a task in
    the background asks Redis about every second. When it answers, the `on_return` hooks run with a
    client (2 s for all of them; one that fails keeps the breaker open), then the breaker closes.

    Connections and task end with `close`, or when their loop shuts its generators down.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        clock: Callable[[], float],
        try_seconds: float = _TRY_SECONDS,
        look_up: LookUp = getaddrinfo,
    ) -> None:
        self.on_return: list[Operation[None]] = []
        self._url = read_redis_url(url)
        if find_spec("redis") is None:
            raise ConfigError("Redis needs redis-py: pip install 'tiergate[redis]'")
        self._timeout = timeout * _SHARE
        self._try_seconds = try_seconds
        self._clock = clock
        self._resolver = Resolver(self._url.host, clock=clock, look_up=look_up)
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
        self._down_since: float | None = None
        self._errors = 0
        self._last_error: str | None = None
        self._told: set[str] = set()

    def __repr__(self) -> str:
        return f"<RedisLink {self.name}>"

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._url.name

    @property
    def available(self) -> bool:
        return self._down_since is None

    @property
    def state(self) -> StoreState:
        down = 0.0 if self._down_since is None else self._clock() - self._down_since
        return StoreState(self.name, self.available, self._errors, self._last_error, down)

    async def run(self, operation: Operation[T]) -> T:
        """What `operation` makes of a client; raises `RedisDown` or `RedisRefused`.

        It sends one command, pipeline or script after the other, and decodes nothing: an answer
        that redis-py cannot read counts as none.
        """
        line = self._lines.get(asyncio.get_running_loop())
        if line is None:
            line = await self._open()
        if self._down_since is not None:
            self._errors += 1
            line.watch()  # the breaker may have been opened in another loop
            raise RedisDown(f"{self.name}: {self._last_error}")
        try:
            return await line.run(operation, self._timeout)
        except line.failures as error:
            self._errors += 1
            said = self._said(error)
            if is_of_one_command(error):
                self._last_error = said
                self._tell_once(said)
                raise RedisRefused(said) from error
            self._open_breaker(line, said)
            raise RedisDown(f"{self.name}: {said}") from error

    async def open(self) -> None:
        """Have the driver ready: it takes 0.2 s to import, which a request would wait for."""
        if asyncio.get_running_loop() not in self._lines:
            await self._open()

    async def close(self) -> None:
        """Close what the running loop holds open."""
        line = self._lines.get(asyncio.get_running_loop())
        if line is not None:
            await line.keeper.aclose()

    async def _open(self) -> "_Line":
        loop = asyncio.get_running_loop()
        client = make_client(self._url, self._timeout, self._resolver)
        line = self._lines[loop] = _Line(client, self._lines, self._come_back)
        await anext(line.keeper)
        return line

    def _open_breaker(self, line: "_Line", said: str) -> None:
        if self._down_since is not None or line.closed:
            return
        self._down_since = self._clock()
        self._last_error = said
        _log.warning("%s is unavailable, requests go on without it: %s", self.name, said)
        line.cut()
        line.watch()

    def _tell_once(self, said: str) -> None:
        """One line for each word that Redis refuses with, WRONGTYPE or OOM, and few words."""
        word = said.partition(" ")[0]
        if word not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(word)
            _log.warning("%s refuses a command, said once of %s: %s", self.name, word, said)

    async def _come_back(self, line: "_Line") -> None:
        """The watch of one loop: returns when the breaker is closed."""
        while self._down_since is not None:
            await asyncio.sleep(self._try_seconds)
            try:
                async with asyncio.timeout(self._timeout):
                    await line.prove()
                async with asyncio.timeout(_HOOKS_SECONDS):
                    for hook in self.on_return:
                        await hook(line.client)
            except Exception as error:  # noqa: BLE001  # a hook's bug must not end the watch
                self._last_error = self._said(error)
            else:
                self._close_breaker()

    def _close_breaker(self) -> None:
        if self._down_since is not None:  # another loop's watch may have been quicker
            seconds = self._clock() - self._down_since
            self._down_since = None
            _log.info("%s is back after %.1f s", self.name, seconds)

    def _said(self, error: BaseException) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout / _SHARE:g} s"
        code = getattr(error, "status_code", None)  # Redis's word for it, off the text since 8.0
        said = str(error) or type(error).__name__
        return self._url.without_secrets(said if code is None else f"{code} {said}")


class _Line:
    """The connections in one loop; `among` are those of all loops, `watching` its task's work."""

    def __init__(
        self,
        client: "Redis",
        among: WeakKeyDictionary[asyncio.AbstractEventLoop, "_Line"],
        watching: Callable[["_Line"], Coroutine[None, None, None]],
    ) -> None:
        from redis.exceptions import RedisError  # a costly driver

        # EOFError and ValueError: what redis-py's parser lets through of an answer that is none.
        self.failures = (RedisError, OSError, EOFError, ValueError)
        self.closed = False
        self.client = client
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._scopes: set[asyncio.Timeout] = set()
        self._among = among
        self._watching = watching
        self._task: asyncio.Task[None] | None = None
        self.keeper = self._keep()

    async def run(self, operation: Operation[T], timeout: float) -> T:
        """The time is that of Redis: neither of our queue for a connection, which has a limit of
        its own, nor of a loop that is late to see what has come.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout * _QUEUE) as scope:
            self._scopes.add(scope)
            timer: asyncio.TimerHandle | None = None
            try:
                async with self._places:
                    timer = loop.call_later(timeout, self._due, scope, loop.time() + timeout)
                    return await operation(self.client)
            finally:
                self._scopes.discard(scope)
                if timer is not None:
                    timer.cancel()

    def _due(self, scope: asyncio.Timeout, due: float) -> None:
        """The time is up; but what a loop that stood still has lost of it, it gets back."""
        loop = asyncio.get_running_loop()
        loop.call_later(loop.time() - due, self._end, scope)

    def _end(self, scope: asyncio.Timeout) -> None:
        if scope in self._scopes and not scope.expired():
            scope.reschedule(asyncio.get_running_loop().time())

    def cut(self) -> None:
        """End what is in flight, at once: together it may cost a request one time limit."""
        for scope in self._scopes:
            self._end(scope)

    def watch(self) -> None:
        if not self.closed and (self._task is None or self._task.done()):
            # In a context of its own: that of the request which noticed must not live on in it.
            self._task = asyncio.create_task(self._watching(self), context=Context())

    async def prove(self) -> None:
        """Returns when Redis works, over a connection that is new."""
        with suppress(*self.failures):
            await self.client.connection_pool.disconnect()
        try:
            await self.client.ping()
            await self.client.delete(_NO_KEY)
        except self.failures as error:
            if not is_of_one_command(error):  # that we may not do this one says nothing of others
                raise

    async def _keep(self) -> AsyncGenerator[None, None]:
        # asyncio closes the generators of a loop before the loop: the one hook that every host has.
        try:
            yield
        finally:
            self.closed = True
            del self._among[asyncio.get_running_loop()]
            self.cut()
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait({self._task})
            with suppress(*self.failures):
                await self.client.aclose(close_connection_pool=True)
