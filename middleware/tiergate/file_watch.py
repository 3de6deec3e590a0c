"""Whether named files have changed, told soon: configuration, ConfigMaps, keys, certificates.

What a file is now is its `signature`; notifications only say when to look. What is done about a
change is the caller's.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tiergate.errors import ConfigError

_log = logging.getLogger("tiergate")

Identity = tuple[int, int, int, int]
Signature = tuple[tuple[Path, Identity | None], ...]

_KUBELET: Final = "..data"  # the link it swaps; the files of a ConfigMap are links through it
_QUIET_MS: Final = 100
"""Nothing more must happen for so long before we look: a file is rarely written in one go.

The thread wakes so often, too, to see whether it should end: 0.8 ms of CPU a second (measured)."""
_ONE_STEP_MS: Final = 1  # below a step: what waits for notices comes back after each
_GROUPED_MS: Final = 300  # in a directory that is never quiet we look so often
_PATIENCE: Final = 0.4
"""Seconds for the thread to end. One that waits for a dead network mount is left to itself."""


def signature(paths: Iterable[Path]) -> Signature:
    """What tells each file's content from another: device, inode, size, and mtime in ns.

    Links are followed; None stands for a file that is not there. Asks the disk, reads nothing.
    The order of `paths` does not matter.
    """
    return tuple((path, _identity(path)) for path in sorted(set(paths)))


def _identity(path: Path) -> Identity | None:
    try:
        stat = path.stat()
    except (OSError, ValueError):  # ValueError: no file has a NUL in its name
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


class FileWatch:
    """Calls `changed` when one of the files that `paths` names is another than before.

    A change is noticed in about 0.1 s, and after `tick` seconds where nothing notifies (NFS, the
    far end of a link). `changed` is awaited, never twice at once; what it raises is logged. After
    it `paths` is asked again, for it may name other files now. Raises `ConfigError` where
    watchfiles is not installed.
    """

    def __init__(
        self,
        paths: Callable[[], Iterable[Path]],
        changed: Callable[[], Awaitable[None]],
        *,
        tick: float = 2.0,
    ) -> None:
        try:
            import watchfiles  # an extra: only those who watch need it
        except ImportError:
            message = "watching files needs watchfiles: pip install 'tiergate[watch]'"
            raise ConfigError(message) from None
        self._notices = watchfiles.watch
        self._paths = paths
        self._changed = changed
        self._tick = tick
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether it watches, in the running loop."""
        task, loop = self._task, asyncio.get_running_loop()
        return task is not None and not task.done() and task.get_loop() is loop

    def start(self, seen: Signature | None = None) -> None:
        """Watch in the running loop, with one task and one thread; a second call does nothing.

        `seen` is the signature from before the files were read; None takes that of now.
        """
        if not self.running:
            paths = tuple(self._paths())
            self._task = asyncio.create_task(self._run(paths, seen or signature(paths)))

    async def close(self) -> None:
        """Stop; a call of `changed` that has not ended is cancelled."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait({task})

    async def _run(self, paths: tuple[Path, ...], seen: Signature) -> None:
        while True:
            try:
                seen = await self._difference(paths, seen)
                await self._changed()
                paths = tuple(self._paths())
            except Exception:  # noqa: BLE001  # a watch that ends unseen is worse than any of them
                _log.exception("a watched file has changed, and what was to follow failed")
                await asyncio.sleep(self._tick)  # what fails every time must not do so in a frenzy

    async def _difference(self, paths: tuple[Path, ...], seen: Signature) -> Signature:
        """The signature of these files once it is another; files new to us begin as they are."""
        found: Future[Signature] = Future()
        look = _Look(paths, seen, self._notices, self._tick)
        # A thread of its own: the loop's pool is the host's, and would wait for one that hangs.
        thread = threading.Thread(target=look.run, args=(found,), daemon=True)
        thread.name = "tiergate-file-watch"
        thread.start()
        result = asyncio.wrap_future(found)
        try:
            return await asyncio.shield(result)
        finally:
            look.stop.set()
            await asyncio.wait({result}, timeout=_PATIENCE)


class _Look:
    """The part on a thread: asking a network mount may take for ever, and the loop must not."""

    def __init__(
        self,
        paths: tuple[Path, ...],
        seen: Signature,
        notices: Callable[..., Generator[Any, None, None]],
        tick: float,
    ) -> None:
        self.stop = threading.Event()
        self._paths = paths
        self._seen = dict(seen)
        self._notices = notices
        self._tick = tick
        self._names = {path.name for path in paths} | {_KUBELET}

    def run(self, found: "Future[Signature]") -> None:
        found.set_running_or_notify_cancel()  # from here on nobody can cancel it
        try:
            found.set_result(self._until_different())
        except Exception as error:  # noqa: BLE001  # raised again where it is awaited
            found.set_exception(error)

    def _until_different(self) -> Signature:
        before = {path: self._seen.get(path, now) for path, now in signature(self._paths)}
        with closing(self._hints()) as hints:
            for _ in hints:
                now = signature(self._paths)
                if dict(now) != before:
                    return now
        return ()  # nobody waits for it

    def _hints(self) -> Generator[None, None, None]:
        """When to look: at once, when notices have begun, after one, and every tick without."""
        while not self.stop.is_set():
            yield
            folders = self._folders()
            due = -math.inf  # what changed before the notices began was told by none
            try:
                for noticed in self._notices(
                    *folders,
                    watch_filter=self._is_ours,
                    debounce=_GROUPED_MS,
                    step=_QUIET_MS,
                    stop_event=self.stop,
                    rust_timeout=_ONE_STEP_MS,
                    yield_on_timeout=True,
                    recursive=False,
                ):
                    now = time.monotonic()  # noqa: TID251  # a thread's own time, like its waits
                    if not noticed and now < due:
                        continue
                    due = now + self._tick
                    yield
                    if self._folders() != folders:
                        break
            except (OSError, RuntimeError):  # a folder has just gone, or inotify has no watch left
                self.stop.wait(self._tick)

    def _is_ours(self, _: Any, path: str) -> bool:
        return Path(path).name in self._names

    def _folders(self) -> dict[Path, tuple[int, int]]:
        """Those that are there, and which they are: one that was made anew is not watched yet."""
        known = signature({path.parent for path in self._paths})
        return {folder: identity[:2] for folder, identity in known if identity is not None}
