"""One server on one socket: bound at once or refused by its setting's name, and its end."""

import asyncio
import socket

import httpx
import pytest
from starlette.responses import PlainTextResponse

from tiergate import ConfigError
from tiergate_sidecar.listener import LARGEST_HEAD, Listener

HELLO = PlainTextResponse("hello")


async def test_it_has_its_port_before_it_serves_and_gives_it_back_after():
    listener, started = Listener(HELLO, "127.0.0.1:0", "here", 1), asyncio.Event()
    port = listener.address.port
    assert port > 0
    serving = asyncio.create_task(listener.listen(started.set))
    async with asyncio.timeout(5):
        await started.wait()
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://{listener.address}/")
        assert (answer.text, "server" in answer.headers) == ("hello", False)
        listener.should_exit = True
        await serving
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_taken_port_is_refused_by_the_name_of_its_setting():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"^x\.y: cannot listen on {where}: Address already"):
            Listener(HELLO, where, "x.y", 1)


async def test_one_that_is_not_to_serve_after_all_gives_its_port_back():
    listener = Listener(HELLO, "127.0.0.1:0", "here", 1)
    port = listener.address.port
    listener.close()
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_one_that_is_ended_while_it_starts_says_nothing():
    listener, started = Listener(HELLO, "127.0.0.1:0", "here", 1), asyncio.Event()
    listener.should_exit = True
    async with asyncio.timeout(5):
        await listener.listen(started.set)
    assert not started.is_set()


async def test_settings_of_uvicorn_can_be_others():
    listener = Listener(HELLO, "127.0.0.1:0", "here", 1, limit_concurrency=7)
    assert listener.config.limit_concurrency == 7
    listener.close()


async def taken(listener, *pieces, piece=b"", most=0, least=-1):
    """What a caller hears who sends these, and then more of the last until it is refused."""
    serving = asyncio.create_task(listener.listen())
    host, port = str(listener.address).split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    heard, sent = asyncio.create_task(reader.read(least)), 0
    try:
        async with asyncio.timeout(5):
            for each in pieces:
                if isinstance(each, asyncio.Event):
                    await each.wait()
                    continue
                writer.write(each)
                await writer.drain()
            while sent < most and not heard.done():
                writer.write(piece)
                sent += len(piece)
                await writer.drain()
            return await heard, sent
    except ConnectionError:
        return b"", sent
    finally:
        writer.close()
        await asyncio.wait({heard})
        if not heard.cancelled():
            heard.exception()
        listener.should_exit = True
        await serving


async def silent(scope, receive, send):
    while (await receive())["type"] != "http.disconnect":
        pass


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (HEAD, b"X-Much: %s\r\n" % (b"a" * 1000)),
        (HEAD + b"X-Long: ", b"a" * 1000),
        (b"GET /", b"a" * 1000),
        (b"", b"\r\n" * 500),
        (CHUNKED + b"1;", b"a" * 1000),
        (CHUNKED + b"1\r\na\r\n0\r\n", b"X-Much: %s\r\n" % (b"a" * 1000)),
        (CHUNKED + b"1\r\na\r\n0\r\nX-Long: ", b"a" * 1000),
    ],
)
async def test_what_brings_no_request_further_is_not_taken_for_ever(begin, piece):
    most = 50_000_000
    listener = Listener(silent, "127.0.0.1:0", "here", 1, lifespan="off")
    answer, sent = await taken(listener, begin, piece=piece, most=most, least=1000)
    assert sent < most
    # Where the app has the request already, there is no answer but its own.
    assert answer == b"" if begin.startswith(CHUNKED) else answer.startswith(b"HTTP/1.1 431 ")


async def test_a_large_head_a_line_break_before_it_and_a_large_body_are_taken():
    async def length(scope, receive, send):
        got, more = 0, True
        while more:
            message = await receive()
            got, more = got + len(message.get("body", b"")), message.get("more_body", False)
        await PlainTextResponse(str(got))(scope, receive, send)

    body = b"b" * 300_000
    asked = b"%sX-Large: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (
        *(HEAD, b"a" * (LARGEST_HEAD - 500), len(body)),
    )
    listener = Listener(length, "127.0.0.1:0", "here", 1, lifespan="off")
    answer, _ = await taken(listener, b"\r\n", asked[:1000], asked[1000:], body)
    assert answer.endswith(b"\r\n\r\n300000")


async def test_a_head_that_comes_too_slowly_and_a_caller_that_says_nothing_are_let_go_of():
    listener = Listener(silent, "127.0.0.1:0", "here", 1, lifespan="off", head_seconds=0.05)
    answer, _ = await taken(listener, HEAD)
    assert answer.endswith(b"Too slow a head.")
    quick = {"lifespan": "off", "timeout_keep_alive": 0.05}
    assert await taken(Listener(silent, "127.0.0.1:0", "here", 1, **quick)) == (b"", 0)


async def test_within_an_answer_a_slow_end_of_the_request_is_the_apps_to_judge():
    begun = asyncio.Event()

    async def slow(scope, receive, send):
        begun.set()
        await asyncio.sleep(0.2)  # longer than a head may take
        await HELLO(scope, receive, send)

    listener = Listener(slow, "127.0.0.1:0", "here", 1, lifespan="off", head_seconds=0.05)
    answer, _ = await taken(listener, CHUNKED, begun, b"1;")
    assert b"\r\n\r\nhello" in answer
    assert answer.endswith(b"Too slow a head.")
