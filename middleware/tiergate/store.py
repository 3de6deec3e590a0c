"""The tier configuration in memory: source → aiocache → compiled snapshot, kept fresh.

The request path reads `snapshot`, a plain attribute. One flight at a time asks the source; a source
that fails changes nothing but what `state` says. Who asks for a reload is not known here.
"""

import asyncio
import logging
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tiergate.cache import DocumentCache
from tiergate.document import SourceError, TierDocument
from tiergate.errors import ConfigUnavailable
from tiergate.feed import Feed
from tiergate.snapshot import Snapshot

REFRESH: Final = (0.8, 0.95)
"""The share of the TTL after which a document is renewed, drawn for each: replicas that were
started together must not ask together."""

FIRST_PAUSES: Final = (1.0, 4.0)
"""Seconds from try to try while nothing can be served: CONTRACT section 11 says 1 to 5."""

SHORTEST_PAUSE: Final = 0.2
"""Seconds after one that took longer than that."""

LONGEST_PAUSE: Final = 60.0
"""Seconds between two tries while an old document serves."""

_log = logging.getLogger("tiergate")


def pause(failures: int, chance: random.Random) -> float:
    """Seconds until the next try after so many in a row that failed, while the old tiers serve."""
    return min(LONGEST_PAUSE, chance.uniform(*FIRST_PAUSES) * 2.0 ** min(failures, 10))


Ready = tuple[TierDocument, Snapshot]


class ConfigurationState(Struct, frozen=True):
    """The tiers that are served: their version, age in seconds, and what is wrong with them.

    `last_error` is that of the last try, None after a good one; `skipped` names the entries that
    are left out.
    """

    source: str
    version: str | None
    updated_at: str | None
    age_seconds: float | None
    last_error: str | None
    skipped: tuple[str, ...]


