"""The connections of the proxy over real sockets: kept, replaced, closed; what a failure is."""

import asyncio
import gc
import socket
from typing import Any

import aiohttp
import pytest

from tiergate.config import Provider
from tiergate.endpoint import compile_endpoints
from tiergate_sidecar.destinations import App, ProviderPath, Silence
from tiergate_sidecar.rawhttp import Call, RawServer
from tiergate_sidecar.upstreams import Body, Pool, UpstreamError, Upstreams, UpstreamSlow


async def counted(call: Call) -> None:
    await call.respond(200, f"{call.connection}.{call.number}".encode())


def provider(base_url: str, **settings: Any) -> ProviderPath:
    made = compile_endpoints({"p1": Provider(base_url=base_url, **settings)}, {"p1": "sk-1"})["p1"]
    return ProviderPath(made, "x", Silence(1, 1))


async def whole(
    pool: Pool, url: str, method: str = "GET", body: Any = None, headers: Any = ()
) -> bytes:
    answer = await pool.ask(method, url, [*headers], body)
    try:
        said, last = b"", False
        while not last:
            piece, last = await answer.read()
            said += piece
        return said
    finally:
        answer.close()


def open_sessions() -> int:
    return sum(
        isinstance(each, aiohttp.ClientSession) and not each.closed for each in gc.get_objects()
    )


class Opened:
    """`async with` for upstreams that are closed at the end."""

    async def __aenter__(self) -> Upstreams:
        self.made = Upstreams()
        return self.made

    async def __aexit__(self, *_: object) -> None:
        await self.made.close()


async def pieces(*given: bytes):
    for each in given:
        yield each


# --- one pool for each place


async def test_a_connection_serves_one_request_after_the_other():
    async with RawServer(counted) as server, Opened() as upstreams:
        for number in range(1, 4):
            pool = await upstreams.take(App(server.url, 1, 9))
            assert await whole(pool, server.url) == f"1.{number}".encode()
            await upstreams.give_back(pool)


async def test_the_app_and_the_provider_have_a_pool_each():
    async with Opened() as upstreams:
        app = await upstreams.take(App("http://a.test", 1, 9))
        other = await upstreams.take(provider("http://a.test"))
        assert app is not other
        assert await upstreams.take(App("http://a.test", 2, 9)) is app


async def test_what_is_replaced_ends_with_its_last_request():
    before = open_sessions()
    async with Opened() as upstreams:
        used = [await upstreams.take(App("http://a.test", 1, 9)) for _ in range(2)]
        await upstreams.take(App("http://b.test", 1, 9))
        assert open_sessions() == before + 2
        await upstreams.give_back(used[0])
        assert open_sessions() == before + 2
        await upstreams.give_back(used[1])
        assert open_sessions() == before + 1
    assert open_sessions() == before


async def test_what_is_replaced_and_not_in_use_ends_at_once():
    before = open_sessions()
    async with Opened() as upstreams:
        await upstreams.give_back(await upstreams.take(App("http://a.test", 1, 9)))
        await upstreams.take(App("http://b.test", 1, 9))
        assert open_sessions() == before + 1


async def test_what_is_replaced_while_another_closes_stays_open_for_who_asked_for_it():
    """Two configurations at once, as around a reload: each asks for its own, in turn."""
    async with RawServer(counted) as server, Opened() as upstreams:
        kept = await upstreams.take(App(server.url, 1, 9))
        await whole(kept, server.url)  # a connection, whose closing takes a step
        await upstreams.give_back(kept)
        first = asyncio.create_task(upstreams.take(App(server.url, 1, 8)))
        second = asyncio.create_task(upstreams.take(App(server.url, 1, 7)))
        for pool in (await first, await second):
            assert await whole(pool, server.url)
            await upstreams.give_back(pool)


async def test_who_is_cancelled_while_another_closes_holds_nothing():
    before = open_sessions()
    async with RawServer(counted) as server, Opened() as upstreams:
        kept = await upstreams.take(App(server.url, 1, 9))
        await whole(kept, server.url)
        await upstreams.give_back(kept)
        asking = asyncio.create_task(upstreams.take(App(server.url, 1, 8)))
        await asyncio.sleep(0)
        assert not asking.done()
        asking.cancel()
        await asyncio.wait([asking])
        await upstreams.give_back(await upstreams.take(App(server.url, 1, 7)))
        assert open_sessions() == before + 1


