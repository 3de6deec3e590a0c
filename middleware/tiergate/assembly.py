"""What a configuration is turned into, and how another one takes its place while requests run.

A configuration is swapped whole, between two awaits: whoever reads `tools`, `store.snapshot` and
`sessions` together has parts that belong together. Nothing here sees a request.
"""

import asyncio
import contextlib
import logging
import os
import random
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from tiergate.aside import Aside
from tiergate.attempt import Tools
from tiergate.cache import DocumentCache, MemoryDocuments, SharedDocuments
from tiergate.capacity import Capacity
from tiergate.classify import Classifier
from tiergate.config import Config
from tiergate.credentials import Credentials, read_credentials
from tiergate.document import SourceError
from tiergate.endpoint import compile_endpoints
from tiergate.errors import ConfigError, ConfigUnavailable
from tiergate.feed import Feed, feed_of
from tiergate.file_watch import FileWatch, signature
from tiergate.health import Health
from tiergate.key_files import KeyFiles, key_files, tier_files
from tiergate.loading import load_config
from tiergate.policies import Policies
from tiergate.probing import Prober
from tiergate.redis_link import RedisLink
from tiergate.reloads import Reloads, TiersAway
from tiergate.retry import RetryBudget
from tiergate.sessions import MemorySessions, Sessions
from tiergate.shared_sessions import RedisSessions
from tiergate.store import ConfigurationState, Store
from tiergate.transport import Transport
from tiergate.worker_count import warn_of_workers

FIRST_LOAD_SECONDS: Final = 1.0
"""How long a start waits for the tiers: a slow source makes it not ready, and not dead."""

MEMORY: Final = "memory://"

_log = logging.getLogger("tiergate")

ConfigSource = str | os.PathLike[str] | Mapping[str, Any] | Config


class World(Struct, frozen=True):
    """What is outside: HTTP, two clocks (monotonic, Unix), chance, the environment."""

    transport: Transport
    clock: Callable[[], float]
    wall: Callable[[], float]
    chance: random.Random
    environ: Mapping[str, str] | None


