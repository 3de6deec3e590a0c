"""The addresses of one host, looked up where a lookup that hangs is in nobody's way.

The system's lookup blocks a thread and cannot be ended, and the few threads of an event loop look
up the providers' names. Who connects to an address is not known here.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from threading import Lock, Thread
from typing import Any, Final

LookUp = Callable[..., list[tuple[Any, ...]]]
"""`socket.getaddrinfo`, or what stands for it."""

Addresses = tuple[str, ...]

_FRESH_SECONDS: Final = 2.0
"""Longer than from one try of a caller to the next, so that an answer which came too late for one
serves the next; short, for a host may move."""


def _on_a_thread(work: Callable[[], None]) -> None:
    Thread(target=work, name="tiergate-names", daemon=True).start()


class Resolver:
    """One host; in all event loops and threads together it is looked up once at a time.

    Each lookup is a daemon thread, which nobody waits for at the end of a loop or of the process.
    Nothing is to be closed. `clock` is in seconds, and may be set back.
    """

    def __init__(
        self,
        host: str,
        *,
        clock: Callable[[], float],
        look_up: LookUp = socket.getaddrinfo,
        begin: Callable[[Callable[[], None]], None] = _on_a_thread,
    ) -> None:
        self._host = host
        self._clock = clock
        self._look_up = look_up
        self._begin = begin
        self._lock = Lock()
        self._under_way = False
        self._waiting: set[asyncio.Future[Addresses | socket.gaierror]] = set()
        self._found: Addresses = ()
        self._found_at = float("-inf")

    async def addresses(self) -> Addresses:
        """At least one, the best first; of an address itself. Raises `socket.gaierror`.

        It takes as long as the lookup that is under way; whoever cannot wait leaves.
        """
        if _is_address(self._host):
            return (self._host,)
        answer: asyncio.Future[Addresses | socket.gaierror]
        answer = asyncio.get_running_loop().create_future()
        with self._lock:
            if 0 <= self._clock() - self._found_at < _FRESH_SECONDS:
                return self._found
            if not self._under_way:
                self._start()
            self._waiting.add(answer)
        try:
            found = await answer
        finally:
            with self._lock:
                self._waiting.discard(answer)
        if isinstance(found, socket.gaierror):
            raise socket.gaierror(*found.args)  # one for each, for it gathers who raised it
        return found

    def _start(self) -> None:
        try:
            self._begin(self._ask)
        except RuntimeError as error:  # the system gives no more threads
            raise socket.gaierror(socket.EAI_AGAIN, str(error)) from None
        self._under_way = True

    def _ask(self) -> None:
        found: Addresses | socket.gaierror
        try:
            rows = self._look_up(self._host, None, type=socket.SOCK_STREAM)
            found = tuple(dict.fromkeys(row[4][0] for row in rows))
        except socket.gaierror as error:
            found = error
        except Exception as error:  # noqa: BLE001  # as of names that cannot be encoded
            found = socket.gaierror(socket.EAI_NONAME, str(error))
        with self._lock:
            self._under_way = False
            if isinstance(found, tuple):
                self._found, self._found_at = found, self._clock()
            waiting = list(self._waiting)
        for answer in waiting:
            with suppress(RuntimeError):  # its loop is closed
                answer.get_loop().call_soon_threadsafe(_tell, answer, found)


def _tell(
    answer: asyncio.Future[Addresses | socket.gaierror], found: Addresses | socket.gaierror
) -> None:
    if not answer.done():
        answer.set_result(found)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
