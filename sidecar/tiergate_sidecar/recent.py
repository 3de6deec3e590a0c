"""The last requests, in memory: what the inspector shows, whatever is sampled or logged.

A ring of records is the one buffer; whoever follows it holds a place in it and nothing else, so
that a slow reader costs no memory. How records are shown or sent is not known here.
"""

import asyncio
import contextlib
from collections import deque
from itertools import islice
from typing import Final

from msgspec import Struct

from tiergate import Record

MOST_FOLLOWERS: Final = 32
"""Pages that are open at a time, each of which costs a wake-up for requests that end."""

BATCH: Final = 100
"""Records that a follower takes at once: under a millisecond to encode."""


class Batch(Struct, frozen=True):
    """Records in the order they ended; `missed` counts those that went before they were read."""

    records: tuple[Record, ...]
    missed: int = 0


class Ring:
    """The last `size` records: an `Observer`. `closed` is when nobody may follow any more."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.closed = False
        self._kept: deque[Record] = deque(maxlen=size)
        self._count = 0
        self._followers: tuple[Follower, ...] = ()

    def __repr__(self) -> str:
        return f"<Ring {len(self._kept)}/{self.size}, {len(self._followers)} followers>"

    def finished(self, record: Record) -> None:
        self._kept.append(record)
        self._count += 1
        for follower in self._followers:
            follower.wake()

    def records(self) -> list[Record]:
        """Newest first."""
        return list(reversed(self._kept))

    def find(self, name: str) -> Record | None:
        """By our id, else the last one with this id of its client."""
        records = self.records()
        ours = (record for record in records if record.id == name)
        theirs = (record for record in records if record.client_id == name)
        return next(ours, None) or next(theirs, None)

    def follow(self, after: str | None = None) -> "Follower | None":
        """A place behind the record of this id, else before the oldest; None when it is full."""
        if self.closed or len(self._followers) >= MOST_FOLLOWERS:
            return None
        position = self._count - len(self._kept)
        for behind, record in enumerate(self.records()):
            if record.id == after:
                position = self._count - behind
        return Follower(self, position)

    def close(self) -> None:
        """End every follower, and let nobody follow."""
        self.closed = True
        for follower in self._followers:
            follower.close()

    def _add(self, follower: "Follower") -> None:
        self._followers = (*self._followers, follower)

    def _remove(self, follower: "Follower") -> None:
        self._followers = tuple(each for each in self._followers if each is not follower)

    def _since(self, position: int) -> tuple[Batch, int]:
        oldest = self._count - len(self._kept)
        first = max(position, oldest)
        records = tuple(islice(self._kept, first - oldest, first - oldest + BATCH))
        return Batch(records, missed=first - position), first + len(records)


class Follower:
    """One reader of a ring, in the loop that enters it. A context manager: leaving ends it."""

    def __init__(self, ring: Ring, position: int) -> None:
        self._ring = ring
        self._position = position
        self._closed = False
        self._woken = asyncio.Event()
        self._is_waking = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> "Follower":
        self._loop = asyncio.get_running_loop()
        self._ring._add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._ring._remove(self)

    def wake(self) -> None:
        """There is something new: from any loop, for the requests may run in another one."""
        if self._is_waking or self._loop is None:
            return
        self._is_waking = True
        try:
            self._loop.call_soon_threadsafe(self._woken.set)
        except RuntimeError:  # its loop was closed under it
            self._ring._remove(self)

    def close(self) -> None:
        self._closed = True
        self._is_waking = False
        self.wake()

    async def next(self, patience: float) -> Batch | None:
        """What is new, an empty batch after `patience` seconds without; None when it was closed."""
        batch = self._take()
        if not batch.records and not self._closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._woken.wait()
            batch = self._take()
        return None if self._closed else batch

    def _take(self) -> Batch:
        self._woken.clear()
        self._is_waking = False
        batch, self._position = self._ring._since(self._position)
        return batch
