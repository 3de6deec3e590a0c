"""Where rows go: JSON lines on a file descriptor, and what every store promises its writer.

A store is used by one thread at a time and may block it. Databases are in `log_sql`; when to write,
and what to do when that fails, is the writer's.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

from tiergate.errors import TiergateError
from tiergate.log_row import encoded
from tiergate.record import Record

ATOMIC_BYTES: Final = 4096
"""What Linux writes to a pipe in one piece (PIPE_BUF), whoever else writes there."""


class LogDown(TiergateError):
    """The store cannot be used now: gone, locked, full. The same rows are worth another try."""


class RowsRefused(TiergateError):
    """The store works and does not take these rows: no other try will help."""


class LogStore(Protocol):
    """Methods raise `LogDown` and, `write` alone, `RowsRefused`; all may be called again then."""

    def open(self) -> None:
        """Open it where it is not, and bring it up to date; the others do so too."""

    def write(self, records: Sequence[Record]) -> None:
        """Keep the rows of these, all of them or none.

        A row whose id is known already is left as it is: after a lost answer it is sent again.
        """

    def prune(self, before_us: int, most: int) -> int:
        """Delete up to `most` of the rows older than that; how many those were."""

    def close(self) -> None:
        """Let go of what is open; the next call opens it anew. Raises nothing."""


class LazyStore:
    """A store that is made when it is first used, and tried again where that failed."""

    def __init__(self, make: Callable[[], LogStore]) -> None:
        self._make = make
        self._store: LogStore | None = None

    def open(self) -> None:
        self._made().open()

    def write(self, records: Sequence[Record]) -> None:
        self._made().write(records)

    def prune(self, before_us: int, most: int) -> int:
        return self._made().prune(before_us, most)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    def _made(self) -> LogStore:
        if self._store is None:
            self._store = self._make()
        return self._store


class LineStore:
    """One row a line on `descriptor`, no line twice. One for all threads of a log.

    Processes may share the descriptor: whole lines go out in pieces of at most `ATOMIC_BYTES`. A
    longer line goes alone, and only that one may be cut by another process's.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._records: list[Record] = []
        self._pieces: list[bytes] = []
        self._cut = False
        self._begin()

    def write(self, records: Sequence[Record]) -> None:
        if self._process != os.getpid():  # what was begun before a fork is the parent's
            self._begin()
        with self._turn:  # a thread that was given up may still be in the middle of a line
            if not (self._pieces and records == self._records):
                self._records = list(records)
                # Rows that were given up in the middle of a line: it must not take ours with it.
                self._pieces = [b"\n"] if self._cut else []
                self._pieces += _pieces(encoded(record) + b"\n" for record in records)
            try:
                while self._pieces:
                    piece = self._pieces[0]
                    done = os.write(self._descriptor, piece)
                    self._cut = not piece.endswith(b"\n", 0, done)
                    self._pieces[:1] = [piece[done:]] if done < len(piece) else []
            except OSError as error:  # the writer comes again with the same rows, or has given up
                raise LogDown(f"stdout: {error.strerror}") from None

    def open(self) -> None:
        return

    def prune(self, before_us: int, most: int) -> int:
        del before_us, most  # whoever collects the lines has rules of its own
        return 0

    def close(self) -> None:
        return

    def _begin(self) -> None:
        self._process = os.getpid()
        self._turn = threading.Lock()
        self._records, self._pieces, self._cut = [], [], False


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > ATOMIC_BYTES:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece
