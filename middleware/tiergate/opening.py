"""A stream before its commit point: read, judge and hold back until it may go out.

The commit point is one state in one place: `Opening.reach` returns and the stream is committed, or
it raises and nothing of it has been seen by the client. What follows is `relay`'s.
"""

import math
from collections.abc import Callable
from enum import Enum
from typing import Final

from msgspec import Struct

from tiergate.capacity import Account
from tiergate.config import Failover, Streaming
from tiergate.exchange import Exchange
from tiergate.faults import GARBLED, OVERSIZED, SILENT, STALLED, AttemptFailed
from tiergate.sse import EventTooLarge
from tiergate.transcript import DONE_PATIENCE_SECONDS, Transcript
from tiergate.transport import Answer
from tiergate.watch import Watch


class Commit(Enum):
    """When a stream may go out."""

    FIRST_BYTE = "first byte"
    FIRST_TOKEN = "first token"
    COMPLETE = "complete"


COMMIT_OF: Final[dict[Failover, Commit]] = {
    "off": Commit.FIRST_BYTE,
    "first_token": Commit.FIRST_TOKEN,
    "buffered": Commit.COMPLETE,
}


def commit_of(exchange: Exchange, streaming: Streaming) -> Commit:
    """The commit point of a request: as its header says, else as the configuration does."""
    assert exchange.headers is not None
    return COMMIT_OF[exchange.headers.failover or streaming.failover]


class OpeningLimits(Struct, frozen=True):
    """Seconds from now: for the first token, between events, for all of it; and bytes held."""

    first_token: float
    idle: float
    deadline: float
    max_bytes: int


class Opening:
    """One stream on its way to its commit point. `held` is what goes out first.

    `at_end` says that nothing comes after it; `on_token` is called at the first token, held or not.
    """

    def __init__(
        self,
        answer: Answer,
        transcript: Transcript,
        commit: Commit,
        account: Account,
        *,
        on_token: Callable[[], None],
    ) -> None:
        self.held = bytearray()
        self.at_end = False
        self._answer = answer
        self._transcript = transcript
        self._commit = commit
        self._account = account
        self._on_token = on_token
        self._begun = False
        self._deadline_is_next = False

    async def reach(self, limits: OpeningLimits) -> None:
        """Return at the commit point; raises `AttemptFailed` when the stream breaks before it.

        A buffer that is full, or a deadline that comes while the answer is flowing, commits what is
        held: to throw a healthy answer away would help nobody.
        """
        try:
            await self._reach(limits)
        except BaseException:
            self._account.drop(len(self.held))
            self.held.clear()  # the error's frames would keep it until a garbage collection
            raise

    async def _reach(self, limits: OpeningLimits) -> None:
        try:
            with Watch() as watch:
                await self._read_on(watch, limits)
        except TimeoutError:
            if not self._flows():
                raise AttemptFailed(STALLED if self._begun else SILENT) from None
            self.at_end = self._transcript.complete  # its `[DONE]` has been waited for
        except EventTooLarge:
            raise AttemptFailed(OVERSIZED) from None

    def _flows(self) -> bool:
        """Whether a held answer whose time is up is healthy: complete, or merely long."""
        transcript = self._transcript
        if self._commit is not Commit.COMPLETE or not transcript.has_token:
            return False
        return transcript.complete or self._deadline_is_next

    async def _read_on(self, watch: Watch, limits: OpeningLimits) -> None:
        transcript = self._transcript
        start = watch.time()
        idle_until = math.inf  # of the time between events: before the first, other limits rule
        while True:
            until = min(idle_until, start + limits.deadline)
            self._deadline_is_next = until < idle_until
            if not transcript.has_token:
                until = min(until, start + limits.first_token)
            watch.limit(until - watch.time())
            events, comments = transcript.events, transcript.comments
            had_token = transcript.has_token
            # No name keeps the piece while the next is awaited.
            self._hold(await self._answer.read())
            if transcript.has_token and not had_token:
                self._on_token()
            if self._is_committed(limits.max_bytes):
                return
            # Half an event is no sign of life, and a comment none of more to come.
            said_more = transcript.events > events
            if transcript.complete and said_more:
                idle_until = watch.time() + DONE_PATIENCE_SECONDS
            elif not transcript.complete and (said_more or transcript.comments > comments):
                idle_until = watch.time() + limits.idle

    def _hold(self, piece: bytes) -> None:
        self._begun = True
        self.at_end = not piece
        out = self._transcript.feed(piece) if piece else self._transcript.finish()
        self._account.hold(len(out))
        self.held += out

    def _is_committed(self, max_bytes: int) -> bool:
        """Whether the commit point is reached; raises `AttemptFailed` when it never will be."""
        transcript = self._transcript
        if self._commit is Commit.FIRST_BYTE and not self.at_end:
            return True
        if transcript.has_error:
            raise AttemptFailed(GARBLED)
        if self._commit is Commit.FIRST_TOKEN and transcript.has_token:
            return True
        over = self.at_end or transcript.ended
        if over and not transcript.complete:
            raise AttemptFailed(GARBLED)
        return over or len(self.held) >= max_bytes
