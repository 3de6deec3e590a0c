"""The raw server over real sockets: proper answers, every misbehaviour, and a clean end."""

import asyncio
import socket
import ssl
import struct
import subprocess
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tiergate_sidecar.rawhttp import Call, RawServer

GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"


class Peer:
    """A client that says exactly the bytes it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[bytes, bytes]:
        """Head and body of one answer with a Content-Length."""
        async with asyncio.timeout(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return head, await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.read()

    def leave(self, *, reset: bool = False) -> None:
        if reset:
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def __aenter__(self) -> "Peer":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


async def connect(server: RawServer) -> Peer:
    return Peer(*await asyncio.open_connection("127.0.0.1", server.port))


async def echo(call: Call) -> None:
    await call.respond(200, f"{call.method} {call.target} {call.connection}.{call.number}".encode())


async def wait_for(call: Call) -> None:
    async with asyncio.timeout(5):
        await call.gone.wait()


async def emptied(server: RawServer) -> None:
    async with asyncio.timeout(5):
        while server.open:
            await asyncio.wait(server.open)


async def test_a_request_arrives_as_it_was_sent() -> None:
    calls: list[Call] = []

    async def keep(call: Call) -> None:
        calls.append(call)
        await call.respond(200)

    request = (
        b"POST /p/q?x=1 HTTP/1.1\r\nHost: h\r\nX-Two: b\r\nContent-Length: 3\r\nx-two: a\r\n\r\nabc"
    )
    async with RawServer(keep) as server, await connect(server) as peer:
        await peer.say(request)
        await peer.answer()
    (call,) = calls
    assert (call.method, call.target, call.path, call.body) == ("POST", "/p/q?x=1", "/p/q", b"abc")
    assert call.headers == [
        (b"host", b"h"),
        (b"x-two", b"b"),
        (b"content-length", b"3"),
        (b"x-two", b"a"),
    ]
    assert (call.header("X-TWO"), call.header("x-none")) == ("b", None)


async def test_one_connection_carries_many_requests_and_both_are_counted() -> None:
    async with RawServer(echo) as server, httpx.AsyncClient() as client:
        first = await client.get(f"{server.url}/1")
        second = await client.post(f"{server.url}/2", content=b"x" * 200_000)
        async with httpx.AsyncClient() as other:
            third = await other.get(f"{server.url}/3")
    assert [a.text for a in (first, second, third)] == ["GET /1 1.1", "POST /2 1.2", "GET /3 2.1"]
    assert first.headers["content-type"] == "application/json"
    assert server.connections == 2


async def test_without_keep_alive_each_request_has_its_connection() -> None:
    async with RawServer(echo, keep_alive=False) as server, httpx.AsyncClient() as client:
        answers = [await client.get(server.url) for _ in range(2)]
    assert [answer.text for answer in answers] == ["GET / 1.1", "GET / 2.1"]
    assert answers[0].headers["connection"] == "close"


async def test_requests_sent_ahead_are_answered_in_order() -> None:
    async with RawServer(echo) as server, await connect(server) as peer:
        await peer.say(GET + GET)
        assert [(await peer.answer())[1] for _ in range(2)] == [
            b"GET /a?b=c 1.1",
            b"GET /a?b=c 1.2",
        ]


async def test_bytes_sent_during_an_answer_wait_for_their_turn() -> None:
    gate = asyncio.Event()

    async def slow(call: Call) -> None:
        await gate.wait()
        await echo(call)

    async with RawServer(slow) as server, await connect(server) as peer:
        await peer.say(GET)
        await peer.say(GET)
        gate.set()
        assert [(await peer.answer())[1][-3:] for _ in range(2)] == [b"1.1", b"1.2"]


async def test_a_peer_that_sends_without_end_during_an_answer_is_given_up() -> None:
    async with RawServer(wait_for) as server, await connect(server) as peer:
        await peer.say(GET + b"x" * 200_000)
        await emptied(server)


async def test_head_has_the_headers_of_the_body_it_leaves_out() -> None:
    async with RawServer(echo) as server, httpx.AsyncClient() as client:
        answer = await client.head(server.url)
    assert (answer.headers["content-length"], answer.content) == ("10", b"")


async def test_a_content_type_of_ones_own_is_not_doubled() -> None:
    async def html(call: Call) -> None:
        await call.respond(503, b"<p>", [("Content-Type", "text/html"), ("Retry-After", "2")])

    async with RawServer(html) as server, httpx.AsyncClient() as client:
        answer = await client.get(server.url)
    assert answer.headers.get_list("content-type") == ["text/html"]
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_a_chunked_answer_arrives_chunk_by_chunk() -> None:
    gate = asyncio.Event()

    async def two(call: Call) -> None:
        await call.start(200, [("content-type", "text/plain")])
        await call.send(b"one")
        await gate.wait()
        await call.send(b"two")
        await call.finish()

    async with (
        RawServer(two) as server,
        httpx.AsyncClient() as client,
        client.stream("GET", server.url) as answer,
    ):
        assert answer.headers["transfer-encoding"] == "chunked"
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b"one"
        gate.set()
        assert await anext(chunks) == b"two"


async def test_expect_100_continue_is_answered_before_the_body() -> None:
    async with RawServer(echo) as server, await connect(server) as peer:
        await peer.say(
            b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
        )
        assert await peer.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 \r\n\r\n"
        await peer.say(b"x")
        assert (await peer.answer())[1] == b"PUT / 1.1"


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00 hello\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]
)
async def test_garbage_is_refused_and_the_next_connection_works(garbage: bytes) -> None:
    async with RawServer(echo) as server:
        async with await connect(server) as peer:
            await peer.say(garbage)
            assert (await peer.rest()).startswith(b"HTTP/1.1 400 ")
        async with await connect(server) as peer:
            await peer.say(GET)
            assert (await peer.answer())[0].startswith(b"HTTP/1.1 200 ")


async def test_a_body_over_the_limit_is_413() -> None:
    async with RawServer(echo, max_body_bytes=4) as server, await connect(server) as peer:
        await peer.say(
            b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"
        )
        assert (await peer.rest()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "said", [b"", b"GET / HT", b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"]
)
@pytest.mark.parametrize("reset", [False, True])
async def test_a_peer_that_leaves_before_its_request_is_complete_calls_nobody(
    said: bytes, reset: bool
) -> None:
    async with RawServer(echo) as server:
        async with await connect(server) as peer:
            await peer.say(said)
            peer.leave(reset=reset)
        await emptied(server)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_handler_sees_at_once_that_the_peer_has_left(reset: bool) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def patient(call: Call) -> None:
        await call.start(200)
        await seen.put("started")
        await wait_for(call)
        await seen.put("gone")
        await call.send(b"too late")

    async with RawServer(patient) as server, await connect(server) as peer:
        await peer.say(GET)
        assert await seen.get() == "started"
        peer.leave(reset=reset)
        async with asyncio.timeout(5):
            assert await seen.get() == "gone"
        await emptied(server)
    assert not server.errors


async def test_a_peer_that_leaves_while_it_is_written_to_ends_the_writing() -> None:
    ended: asyncio.Future[Call] = asyncio.get_running_loop().create_future()

    async def flood(call: Call) -> None:
        await call.start(200)
        try:
            while True:
                await call.send(b"x" * 1_000_000)
        finally:
            ended.set_result(call)

    async with RawServer(flood) as server, await connect(server) as peer:
        await peer.say(GET)
        await peer.reader.readexactly(100_000)
        peer.leave()
        async with asyncio.timeout(5):
            assert (await ended).gone.is_set()
    assert not server.errors


async def test_a_reset_is_a_reset_and_nothing_can_be_sent_after_it() -> None:
    refused: list[type] = []

    async def reset(call: Call) -> None:
        call.reset()
        call.reset()  # a second one finds nothing left to reset
        try:
            await call.respond(200)
        except ConnectionError as error:
            refused.append(type(error))

    async with RawServer(reset) as server, await connect(server) as peer:
        await peer.say(GET)
        with pytest.raises(ConnectionResetError):
            await peer.rest()
    assert refused == [ConnectionResetError]


async def test_a_reset_of_a_closed_connection_does_nothing() -> None:
    async def late(call: Call) -> None:
        await wait_for(call)
        await call.hang_up()
        call.reset()

    async with RawServer(late) as server, await connect(server) as peer:
        await peer.say(GET)
        peer.leave()
        await emptied(server)
    assert not server.errors


async def test_hanging_up_delivers_what_was_sent_and_no_more() -> None:
    async def half(call: Call) -> None:
        await call.start(200)
        await call.send(b"half")
        await call.hang_up()

    async with RawServer(half) as server, await connect(server) as peer:
        await peer.say(GET)
        assert (await peer.rest()).endswith(b"\r\n\r\n4\r\nhalf\r\n")


async def test_an_answer_left_unfinished_ends_with_the_handler() -> None:
    async def half(call: Call) -> None:
        await call.start(200, [("content-length", "9")])
        await call.send(b"half")

    async with RawServer(half) as server, await connect(server) as peer:
        await peer.say(GET)
        assert (await peer.rest()).endswith(b"\r\n\r\nhalf")


async def test_raw_bytes_go_out_as_they_are_and_end_the_connection() -> None:
    async def odd(call: Call) -> None:
        await call.raw(b"HTTP/1.1 200 OK\r\nBroken\r\n\r\n")

    async with RawServer(odd) as server, await connect(server) as peer:
        await peer.say(GET)
        assert await peer.rest() == b"HTTP/1.1 200 OK\r\nBroken\r\n\r\n"


async def test_raw_bytes_after_a_whole_answer_end_the_connection_too() -> None:
    async def more(call: Call) -> None:
        await call.respond(200, b"ok")
        await call.raw(b"junk")

    async with RawServer(more) as server, await connect(server) as peer:
        await peer.say(GET)
        assert (await peer.rest()).endswith(b"\r\n\r\nokjunk")


@pytest.mark.parametrize("error", [RuntimeError("oops"), ConnectionError("not the peer's")])
async def test_a_handler_that_raises_closes_its_connection_and_is_told_at_the_end(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(call: Call) -> None:
        await call.respond(200)
        raise error

    server = RawServer(broken)
    await server.start()
    async with await connect(server) as peer:
        await peer.say(GET)
        await peer.answer()
        assert await peer.rest() == b""
    assert list(server.errors) == [error]
    assert "GET /a?b=c" in caplog.text
    with pytest.raises(ExceptionGroup) as told:
        await server.close()
    assert told.value.exceptions == (error,)
    await server.close()


async def test_two_requests_at_once_are_answered_at_once() -> None:
    both = asyncio.Barrier(2)

    async def meet(call: Call) -> None:
        await both.wait()
        await echo(call)

    async with RawServer(meet) as server, httpx.AsyncClient(timeout=5) as client:
        answers = await asyncio.gather(*(client.get(server.url) for _ in range(2)))
    assert sorted(answer.text for answer in answers) == ["GET / 1.1", "GET / 2.1"]


async def test_closing_ends_hanging_handlers_idle_connections_and_deaf_peers() -> None:
    started: asyncio.Queue[str] = asyncio.Queue()

    async def hang(call: Call) -> None:
        started.put_nowait(call.path)
        if call.path == "/silent":
            await asyncio.Event().wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05 if call.path == "/hang-up" else None):
                await call.raw(b"x" * 50_000_000)
        await call.hang_up()

    server = RawServer(hang)
    await server.start()
    paths = ["/flood", "/hang-up", "/silent"]
    async with AsyncExitStack() as stack:
        for path in paths:
            peer = await stack.enter_async_context(await connect(server))
            await peer.say(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        idle = await stack.enter_async_context(await connect(server))
        async with asyncio.timeout(5):
            assert sorted([await started.get() for _ in paths]) == paths
            await server.close()
        assert not server.open
        with suppress(ConnectionResetError):
            assert await idle.rest() == b""
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("steps", range(5))
async def test_a_connection_accepted_while_closing_is_turned_away(steps: int) -> None:
    server = RawServer(echo)
    await server.start()
    with socket.create_connection(("127.0.0.1", server.port)) as peer:
        peer.setblocking(False)
        for _ in range(steps):  # how far the accepting has come when the server closes
            await asyncio.sleep(0)
        await server.close()
        with suppress(ConnectionResetError):
            async with asyncio.timeout(5):
                assert await asyncio.get_running_loop().sock_recv(peer, 1) == b""
    assert not server.open


def test_an_ipv6_address_is_bracketed_in_the_url() -> None:
    assert RawServer(echo, host="::1", port=8).url == "http://[::1]:8"


_OPENSSL = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
_OPENSSL += ["-addext", "subjectAltName=IP:127.0.0.1"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        [*_OPENSSL, "-keyout", path.with_suffix(".key"), "-out", path],
        check=True,
        capture_output=True,
    )
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


async def test_tls_works_like_plain_and_a_failed_handshake_harms_nobody(certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with RawServer(echo, ssl=server_tls(certificate)) as server:
        async with httpx.AsyncClient() as strict:
            with pytest.raises(httpx.ConnectError):
                await strict.get(server.url)
        async with await connect(server) as plain:
            await plain.say(GET)
            await plain.rest()
        await emptied(server)
        async with httpx.AsyncClient(verify=trusting) as client:
            answers = [await client.post(server.url, content=b"x" * 300_000) for _ in range(2)]
    assert [answer.text for answer in answers] == ["POST / 3.1", "POST / 3.2"]


async def test_tls_can_be_reset_and_hung_up_too(certificate: Path) -> None:
    async def end(call: Call) -> None:
        if call.path == "/reset":
            call.reset()
        await call.hang_up()

    trusting = ssl.create_default_context(cafile=str(certificate))
    async with (
        RawServer(end, ssl=server_tls(certificate)) as server,
        httpx.AsyncClient(verify=trusting) as client,
    ):
        with pytest.raises(httpx.ReadError):
            await client.get(f"{server.url}/reset")
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"{server.url}/hang-up")


async def test_closing_ends_a_handshake_that_never_comes(certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    server = RawServer(echo, ssl=server_tls(certificate))
    await server.start()
    async with await connect(server) as peer:
        await peer.say(b"\x16")  # the first byte of a greeting
        async with httpx.AsyncClient(verify=trusting) as client:
            await client.get(server.url)  # accepted later, so the other is being waited for
        assert server.open
        async with asyncio.timeout(5):
            await server.close()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await peer.answer()
