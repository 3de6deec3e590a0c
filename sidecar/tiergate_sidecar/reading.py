"""The configuration of a running process, read again as often as somebody asks.

The gateway takes the library's part of each reading; what of the sidecar's own part needs a restart
is told from here.
"""

import logging
from collections.abc import Callable

from msgspec.structs import replace

from tiergate import Config, Document
from tiergate_sidecar.settings import Logging, Settings, check_auth, settings_of

_log = logging.getLogger("tiergate")


class Reading:
    """Calling it reads `document` and gives the library's part; raises `ConfigError`.

    `document` and `settings` are those of the last reading that the gateway has `accepted`;
    `configure` is called with their logging whenever it has changed.
    """

    def __init__(
        self, document: Callable[[], Document], configure: Callable[[Logging], None]
    ) -> None:
        self._document = document
        self._configure = configure
        self.document = document()
        self.settings, _ = settings_of(self.document)
        self._started_with = self.settings
        self._read = self.document, self.settings
        configure(self.settings.logging)

    def __call__(self) -> Config:
        document = self._document()
        settings, config = settings_of(document)
        check_auth(self._started_with.auth, config)  # its tokens are shown until the restart
        self._read = document, settings
        return config

    def accepted(self) -> None:
        """What was read last is live: for the gateway to call."""
        known, waiting = self.settings, self.needs_restart
        self.document, self.settings = self._read
        if self.settings.logging != known.logging:
            self._configure(self.settings.logging)
        if self.needs_restart and self.needs_restart != waiting:
            _log.warning(
                "changed, and in effect after a restart: %s", ", ".join(self.needs_restart)
            )

    @property
    def started_with(self) -> Settings:
        """What the process listens by."""
        return self._started_with

    @property
    def needs_restart(self) -> tuple[str, ...]:
        """The sidecar's tables that have changed and only a restart can follow."""
        now, then = self.settings, self._started_with
        server = replace(now.server, strict=then.server.strict)  # that one is live
        tables = {
            "server": (server, then.server),
            "admin": (now.admin, then.admin),
            "auth": (now.auth, then.auth),
        }
        return tuple(name for name, (new, old) in tables.items() if new != old)
