"""The inside of `Gateway.handle`: a reply on entering, and its end on leaving, however that is.

A class, for `contextlib` takes 4 µs of every request to make one of a generator. What beginning
and ending mean is the gateway's.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from tiergate.reply import Reply

Begin = Callable[[], Awaitable[Reply]]
End = Callable[[Reply | None, BaseException | None], Awaitable[None]]


class Handling(AbstractAsyncContextManager[Reply]):
    """One request. `end` hears what was replied, and the error that ended it, if one did."""

    def __init__(self, begin: Begin, end: End) -> None:
        self._begin: Begin | None = begin
        self._end = end
        self._reply: Reply | None = None

    async def __aenter__(self) -> Reply:
        assert self._begin is not None
        begin, self._begin = self._begin, None  # it holds the body, and a stream may be long
        try:
            self._reply = await begin()
        except BaseException as error:
            await self._end(None, error)
            raise
        return self._reply

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end(self._reply, error)
