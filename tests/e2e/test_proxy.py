"""An app behind the sidecar behaves as without it.

Over real sockets, the same bytes are sent to the app and to the sidecar before it, and what comes
back is compared. Then what no comparison shows: that neither side waits for more than it needs, is
sent more than it takes, or is kept when the other has left.
"""

import asyncio
import signal

import pytest
from e2e.process import sidecar
from e2e.proxied import PIECE, App, chunked, heard, request, sidecar_before, sized, still
from e2e.support import Upstream, connected, recording, serving

from tiergate_sidecar.http_protocol import HttpProtocol
from tiergate_sidecar.rawhttp import Call, RawServer

MIB = 1 << 20
JSON = b'{"model": "m", "input": "hello"}'


LARGE = bytes(range(256)) * 4096

KINDS = {
    "a page": request("GET", "/"),
    "a query with odd escapes": request("GET", "/echo?a=%2F&b=+%20&c[]=%zz&&d=1%00&e=%C3%A9"),
    "an escaped slash": request("GET", "/echo/a%2Fb%2fc"),
    "double slashes": request("GET", "//echo//a///b"),
    "dot segments": request("GET", "/echo/../a/./b/%2e%2e/c"),
    "escapes that need none": request("GET", "/%65cho/%7euser/%41;p=1/a:b@c!$&'()*+,=d"),
    "repeated and odd headers": request(
        "GET", "/echo", ("X-A", "1"), ("x-a", "2"), ("X-A", "1"), ("X-Empty", ""), ("x_under", "_")
    ),
    "a header in UTF-8": request("GET", "/echo", ("X-Name", "caf\xc3\xa9")),
    "a long header": request("GET", "/echo", ("X-Long", "y" * 20_000)),
    "cookies and a credential": request(
        "GET", "/echo", ("Cookie", "a=1; b=2"), ("Authorization", "Bearer me"), ("api-key", "k")
    ),
    "headers of this hop": request(
        "GET", "/echo", ("Connection", "close, X-Hop"), ("X-Hop", "1"), ("TE", "trailers"),
        ("Keep-Alive", "timeout=5"),
    ),
    "a form": sized("POST", "/echo", b"a=1", ("Content-Type", "application/x-www-form-urlencoded")),
    "JSON": sized("POST", "/echo", JSON, ("Content-Type", "application/json")),
    "a large body": sized("PUT", "/echo", LARGE),
    "a body in chunks": chunked("POST", "/echo", b"a", b"bc", LARGE[:70_000], b"d"),
    "an empty body in chunks": chunked("POST", "/echo"),
    "trailers": chunked("POST", "/echo", b"abc", trailer=b"x-sum: 1\r\n"),
    "no body, with a length": sized("POST", "/echo", b""),
    "no body, without a length": request("POST", "/echo"),
    "a GET with a body": sized("GET", "/echo", b"query"),
    "a compressed body": sized("POST", "/echo", b"\x1f\x8b\x00\xff", ("Content-Encoding", "gzip")),
    "a body that asks first": sized("POST", "/echo", b"abc", ("Expect", "100-continue")),
    "an upgrade that nobody makes": sized(
        "POST", "/echo", JSON, ("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAM"),
    ),
    "PATCH": sized("PATCH", "/echo", JSON),
    "DELETE": request("DELETE", "/echo/1"),
    "OPTIONS": request("OPTIONS", "/echo", ("Origin", "http://b.test")),
    "a method of another trade": request("PROPFIND", "/echo", ("Depth", "1")),
    "HEAD": request("HEAD", "/gzip"),
    "HEAD of a stream": request("HEAD", "/chunks"),
    "an HTTP/1.0 client": request("GET", "/gzip", version="1.0"),
    "an HTTP/1.0 client without a host": b"GET /cookies HTTP/1.0\r\n\r\n",
    "cookies set": request("GET", "/cookies"),
    "an odd answer": request("GET", "/odd"),
    "many headers": request("GET", "/many"),
    "nothing": request("GET", "/nothing"),
    "not modified": request("GET", "/fresh", ("If-None-Match", '"1"')),
    "moved": request("GET", "/moved/301"),
    "moved with its method": sized("POST", "/moved/307", b"abc"),
    "a range": request("GET", "/range", ("Range", "bytes=2-4")),
    "a range that is not there": request("GET", "/range", ("Range", "bytes=20-")),
    "a compressed answer": request("GET", "/gzip", ("Accept-Encoding", "gzip")),
    "an answer in chunks": request("GET", "/chunks"),
    "an error of the app": request("GET", "/failed"),
    "a large answer": request("GET", "/download?40"),
    "an answer to what was not read": sized("POST", "/early", LARGE),
    "an upload answered as it comes": chunked("POST", "/duplex", b"abc", b"def"),
}  # fmt: skip


