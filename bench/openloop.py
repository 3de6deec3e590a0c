"""Open-loop arrivals: requests come when they come, whether or not the ones before are answered.

One blocking loop without asyncio: its timers are of a millisecond, and what is measured here is
less. A latency runs from the moment the request was due, so that nothing is left out when somebody
is late, not even this client.
"""

import gc
import random
import select
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from client import Ending

MOST_SOCKETS = 400
"""At once; `select` knows no number above 1,023. Who cannot keep up needs more: a request that is
due then waits for a free one, and that wait is part of its latency."""

LAST_SECONDS = 20.0
"""For the answers that are still awaited when the last request has been sent."""


def arrivals(rate: float, seconds: float, chance: random.Random) -> list[float]:
    """Poisson: the moments in seconds from the start."""
    due, at = [], chance.expovariate(rate)
    while at < seconds:
        due.append(at)
        at += chance.expovariate(rate)
    return due


def latencies(port: int, asked: bytes, due: Sequence[float]) -> list[float]:
    """Seconds from when each was due to the end of its answer. A blocking call.

    Raises RuntimeError for an answer that is none, and when answers do not come.
    """
    with _without_gc(), _Sockets(port) as sockets:
        began = time.perf_counter()
        took: list[float] = []
        waiting: dict[socket.socket, tuple[float, Ending]] = {}
        sent = 0
        while sent < len(due) or waiting:
            now = time.perf_counter() - began
            while sent < len(due) and due[sent] <= now and (one := sockets.free()):
                one.sendall(asked)
                waiting[one] = (due[sent], Ending())
                sent += 1
            if now > due[-1] + LAST_SECONDS:
                raise RuntimeError(f"{len(waiting)} answers did not come")
            to_send = sent < len(due) and len(waiting) < MOST_SOCKETS
            left = max(0.0, due[sent] - (time.perf_counter() - began)) if to_send else LAST_SECONDS
            for one in select.select(list(waiting), [], [], left)[0]:
                at, ending = waiting[one]
                if _ended(one, ending):
                    took.append(time.perf_counter() - began - at)
                    del waiting[one]
                    sockets.give(one)
        return took


def _ended(one: socket.socket, ending: Ending) -> bool:
    data = one.recv(2**16)
    if not data:
        raise RuntimeError("closed within an answer")
    ended = ending.reached(data)
    if ended and not ending.head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(ending.head.decode())
    return ended


class _Sockets:
    """Connections that are kept: another one is opened only when none is free."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._all: list[socket.socket] = []
        self._free: list[socket.socket] = []

    def __enter__(self) -> "_Sockets":
        return self

    def __exit__(self, *error: object) -> None:
        for one in self._all:
            one.close()

    def free(self) -> socket.socket | None:
        if self._free:
            return self._free.pop()
        if len(self._all) >= MOST_SOCKETS:
            return None
        one = socket.create_connection(("127.0.0.1", self._port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._all.append(one)
        return one

    def give(self, one: socket.socket) -> None:
        self._free.append(one)


def percentile(values: Sequence[float], hundredth: int) -> float:
    return statistics.quantiles(values, n=100)[hundredth - 1]


@contextmanager
def _without_gc() -> Iterator[None]:
    """A collection of ours would be told as somebody's latency."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