async def test_closing_ends_what_is_in_use_too_and_a_later_request_opens_anew():
    before = open_sessions()
    async with RawServer(counted) as server, Opened() as upstreams:
        held = await upstreams.take(App("http://a.test", 1, 9))
        await upstreams.take(App("http://b.test", 1, 9))
        await upstreams.close()
        assert open_sessions() == before
        await upstreams.give_back(held)
        pool = await upstreams.take(App(server.url, 1, 9))
        assert await whole(pool, server.url) == b"1.1"


# --- what goes over the wire


async def test_nothing_is_added_to_what_is_asked_but_the_framing():
    seen: list[list[tuple[bytes, bytes]]] = []

    async def see(call: Call) -> None:
        seen.append(call.headers)
        await call.respond(200)

    async with RawServer(see) as server, Opened() as upstreams:
        pool = await upstreams.take(App(server.url, 1, 9))
        for method, body in [("GET", None), ("POST", b"abc"), ("PUT", Body(pieces(b"a", b"b")))]:
            await whole(pool, server.url, method, body)
    host = (b"Host", server.url.removeprefix("http://").encode())
    assert [[(n.title(), v) for n, v in headers] for headers in seen] == [
        [host],
        [host, (b"Content-Length", b"3")],
        [host, (b"Transfer-Encoding", b"chunked")],
    ]


async def test_cookies_of_one_client_are_not_sent_for_the_next():
    seen: list[str | None] = []

    async def set_cookie(call: Call) -> None:
        seen.append(call.header("cookie"))
        await call.respond(200, b"", [("set-cookie", "a=1; Path=/")])

    async with RawServer(set_cookie) as server, Opened() as upstreams:
        pool = await upstreams.take(App(server.url, 1, 9))
        for _ in range(2):
            await whole(pool, server.url)
    assert seen == [None, None]


async def test_a_redirect_is_not_followed():
    async def move(call: Call) -> None:
        await call.respond(302, b"there", [("location", "/else")])

    async with RawServer(move) as server, Opened() as upstreams:
        pool = await upstreams.take(App(server.url, 1, 9))
        answer = await pool.ask("GET", server.url, [], None)
        assert (answer.status, dict(answer.headers)[b"location"]) == (302, b"/else")
        answer.close()


async def stale_once(call: Call) -> None:
    """A server that ends a kept connection just when the next request arrives on it."""
    if call.number == 2:
        await call.hang_up()
    else:
        await counted(call)


async def test_what_can_be_asked_twice_survives_a_connection_that_was_just_closed():
    async with RawServer(stale_once) as server, Opened() as upstreams:
        pool = await upstreams.take(App(server.url, 1, 9))
        said = [await whole(pool, server.url, "PUT", b"abc") for _ in range(2)]
        assert said == [b"1.1", b"2.1"]


async def test_a_body_that_was_read_is_never_sent_again_as_if_it_were_whole():
    async with RawServer(stale_once) as server, Opened() as upstreams:
        pool = await upstreams.take(App(server.url, 1, 9))
        await whole(pool, server.url)
        with pytest.raises(UpstreamError):
            await whole(pool, server.url, "PUT", Body(pieces(b"abc")))


async def test_a_body_has_one_reading():
    body = Body(pieces(b"a", b"b"))
    assert [piece async for piece in body] == [b"a", b"b"]
    with pytest.raises(aiohttp.ClientConnectionError):
        aiter(body)


async def test_letting_go_of_an_answer_midway_ends_its_connection():
    gone = asyncio.Event()

    async def half(call: Call) -> None:
        await call.start(200)
        await call.send(b"half")
        await call.gone.wait()
        gone.set()

    async with RawServer(half) as server, Opened() as upstreams:
        pool = await upstreams.take(App(server.url, 1, 9))
        answer = await pool.ask("GET", server.url, [], None)
        assert await answer.read() == (b"half", False)
        answer.close()
        await asyncio.wait_for(gone.wait(), 1)


# --- what a failure is called