class Assembly:
    """The parts of a gateway. `read` gives the configuration anew; raises `ConfigError`.

    `accepted` is called when what was read last is live.
    """

    def __init__(
        self,
        source: ConfigSource,
        world: World,
        *,
        read: Callable[[], Config] | None = None,
        accepted: Callable[[], None] | None = None,
        watch: bool = False,
    ) -> None:
        self._world = world
        self._read = read or partial(load_config, source, environ=world.environ)
        self._accepted = accepted or (lambda: None)
        self._file = () if isinstance(source, Mapping | Config) else (Path(source),)
        file_seen = signature(self._file)  # before it is read, or a change would be missed
        self.config = self._wanted = config = self._read()
        self.paths = frozenset(config.routing.paths)
        self.needs_restart: tuple[str, ...] = ()
        self._started_with = config.cache
        self._seen = signature(self._files()) + file_seen
        self._keys = KeyFiles(signature(self._key_files()), world.clock, self._take_keys)
        self._reloads = Reloads(self._reload, world.chance)
        self._refused: str | None = None
        self._documents = Aside("tiergate-tiers", at_once=4)
        self._credentials = read_credentials(config, world.environ)
        self.capacity = Capacity(config.limits)
        self.health = Health(config.health, world.clock)
        self._budget = RetryBudget(config.retry)
        self.tools = self._tools()
        self.prober = Prober(
            self.health,
            self.tools.endpoints,
            world.transport,
            interval=config.health.probe_interval_seconds,
        )
        self._links: dict[str, RedisLink] = {}
        self.sessions = self._open_sessions(config)
        self.store = Store(
            self._feed(config, self._credentials),
            self._open_cache(),
            clock=world.clock,
            wall=world.wall,
            chance=world.chance,
            on_change=lambda snapshot: self.health.retain(snapshot.candidates()),
        )
        self._watch = FileWatch(self._files, self._reload_quietly) if watch else None
        self._warned = False
        self._accepted()

    @property
    def key_prefix(self) -> str:
        """Before every key in a store that others use too."""
        return self._started_with.key_prefix

    @property
    def uses_own_keys(self) -> bool:
        return any(key is not None for key in self._credentials.keys.values())

    @property
    def configuration(self) -> ConfigurationState:
        """The tiers that are served, and what was wrong with what was to replace them."""
        state, amiss = self.store.state, self._refused or self._keys.problem
        return state if amiss is None else replace(state, last_error=amiss)

    @property
    def links(self) -> tuple[RedisLink, ...]:
        return tuple(self._links.values())

    async def open(self) -> None:
        """Load the tiers, and keep them and the files behind them fresh in the running loop."""
        self._warn_of_workers()
        await asyncio.gather(*(link.open() for link in self.links))
        with contextlib.suppress(ConfigUnavailable, TimeoutError):  # the store tries on
            async with asyncio.timeout(FIRST_LOAD_SECONDS):
                await self.store.load()
        self.store.open()
        if self._watch is not None:
            self._watch.start(self._seen)  # a change since they were read is one, too
        self._reloads.open()

    async def close(self) -> None:
        """End what runs in this loop, and its connections; a later request opens new ones."""
        if self._watch is not None:
            await self._watch.close()
        await self._reloads.close()
        await self._keys.close()
        await self.prober.close()
        await self.store.close()
        for link in self._links.values():
            await link.close()
        await self._world.transport.close()

    def tend(self) -> None:
        """Begin what is due; for a request to call, where nothing runs in the background."""
        self._warn_of_workers()
        if self.store.snapshot is not None:  # else `load` begins it, and its request waits
            self.store.tend()
        if self._watch is None or not self._watch.running:
            self._keys.tend(self._key_files, self._read_keys)

    async def reload(self) -> None:
        """Read configuration, keys and tiers again, at once; who asks meanwhile waits his turn.

        Raises `ConfigError` where the configuration cannot be used: then nothing has changed.
        Raises `SourceError` where it is live, and its source gave no usable tiers: the old serve.
        """
        await self._reloads.run()

    async def _reload(self) -> None:
        left, file_seen = self.sessions, signature(self._file)
        try:
            self._wanted = config = self._read()
            seen, keys_seen = signature(self._files()) + file_seen, signature(self._key_files())
            credentials = read_credentials(config, self._world.environ)
            feed = self._feed(config, credentials)
            ready = await self.store.prepare(feed)
            self._apply(config, credentials)
            self.store.replace(feed, ready)
        except (ConfigError, SourceError) as error:
            kind = TiersAway if isinstance(error, SourceError) else ConfigError
            if kind is ConfigError or str(error) != self._refused:  # else it is tried for ever
                _log.error("configuration refused: %s", error)
            self._refused = str(error)
            self._unused_links()  # no connection was opened
            raise kind(str(error)) from None
        self._seen, self._keys.seen = seen, keys_seen
        self._refused = self._keys.problem = None
        self._accepted()
        if left is not self.sessions:
            await left.close()
        for link in self._unused_links():
            await link.close()
        await self.store.refresh()

    def _apply(self, config: Config, credentials: Credentials) -> None:
        url, sessions = self._sessions_url(config), self.sessions
        if url != self._sessions_url(self.config):  # kept elsewhere, they begin anew there
            sessions = self._open_sessions(config)  # may raise; nothing after it does
        self.config, self._credentials, self.sessions = config, credentials, sessions
        self.paths = frozenset(config.routing.paths)
        self.tools = self._tools()
        self._world.transport.retain(self.tools.endpoints.values())
        self.capacity.reconfigure(config.limits)
        self.health.reconfigure(config.health)
        self._budget.reconfigure(config.retry)
        self.prober.reconfigure(self.tools.endpoints, config.health.probe_interval_seconds)
        self.sessions.reconfigure(config.sessions)
        self.needs_restart = ("cache",) if config.cache != self._started_with else ()

    def _tools(self) -> Tools:
        world, config, credentials = self._world, self.config, self._credentials
        classifier, authorities = config.classifier, credentials.authorities
        return Tools(
            config,
            compile_endpoints(config.providers, credentials.keys, authorities),
            world.transport,
            Classifier(classifier),
            Policies(config.policies, most_bytes=classifier.max_prompt_bytes),
            self.health,
            self._budget,
            *(world.clock, world.wall, world.chance),
        )

    def _feed(self, config: Config, credentials: Credentials) -> Feed:
        return feed_of(
            config,
            credentials.service_key,
            key_prefix=self.key_prefix,
            wall=self._world.wall,
            aside=self._documents,
        )

    def _open_cache(self) -> DocumentCache:
        url = self._started_with.url
        return MemoryDocuments() if url == MEMORY else SharedDocuments(self._link(url))

    def _sessions_url(self, config: Config) -> str:
        return config.sessions.url or self._started_with.url

    def _open_sessions(self, config: Config) -> Sessions:
        url, settings, clock = self._sessions_url(config), config.sessions, self._world.clock
        if url == MEMORY:
            return MemorySessions(settings, clock)
        return RedisSessions(self._link(url), settings, clock)

    def _link(self, url: str) -> RedisLink:
        """The one link to a Redis, for the cache and the sessions that are kept there."""
        if url not in self._links:
            self._links[url] = RedisLink(
                url, timeout=self._started_with.timeout_seconds, clock=self._world.clock
            )
        return self._links[url]

    def _unused_links(self) -> list[RedisLink]:
        """Forget the links that neither the cache nor the sessions use, and tell them."""
        used = {self._started_with.url, self._sessions_url(self.config)}
        return [self._links.pop(url) for url in self._links.keys() - used]

    def _files(self) -> set[Path]:
        """What to watch. Also for a configuration that was refused: a Secret may reach a pod a
        minute after the ConfigMap that names it.
        """
        return self._key_files().union(self._file, tier_files(self.config, self._wanted))

    def _key_files(self) -> set[Path]:
        return key_files(self.config, self._wanted)

    async def _reload_quietly(self) -> None:
        with contextlib.suppress(SourceError):  # the log and the status have it
            try:
                await self.reload()
            except ConfigError:  # likewise; a key may have been rotated all the same
                self._keys.look(self._key_files, self._read_keys)

    def _read_keys(self) -> Credentials:
        return read_credentials(self.config, self._world.environ)

    def _take_keys(self, credentials: Credentials) -> None:
        """Of files that have changed, where nobody watches them."""
        if credentials != self._credentials:
            self._credentials = credentials
            self.tools = self._tools()
            self._world.transport.retain(self.tools.endpoints.values())
            _log.info("keys were read again")

    def _warn_of_workers(self) -> None:
        warned, self._warned = self._warned, True
        if not warned and self._sessions_url(self.config) == MEMORY:
            warn_of_workers(self._world.environ, sys.argv)
