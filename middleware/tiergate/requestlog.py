"""The request log: an observer that keeps a row for each request, off the request's path.

This is the event loop's side of it. The thread is `log_writer`'s, the databases `log_sql`'s.
"""

import asyncio
import weakref
from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec import Struct

from tiergate.config import RequestLogSettings
from tiergate.log_store import LineStore, LogStore
from tiergate.log_url import LogUrl, need_drivers, read_log_url
from tiergate.log_writer import LogWriter
from tiergate.record import Record

CLOSE_SECONDS: Final = 3.0
"""For what is left at the end: the 25 s of grace and this are below Kubernetes' 30 s."""

_DAY: Final = 86_400.0
_SLACK: Final = 0.2
"""Of that time, for the thread to notice that its own is over."""

_STDOUT: Final = 1


class RequestLogState(Struct, frozen=True):
    """How the log is doing. `name` is its URL without credentials.

    `queued` rows wait, `dropped` ones never will be written; `last_error` is kept when it is back.
    """

    name: str
    available: bool
    queued: int
    written: int
    dropped: int
    last_error: str | None


class RequestLog:
    """Keeps a row for each record where `settings.url` says. Raises `ConfigError`.

    Opens nothing and starts no thread before `open` or the first record, and does so again after
    `close`. Belongs to no event loop. `clock` is monotonic, `wall` Unix time, both in seconds;
    `stdout` is the file descriptor that `stdout:` means.
    """

    def __init__(
        self,
        settings: RequestLogSettings,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        stdout: int = _STDOUT,
    ) -> None:
        self.settings = settings
        url = read_log_url(settings.url)
        need_drivers(url)
        self._writer = LogWriter(
            f"the request log {url.name}",
            _maker(url, stdout),
            most=settings.queue_size,
            retention=settings.retention_days * _DAY,
            clock=clock,
            wall=wall,
        )
        self._name = url.name
        weakref.finalize(self, self._writer.end, CLOSE_SECONDS).atexit = False  # that has its own

    def __repr__(self) -> str:
        return f"<RequestLog {self._name}>"

    @property
    def state(self) -> RequestLogState:
        writer = self._writer
        return RequestLogState(
            name=self._name,
            available=not writer.is_down,
            queued=writer.queued,
            written=writer.written,
            dropped=writer.dropped,
            last_error=writer.last_error,
        )

    def finished(self, record: Record) -> None:
        """Have its row written. Never waits, never raises; what does not fit is dropped."""
        self._writer.put(record)

    def open(self) -> None:
        """Have the store opened, and made if need be, before the first request. Does not wait."""
        self._writer.rouse()

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what is left; what that time is too short for is dropped and counted."""
        ended = self._writer.end(max(0.0, seconds - _SLACK))
        if ended is not None:
            try:
                await asyncio.wait_for(asyncio.wrap_future(ended), seconds)
            except TimeoutError:
                self._writer.give_up()


def request_log_of(
    settings: RequestLogSettings, *, clock: Callable[[], float], wall: Callable[[], float]
) -> RequestLog | None:
    """The log that the settings ask for; raises `ConfigError`."""
    return RequestLog(settings, clock=clock, wall=wall) if settings.url else None


def _maker(url: LogUrl, stdout: int) -> Callable[[], LogStore]:
    if url.kind == "stdout":
        lines = LineStore(stdout)  # one for all threads: it knows where a line was cut
        return lambda: lines
    return partial(_database, url)


def _database(url: LogUrl) -> LogStore:
    # SQLAlchemy: 0.6 s and 25 MB, for those who have a database; and in the writer's thread.
    from tiergate.log_sql import SqlStore

    return SqlStore(url)
