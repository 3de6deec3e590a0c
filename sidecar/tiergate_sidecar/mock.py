"""The fake providers behind `tiergate mock` and `serve --mock`.

Here live the paths they answer, the record of what they were asked, and the carrying out of faults
over a real socket. What must not live here: which faults there are (`mock_faults`), what they do to
an answer (`mock_scripts`), and anything of the gateway: to it this is just another upstream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from tiergate_sidecar.mock_answers import (
    LONG_TEXT,
    Answer,
    Asked,
    BadRequestError,
    encode,
    read_request,
    short_text,
)
from tiergate_sidecar.mock_faults import (
    MODEL_PREFIX,
    Fault,
    FirstAttempts,
    error_body,
    parse_fault,
    parse_faults,
    refusal,
)
from tiergate_sidecar.mock_scripts import LONG, Ending, Script, body_script, stream_script
from tiergate_sidecar.rawhttp import Call, RawServer

__all__ = ["MODELS", "PROVIDERS", "Attempt", "MockProviders"]

PROVIDERS = ("mock-a", "mock-b", "mock-c")
MODELS = ("mock-small", "mock-medium", "mock-large")
Clock = Callable[[], float]

_ATTEMPTS_KEPT = 1_000
# A thousand whole bodies of 10 MiB would be the end of the process they are kept in.
_BODY_BYTES_KEPT = 16_384
_EVENT_STREAM = "text/event-stream"
_JSON = "application/json"
_PAGE = b"<!doctype html><title>Welcome</title><h1>It works!</h1>\n"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request a fake provider received. `time` is the injected clock's, `fault` what hit it.

    `body` holds the first bytes only; `body_bytes` is its size. What could not be read is empty.
    """

    time: float
    provider: str
    model: str
    method: str
    path: str
    stream: bool
    fault: Fault | None
    body_bytes: int
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes = field(repr=False)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


