"""Delivery in real time, scaled down by ten or more: retries, fallback, attempt timeout and the one
deadline happen when they should, over real connections that fail in real ways."""

import asyncio
import socket
from itertools import pairwise

import httpx
import pytest
from e2e.support import (
    CHAT,
    HELLO,
    completing,
    error_of,
    failing,
    gatewayed,
    recording,
    serving,
    silent,
)

SMALL = {"model": "small", **HELLO}  # routed by model: p1 first, then p2
RETRY = {"backoff_seconds": 0.1, "deadline_seconds": 2}
LATE = 0.3  # what a busy machine may add to a wait


async def ask(*base_urls, body=SMALL, headers=None, **tables) -> tuple[httpx.Response, float]:
    """One request through a gateway of its own; the answer, and the seconds it took."""
    app = gatewayed(*base_urls, **{"retry": RETRY, **tables})
    loop = asyncio.get_running_loop()
    async with serving(app) as url, httpx.AsyncClient(timeout=10) as client:
        begun = loop.time()
        answer = await client.post(url + CHAT, json=body, headers=headers)
        return answer, loop.time() - begun


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


async def test_503_once_is_a_200_after_one_retry():
    async with recording(failing(503), completing("second")) as upstream:
        answer, _ = await ask(upstream.base_url)
    assert answer.json()["choices"][0]["message"]["content"] == "second"
    assert answer.headers["x-arbstr-retries"] == "2/p1"
    (gap,) = gaps(upstream.times)
    assert 0.08 <= gap < 0.12 + LATE
    keys = {call.header("idempotency-key") for call in upstream.received}
    assert keys == {answer.headers["x-arbstr-request-id"]}


async def test_503_always_is_three_calls_with_growing_waits_then_the_fallback_at_once():
    async with recording(failing(503)) as one, recording() as two:
        answer, _ = await ask(one.base_url, two.base_url)
    assert answer.status_code == 200
    assert answer.headers["x-arbstr-retries"] == "3/p1, 1/p2"
    assert answer.headers["x-arbstr-provider"] == "p2"
    first, second = gaps(one.times)
    assert 0.08 <= first < 0.12 + LATE
    assert 0.16 <= second < 0.24 + LATE
    assert two.times[0] - one.times[-1] < LATE


async def test_a_400_is_the_clients_and_is_not_tried_again():
    async with recording(failing(400, "bad_thing")) as one, recording() as two:
        answer, took = await ask(one.base_url, two.base_url)
    assert (answer.status_code, error_of(answer.content)["code"]) == (400, "bad_thing")
    assert (len(one.received), len(two.received)) == (1, 0)
    assert "x-arbstr-retries" not in answer.headers
    assert took < 1


async def test_a_silent_provider_is_left_after_the_attempt_timeout():
    async with recording(silent) as one, recording() as two:
        retry = {**RETRY, "attempt_timeout_seconds": 0.4}
        answer, took = await ask(one.base_url, two.base_url, retry=retry)
        async with asyncio.timeout(1):
            await one.received[0].gone.wait()
    assert answer.status_code == 200
    assert answer.headers["x-arbstr-retries"] == "1/p1, 1/p2"
    assert 0.4 <= took < 0.4 + 2 * LATE


@pytest.mark.parametrize(
    ("headers", "deadline"), [({}, 2.0), ({"X-Sentinel-Deadline-Ms": "1500"}, 1.5)]
)
async def test_when_everything_hangs_the_504_comes_within_5_percent_of_the_deadline(
    headers, deadline
):
    async with recording(silent) as one, recording(silent) as two:
        retry = {**RETRY, "attempt_timeout_seconds": 0.5}
        answer, took = await ask(one.base_url, two.base_url, retry=retry, headers=headers)
    error = error_of(answer.content)
    assert (answer.status_code, error["code"]) == (504, "deadline_exceeded")
    assert answer.headers["x-arbstr-retries"] == "1/p1, 1/p2"
    assert answer.headers["x-should-retry"] == "false"
    assert took == pytest.approx(deadline, rel=0.05)


async def test_the_deadline_counts_from_the_complete_body_not_from_its_first_byte():
    async def slowly():
        yield b'{"messages"'
        await asyncio.sleep(0.4)
        yield b":[]}"

    async def later(call):
        await asyncio.sleep(0.4)
        await completing()(call)

    async with recording(later) as upstream:
        app = gatewayed(upstream.base_url, retry={"deadline_seconds": 0.6})
        async with serving(app) as url, httpx.AsyncClient() as client:
            answer = await client.post(url + CHAT, content=slowly())
    assert answer.status_code == 200


def nobody_listens() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


async def reset(call):
    call.reset()


async def hang_up(call):
    await call.hang_up()


async def half(call):
    await call.start(200, [("content-type", "application/json"), ("content-length", "900")])
    await call.send(b'{"choices":')
    await call.hang_up()


async def garbage(call):
    await call.raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


