"""Faults that the table of `test_faults` has no place for: those that come after the comments of a
buffered stream have begun, an error as the very first event, a pooled connection that has died, a
client that leaves, and requests that try to move health for others.
"""

import asyncio
import json

import pytest
import uvloop
from e2e.faults import MODES, TEXT, gaps, told, world
from e2e.support import CHAT, DONE, connected, event, recording, silent, streaming

from tiergate.watch import Watch
from tiergate_sidecar.rawhttp import Call

COMMENTS = {"comment_seconds": 0.1, "first_token_timeout_seconds": 0.4}


async def test_a_rescue_after_the_comments_have_begun_tells_who_served_before_done():
    async with world(streaming=COMMENTS) as here:
        got = await here.ask("buffered", "stall 20 always @p1")
        assert (got.status, got.text, got.dones, got.error) == (200, TEXT, 1, None)
        assert "x-arbstr-provider" not in got.headers
        *waiting, last = got.comments
        assert len(waiting) >= 3
        assert set(waiting) == {": waiting"}
        assert "x-arbstr-provider=p2" in last
        assert "x-arbstr-retries=1/p1, 1/p2" in last
        assert got.body.rstrip().endswith(b"data: [DONE]")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("silent always", "deadline_exceeded"),
        ("silent always @p1, 503 always @p2", "provider_error"),
        ("silent always @p1, filter always @p2", "content_filter"),
    ],
)
async def test_a_failure_after_the_comments_have_begun_is_one_error_in_the_stream(fault, code):
    async with world(streaming={**COMMENTS, "buffered_deadline_seconds": 1}) as here:
        got = await here.ask("buffered", fault)
        assert (got.status, got.text, got.dones) == (200, "", 0)
        assert got.error["code"] == code
        assert got.comments
        here.clock.added += 301
        assert (await here.ask("buffered")).text == TEXT


@pytest.mark.parametrize("mode", ["first_token", "buffered"])
async def test_an_error_as_the_first_event_is_rescued(mode):
    error = b'data: {"error":{"message":"no","type":"t","param":null,"code":"busy"}}\n\n'
    async with (
        recording(streaming(error)) as broken,
        world(first=f"{broken.base_url}") as here,
    ):
        got = await here.ask(mode)
        assert (got.status, got.text, got.error) == (200, TEXT, None)
        assert got.headers["x-arbstr-retries"] == "3/p1, 1/p2"
        assert len(broken.received) == 3


@pytest.mark.parametrize("mode", MODES)
async def test_a_pooled_connection_that_has_died_costs_nothing(mode):
    """Closed by the provider as the second request arrives: one free re-send, not told."""

    async def answer(call: Call) -> None:
        if call.number > 1:
            call.reset()
        elif mode == "json":
            await call.respond(200, b'{"choices": []}')
        else:
            await streaming(event("", "stop"), DONE)(call)

    async with recording(answer) as upstream, world(first=upstream.base_url) as here:
        for _ in range(2):
            got = await here.client.post(CHAT, json=said(mode), headers=chosen(mode))
            assert got.status_code == 200
            assert got.headers["x-arbstr-provider"] == "p1"
            assert "x-arbstr-retries" not in got.headers
        assert [(call.connection, call.number) for call in upstream.received] == [
            (1, 1),
            (1, 2),
            (2, 1),
        ]
        assert not here.ailing()


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_leaves_ends_the_call_and_blames_nobody(mode):
    async with recording(silent) as upstream, world(first=upstream.base_url) as here:
        host = str(here.client.base_url)
        async with connected(host.rstrip("/")) as client:
            lines = [f"{name}: {value}" for name, value in chosen(mode).items()]
            await client.post(json.dumps(said(mode)).encode(), *lines)
            (call,) = await upstream.calls()
        async with asyncio.timeout(1):
            await call.gone.wait()
        assert not here.ailing()
        assert len(upstream.received) == 1
        assert not here.seen()


@pytest.mark.parametrize(
    ("fault", "headers", "body"),
    [
        ("500 always", {}, {}),
        ("filter always", {}, {}),
        ("422 always", {}, {}),
        ("silent always", {"X-Sentinel-Deadline-Ms": "1"}, {}),
        ("404 always", {}, {"model": "nobody-has-this"}),
        (None, {}, {"messages": "garbage"}),
    ],
    ids=["500 everywhere", "filter", "422", "1 ms deadline", "unknown model", "garbage"],
)
async def test_no_single_client_moves_health_for_the_others(fault, headers, body):
    async with world(retry={"retries": 0}) as here:
        for _ in range(5):
            got = await here.ask("json", fault, headers=headers, **body)
            assert got.status >= 400
            assert got.error
        print(told(here.seen()))  # noqa: T201  # what `pytest -rP` shows
        assert not here.ailing()
        got = await here.ask("json")
        assert got.headers["x-arbstr-provider"] == "p1"


async def test_ten_requests_that_fail_together_count_once_and_one_probes():
    async with world(retry={"retries": 0}, health={"initial_backoff_seconds": 30}) as here:
        answers = await asyncio.gather(*(here.ask("json", "html @p1") for _ in range(10)))
        assert {each.text for each in answers} == {TEXT}
        (ailing,) = here.gateway.health.ailing()
        assert (ailing.provider, ailing.failures) == ("p1", 1)
        assert 29 < ailing.seconds_left <= 30
        here.seen()
        here.clock.added += 30
        answers = await asyncio.gather(
            *(here.ask("json", "slow 0.3 always @p1") for _ in range(20))
        )
        assert {each.text for each in answers} == {TEXT}
        attempts = here.seen()
        assert [each.provider for each in attempts].count("p1") == 1
        assert len(gaps(attempts)) == 19
        assert not here.ailing()


def test_a_limit_that_has_passed_already_ends_the_scope_on_uvloop():
    """uvloop's handle of a timer that is due at once does not know its time."""

    async def wait() -> None:
        with Watch() as watch:
            watch.limit(0)
            watch.limit(-1)
            await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(TimeoutError):
        runner.run(wait())


def said(mode: str) -> dict:
    return {"model": "small", "messages": [], "stream": mode != "json"}


def chosen(mode: str) -> dict[str, str]:
    return {} if mode == "json" else {"X-Sentinel-Stream-Failover": mode}