async def test_an_app_behind_the_sidecar_behaves_as_without_it():
    app, different = App(), {}
    async with (
        serving(app, http=HttpProtocol) as direct,  # uvicorn's own loses the body of an upgrade
        sidecar_before(target=direct) as proxied,
    ):
        for kind, sent in KINDS.items():
            method = sent.partition(b" ")[0].decode()
            without, through = [await heard(url, sent, method) for url in (direct, proxied)]
            if through.compared != without.compared:
                different[kind] = (without, through)
            assert len(through.all_of("date")) == 1, kind
    assert len(app.scopes) == 2 * len(KINDS)
    assert different == {}


async def test_the_app_is_told_who_asked_and_by_which_name():
    said = (("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https"))
    asked = request("GET", "/", *said, ("Connection", "X-Forwarded-For"))
    app = App()
    async with serving(app) as direct, sidecar_before(target=direct) as proxied:
        for sent in (request("GET", "/"), asked):
            await heard(proxied, sent, "GET")
    alone, behind_others = [dict(scope["headers"]) for scope in app.scopes]
    assert alone[b"x-forwarded-for"] == b"127.0.0.1"
    assert alone[b"x-forwarded-proto"] == b"http"
    assert alone[b"x-forwarded-host"] == alone[b"host"] == b"app.test:8443"
    assert behind_others[b"x-forwarded-for"] == b"1.2.3.4, 127.0.0.1"
    assert behind_others[b"x-forwarded-proto"] == b"https"


async def test_bytes_that_are_no_utf8_arrive_as_the_same_characters_in_it():
    """The one thing that is not as without us: aiohttp writes headers in UTF-8."""
    app = App()
    async with serving(app) as direct, sidecar_before(target=direct) as proxied:
        await heard(proxied, request("GET", "/", ("X-Name", "caf\xe9")), "GET")
    assert dict(app.scopes[0]["headers"])[b"x-name"] == "caf\xe9".encode()


# --- both ways at once, and never more than is taken


async def test_each_event_arrives_before_the_next_is_made():
    app = App()
    async with (
        serving(app) as direct,
        sidecar_before(target=direct) as proxied,
        connected(proxied) as client,
        asyncio.timeout(5),
    ):
        await client.say(request("GET", "/events"))
        status, headers = await client.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        for number in range(3):
            assert await client.chunk() == b"data: %d\n\n" % number
            app.go_on.set()
        assert await client.chunk() == b""


async def test_a_piece_of_an_upload_is_answered_before_the_next_is_sent():
    async with (
        serving(App()) as direct,
        sidecar_before(target=direct) as proxied,
        connected(proxied) as client,
        asyncio.timeout(5),
    ):
        await client.say(request("POST", "/duplex", ("Transfer-Encoding", "chunked")))
        for piece in (b"abc", b"def"):
            await client.say(b"3\r\n%b\r\n" % piece)
            if piece == b"abc":
                assert (await client.head())[0] == 200
            assert await client.chunk() == piece.upper()
        await client.say(b"0\r\n\r\n")
        assert await client.chunk() == b""


async def test_an_answer_that_nobody_reads_is_not_asked_for():
    app, pieces = App(), 1600  # 100 MiB; what the two hops' kernels and servers hold is some 10
    async with (
        serving(app) as direct,
        sidecar_before(target=direct) as proxied,
        connected(proxied) as client,
    ):
        await client.say(request("GET", f"/download?{pieces}"))
        assert (await client.head())[0] == 200
        assert await still(lambda: app.given) < 40 * MIB
        async with asyncio.timeout(20):
            left = pieces * len(PIECE)
            while left:
                left -= len(await client.reader.read(2**20))