async def test_nobody_there_is_an_error_and_nobody_in_time_a_slow_one():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = f"http://127.0.0.1:{full.getsockname()[1]}"
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:  # fills the backlog: the next SYN gets no answer
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        async with Opened() as upstreams:
            pool = await upstreams.take(provider(address, connect_timeout_seconds=0.1))
            with pytest.raises(UpstreamSlow):
                await whole(pool, address)
        for sock in waiting:
            sock.close()
    async with Opened() as upstreams:
        pool = await upstreams.take(App(address, 1, 9))
        with pytest.raises(UpstreamError) as refused:
            await whole(pool, address)
        assert not isinstance(refused.value, UpstreamSlow)


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: y\r\n\r\n",
        b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\x02\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_what_no_server_could_send_on_is_an_error(wire):
    async def say(call: Call) -> None:
        await call.raw(wire)
        await call.hang_up()

    async with RawServer(say) as server, Opened() as upstreams:
        pool = await upstreams.take(App(server.url, 1, 9))
        with pytest.raises(UpstreamError):
            await whole(pool, server.url)


@pytest.mark.parametrize(
    ("wire", "told"),
    [
        (b"sk-answer\r\n\r\n", "ClientResponseError: Bad status line"),
        (b"HTTP/1.1 200 OK\r\nSet-Cookie: sk-answer\r\nX", "ServerDisconnectedError"),
        (b"HTTP/1.1 200 OK\r\nSet-Cookie: sk-answer\r\nContent-Length: x\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nX-A: " + b"sk-answer" * 10_000, None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsk-answer", None),
    ],
)
async def test_an_error_tells_nothing_of_what_was_sent_or_came(wire, told):
    """It goes to the log, and aiohttp's own has the headers of both sides in it: keys, cookies."""

    async def say(call: Call) -> None:
        await call.raw(wire)
        await call.hang_up()

    async with RawServer(say) as server, Opened() as upstreams:
        pool = await upstreams.take(App(server.url, 1, 9))
        with pytest.raises(UpstreamError) as raised:
            await whole(pool, f"{server.url}/?sk-query", headers=[("cookie", "sk-sent")])
    assert "sk-" not in str(raised.value)
    assert told in (None, str(raised.value))


async def test_the_word_of_a_proxy_tells_nothing_of_its_password():
    async def ask(call: Call) -> None:
        await call.respond(407)

    async with RawServer(ask) as server, Opened() as upstreams:
        through = server.url.replace("//", "//user:sk-1@")
        pool = await upstreams.take(provider("https://p1.test/v1", proxy_url=through))
        with pytest.raises(UpstreamError) as raised:
            await pool.ask("GET", "https://p1.test/v1/x", [], None)
    assert str(raised.value).startswith("ClientHttpProxyError")
    assert not {"sk-1", "Basic", "user"} & set(str(raised.value).replace("'", " ").split())


async def test_an_answer_cut_off_is_an_error_after_what_came_of_it():
    async def cut(call: Call) -> None:
        await call.start(200, [("content-length", "9")])
        await call.send(b"half")
        await call.hang_up()

    async with RawServer(cut) as server, Opened() as upstreams:
        pool = await upstreams.take(App(server.url, 1, 9))
        answer = await pool.ask("GET", server.url, [], None)
        assert await answer.read() == (b"half", False)
        with pytest.raises(UpstreamError):
            await answer.read()
        answer.close()


async def test_a_password_that_a_proxy_asks_for_is_not_the_providers_word():
    async def ask(call: Call) -> None:
        await call.respond(407)

    async with RawServer(ask) as server, Opened() as upstreams:
        pool = await upstreams.take(App(server.url, 1, 9))
        assert await whole(pool, server.url) == b""
        proxied = await upstreams.take(provider("http://p1.test/v1", proxy_url=server.url))
        with pytest.raises(UpstreamError, match="password"):
            await whole(proxied, "http://p1.test/v1/x")


async def test_a_header_that_breaks_out_of_its_line_is_not_sent():
    async with RawServer(counted) as server, Opened() as upstreams:
        pool = await upstreams.take(App(server.url, 1, 9))
        with pytest.raises(UpstreamError):
            await pool.ask("GET", server.url, [("x-a", "b\r\nx-c: d")], None)
