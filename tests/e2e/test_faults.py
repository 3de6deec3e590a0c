"""Every fault that a provider is known for, in every mode, over real sockets: what the client saw,
what each provider saw and when, who was charged, and that the next request works.

The promise: before the commit point a fault that leaves one healthy candidate ends in the complete
answer; after it in one typed error within the stream. Never a silent truncation, never a doubled
token. Times are scaled by 25: 0.05 s of back-off, 0.4 s for a first token. `pytest -rP` prints it.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from e2e.faults import (
    MODES,
    PATIENCE,
    TEXT,
    Got,
    World,
    gaps,
    self_signed,
    told,
    worlds,
)

from tiergate_sidecar.mock import Attempt
from tiergate_sidecar.rawhttp import Call, RawServer

LATE = 0.5  # what a busy machine may add
IDEMPOTENCY = b"idempotency-key"
WAITS = (0.05, 0.1)  # before the first and the second retry, give or take a fifth


@dataclass(frozen=True)
class End:
    """How a request ends. `attempts` as `x-arbstr-retries` tells them, `charged` who is ailing.

    A status of 200 with a code is an error within the stream, after `tokens`. `waits` are seconds
    before each retry, `takes` those that the faults themselves cost.
    """

    attempts: str
    status: int = 200
    code: str | None = None
    tokens: int = 60
    charged: str = "p1"
    waits: tuple[float, ...] | None = None
    takes: float = 0
    retry_after: str | None = None

    @property
    def providers(self) -> list[str]:
        """Of each attempt, in order."""
        parts = [part.split("/") for part in self.attempts.split(", ")]
        return [name for count, name in parts for _ in range(int(count))]

    @property
    def pauses(self) -> tuple[float, ...]:
        return WAITS[: self.providers.count("p1") - 1] if self.waits is None else self.waits


def failed(status: int, code: str, attempts: str = "1/p1", **more: Any) -> End:
    return End(attempts, status, code, **({"tokens": 0} | more))


def broken(code: str, tokens: int, attempts: str = "1/p1", **more: Any) -> End:
    return End(attempts, 200, code, tokens, **more)


@dataclass(frozen=True)
class Case:
    """A fault and its ends: `end` in all modes but "off", and but those that are named."""

    name: str
    fault: str
    end: End
    off: End
    json: End | None = None
    first_token: End | None = None
    unseen: bool = False
    providers: int = 2

    def of(self, mode: str) -> End:
        return self.off if mode == "off" else getattr(self, mode, None) or self.end


# fmt: off
AGAIN = End("2/p1", charged="")
ELSEWHERE = End("1/p1, 1/p2")
RETRIED = End("3/p1, 1/p2")
ALONE = End("1/p1", charged="")
SILENT = End("1/p1, 1/p2", takes=PATIENCE)
BAD = failed(502, "provider_error")
LATE_504 = failed(504, "deadline_exceeded", takes=PATIENCE)
LIMITED = failed(429, "rate_limit_exceeded", retry_after="1")
TOO_LONG = failed(400, "context_length_exceeded", charged="")
FILTERED = failed(400, "content_filter", charged="")
FAIL_502 = failed(502, "provider_error", "3/p1, 1/p2", charged="p1 p2")
FAIL_504 = failed(504, "deadline_exceeded", "1/p1, 1/p2", charged="p1 p2", takes=3)
CUT_40, CUT_30 = broken("stream_interrupted", 40), broken("stream_interrupted", 30)
UNFINISHED = broken("stream_interrupted", 60)
STALL_20 = broken("stream_stalled", 20, takes=PATIENCE)
ERROR_5 = broken("internal_error", 5)
HUGE = End("1/p1", charged="", tokens=0)

CASES = [
    Case("429 once", "429", ELSEWHERE, LIMITED),
    Case("429 once, Retry-After 1", "429 1",
         End("2/p1", charged="", waits=(1,)), LIMITED),
    Case("429 always", "429 always @p1", ELSEWHERE, LIMITED),
    Case("429 always, Retry-After 1", "429 1 always @p1",
         End("3/p1, 1/p2", waits=(1, 1)), LIMITED),
    Case("429 always, Retry-After 30", "429 30 always @p1",
         ELSEWHERE, failed(429, "rate_limit_exceeded", retry_after="30")),
    Case("429 everywhere, Retry-After 7", "429 7 always",
         failed(429, "rate_limit_exceeded", "1/p1, 1/p2", charged="p1 p2", retry_after="7"),
         failed(429, "rate_limit_exceeded", retry_after="7")),
    Case("500 once", "500", AGAIN, BAD),
    Case("503 always", "503 always @p1", RETRIED, BAD),
    Case("503 once, Retry-After 1", "503 1", End("2/p1", charged="", waits=(1,)), BAD),
    Case("connection refused", "", RETRIED, BAD, unseen=True),
    Case("DNS failure", "", RETRIED, BAD, unseen=True),
    Case("TLS failure", "", RETRIED, BAD, unseen=True),
    Case("TLS to a plain server", "", RETRIED, BAD, unseen=True),
    Case("reset before headers, once", "reset", AGAIN, BAD),
    Case("reset before headers, always", "reset always @p1", RETRIED, BAD),
    Case("accepted and silent", "silent always @p1", SILENT, LATE_504),
    Case("headers, then silent", "headers always @p1", SILENT, LATE_504),
    Case("slow first token (20 s)", "slow 20 always @p1",
         SILENT, broken("stream_stalled", 0, takes=PATIENCE)),
    Case("slow, but in time", "slow 0.2 always @p1",
         End("1/p1", charged="", takes=0.2), End("1/p1", charged="", takes=0.2)),
    Case("cut after 40 of 60, always", "cut 40 always @p1", RETRIED, CUT_40, first_token=CUT_40),
    Case("cut after 40 of 60, once", "cut 40", AGAIN, CUT_40, first_token=CUT_40),
    Case("cut before the first token", "cut 0 always @p1",
         RETRIED, broken("stream_interrupted", 0)),
    Case("stalled after 20", "stall 20 always @p1", SILENT, STALL_20, first_token=STALL_20),
    Case("cut inside a character", "cut-utf8 always @p1", RETRIED, CUT_30, first_token=CUT_30),
    Case("cut inside a frame", "cut-frame always @p1", RETRIED, CUT_30, first_token=CUT_30),
    Case("malformed in the middle", "malformed always @p1", ALONE, ALONE, json=RETRIED),
    Case("missing [DONE]", "no-done always @p1", ALONE, ALONE),
    Case("no finish reason", "no-finish always @p1",
         RETRIED, UNFINISHED, json=ALONE, first_token=UNFINISHED),
    Case("error event inside a 200", "error-event always @p1",
         RETRIED, ERROR_5, first_token=ERROR_5),
    Case("200 with HTML", "html always @p1", RETRIED, BAD),
    Case("200 with an empty body", "empty always @p1", RETRIED, BAD),
    Case("200 with truncated JSON", "truncated always @p1", RETRIED, CUT_30, first_token=CUT_30),
    Case("context length exceeded", "context always @p1",
         End("1/p1, 1/p2", charged=""), TOO_LONG),
    Case("context exceeded everywhere", "context always",
         failed(400, "context_length_exceeded", "1/p1, 1/p2", charged=""), TOO_LONG),
    Case("content filter", "filter always", FILTERED, FILTERED),
    Case("401 on our key", "401 always @p1", ELSEWHERE, BAD),
    Case("401 everywhere", "401 always",
         failed(502, "provider_error", "1/p1, 1/p2", charged="p1 p2"), BAD),
    Case("two down, the third is fine", "503 always @p1, reset always @p2",
         End("3/p1, 1/p2, 1/p3", charged="p1 p2"), BAD, providers=3),
    Case("everything down", "503 always", FAIL_502, BAD),
    Case("500 everywhere", "500 always",
         failed(502, "provider_error", "3/p1, 1/p2", charged=""), BAD),
    Case("everything silent", "silent always", FAIL_504, LATE_504),
    Case("a 2 MB single event", "big-event always @p1",
         End("1/p1, 1/p2", charged=""), broken("stream_interrupted", 0, charged=""),
         json=HUGE),
    Case("503, then HTML", "503 always @p1, html always @p2", FAIL_502, BAD),
    Case("503, then silence", "503 always @p1, silent always @p2",
         failed(504, "deadline_exceeded", "3/p1, 1/p2", charged="p1 p2", takes=2.85), BAD),
    Case("503, then a cut", "503 always @p1, cut 40 always @p2", FAIL_502, BAD,
         first_token=broken("stream_interrupted", 40, "3/p1, 1/p2", charged="p1 p2")),
    Case("503, then context exceeded", "503 always @p1, context always @p2",
         failed(400, "context_length_exceeded", "3/p1, 1/p2"), BAD),
    Case("503, then content filter", "503 always @p1, filter always @p2",
         failed(400, "content_filter", "3/p1, 1/p2"), BAD),
    Case("silence, then 429", "silent always @p1, 429 always @p2",
         failed(502, "provider_error", "1/p1, 1/p2", charged="p1 p2", takes=PATIENCE), LATE_504),
]
# fmt: on


@asynccontextmanager
async def first_provider(case: Case, folder: Path) -> AsyncIterator[str | None]:
    """The base URL of a p1 that no request ever reaches; None where p1 is a mock."""
    if case.name == "connection refused":
        with socket.socket() as bound:  # bound and not listening: nobody else gets the port
            bound.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
    elif case.name == "DNS failure":
        yield "http://tiergate.invalid/v1"
    elif case.name == "TLS failure":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self_signed(folder))
        async with RawServer(unreached, ssl=tls) as server:
            yield f"{server.url}/v1"
    elif case.name == "TLS to a plain server":
        async with RawServer(unreached) as server:
            yield f"{server.url}/v1".replace("http:", "https:")
    else:
        yield None


async def unreached(call: Call) -> None:
    raise AssertionError(f"a request has arrived: {call.method} {call.target}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_fault_ends_as_the_table_says(case, tmp_path):
    settings = {"providers": case.providers, "retry": {"fallbacks": case.providers - 1}}
    async with (
        first_provider(case, tmp_path) as first,
        worlds(*MODES, first=first, **settings) as made,
        asyncio.TaskGroup() as group,
    ):
        for mode, here in made.items():
            group.create_task(check(here, case, mode))


async def check(here: World, case: Case, mode: str) -> None:
    end = case.of(mode)
    got = await here.ask(mode, case.fault or None)
    attempts = here.seen()
    print(  # noqa: T201  # the table that `pytest -rP` shows
        f"{case.name:30} {mode:11} {got.status} {got!s:33} {told(attempts):36}"
        f" {got.headers.get('x-arbstr-retries', ''):16} {got.elapsed:.2f} s"
    )
    check_answer(got, end, mode)
    check_attempts(attempts, end, unseen=case.unseen)
    waits = sum(end.pauses)
    assert 0.8 * waits + end.takes - 0.01 <= got.elapsed <= 1.2 * waits + end.takes + 2 * LATE
    assert here.ailing() == set(end.charged.split())
    await check_recovery(here, case, mode)


def check_answer(got: Got, end: End, mode: str) -> None:
    headers, providers = got.headers, end.providers
    assert got.status == end.status
    assert headers["x-arbstr-provider"] == providers[-1]
    assert headers.get("x-arbstr-retries", "1/p1") == end.attempts
    assert headers["x-sentinel-tier"] == "simple"
    assert headers["x-sentinel-model"] == "small"
    assert headers["x-arbstr-request-id"]
    assert headers.get("x-arbstr-streaming") == (None if mode == "json" else "true")
    assert ("x-arbstr-latency-ms" in headers) == (mode == "json" or end.status != 200)
    assert headers.get("retry-after") == end.retry_after
    exhausted = end.status in (429, 502, 504)
    assert headers.get("x-should-retry") == ("false" if exhausted else None)
    if end is HUGE:
        assert len(got.body) == 2 << 20
        assert set(got.text) == {"x"}
        return
    assert got.tokens == end.tokens
    assert (got.error and got.error["code"]) == end.code
    assert got.dones == (mode != "json" and end.status == 200 and end.code is None)
    if end.status in (502, 504) or end.code in ("stream_interrupted", "stream_stalled"):
        assert got.error["provider"] == providers[-1]


def check_attempts(attempts: list[Attempt], end: End, *, unseen: bool) -> None:
    """Who was asked, how often and after what wait: a fallback at once, a retry after its wait."""
    providers = [name for name in end.providers if name != "p1" or not unseen]
    assert [attempt.provider for attempt in attempts] == providers
    keys = {value for each in attempts for name, value in each.headers if name == IDEMPOTENCY}
    assert len(keys) == bool(attempts)  # one key on all of them: a provider may know them by it
    for (before, after), gap in zip(pairwise(attempts), gaps(attempts), strict=True):
        again = before.provider == after.provider
        wait = end.pauses[attempts.index(after) - 1] if again else 0
        assert 0.8 * wait - 0.01 <= gap <= 1.2 * wait + end.takes + LATE


async def check_recovery(here: World, case: Case, mode: str) -> None:
    """The next healthy request works: while p1 is left alone, and when its back-off has passed."""
    if len(here.ailing()) < case.providers:
        got = await here.ask(mode)
        assert (got.status, got.text, got.error) == (200, TEXT, None)
        assert got.headers["x-arbstr-provider"] not in here.ailing()
    if not case.unseen:
        here.clock.added += 301  # longer than any back-off
        got = await here.ask(mode)
        assert (got.status, got.text, got.error) == (200, TEXT, None)
        assert got.headers["x-arbstr-provider"] == "p1"
        assert "p1" not in here.ailing()
