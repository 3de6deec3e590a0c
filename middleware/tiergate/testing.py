"""What our own tests use and yours may: providers that say what a script says, and virtual time.

    transport = ScriptedTransport({"p1": [Say(503), Say.completion("hello")]})
    gateway = Gateway(config, transport=transport, clock=loop.time, environ={})

`VirtualLoop` is an event loop whose clock jumps to the next timer whenever nothing else is left to
do: a minute of back-off passes at once, and in the right order.
"""

import asyncio
import selectors
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

import msgspec
from msgspec import Struct

from tiergate.document import TierDocument
from tiergate.endpoint import Endpoint
from tiergate.faults import GARBLED, AttemptFailed, Fault
from tiergate.transport import Answer, RawHeaders

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Say(Struct, frozen=True):
    """One answer of a scripted provider.

    `after` seconds pass before the headers and before each piece of the body. `fault` fails the
    attempt instead, `cut` ends the body as a broken connection does, `hang` never ends it.
    """

    status: int = 200
    pieces: tuple[bytes, ...] = ()
    content_type: str = "application/json"
    headers: RawHeaders = ()
    after: float = 0
    fault: Fault | None = None
    cut: bool = False
    hang: bool = False

    @classmethod
    def completion(cls, text: str = "hello", *, after: float = 0, **members: Any) -> "Say":
        """A whole answer; `members` replace those of the completion (`usage=...`)."""
        message = {"role": "assistant", "content": text}
        whole = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "scripted",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }
        return cls(pieces=(msgspec.json.encode({**whole, **members}),), after=after)

    @classmethod
    def error(cls, status: int, code: str = "", *, retry_after: str | None = None) -> "Say":
        """An error in the one shape."""
        body = {"error": {"message": f"status {status}", "type": "x", "param": None, "code": code}}
        headers: RawHeaders = ()
        if retry_after is not None:
            headers = ((b"Retry-After", retry_after.encode()),)
        return cls(status, (msgspec.json.encode(body),), headers=headers)

    @classmethod
    def stream(
        cls, *pieces: bytes, after: float = 0, cut: bool = False, hang: bool = False
    ) -> "Say":
        """A stream of server-sent events, one piece after the other."""
        kind = "text/event-stream"
        return cls(pieces=pieces, content_type=kind, after=after, cut=cut, hang=hang)

    @classmethod
    def never(cls) -> "Say":
        """Accepts the request and keeps silent."""
        return cls(after=float("inf"))


class Sent(Struct, frozen=True):
    """What a provider received, and when."""

    provider: str
    at: float
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class ScriptedTransport:
    """Providers that answer from a script; the last line of each is repeated.

    `sent` is what they received, in order; `open` counts answers that nobody has let go of. `well`
    are those that answer a background probe, `probed` who was asked and when; `retained` names the
    endpoints of the last reload.
    """

    def __init__(self, script: Mapping[str, Say | Sequence[Say]]) -> None:
        self.sent: list[Sent] = []
        self.probed: list[tuple[str, float]] = []
        self.well: set[str] = set()
        self.open = 0
        self.closed = False
        self.retained: list[str] = []
        self._script = {
            name: [said] if isinstance(said, Say) else list(said) for name, said in script.items()
        }

    async def post(self, endpoint: Endpoint, headers: list[tuple[str, str]], body: bytes) -> Answer:
        now = asyncio.get_running_loop().time()
        self.sent.append(Sent(endpoint.name, now, tuple(headers), body))
        lines = self._script[endpoint.name]
        said = lines.pop(0) if len(lines) > 1 else lines[0]
        await _pass(said.after)
        if said.fault is not None:
            raise AttemptFailed(said.fault)
        self.open += 1
        return _ScriptedAnswer(said, self)

    async def probe(self, endpoint: Endpoint) -> bool:
        self.probed.append((endpoint.name, asyncio.get_running_loop().time()))
        return endpoint.name in self.well

    def retain(self, endpoints: Iterable[Endpoint]) -> None:
        self.retained = [endpoint.name for endpoint in endpoints]

    async def close(self) -> None:
        self.closed = True

    def calls(self) -> list[tuple[str, float]]:
        """Who was asked, and when in seconds since the first."""
        first = self.sent[0].at if self.sent else 0.0
        return [(sent.provider, round(sent.at - first, 3)) for sent in self.sent]


class _ScriptedAnswer:
    def __init__(self, said: Say, transport: ScriptedTransport) -> None:
        self.status = said.status
        self.headers = ((b"Content-Type", said.content_type.encode()), *said.headers)
        self._said = said
        self._pieces = list(said.pieces)
        self._transport: ScriptedTransport | None = transport

    async def read(self) -> bytes:
        if self._pieces:
            await _pass(self._said.after)
            return self._pieces.pop(0)
        if self._said.cut:
            raise AttemptFailed(GARBLED, status=self.status)
        await _pass(float("inf") if self._said.hang else 0)
        return b""

    def close(self) -> None:
        if self._transport is not None:
            self._transport.open -= 1
            self._transport = None


async def _pass(seconds: float) -> None:
    if seconds == float("inf"):
        await asyncio.Event().wait()
    else:
        await asyncio.sleep(seconds)


class MemorySource:
    """A `Source` that gives what it is told to, in order; the last one is repeated.

    An exception is raised. `fetched` counts how often it was asked, `after` is how many seconds an
    answer takes.
    """

    name = "memory"

    def __init__(
        self,
        documents: Iterable[TierDocument | Exception],
        *,
        after: float = 0,
        shared: bool = True,
    ) -> None:
        self.fetched = 0
        self.after = after
        self.shared = shared
        self.documents = list(documents)

    async def fetch(self, held: TierDocument | None) -> TierDocument:
        del held
        self.fetched += 1
        await _pass(self.after)
        said = self.documents.pop(0) if len(self.documents) > 1 else self.documents[0]
        if isinstance(said, Exception):
            raise said
        return said


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for a timer, moves the clock to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None or self.threads:  # only another thread can have something to say
            return super().select(None)
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time: `loop.time()` starts at 0 and jumps from timer to timer."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Time stands still while a thread works for somebody who waits for it."""
        future = super().run_in_executor(executor, func, *args)
        self._jumping.threads += 1
        future.add_done_callback(self._landed)
        return future

    def _landed(self, _: Any) -> None:
        self._jumping.threads -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for threads without a limit: virtual time would jump to it at once."""
        del timeout  # Python 3.12 and later give one
        await super().shutdown_default_executor()
