"""When a configuration is read again: one reading at a time, whoever asks, and whoever waits for it
hears of the one that began after he asked; again by itself while only its tiers could not be had.

How it is read and taken is the caller's.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

from tiergate.document import SourceError
from tiergate.errors import ConfigError
from tiergate.store import pause

_log = logging.getLogger("tiergate")


class TiersAway(ConfigError):
    """Nothing is wrong with the configuration itself; its source gave no tiers for it."""


class Reloads:
    """`reload` reads and takes the configuration; raises `ConfigError` and `SourceError`."""

    def __init__(self, reload: Callable[[], Awaitable[None]], chance: random.Random) -> None:
        self._reload = reload
        self._chance = chance
        # By loop: a lock that was waited for in one cannot be used in another.
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]
        self._locks = WeakKeyDictionary()
        self._begun = self._ended = 0
        self._outcome: Exception | None = None
        self._open_in: asyncio.AbstractEventLoop | None = None
        self._again: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Reload, or share one that begins after now; raises what it raises."""
        asked_after = self._begun
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if self._ended <= asked_after:  # else who waited before us has done it
                await self._run()
            outcome = self._outcome
        if outcome is not None:
            raise outcome

    def open(self) -> None:
        """From now on try again in the running loop, for as long as it owes a configuration."""
        self._open_in = asyncio.get_running_loop()
        self._follow()

    async def close(self) -> None:
        """Try no more."""
        again, self._again = self._again, None
        self._open_in = None
        if again is not None and again.get_loop() is asyncio.get_running_loop():
            again.cancel()
            await asyncio.wait({again})

    async def _run(self) -> None:
        self._begun += 1
        number, outcome = self._begun, None
        try:
            await self._reload()
        except Exception as error:  # noqa: BLE001  # raised again to all who wait
            outcome = error
        self._ended, self._outcome = number, outcome
        self._follow()

    def _follow(self) -> None:
        """Begin to try again, or end it, by what the last reload said."""
        loop = asyncio.get_running_loop()
        if self._open_in is not loop or asyncio.current_task() is self._again:
            return
        if self._again is not None and self._again.get_loop() is loop:
            self._again.cancel()
        owed = isinstance(self._outcome, TiersAway)
        self._again = loop.create_task(self._try_again()) if owed else None

    async def _try_again(self) -> None:
        failures = 0
        while True:
            failures += 1
            await asyncio.sleep(pause(failures, self._chance))
            try:
                await self.run()
            except TiersAway:
                continue
            except (ConfigError, SourceError):  # the log and the status have it
                return
            except Exception:  # noqa: BLE001  # reading may be anybody's
                _log.exception("the configuration could not be read again")
            return