class MockProviders:
    """Every provider at once, each below its own path: `{url}/{provider}/v1`.

    `now` gives Unix seconds (for `created`), `clock` the time attempts are recorded with.
    """

    def __init__(
        self,
        *,
        now: Clock,
        clock: Clock = _loop_time,
        token_delay_seconds: float = 0.02,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.server = RawServer(self.handle, host=host, port=port)
        self.attempts: deque[Attempt] = deque(maxlen=_ATTEMPTS_KEPT)
        self._now = now
        self._clock = clock
        self._token_delay = token_delay_seconds
        self._firsts = FirstAttempts()
        self._answers = 0

    def base_url(self, provider: str) -> str:
        """What a provider's `base_url` has to be in the gateway's configuration."""
        return f"{self.server.url}/{provider}/v1"

    async def __aenter__(self) -> MockProviders:
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.close()

    async def handle(self, call: Call) -> None:
        """Answers one request: the handler of the server, and of any other one."""
        provider, _, endpoint = call.path.strip("/").partition("/v1/")
        method = {"chat/completions": "POST", "models": "GET"}.get(endpoint)
        if method is None or not provider or "/" in provider:
            self._record(call, "")
            await _fail(call, 404, f"no such path: {call.path}", "endpoint_not_found")
        elif call.method != method:
            self._record(call, provider)
            await _fail(call, 405, f"use {method} here", "method_not_allowed")
        elif method == "GET":
            self._record(call, provider)
            await call.respond(200, self._models(provider))
        else:
            await self._chat(call, provider)

    async def _chat(self, call: Call, provider: str) -> None:
        try:
            asked = read_request(call.body)
        except BadRequestError as error:
            self._record(call, provider)
            return await _fail(call, 400, str(error), "invalid_request", error.param)
        try:
            fault = self._fault(call, provider, asked)
        except ValueError as error:
            self._record(call, provider, asked)
            return await _fail(call, 400, str(error), "unknown_mock_fault")
        self._record(call, provider, asked, fault)
        await self._answer(call, provider, asked, fault)
        return None

    def _fault(self, call: Call, provider: str, asked: Asked) -> Fault | None:
        """The fault this attempt is hit by; the header's goes before the model's."""
        first, here = self._firsts.note(call.header("idempotency-key"), provider)
        header = call.header("x-mock-fault")
        wanted = [] if header is None else parse_faults(header)
        if asked.model.startswith(MODEL_PREFIX):
            wanted.append(parse_fault(asked.model.removeprefix(MODEL_PREFIX) + " always"))
        due = (one for one in wanted if one.hits(provider, first=first, first_here=here))
        return next(due, None)

    async def _answer(self, call: Call, provider: str, asked: Asked, fault: Fault | None) -> None:
        if fault is not None and (error := refusal(fault)):
            status, body = error
            wait = [] if fault.argument is None else [("retry-after", f"{fault.argument:.0f}")]
            await call.respond(status, encode(body), wait)
        elif fault is not None and fault.name in _BEFORE_BODY:
            await _BEFORE_BODY[fault.name](call, _EVENT_STREAM if asked.stream else _JSON)
        else:
            await self._speak(call, self._say(provider, asked, fault), fault)

    def _say(self, provider: str, asked: Asked, fault: Fault | None) -> Answer:
        self._answers += 1
        text = LONG_TEXT if fault and fault.name in LONG else short_text(provider, asked)
        if fault:  # what breaks is text: a tool call has no middle
            asked = replace(asked, tool=None)
        return Answer(f"chatcmpl-mock-{self._answers}", int(self._now()), asked, text)

    async def _speak(self, call: Call, answer: Answer, fault: Fault | None) -> None:
        if answer.asked.stream:
            script = stream_script(answer, fault)
            await call.start(200, [("content-type", f"{_EVENT_STREAM}; charset=utf-8")])
        else:
            script = body_script(answer, fault)
            await _pause(call, script.wait)
            length = ("content-length", str(script.length))
            await call.start(200, [("content-type", _JSON), length])
        await self._perform(call, script)

    async def _perform(self, call: Call, script: Script) -> None:
        wait = script.wait
        for number, step in enumerate(script.steps):
            if number and script.length is None:
                await _pause(call, max(wait, self._token_delay))
                wait = 0
            await call.send(step)
        await _END[script.ending](call)

    def _models(self, provider: str) -> bytes:
        created = int(self._now())
        data = [
            {"id": model, "object": "model", "created": created, "owned_by": provider}
            for model in MODELS
        ]
        return encode({"object": "list", "data": data})

    def _record(
        self, call: Call, provider: str, asked: Asked | None = None, fault: Fault | None = None
    ) -> None:
        attempt = Attempt(
            time=self._clock(),
            provider=provider,
            model=asked.model if asked else "",
            method=call.method,
            path=call.path,
            stream=asked.stream if asked else False,
            fault=fault,
            body_bytes=len(call.body),
            headers=tuple(call.headers),
            body=call.body[:_BODY_BYTES_KEPT],
        )
        self.attempts.append(attempt)


async def _fail(call: Call, status: int, message: str, code: str, param: str | None = None) -> None:
    await call.respond(status, encode(error_body("invalid_request_error", code, message, param)))


async def _pause(call: Call, seconds: float) -> None:
    """Waits, but no longer than the peer stays."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await call.gone.wait()


async def _stay_silent(call: Call) -> None:
    await call.gone.wait()


_END: dict[Ending, Callable[[Call], Awaitable[None]]] = {
    Ending.FINISH: Call.finish,
    Ending.HANG_UP: Call.hang_up,
    Ending.STALL: _stay_silent,
}


async def _reset(call: Call, _: str) -> None:
    call.reset()


async def _silent(call: Call, _: str) -> None:
    await _stay_silent(call)


async def _headers(call: Call, content_type: str) -> None:
    await call.start(200, [("content-type", content_type)])
    await _stay_silent(call)


async def _html(call: Call, _: str) -> None:
    await call.respond(200, _PAGE, content_type="text/html; charset=utf-8")


async def _empty(call: Call, content_type: str) -> None:
    await call.respond(200, content_type=content_type)


# The faults that strike before there is an answer to change; each is given the content type.
_BEFORE_BODY: dict[str, Callable[[Call, str], Awaitable[None]]] = {
    "reset": _reset,
    "silent": _silent,
    "headers": _headers,
    "html": _html,
    "empty": _empty,
}