class Store:
    """One source, one cache, one snapshot. `on_change` hears of every new snapshot."""

    def __init__(
        self,
        feed: Feed,
        cache: DocumentCache,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        chance: random.Random,
        on_change: Callable[[Snapshot], None],
    ) -> None:
        self.snapshot: Snapshot | None = None
        self._feed = feed
        self._cache = cache
        self._clock = clock
        self._wall = wall
        self._chance = chance
        self._on_change = on_change
        self._document: TierDocument | None = None
        self._answered = False  # whether the document is the source's, not the standby
        self._due = self._begun = clock()
        self._error: str | None = None
        self._failures = 0
        self._cache_failed = False
        self._flight: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._serve_standby()

    def __repr__(self) -> str:
        version = self.snapshot.version if self.snapshot else "nothing loaded"
        return f"<Store {self._feed.source.name}: {version}>"

    @property
    def state(self) -> ConfigurationState:
        held = self._document
        fetched_at = held.fetched_at if held is not None else 0
        return ConfigurationState(
            source=self._feed.source.name,
            version=held.version if held is not None else None,
            updated_at=held.updated_at if held is not None else None,
            age_seconds=max(0.0, self._wall() - fetched_at) if fetched_at else None,
            last_error=self._error,
            skipped=self.snapshot.skipped if self.snapshot is not None else (),
        )

    async def load(self) -> Snapshot:
        """The snapshot, once there is one; raises `ConfigUnavailable`.

        The first load is waited for by everybody. After it has failed only the request that begins
        the next one waits; the others are told at once.
        """
        if self.snapshot is None and (self._failures == 0 or self._is_due()):
            await self._join(self._flying() or self._begin())
        if self.snapshot is None:
            raise ConfigUnavailable(
                "The tiers are not loaded yet.", retry_after=self._due - self._clock()
            )
        return self.snapshot

    def tend(self) -> None:
        """Begin what is due, if anything is. For a request to call: it waits for nothing."""
        if self._is_due():
            self._begin()

    async def refresh(self) -> None:
        """Ask the source now, whatever the cache holds; raises `SourceError`."""
        while flight := self._flying():
            await self._join(flight)
        await self._join(self._begin(force=True))
        if self._error is not None:
            raise SourceError(self._error)

    async def prepare(self, feed: Feed) -> Ready | None:
        """What is to serve when `replace` takes this feed; raises `SourceError`.

        What the old source gave goes on serving until the new one has answered. Only where the new
        configuration has no use for it a document is asked for first: both may have changed.
        """
        held = self._held_for(feed)
        try:
            return (held, feed.compile(held)) if held is not None else None
        except SourceError:
            if feed.ttl == math.inf:
                raise
        return await feed.fetch(None)

    def replace(self, feed: Feed, ready: Ready | None) -> None:
        """Take the tiers from another feed from now on; `ready` is what `prepare` gave for it."""
        held, snapshot = ready or (None, None)
        if held is not self._held_for(feed):
            self._answered = True
        known, self._feed = self._feed, feed
        if feed.key != known.key or feed.source.name != known.source.name:
            self._error, self._failures, self._due = None, 0, self._clock()
            held = None if held is None else replace(held, etag=None)  # another one's word
        if feed.ttl == math.inf:
            self._answered, self._due = False, math.inf
        else:
            self._due = min(self._due, self._clock() + feed.ttl)
        if held is not None and snapshot is not None:
            self._publish(held, snapshot)
        if self._keeper is not None:
            self.open()

    def open(self) -> None:
        """Keep the tiers fresh in the running loop, without waiting for a request to come."""
        loop = asyncio.get_running_loop()
        if self._keeper is not None and self._keeper.get_loop() is loop:
            self._keeper.cancel()
        self._keeper = loop.create_task(self._keep())

    async def close(self) -> None:
        """End what runs in this loop; the snapshot stays."""
        loop, tasks = asyncio.get_running_loop(), (self._keeper, self._flight)
        self._keeper = self._flight = None
        for task in tasks:
            if task is not None and task.get_loop() is loop:
                task.cancel()
                await asyncio.wait({task})
        await self._cache.close()

    def _serve_standby(self) -> None:
        feed = self._feed
        if feed.standby is not None:
            self._publish(feed.standby, feed.compile(feed.standby))
        if feed.ttl == math.inf:
            self._due = math.inf

    def _held_for(self, feed: Feed) -> TierDocument | None:
        if feed.standby is not None and (feed.ttl == math.inf or not self._answered):
            return feed.standby
        return self._document

    async def _keep(self) -> None:
        while self._due < math.inf:
            flight = self._flying()
            if flight is None and not self._is_due():
                # In short naps: a refresh by hand that fails is tried again before this one is due.
                await asyncio.sleep(min(LONGEST_PAUSE, self._due - self._clock()))
            else:
                await self._join(flight or self._begin())

    def _is_due(self) -> bool:
        return self._clock() >= self._due and self._flying() is None

    def _flying(self) -> "asyncio.Task[None] | None":
        """The flight under way in this loop: one in a loop that has ended never lands."""
        flight = self._flight
        if flight is None or flight.done() or flight.get_loop() is not asyncio.get_running_loop():
            return None
        return flight

    def _begin(self, *, force: bool = False) -> "asyncio.Task[None]":
        self._begun = self._clock()
        self._flight = asyncio.create_task(self._fly(self._feed, force))
        return self._flight

    async def _join(self, flight: "asyncio.Task[None]") -> None:
        await asyncio.wait({flight})  # whoever stops waiting does not end it

    async def _fly(self, feed: Feed, force: bool) -> None:
        """Get a document and publish it; what fails is noted, and raises nothing."""
        try:
            found = None if force else await self._cached(feed)
            document, snapshot = found or await feed.fetch(
                self._document if self._answered else None
            )
        except SourceError as error:
            self._fail(feed, str(error))
            return
        except Exception:  # noqa: BLE001  # a source may be anybody's: the old tiers must serve on
            _log.exception("tier configuration: a bug while reading %s", feed.source.name)
            self._fail(feed, "an internal error; the log has the details")
            return
        if feed is not self._feed:
            return  # replaced meanwhile, and due again
        self._answered, self._error, self._failures = feed.ttl < math.inf, None, 0
        self._due = self._clock() + feed.ttl * self._chance.uniform(*REFRESH)
        if found is not None:  # it has been old since somebody else fetched it
            self._due -= max(0.0, self._wall() - document.fetched_at)
        self._publish(document, snapshot)
        if found is None and feed.source.shared:
            with self._whatever_the_cache_does():
                await self._cache.set(feed.key, document, feed.ttl)

    async def _cached(self, feed: Feed) -> Ready | None:
        """What another replica, or this one before, has put into the cache, if that is news."""
        with self._whatever_the_cache_does(), suppress(SourceError):
            document = await self._cache.get(feed.key) if feed.source.shared else None
            if document is not None and document.fetched_at > self._fetched_at():
                return document, feed.compile(document)
        return None

    @contextmanager
    def _whatever_the_cache_does(self) -> Iterator[None]:
        """The source is there to be asked: a bug, or what others have written, must not stop it."""
        try:
            yield
        except Exception:  # noqa: BLE001  # see above
            if not self._cache_failed:
                _log.exception("tier configuration: the cache cannot be used")
            self._cache_failed = True

    def _fetched_at(self) -> float:
        return self._document.fetched_at if self._answered and self._document is not None else 0.0

    def _fail(self, feed: Feed, error: str) -> None:
        if feed is not self._feed:
            return
        if error != self._error:
            _log.warning("tier configuration: %s", error)
        self._error = error
        self._failures += 1
        now = self._clock()
        if self.snapshot is None:  # from try to try: one that hung has had its pause
            due = self._begun + self._chance.uniform(*FIRST_PAUSES)
            self._due = max(now + SHORTEST_PAUSE, due)
        else:
            self._due = now + pause(self._failures, self._chance)

    def _publish(self, document: TierDocument, snapshot: Snapshot) -> None:
        known, self.snapshot, self._document = self.snapshot, snapshot, document
        if known is not None and known.version != snapshot.version:
            _log.info("tier configuration: version %s is live", snapshot.version)
        for text in snapshot.skipped:
            if known is None or text not in known.skipped:
                _log.warning("tier configuration: skipped %s", text)
        self._on_change(snapshot)
