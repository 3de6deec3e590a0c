"""`POST /v1/replay`: a configuration that somebody posts, tried on the requests that are kept.

Nothing of it is applied, nobody is asked, and neither files nor the environment are read for it.
What a trial tells is the library's `WhatIf`; where requests are kept is `history`'s.
"""

import re
import threading
import tomllib
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from tiergate import ConfigError, RequestRow, SourceError, WhatIf, WhatIfResult, trial_config
from tiergate_sidecar.errors import QueryInvalid, ReloadRefused, TrialUnavailable
from tiergate_sidecar.history import History
from tiergate_sidecar.in_thread import Threads, Undone
from tiergate_sidecar.queries import Query, Source, read_query

MOST_REQUESTS: Final = 20_000
"""Of one trial, the newest: some seconds of work. `tiergate replay` has no such bound."""

MOST_BYTES: Final = 262_144
"""Of a posted trial: a configuration of a thousand candidates has 150 kB."""

TRIAL_SECONDS: Final = 30.0

_DEEP: Final = re.compile(
    r"""(?:\.[ \t]*+(?:[\w-]++|"(?>(?:[^"\\\n]|\\.)*)"|'[^'\n]*+')[ \t]*+){64}"""
)
"""A key of more parts than any setting's: `tomllib` keeps every beginning of one, so that 240 kB of
dots would be 12 GB (measured)."""

_ROWS_AT_ONCE: Final = 10
_PAUSE_SECONDS: Final = 0.0005
"""After so many rows, which take about as long: the event loop waits no longer for its turn, and
has half of the time."""


class Trial(Struct, frozen=True):
    """What a trial tells; `older_left_out` where there were more requests than one looks at."""

    source: Source
    since: int
    until: int
    older_left_out: bool
    result: WhatIfResult


class _Posted(Struct, forbid_unknown_fields=True):
    config: str
    range: str = ""
    since: int | str = ""
    until: int | str = ""


class Trials:
    """Trials over one history, one at a time."""

    def __init__(
        self, history: History, *, most: int = MOST_REQUESTS, seconds: float = TRIAL_SECONDS
    ) -> None:
        self._history = history
        self._most = most
        self._threads = Threads("tiergate-trial", at_once=1, seconds=seconds)

    async def run(self, body: bytes, now_us: int) -> Trial:
        """The trial that `body` asks for; raises `Answerable`. `now_us` is Unix time."""
        config, query = _read(body, now_us)
        stopped = threading.Event()

        def take(older_left_out: bool, rows: Iterator[RequestRow]) -> Trial:
            trial = WhatIf(trial_config(_tables(config), alone=True))
            for place, row in enumerate(rows):
                if place % _ROWS_AT_ONCE == 0 and stopped.wait(_PAUSE_SECONDS):
                    break  # nobody waits for what would come
                trial.add(row)
            told = trial.result()
            return Trial(self._history.source, query.since, query.until, older_left_out, told)

        work, interrupt = self._history.over(query, self._most, take)

        def stop() -> None:
            stopped.set()
            interrupt()

        try:
            return await self._threads.run(work, stop)
        except Undone as error:
            text = f"No trial now: {error}. One runs at a time, for {TRIAL_SECONDS:.0f} s at most."
            raise TrialUnavailable(text, retry_after=1) from None
        except (ConfigError, SourceError) as error:
            raise ReloadRefused(str(error), param="config") from None


def _tables(text: str) -> dict[str, Any]:
    if _DEEP.search(text):
        raise ConfigError("config: a key has too many parts")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"config: {error}") from None


def _read(body: bytes, now_us: int) -> tuple[str, Query]:
    try:
        posted = msgspec.json.decode(body, type=_Posted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        text = f'Send {{"config": "the TOML text", "range": "last_24h"}}: {error}.'
        raise QueryInvalid(text) from None
    given = {"range": posted.range, "since": str(posted.since), "until": str(posted.until)}
    return posted.config, read_query(given, now_us)