async def page(call):
    await call.respond(200, b"<h1>It works!</h1>", content_type="text/html")


async def error_in_200(call):
    await call.respond(200, b'{"error":{"message":"overloaded"}}')


BROKEN = [reset, hang_up, half, garbage, page, error_in_200, failing(529)]


@pytest.mark.parametrize("broken", BROKEN, ids=[each.__name__ for each in BROKEN])
async def test_a_provider_that_breaks_in_any_way_is_tried_again_and_then_left(broken):
    async with recording(broken) as one, recording(completing("saved")) as two:
        retry = {**RETRY, "backoff_seconds": 0.01}
        answer, _ = await ask(one.base_url, two.base_url, retry=retry)
    assert answer.json()["choices"][0]["message"]["content"] == "saved"
    assert answer.headers["x-arbstr-retries"] == "3/p1, 1/p2"
    assert len(one.received) == 3


async def test_a_provider_that_is_not_there_is_a_502_that_tells_no_address():
    base_url = nobody_listens()
    answer, _ = await ask(base_url, retry={**RETRY, "backoff_seconds": 0.01})
    error = error_of(answer.content)
    assert (answer.status_code, error["code"], error["provider"]) == (502, "provider_error", "p1")
    assert answer.headers["x-arbstr-retries"] == "3/p1"
    assert "127.0.0.1" not in answer.text


async def test_a_stale_pooled_connection_is_replaced_at_once_and_not_counted():
    async def answered_late(call):
        if call.number > 1:
            call.reset()  # the race every keep-alive has: closed as the request arrives
        else:
            await completing(f"on {call.connection}")(call)

    async with recording(answered_late) as upstream:
        app = gatewayed(upstream.base_url, retry={"backoff_seconds": 20})
        async with serving(app) as url, httpx.AsyncClient() as client:
            answers = [await client.post(url + CHAT, json=SMALL) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert "x-arbstr-retries" not in answers[1].headers
    assert [call.connection for call in upstream.received] == [1, 1, 2]
    assert upstream.times[2] - upstream.times[1] < 1  # a retry would wait for 20 s


async def test_retry_after_is_obeyed_when_it_is_short_and_left_when_it_is_long():
    short = failing(429, headers=(("retry-after", "0"),))
    long = failing(429, headers=(("retry-after", "60"),))
    async with recording(short, long) as one, recording() as two:
        answer, took = await ask(one.base_url, two.base_url)
    assert answer.headers["x-arbstr-retries"] == "2/p1, 1/p2"
    assert took < 1
    async with recording(long) as one:
        answer, took = await ask(one.base_url)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert took < 1


async def test_a_full_pool_is_a_503_when_nobody_else_is_left():
    busy = asyncio.Event()

    async def hold(call):
        busy.set()
        await call.gone.wait()

    async with recording(hold) as one:
        narrow = {"max_connections": 1, "acquire_timeout_seconds": 0.1}
        providers = {"p1": {"base_url": one.base_url, **narrow}}
        app = gatewayed(one.base_url, retry=RETRY, providers=providers)
        async with serving(app) as url, httpx.AsyncClient() as client:
            first = asyncio.create_task(client.post(url + CHAT, json=SMALL))
            await busy.wait()
            second = await client.post(url + CHAT, json=SMALL)
            assert (await first).status_code == 504
    assert (second.status_code, error_of(second.content)["code"]) == (503, "overloaded")
    assert second.headers["retry-after"] == "1"
    assert "x-arbstr-provider" not in second.headers
    assert len(one.received) == 1


async def test_two_requests_at_once_wait_at_once():
    meet = asyncio.Barrier(2)

    async def both(call):
        await meet.wait()
        await completing(call.header("idempotency-key"))(call)

    async with recording(both) as upstream:
        app = gatewayed(upstream.base_url, retry=RETRY)
        async with serving(app) as url, httpx.AsyncClient() as client:
            answers = await asyncio.gather(*(client.post(url + CHAT, json=SMALL) for _ in range(2)))
    for answer in answers:
        said = answer.json()["choices"][0]["message"]["content"]
        assert said == answer.headers["x-arbstr-request-id"]
    assert sorted(call.connection for call in upstream.received) == [1, 2]


async def test_one_that_waits_does_not_hold_up_another():
    async def by_user(call):
        await (silent if b'"slow"' in call.body else completing())(call)

    async with recording(by_user) as upstream:
        app = gatewayed(upstream.base_url, retry={"deadline_seconds": 0.8})
        async with serving(app) as url, httpx.AsyncClient() as client:
            slow = asyncio.create_task(client.post(url + CHAT, json={**SMALL, "user": "slow"}))
            await upstream.calls()
            quick = [await client.post(url + CHAT, json=SMALL) for _ in range(5)]
            assert not slow.done()
            assert (await slow).status_code == 504
    assert [answer.status_code for answer in quick] == [200] * 5
