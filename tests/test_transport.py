"""The aiohttp side of the transport, over real sockets.

What each misbehaviour is called, what goes over the wire and what does not, and that connections
are reused, bounded and let go of.
"""

import asyncio
import gc
import os
import socket
import ssl
import subprocess
import weakref
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tiergate.config import Provider
from tiergate.endpoint import Endpoint, compile_endpoints
from tiergate.faults import (
    BUSY,
    DISCONNECTED,
    GARBLED,
    STALE,
    UNREACHABLE,
    AttemptFailed,
    Fault,
)
from tiergate.request_headers import read_headers
from tiergate.transport import AiohttpTransport
from tiergate_sidecar.rawhttp import Call, RawServer


def endpoint(base_url: str, **settings: Any) -> Endpoint:
    provider = Provider(base_url=base_url, **settings)
    return compile_endpoints({"p1": provider}, {"p1": "sk-1"})["p1"]


def headers(to: Endpoint) -> list[tuple[str, str]]:
    return to.request_headers(read_headers([]), "key-1")


async def ask(transport: AiohttpTransport, to: Endpoint) -> tuple[int, bytes]:
    answer = await transport.post(to, headers(to), b"{}")
    try:
        pieces = []
        while piece := await answer.read():
            pieces.append(piece)
        return answer.status, b"".join(pieces)
    finally:
        answer.close()


async def fault_of(transport: AiohttpTransport, to: Endpoint) -> Fault:
    async with asyncio.timeout(5):
        with pytest.raises(AttemptFailed) as failed:
            await ask(transport, to)
    return failed.value.fault


async def soon(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # sockets close without an event of ours
            await asyncio.sleep(0.005)


class Transports:
    """`async with` for a transport that is closed at the end."""

    async def __aenter__(self) -> AiohttpTransport:
        self.made = AiohttpTransport()
        return self.made

    async def __aexit__(self, *_: object) -> None:
        await self.made.close()


async def named(call: Call) -> None:
    await call.respond(200, f"{call.connection}.{call.number}".encode())


def open_sessions() -> list[aiohttp.ClientSession]:
    return [
        each
        for each in gc.get_objects()
        if isinstance(each, aiohttp.ClientSession) and not each.closed
    ]


# --- what a failure is called


def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}", "http://nope.invalid", f"http://{'a' * 64}.invalid"],
    ids=["refused", "no such name", "no name at all"],
)
async def test_a_provider_that_cannot_be_connected_is_unreachable(url):
    async with Transports() as transport:
        to = endpoint(url.format(port=unused_port()))
        assert await fault_of(transport, to) is UNREACHABLE


async def test_a_connection_that_takes_too_long_is_unreachable():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:  # fills the backlog: the next SYN gets no answer
            sock.setblocking(False)
            sock.connect_ex(address)
        async with Transports() as transport:
            to = endpoint(f"http://127.0.0.1:{address[1]}", connect_timeout_seconds=0.1)
            assert await fault_of(transport, to) is UNREACHABLE
        for sock in waiting:
            sock.close()


def self_signed(folder: Path) -> ssl.SSLContext:
    both, key = folder / "both.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(both)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(both, key)
    return context


async def test_a_certificate_that_nobody_vouches_for_is_unreachable(tmp_path):
    async with RawServer(named, ssl=self_signed(tmp_path)) as server, Transports() as transport:
        assert await fault_of(transport, endpoint(server.url)) is UNREACHABLE


async def test_a_certificate_that_the_configuration_vouches_for_is_fine_and_no_other(tmp_path):
    tls = self_signed(tmp_path)
    (tmp_path / "another").mkdir()
    self_signed(tmp_path / "another")
    async with RawServer(named, ssl=tls) as server, Transports() as transport:
        to, another = (
            compile_endpoints({"p1": Provider(base_url=server.url)}, {}, {"p1": file.read_text()})[
                "p1"
            ]
            for file in (tmp_path / "both.pem", tmp_path / "another" / "both.pem")
        )
        assert [await ask(transport, to) for _ in range(2)] == [(200, b"1.1"), (200, b"1.2")]
        assert await fault_of(transport, another) is UNREACHABLE
        assert await ask(transport, to) == (200, b"1.3")


