"""The rows of a request log in the order of their time, from a database or from collected lines.

Nothing is written or made, and memory is bounded. What is done with the rows is not known here.
"""

import heapq
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from tiergate import ConfigError, LogUrl, RequestRow, read_log_url
from tiergate_sidecar.queries import FARTHEST

REORDERED: Final = 10_000
"""Lines, about 2 kB each, that wait for an earlier one: a line is written when its request ends,
which may be minutes after it came."""

LONGEST_LINE: Final = 1_048_576
"""Bytes; a row is 1 kB."""


class LogRows:
    """The rows that arrived from `since` to `until` (Unix time in microseconds, both included).

    `log` is a URL as in `request_log.url`, a file of JSON lines, or `-` for those on `stdin`.
    Iterating reads, which blocks, and raises `ConfigError` in one line for what is no log.
    `unreadable` counts what is no row, `late` the lines that come after a later one: what their
    conversations make of them is then not as it was. `attempts` of a database are left out.
    """

    def __init__(
        self,
        log: str,
        *,
        since: int = -FARTHEST,
        until: int = FARTHEST,
        stdin: IO[bytes] | None = None,
    ) -> None:
        self.unreadable = 0
        self.late = 0
        self._log = log
        self._since = since
        self._until = until
        self._stdin = stdin

    def __iter__(self) -> Iterator[RequestRow]:
        if "://" not in self._log and not self._log.startswith(("sqlite:", "stdout:")):
            yield from self._lines()
            return
        url = read_log_url(self._log)
        if url.kind == "stdout":
            raise ConfigError(
                "stdout: keeps nothing; give the file in which its lines were collected, or -"
            )
        yield from self._database(url)

    def _database(self, url: LogUrl) -> Iterator[RequestRow]:
        if url.kind == "sqlite" and not Path(url.where).is_file():
            raise ConfigError(f"there is no file {url.where}")
        try:
            # SQLAlchemy: 0.6 s and 25 MB, for those who have a database.
            from tiergate_sidecar.log_rows import pages
        except ImportError as error:
            raise ConfigError(f"{url.name} cannot be read: {error}") from None
        for page in pages(url, self._since, self._until):
            for values in page:
                try:
                    yield msgspec.convert({"attempts": (), **values}, RequestRow)
                except msgspec.ValidationError:
                    self.unreadable += 1

    def _lines(self) -> Iterator[RequestRow]:
        waiting: list[tuple[int, int, RequestRow]] = []
        newest = -FARTHEST
        try:
            with self._opened() as lines:
                for number, row in enumerate(self._read(lines)):
                    if row.at < newest:
                        self.late += 1
                    heapq.heappush(waiting, (row.at, number, row))
                    if len(waiting) > REORDERED:
                        _, _, oldest = heapq.heappop(waiting)
                        newest = max(newest, oldest.at)
                        yield oldest
        except OSError as error:
            raise ConfigError(f"cannot read {self._log}: {error.strerror}") from None
        while waiting:
            yield heapq.heappop(waiting)[-1]

    def _opened(self) -> Any:
        if self._log == "-":
            return nullcontext(sys.stdin.buffer if self._stdin is None else self._stdin)
        return Path(self._log).open("rb")

    def _read(self, lines: IO[bytes]) -> Iterator[RequestRow]:
        decoder, count = msgspec.json.Decoder(RequestRow), 0
        for line in _whole_lines(lines):
            if not line.strip():
                continue
            try:
                row = decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.unreadable += 1
                continue
            count += 1
            if self._since <= row.at <= self._until:
                yield row
        if self.unreadable and not count:
            raise ConfigError(f"{self._log} is no request log: none of its lines is a row")


def _whole_lines(lines: IO[bytes]) -> Iterable[bytes]:
    """One too long is given in pieces, none of which can be read."""
    while line := lines.readline(LONGEST_LINE):
        yield line
