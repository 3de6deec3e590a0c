"""The queue of the request log, and the one thread that empties it into a store.

When to write, how often to try again, what to do when nothing helps. What a store is, and what a
row looks like, is not known here.
"""

import atexit
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Final

from tiergate.log_store import LazyStore, LogDown, LogStore, RowsRefused
from tiergate.record import Record

BATCH: Final = 256
"""Rows at once. To make them ready holds the GIL for 0.3 ms (measured), and so the event loop."""

GATHER_SECONDS: Final = 0.2
"""How long a row waits for company."""

PAUSES: Final = (0.1, 5.0)
"""Seconds between two tries while the store is down: the first, doubled up to the last."""

PRUNE_SECONDS: Final = 3600.0
PRUNE_STEP: Final = 500
"""Rows deleted at once: longer would keep SQLite's lock from everybody else."""

PRUNE_PAUSE: Final = 0.1
"""Seconds between two steps."""

OPEN_PAUSE: Final = 5.0
"""Seconds until a store that could not be opened is tried again, where no row asks for it."""

EXIT_SECONDS: Final = 2.0
"""For what is left when the interpreter ends and nobody has closed the log."""

_TELL_SECONDS: Final = 60.0
_log = logging.getLogger("tiergate")


class LogWriter:
    """Takes records in an event loop and writes them in a thread, which the first one starts.

    `open_store` is called in that thread, and may import what it needs. `most` bounds the rows that
    wait, beside a batch in hand. Rows older than `retention` seconds are deleted. `clock` is
    monotonic, `wall` Unix time, both in seconds.
    """

    def __init__(
        self,
        name: str,
        open_store: Callable[[], LogStore],
        *,
        most: int,
        retention: float,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.name = name
        self.written = 0
        self.is_down = False
        self.last_error: str | None = None
        self._open_store = open_store
        self._most, self._retention = most, retention
        self._clock, self._wall = clock, wall
        # The loop adds to the first, the turn's owner to the second: none is lost between two.
        self._overflowed = self._lost = 0
        self._told = (0, clock())
        self._care_due = clock()
        self._prune_error: str | None = None
        self.forget()
        _writers.add(self)

    def forget(self) -> None:
        """As before the first row: after a fork thread, queue and locks are the parent's."""
        self._queue: deque[Record] = deque()
        self._in_hand = 0
        self._asleep = True
        self._wake = threading.Event()
        self._turn = threading.Lock()  # of beginning, ending and a batch, never of a row
        self._thread: threading.Thread | None = None
        self._ended: Future[None] = Future()
        self._end_at: float | None = None

    @property
    def queued(self) -> int:
        """Rows that wait or are being written."""
        return len(self._queue) + self._in_hand

    @property
    def dropped(self) -> int:
        return self._overflowed + self._lost

    def put(self, record: Record) -> None:
        """Have it written. Costs 0.2 µs, and 2 when the thread has to be woken; never waits."""
        if len(self._queue) >= self._most:
            self._overflowed += 1
            return
        self._queue.append(record)
        if self._asleep:
            self.rouse()

    def rouse(self) -> None:
        """Have the thread look around; begin one where there is none."""
        with self._turn:
            if self._thread is None or not self._thread.is_alive():
                try:
                    self._begin()
                except RuntimeError as error:  # the system has no thread for us: the next row asks
                    self._thread, self.last_error = None, str(error)
                    return
            self._asleep = False
        self._wake.set()

    def end(self, seconds: float) -> "Future[None] | None":
        """Write what is left within that time, then give up and end; None: nothing runs.

        A call of the store that does not come back keeps the future waiting: whoever waits for it
        needs a time limit, and calls `give_up` then.
        """
        with self._turn:
            if self._thread is None or not self._thread.is_alive():
                return None
            self._end_at = self._clock() + seconds
            self._wake.set()
            return self._ended

    def give_up(self) -> None:
        """Drop and count what is left, and leave the thread to itself; nobody waits for it again.

        What its call of the store still writes is counted as dropped nevertheless.
        """
        with self._turn:
            if self._thread is None:
                return
            self._thread, self._asleep = None, True
            self._drop()

    def _begin(self) -> None:
        self._end_at = None
        self._ended = Future()
        self._ended.set_running_or_notify_cancel()  # whoever waits for it cannot cancel it
        # Nobody is kept from ending; what is left then has its own time limit.
        at_exit = partial(self._at_exit)  # of this thread, and no other
        self._thread = threading.Thread(
            target=self._run, args=(at_exit,), name="tiergate-log", daemon=True
        )
        self._thread.start()
        atexit.register(at_exit)

    def _at_exit(self) -> None:
        ended = self.end(EXIT_SECONDS)
        if ended is not None and not wait([ended], EXIT_SECONDS).done:
            self.give_up()

    def _run(self, at_exit: Callable[[], None]) -> None:
        store, ended = LazyStore(self._open_store), self._ended
        try:
            while self._has_work():
                if self._clock() >= self._care_due:
                    self._care_due = self._clock() + self._care(store)
                self._write(store, self._take())
                self._tell_dropped()
        finally:
            store.close()
            atexit.unregister(at_exit)
            ended.set_result(None)

    def _has_work(self) -> bool:
        """Wait for something to do; False when the thread is to end, and is the thread no more."""
        while not self._queue:
            with self._turn:
                if self._is_ours() and self._end_at is not None and not self._queue:
                    self._asleep, self._thread = True, None
                if not self._is_ours():
                    return False
                self._wake.clear()
                self._asleep = True
            left = self._care_due - self._clock()
            if self._queue or left <= 0:  # a row may have been put before it could see that
                break
            self._wake.wait(left)
        with self._turn:
            if not self._is_ours():
                return False
            self._asleep = False
            self._wake.clear()
        if 0 < len(self._queue) < BATCH and self._end_at is None:
            self._wake.wait(GATHER_SECONDS)
        return True

    def _is_ours(self) -> bool:
        """Whether this thread is still the one: nobody has given it up."""
        return self._thread is threading.current_thread()

    def _take(self) -> list[Record]:
        with self._turn:
            if not self._is_ours():
                return []
            self._in_hand = min(BATCH, len(self._queue))
            return [self._queue.popleft() for _ in range(self._in_hand)]

    def _write(self, store: LazyStore, batch: list[Record]) -> None:
        """Try until it is written, or is refused row by row, or the time is over."""
        parts, pause = [batch] if batch else [], PAUSES[0]
        while parts:
            part = parts.pop()
            try:
                store.write(part)
            except RowsRefused as error:
                if len(part) > 1:
                    parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                    continue
                if not self._settle(lost=1):
                    return
                self.last_error = str(error)
                _log.warning("%s does not take the row of %s: %s", self.name, part[0].id, error)
            except Exception as error:  # noqa: BLE001  # not even a bug may end the log
                self._fail(error)
                parts.append(part)
                with self._turn:
                    if not self._is_ours():
                        return
                    if self._end_at is not None and self._clock() >= self._end_at:
                        self._drop()
                        return
                    self._wake.clear()
                self._wake.wait(pause if self._end_at is None else PAUSES[0])
                pause = min(2 * pause, PAUSES[1])
                continue
            else:
                if not self._settle(written=len(part)):
                    return
            self._come_back()

    def _settle(self, *, written: int = 0, lost: int = 0) -> bool:
        """Count rows of the batch; False: they were given up meanwhile, and counted then."""
        with self._turn:
            if self._is_ours():
                self.written += written
                self._lost += lost
                self._in_hand -= written + lost
            return self._is_ours()

    def _drop(self) -> None:
        lost = self.queued
        self._in_hand = 0
        self._queue.clear()
        self._lost += lost
        if lost:
            _log.warning("%s: %d rows were not written in time", self.name, lost)

    def _care(self, store: LazyStore) -> float:
        """Open the store where it is not, delete what is too old; seconds until the next time."""
        try:
            store.open()
        except Exception as error:  # noqa: BLE001  # likewise
            self._fail(error)
            return OPEN_PAUSE
        self._come_back()
        before = round((self._wall() - self._retention) * 1_000_000)
        try:
            deleted = store.prune(before, PRUNE_STEP)
        except Exception as error:  # noqa: BLE001  # likewise
            if str(error) != self._prune_error:
                self.last_error = self._prune_error = str(error)
                _log.warning("%s: old rows cannot be deleted: %s", self.name, error)
            return PRUNE_SECONDS
        return PRUNE_SECONDS if deleted < PRUNE_STEP else PRUNE_PAUSE

    def _fail(self, error: Exception) -> None:
        expected = isinstance(error, LogDown | RowsRefused)
        self.last_error = str(error) if expected else f"{type(error).__name__}: {error}"
        if not self.is_down:
            self.is_down = True
            said, trace = self.last_error, None if expected else error
            _log.warning(
                "%s cannot be used, rows of requests wait: %s", self.name, said, exc_info=trace
            )

    def _come_back(self) -> None:
        if self.is_down:
            self.is_down = False
            _log.info("%s is back", self.name)

    def _tell_dropped(self) -> None:
        told, at = self._told
        if self._overflowed > told and self._clock() >= at:
            self._told = (self._overflowed, self._clock() + _TELL_SECONDS)
            _log.warning("%s is too slow: %d rows dropped", self.name, self._overflowed - told)


_writers: Final[weakref.WeakSet[LogWriter]] = weakref.WeakSet()
os.register_at_fork(after_in_child=lambda: [*map(LogWriter.forget, list(_writers))])