async def test_tls_to_a_plain_server_is_unreachable():
    async with RawServer(named) as server, Transports() as transport:
        to = endpoint(server.url.replace("http:", "https:"))
        assert await fault_of(transport, to) is UNREACHABLE


async def reset(call: Call) -> None:
    call.reset()


async def hang_up(call: Call) -> None:
    await call.hang_up()


async def half_a_head(call: Call) -> None:
    await call.raw(b"HTTP/1.1 200 OK\r\nContent-Le")
    await call.hang_up()


async def garbage(call: Call) -> None:
    await call.raw(b"SSH-2.0-OpenSSH\r\n\r\n")


async def bad_header(call: Call) -> None:
    await call.raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n")


@pytest.mark.parametrize(
    ("handler", "fault"),
    [
        (reset, DISCONNECTED),
        (hang_up, DISCONNECTED),
        (half_a_head, DISCONNECTED),
        (garbage, GARBLED),
        (bad_header, GARBLED),
    ],
)
async def test_a_fresh_connection_that_ends_before_the_headers(handler, fault):
    async with RawServer(handler) as server, Transports() as transport:
        assert await fault_of(transport, endpoint(server.url)) is fault
        assert server.connections == 1


@pytest.mark.parametrize(
    ("handler", "fault"),
    [(reset, STALE), (hang_up, STALE), (half_a_head, DISCONNECTED), (garbage, GARBLED)],
)
async def test_a_used_connection_is_stale_only_when_it_ends_before_any_byte(handler, fault):
    async def first_fine(call: Call) -> None:
        await (handler(call) if call.connection == 1 and call.number == 2 else named(call))

    async with RawServer(first_fine) as server, Transports() as transport:
        to = endpoint(server.url)
        assert await ask(transport, to) == (200, b"1.1")
        assert await fault_of(transport, to) is fault
        assert await ask(transport, to) == (200, b"2.1")


async def test_a_stale_connection_says_nothing_of_the_fresh_one_that_follows():
    async def only_once(call: Call) -> None:
        await (named(call) if (call.connection, call.number) == (1, 1) else reset(call))

    async with RawServer(only_once) as server, Transports() as transport:
        to = endpoint(server.url)
        await ask(transport, to)
        assert [await fault_of(transport, to) for _ in range(2)] == [STALE, DISCONNECTED]


async def test_an_idle_connection_is_kept_for_no_longer_than_keepalive():
    async with RawServer(named) as server, Transports() as transport:
        await ask(transport, endpoint(server.url, keepalive_seconds=0.01))
        assert len(server.open) == 1
        await soon(lambda: not server.open)


async def test_a_connection_that_was_closed_while_idle_is_not_used_again():
    async def once(call: Call) -> None:
        await named(call)
        await call.hang_up()

    async with RawServer(once) as server, Transports() as transport:
        to = endpoint(server.url)
        assert await ask(transport, to) == (200, b"1.1")
        await soon(lambda: not server.open)
        assert await ask(transport, to) == (200, b"2.1")


async def cut_length(call: Call) -> None:
    await call.start(200, [("content-length", "100")])
    await call.send(b"half")
    await call.hang_up()


async def cut_chunks(call: Call) -> None:
    await call.start(200)
    await call.send(b"half")
    await call.hang_up()


async def bad_chunk(call: Call) -> None:
    await call.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf\r\n")


@pytest.mark.parametrize("handler", [cut_length, cut_chunks, bad_chunk])
async def test_a_body_that_is_cut_is_garbled(handler):
    async with RawServer(handler) as server, Transports() as transport:
        assert await fault_of(transport, endpoint(server.url)) is GARBLED