async def test_a_body_that_the_app_does_not_read_is_not_taken_from_its_client():
    app, sent = App(), 0
    async with (
        serving(app) as direct,
        sidecar_before(target=direct) as proxied,
        connected(proxied) as client,
    ):
        size = 1600 * len(PIECE)
        await client.say(request("PUT", "/upload", ("Content-Length", str(size))))

        async def upload() -> None:
            nonlocal sent
            while sent < size:
                await client.say(PIECE)
                sent += len(PIECE)

        uploading = asyncio.create_task(upload())
        assert await still(lambda: sent) < 40 * MIB
        app.go_on.set()
        async with asyncio.timeout(20):
            await uploading
            assert (await client.answer())[2] == str(size).encode()


async def test_an_answer_comes_before_the_upload_has_ended_and_the_connection_stays():
    async with (
        serving(App()) as direct,
        sidecar_before(target=direct) as proxied,
        connected(proxied) as client,
        asyncio.timeout(5),
    ):
        for _ in range(2):
            await client.say(request("POST", "/early", ("Content-Length", "200000")) + b"x" * 10)
            assert (await client.answer())[::2] == (413, b"too much")
            await client.say(b"x" * 199_990)
        await client.say(request("GET", "/chunks"))
        assert (await client.answer())[2] == b"onetwothree"


async def test_connections_are_kept_on_both_sides():
    async def count(call: Call) -> None:
        await call.respond(200, f"{call.connection}.{call.number}".encode())

    async with (
        RawServer(count) as app,
        sidecar_before(target=app.url) as proxied,
        connected(proxied) as client,
    ):
        for number in range(1, 4):
            await client.say(sized("POST", "/", b"abc"))
            assert (await client.answer())[2] == f"1.{number}".encode()


# --- clients that leave


@pytest.mark.parametrize("path", ["/wait", "/wait/midway"])
@pytest.mark.parametrize("body", ["none", "whole", "half"])
async def test_the_app_hears_within_a_second_that_its_client_has_left(path, body):
    sent = {
        "none": request("GET", path),
        "whole": sized("POST", path, b"abc"),
        "half": request("POST", path, ("Content-Length", "9")) + b"abc",
    }[body]
    app = App()
    async with serving(app) as direct, sidecar_before(target=direct) as proxied:
        async with connected(proxied) as client, asyncio.timeout(5):
            await client.say(sent)
            await app.waiting.wait()
            if path == "/wait/midway":
                await client.head()
        async with asyncio.timeout(1):
            await app.left.wait()


async def test_the_process_passes_on_what_is_not_its_own(tmp_path):
    """By the configuration file alone, and by the next one without a restart."""

    def configured(target: str) -> str:
        return f'''
            [proxy]
            target = "{target}"
            [providers.p1]
            base_url = "http://127.0.0.1:9/v1"
            [[tiers.simple]]
            provider = "p1"
            model = "small"
            [request_log]
            url = ""
        '''

    file = tmp_path / "tiergate.toml"
    async with recording() as first, recording() as second:
        file.write_text(configured(first.server.url))
        async with sidecar("-c", str(file), cwd=tmp_path) as running:
            for app in (first, second):
                answer = await heard(running.url, sized("POST", "/any?a=1", b"abc"), "POST")
                assert answer.status == 200
                (call,) = app.received
                assert (call.method, call.target, call.body) == ("POST", "/any?a=1", b"abc")
                assert call.header("host") == "app.test:8443"
                file.write_text(configured(second.server.url))
                running.signal(signal.SIGHUP)
                await passes_to(second, running.url)
            listed = await heard(running.url, request("GET", "/v1/models"), "GET")
            assert b"small" in listed.body


async def passes_to(app: Upstream, url: str) -> None:
    """Once it does; the requests that asked are forgotten."""
    async with asyncio.timeout(5):
        while not app.received:
            await heard(url, request("GET", "/"), "GET")
    app.received.clear()
