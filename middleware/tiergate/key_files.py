"""The files that a configuration names; and those of its keys looked at where nobody watches them.

What the keys are is `credentials`', what becomes of new ones the caller's.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

from tiergate.aside import Aside, Busy
from tiergate.config import Config
from tiergate.credentials import Credentials
from tiergate.errors import ConfigError
from tiergate.file_watch import Signature, signature

LOOK_SECONDS: Final = 5.0
"""How old a look may get: CONTRACT section 11 has a change live within 5 s."""

_log = logging.getLogger("tiergate")

Found = Credentials | ConfigError | None


def key_files(*configs: Config) -> set[Path]:
    """Of all their providers, the certificates included."""
    providers = [each for config in configs for each in config.providers.values()]
    named = [(each.api_key_file, each.ca_file) for each in providers]
    return {Path(name) for pair in named for name in pair if name}


def tier_files(*configs: Config) -> set[Path]:
    """The documents that they read."""
    sources = [config.tier_config for config in configs]
    return {Path(each.file) for each in sources if each.source == "file"}


class KeyFiles:
    """`taken` gets what is read when one of the files is another than in `seen`.

    `seen` is their signature from before they were read; a reload sets it. `patience` is how many
    seconds the disk has to answer. `problem` says why one
    cannot be used, None when all can.
    """

    def __init__(
        self,
        seen: Signature,
        clock: Callable[[], float],
        taken: Callable[[Credentials], None],
        *,
        patience: float = LOOK_SECONDS,
    ) -> None:
        self.problem: str | None = None
        self.seen = seen
        self._clock = clock
        self._taken = taken
        self._patience = patience
        self._due = clock()
        self._aside = Aside("tiergate-key-files")
        self._look: asyncio.Task[None] | None = None

    def tend(self, files: Callable[[], Iterable[Path]], read: Callable[[], Credentials]) -> None:
        """Begin the look that is due. For a request to call: it waits for nothing.

        `read` raises `ConfigError`, and is called on another thread.
        """
        if self._clock() >= self._due:
            self.look(files, read)

    def look(self, files: Callable[[], Iterable[Path]], read: Callable[[], Credentials]) -> None:
        """Begin one now, if none is under way."""
        self._due = self._clock() + LOOK_SECONDS
        paths = tuple(files())
        if paths and self._looking() is None:
            self._look = asyncio.create_task(self._look_at(paths, read))

    async def close(self) -> None:
        """End the look that runs in this loop."""
        if (look := self._looking()) is not None:
            look.cancel()
            await asyncio.wait({look})

    def _looking(self) -> "asyncio.Task[None] | None":
        """The look under way in this loop: one in a loop that has ended never ends."""
        look = self._look
        if look is None or look.done() or look.get_loop() is not asyncio.get_running_loop():
            return None
        return look

    async def _look_at(self, files: tuple[Path, ...], read: Callable[[], Credentials]) -> None:
        known, loop = self.seen, asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._patience):
                seen, found = await loop.run_in_executor(
                    self._aside, partial(_found, files, known, read)
                )
        except TimeoutError:
            _log.warning("key files: the disk has not answered for %g s", self._patience)
            return
        except Busy:  # still that disk
            return
        if self.seen is not known:
            return  # reloaded meanwhile
        self.seen = seen
        if isinstance(found, ConfigError):
            _log.error("a key file cannot be used, the old key stays: %s", found)
            self.problem = str(found)
        elif found is not None:
            self.problem = None
            self._taken(found)


def _found(
    files: tuple[Path, ...], known: Signature, read: Callable[[], Credentials]
) -> tuple[Signature, Found]:
    seen = signature(files)
    if seen == known:
        return known, None
    try:
        return seen, read()
    except ConfigError as error:
        return seen, error