async def test_a_reset_in_the_body_is_garbled():
    taken = asyncio.Event()

    async def reset_in_body(call: Call) -> None:
        await call.start(200)
        await call.send(b"half")
        await taken.wait()
        call.reset()

    async with RawServer(reset_in_body) as server, Transports() as transport:
        to = endpoint(server.url)
        answer = await transport.post(to, headers(to), b"{}")
        assert await answer.read() == b"half"
        taken.set()
        with pytest.raises(AttemptFailed) as failed:
            await answer.read()
        answer.close()
    assert (failed.value.fault, failed.value.status) == (GARBLED, 200)


# --- what goes over the wire


async def test_only_our_headers_are_sent_and_the_body_has_its_length():
    seen: list[Call] = []

    async def note(call: Call) -> None:
        seen.append(call)
        await named(call)

    async with RawServer(note) as server, Transports() as transport:
        await ask(transport, endpoint(f"{server.url}/v1/"))
        host = server.url.removeprefix("http://").encode()
    call = seen[0]
    assert (call.method, call.target, call.body) == ("POST", "/v1/chat/completions", b"{}")
    assert sorted(call.headers) == [
        (b"accept-encoding", b"identity"),
        (b"authorization", b"Bearer sk-1"),
        (b"content-length", b"2"),
        (b"content-type", b"application/json"),
        (b"host", host),
        (b"idempotency-key", b"key-1"),
        (b"user-agent", b"tiergate"),
    ]


async def test_the_address_is_used_as_it_was_written():
    async def target(call: Call) -> None:
        await call.respond(200, call.target.encode())

    async with RawServer(target) as server, Transports() as transport:
        to = endpoint(f"{server.url}/a%2Fb/?api-version=2024%2D10")
        said = b"/a%2Fb/chat/completions?api-version=2024%2D10"
        assert await ask(transport, to) == (200, said)


async def test_cookies_of_one_answer_never_go_with_the_next_request():
    cookies = []

    async def bake(call: Call) -> None:
        cookies.append(call.header("cookie"))
        await call.respond(200, b"{}", [("set-cookie", "session=alice; Path=/")])

    async with RawServer(bake) as server, Transports() as transport:
        to = endpoint(server.url.replace("127.0.0.1", "localhost"))  # no jar keeps an address's
        for _ in range(2):
            await ask(transport, to)
    assert cookies == [None, None]


async def test_a_redirect_is_an_answer_and_not_followed():
    async def elsewhere(call: Call) -> None:
        await call.respond(307, b"there", [("location", "/other")])

    async with RawServer(elsewhere) as server, Transports() as transport:
        assert await ask(transport, endpoint(server.url)) == (307, b"there")


async def test_an_encoded_body_and_its_headers_come_as_they_are():
    async def packed(call: Call) -> None:
        await call.respond(200, b"\x1f\x8b..", [("Content-Encoding", "gzip"), ("X-A", "1")])

    async with RawServer(packed) as server, Transports() as transport:
        to = endpoint(server.url)
        answer = await transport.post(to, headers(to), b"{}")
        assert await answer.read() == b"\x1f\x8b.."
        assert {(b"content-encoding", b"gzip"), (b"x-a", b"1")} <= {
            (name.lower(), value) for name, value in answer.headers
        }
        answer.close()


async def test_a_body_is_read_as_it_arrives():
    go_on = asyncio.Event()

    async def slowly(call: Call) -> None:
        await call.start(200)
        await call.send(b"one")
        await go_on.wait()
        await call.send(b"two")
        await call.finish()

    async with RawServer(slowly) as server, Transports() as transport:
        to = endpoint(server.url)
        answer = await transport.post(to, headers(to), b"{}")
        assert await answer.read() == b"one"
        go_on.set()
        assert [await answer.read(), await answer.read()] == [b"two", b""]
        answer.close()


# --- the pool


async def test_a_body_read_to_its_end_leaves_the_connection_any_other_ends_it():
    async with RawServer(named) as server, Transports() as transport:
        to = endpoint(server.url)
        assert [await ask(transport, to) for _ in range(3)] == [
            (200, b"1.1"), (200, b"1.2"), (200, b"1.3"),
        ]  # fmt: skip
    async with RawServer(stalling) as server, Transports() as transport:
        to = endpoint(server.url)
        answer = await transport.post(to, headers(to), b"{}")
        answer.close()
        await soon(lambda: not server.open)


