"""The configuration of a running process, read again as often as somebody asks.

The gateway takes the library's part of each reading; what of the sidecar's own part needs a restart
is told from here.
"""

from collections.abc import Callable

from msgspec.structs import replace

from tiergate import Config, Document
from tiergate_sidecar.settings import Logging, Settings, settings_of


class Reading:
    """Calling it reads `document` and gives the library's part; raises `ConfigError`.

    `settings` are those of the last reading that was sound. `configure` is called with the logging
    of each sound reading that changes it.
    """

    def __init__(
        self, document: Callable[[], Document], configure: Callable[[Logging], None]
    ) -> None:
        self._document = document
        self._configure = configure
        self.settings, _ = settings_of(document())
        self._started_with = self.settings
        configure(self.settings.logging)

    def __call__(self) -> Config:
        settings, config = settings_of(self._document())
        if settings.logging != self.settings.logging:
            self._configure(settings.logging)
        self.settings = settings
        return config

    @property
    def started_with(self) -> Settings:
        """What the process listens by."""
        return self._started_with

    @property
    def needs_restart(self) -> tuple[str, ...]:
        """The sidecar's tables that have changed and only a restart can follow."""
        now = replace(self.settings.server, strict=self._started_with.server.strict)  # live
        return () if now == self._started_with.server else ("server",)