async def stalling(call: Call) -> None:
    await call.start(200)
    await call.send(b"x")
    await call.gone.wait()


async def test_no_free_connection_in_time_is_busy_and_sends_nothing():
    async with RawServer(stalling) as server, Transports() as transport:
        to = endpoint(server.url, max_connections=1, acquire_timeout_seconds=0.05)
        held = await transport.post(to, headers(to), b"{}")
        assert await fault_of(transport, to) is BUSY
        assert server.connections == 1
        held.close()
        again = await transport.post(to, headers(to), b"{}")
        again.close()
        again.close()  # letting go twice frees one place
        last = await transport.post(to, headers(to), b"{}")
        assert await fault_of(transport, to) is BUSY
        last.close()


async def test_a_place_that_becomes_free_in_time_is_taken():
    async with RawServer(stalling) as server, Transports() as transport:
        to = endpoint(server.url, max_connections=1, acquire_timeout_seconds=5)
        held = await transport.post(to, headers(to), b"{}")
        waiting = asyncio.create_task(transport.post(to, headers(to), b"{}"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        held.close()
        (await waiting).close()


@pytest.mark.parametrize("handler", [reset, garbage], ids=["reset", "garbage"])
async def test_a_failed_attempt_gives_its_place_back(handler):
    async with RawServer(handler) as server, Transports() as transport:
        to = endpoint(server.url, max_connections=1, acquire_timeout_seconds=0)
        for _ in range(3):
            assert await fault_of(transport, to) is not BUSY


async def silent(call: Call) -> None:
    await call.gone.wait()


@pytest.mark.parametrize("handler", [silent, stalling], ids=["before the headers", "in the body"])
async def test_a_cancelled_attempt_closes_its_connection_and_gives_its_place_back(handler):
    reached = asyncio.Event()

    async def reach(call: Call) -> None:
        reached.set()
        await handler(call)

    async with RawServer(reach) as server, Transports() as transport:
        to = endpoint(server.url, max_connections=1, acquire_timeout_seconds=0)
        task = asyncio.create_task(ask(transport, to))
        await asyncio.wait_for(reached.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(1):
            await soon(lambda: not server.open)
        assert await asyncio.wait_for(status_of(transport, to, server), 5) == 200


async def status_of(transport: AiohttpTransport, to: Endpoint, server: RawServer) -> int:
    server.handler = named
    return (await ask(transport, to))[0]


async def test_requests_at_the_same_time_share_one_pool_from_the_first_on():
    async with RawServer(named) as server, Transports() as transport:
        to = endpoint(server.url)
        said = await asyncio.gather(*(ask(transport, to) for _ in range(5)))
        assert [status for status, _ in said] == [200] * 5
        await ask(transport, to)
        assert server.connections == 5


async def test_closing_twice_at_once_is_closing_once():
    async with RawServer(named) as server:
        transport = AiohttpTransport()
        for to in compile_endpoints({n: Provider(base_url=server.url) for n in "abc"}, {}).values():
            await ask(transport, to)
        assert len(server.open) == 3
        await asyncio.gather(transport.close(), transport.close())
        await soon(lambda: not server.open)


async def test_closing_ends_the_connections_and_a_later_request_opens_new_ones():
    async with RawServer(named) as server:
        transport, to = AiohttpTransport(), endpoint(server.url)
        await transport.close()  # nothing is open yet
        await ask(transport, to)
        assert len(server.open) == 1
        await transport.close()
        await transport.close()
        await soon(lambda: not server.open)
        assert await ask(transport, to) == (200, b"2.1")
        await transport.close()


# --- a configuration that changes


@pytest.mark.parametrize("streaming", [False, True], ids=["before the headers", "in the body"])
async def test_a_running_request_ends_undisturbed_on_what_is_no_longer_configured(streaming):
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(call: Call) -> None:
        if streaming:
            await call.start(200)
            await call.send(b"one ")
        arrived.set()
        await go_on.wait()
        if not streaming:
            await call.start(200)
            await call.send(b"one ")
        await call.send(b"two")
        await call.finish()

    async with RawServer(slow) as server, RawServer(named) as new, Transports() as transport:
        running = asyncio.create_task(ask(transport, endpoint(server.url)))
        await asyncio.wait_for(arrived.wait(), 5)
        transport.retain([endpoint(new.url)])
        assert await ask(transport, endpoint(new.url)) == (200, b"1.1")
        assert len(server.open) == 1
        go_on.set()
        assert await asyncio.wait_for(running, 5) == (200, b"one two")
        await soon(lambda: not server.open)
        assert await ask(transport, endpoint(new.url)) == (200, b"1.2")
        assert len(open_sessions()) == 1


async def test_a_retry_may_go_to_what_is_no_longer_configured_and_leaves_nothing_open():
    async with RawServer(named) as server, Transports() as transport:
        old = endpoint(server.url)
        await ask(transport, old)
        transport.retain([])
        await soon(lambda: not server.open)
        assert await ask(transport, old) == (200, b"2.1")
        assert await transport.probe(old)
        with pytest.raises(AttemptFailed):
            await ask(transport, endpoint(f"http://127.0.0.1:{unused_port()}"))
        await soon(lambda: not server.open and not open_sessions())


async def test_who_waits_for_a_place_gets_it_after_a_reload_too():
    async with RawServer(stalling) as server, Transports() as transport:
        to = endpoint(server.url, max_connections=1, acquire_timeout_seconds=5)
        held = await transport.post(to, headers(to), b"{}")
        waiting = asyncio.create_task(transport.post(to, headers(to), b"{}"))
        await asyncio.sleep(0)
        transport.retain([])
        await asyncio.sleep(0)
        held.close()
        (await asyncio.wait_for(waiting, 5)).close()
        await soon(lambda: not server.open and not open_sessions())


async def test_a_new_key_shares_the_connections_and_a_new_limit_does_not():
    async with RawServer(named) as server, Transports() as transport:
        provider = Provider(base_url=server.url)
        for number, key in enumerate(("sk-1", "sk-2"), 1):
            to = compile_endpoints({"p1": provider}, {"p1": key})["p1"]
            transport.retain([to])
            assert await ask(transport, to) == (200, f"1.{number}".encode())
        other = endpoint(server.url, max_connections=5)
        transport.retain([other])
        assert await ask(transport, other) == (200, b"2.1")
        await soon(lambda: len(server.open) == 1)


async def test_a_thousand_reloads_leave_what_one_leaves():
    async with RawServer(named) as server, Transports() as transport:
        before = (len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")))
        for number in range(1000):
            to = endpoint(server.url, max_connections=1 + number % 7)
            transport.retain([to])
            await ask(transport, to)
        assert server.connections == 1000
        await soon(lambda: len(server.open) == 1)
        await soon(lambda: len(asyncio.all_tasks()) == before[0] + 1)  # the server's, for that
        assert len(open_sessions()) == 1
        assert len(os.listdir("/proc/self/fd")) == before[1] + 2  # its two ends
        transport.retain([])
        await soon(lambda: not server.open and not open_sessions())


# --- loops


@pytest.mark.parametrize("closing", [True, False], ids=["closed", "left to the loop"])
def test_one_transport_serves_one_loop_after_another_and_leaves_no_socket(closing):
    transport = AiohttpTransport()
    loops = []

    async def main() -> tuple[int, bytes]:
        async with RawServer(named) as server:
            said = await ask(transport, endpoint(server.url))
            loops.append(weakref.ref(asyncio.get_running_loop()))
            assert len(open_sessions()) == 1
            if closing:
                await transport.close()
            return said

    assert [asyncio.run(main()) for _ in range(3)] == [(200, b"1.1")] * 3
    assert not open_sessions()
    gc.collect()
    assert [loop() for loop in loops] == [None] * 3  # nor is a finished loop kept alive


# --- a proxy on the way


async def answered_by(handler: Any, base_url: str) -> tuple[Fault, int]:
    """What it is when a proxy does that; and how many connections it took."""
    async with RawServer(handler) as proxy, Transports() as transport:
        to = endpoint(base_url, proxy_url=proxy.url, connect_timeout_seconds=0.2)
        return await fault_of(transport, to), proxy.connections


async def auth_wanted(call: Call) -> None:
    await call.respond(407, b"who?", [("proxy-authenticate", "Basic")])


async def forbidden(call: Call) -> None:
    await call.respond(403, b"no")


async def bad_gateway(call: Call) -> None:
    await call.respond(502, b"no")


@pytest.mark.parametrize(
    "handler",
    [auth_wanted, forbidden, bad_gateway, reset, hang_up, half_a_head, garbage, bad_header, silent],
)
async def test_a_proxy_that_does_not_connect_us_is_an_unreachable_provider(handler):
    assert await answered_by(handler, "https://provider.invalid") == (UNREACHABLE, 1)


async def test_a_proxy_that_does_not_let_us_in_is_not_the_providers_answer():
    assert await answered_by(auth_wanted, "http://provider.invalid") == (UNREACHABLE, 1)
    async with RawServer(auth_wanted) as server, Transports() as transport:
        assert (await ask(transport, endpoint(server.url)))[0] == 407  # nobody else can have said


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_not_there_is_an_unreachable_provider(scheme):
    async with Transports() as transport:
        proxy = f"http://127.0.0.1:{unused_port()}"
        to = endpoint(f"{scheme}://provider.invalid", proxy_url=proxy)
        assert await fault_of(transport, to) is UNREACHABLE
        with pytest.raises(AttemptFailed) as failed:
            await transport.probe(to)
        assert failed.value.fault is UNREACHABLE


async def test_a_used_connection_to_a_proxy_can_be_stale_too():
    async def once(call: Call) -> None:
        await (named(call) if call.number == 1 else reset(call))

    async with RawServer(once) as proxy, Transports() as transport:
        to = endpoint("http://provider.invalid", proxy_url=proxy.url)
        assert await ask(transport, to) == (200, b"1.1")
        assert await fault_of(transport, to) is STALE


# --- asking whether a provider is there


@pytest.mark.parametrize(
    ("status", "well"), [(200, True), (404, False), (302, False), (401, False), (503, False)]
)
async def test_a_probe_asks_for_the_models_with_our_own_key_and_200_is_well(status, well):
    seen: list[Call] = []

    async def models(call: Call) -> None:
        seen.append(call)
        await call.respond(status, b"{}", [("location", "/elsewhere")])

    async with RawServer(models) as server, Transports() as transport:
        assert await transport.probe(endpoint(f"{server.url}/v1?api-version=1")) is well
    [call] = seen
    assert (call.method, call.target, call.body) == ("GET", "/v1/models?api-version=1", b"")
    assert call.header("authorization") == "Bearer sk-1"


async def test_a_probe_takes_no_place_of_a_request_and_leaves_no_connection_in_use():
    async with RawServer(named) as server, Transports() as transport:
        to = endpoint(server.url, max_connections=1, acquire_timeout_seconds=0)
        answer = await transport.post(to, headers(to), b"{}")
        assert await transport.probe(to)
        answer.close()
        assert (await ask(transport, to))[0] == 200
        assert await transport.probe(to)


@pytest.mark.parametrize(
    ("handler", "fault"), [(reset, DISCONNECTED), (hang_up, DISCONNECTED), (garbage, GARBLED)]
)
async def test_a_probe_that_is_not_answered_says_what_it_met(handler, fault):
    async with RawServer(handler) as server, Transports() as transport:
        with pytest.raises(AttemptFailed) as failed:
            await transport.probe(endpoint(server.url))
    assert failed.value.fault is fault


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}", "http://nope.invalid", f"http://{'a' * 64}.invalid"],
    ids=["refused", "no such name", "no name at all"],
)
async def test_a_probe_of_a_provider_that_cannot_be_connected_fails_as_a_request_does(url):
    async with Transports() as transport:
        with pytest.raises(AttemptFailed) as failed:
            await transport.probe(endpoint(url.format(port=unused_port())))
    assert failed.value.fault is UNREACHABLE
