"""What the reverse proxy costs: CPU of the whole sidecar, against a bare forwarder in the same run.

    python bench/proxy.py [ROUNDS]

The floor is a forwarder of a dozen lines over the same two libraries (uvicorn with uvloop and
httptools, aiohttp) that streams as well, drops the headers of the hop, and knows nothing else: no
client that leaves, no limit, no error of its own. Both stand before the same app, which answers at
once from another process; a raw client keeps connections busy. In each of ROUNDS (7) each is asked
for the same, in turn first, and its CPU time is read from the operating system. The table has the
median of the rounds, in microseconds for one request, and its ratio to the floor.

Where the machine lets us, those measured have one processor for themselves and everybody else
another one.
"""

import asyncio
import json
import statistics
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import uvicorn
import uvloop
from ends import CLIENTS
from observe import cpu_seconds, pinned, processors, started
from yarl import URL

REQUESTS = 2000  # of one variant in one round; fewer where an answer is large
KILO = b"x" * 1024
LARGE_BYTES = 4 * 1024 * 1024
HEADERS = (
    "Host: app.test\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n"
    "Authorization: Bearer token\r\nCookie: session=0123456789\r\n"
)
_HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
_NOT_SENT = _HOP | {b"host", b"content-length", b"expect"}


@dataclass
class Variant:
    """One forwarder. `cost` has the microseconds of CPU for one request, of each round, by work."""

    name: str
    pid: int = 0
    port: int = 0
    cost: dict[str, list[float]] = field(default_factory=dict)

    def median(self, work: str) -> float:
        return statistics.median(self.cost[work])


@dataclass(frozen=True)
class Work:
    """A kind of request, and how many of them one round has."""

    name: str
    request: bytes
    requests: int


def works(scale: float) -> list[Work]:
    get, post = (f"{method} /{{}} HTTP/1.1\r\n{HEADERS}" for method in ("GET", "POST"))
    body = f"Content-Type: application/json\r\nContent-Length: {len(KILO)}\r\n\r\n".encode() + KILO
    return [
        Work("GET 1 kB", f"{get.format('kilo')}\r\n".encode(), int(REQUESTS * scale)),
        Work("POST 1 kB", post.format("kilo").encode() + body, int(REQUESTS * scale)),
        Work("50 events", f"{get.format('events')}\r\n".encode(), int(REQUESTS * scale / 4)),
        Work("GET 4 MB", f"{get.format('large')}\r\n".encode(), int(REQUESTS * scale / 40)),
    ]


async def bare(target: str) -> None:
    """The floor."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    )

    async def app(scope, receive, send):
        headers = [(n.decode(), v.decode()) for n, v in scope["headers"] if n not in _NOT_SENT]
        message = await receive()
        url = URL(f"{target}{scope['raw_path'].decode()}", encoded=True)
        async with session.request(
            scope["method"], url, headers=headers, data=message["body"] or None
        ) as answer:
            pairs = [(n.lower(), v) for n, v in answer.raw_headers if n.lower() not in _HOP]
            status = answer.status
            await send({"type": "http.response.start", "status": status, "headers": pairs})
            async for piece in answer.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    config = uvicorn.Config(
        app, port=0, http="httptools", loop="uvloop", ws="none", lifespan="off", log_config=None,
        access_log=False, server_header=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event of it
        await asyncio.sleep(0.01)
    print(f"bare:{server.servers[0].sockets[0].getsockname()[1]}", flush=True)
    await serving


async def app() -> None:
    """The app behind: answers by the first letter of the path."""
    ok = b"HTTP/1.1 200 OK\r\nServer: app\r\nX-Request-Id: 1\r\nContent-Type: text/plain\r\n%b\r\n"
    sized = b"Content-Length: %d\r\n"
    events = [b"data: %064d\n\n" % number for number in range(50)]
    kilo = ok % (sized % len(KILO)) + KILO
    large = ok % (sized % LARGE_BYTES) + b"x" * LARGE_BYTES

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            if head.startswith(b"POST"):
                await reader.readexactly(len(KILO))
            path = head.split(b" ")[1]
            if path == b"/events":
                writer.write(ok % b"Transfer-Encoding: chunked\r\n")
                for event in events:
                    writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                    await asyncio.sleep(0)  # a write of its own each
                writer.write(b"0\r\n\r\n")
            else:
                writer.write(kilo if path == b"/kilo" else large)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**22)
    print(f"app:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


async def load(port: int, request: bytes, requests: int) -> None:
    """So many requests over `CLIENTS` connections; raises when an answer is none."""
    left = iter(range(requests))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        for _ in left:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"no answer: {head!r}")
            length = head.lower().partition(b"content-length:")[2]
            if length:
                await reader.readexactly(int(length.split(b"\r\n")[0]))
            else:
                await reader.readuntil(b"0\r\n\r\n")
        writer.close()

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())


async def measure(variant: Variant, work: Work) -> None:
    before = cpu_seconds(variant.pid)
    await load(variant.port, work.request, work.requests)
    spent = cpu_seconds(variant.pid) - before
    variant.cost.setdefault(work.name, []).append(spent / work.requests * 1e6)


async def run(rounds: int, scale: float = 1) -> list[Variant]:
    """Measure all; `scale` is how many requests a round has, against the usual number."""
    ours, others = processors()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with pinned(others):
            _, port = await stack.enter_async_context(started(__file__, "app"))
        target = f"http://127.0.0.1:{port}"
        configure(folder, target)
        sidecar = ("-m", "tiergate_sidecar", "serve", "-c", "tiergate.json")
        commands = {"bare forwarder": (__file__, "bare", target), "the sidecar": sidecar}
        measured = [Variant(name) for name in commands]
        with pinned(ours):
            for variant in measured:
                command = commands[variant.name]
                process, variant.port = await stack.enter_async_context(
                    started(*command, cwd=folder)
                )
                variant.pid = process.pid
        with pinned(others):
            for variant in measured:
                for work in works(scale):
                    await load(variant.port, work.request, max(1, work.requests // 5))
            for number in range(rounds):
                for work in works(scale):
                    turn = number % len(measured)
                    for variant in measured[turn:] + measured[:turn]:
                        await measure(variant, work)
    return measured


def configure(folder: Path, target: str) -> None:
    config = {
        "server": {"listen": "127.0.0.1:0", "admin": ""},
        "proxy": {"target": target},
        "providers": {"p": {"base_url": "http://127.0.0.1:9/v1"}},
        "tiers": {"simple": [{"provider": "p", "model": "m"}]},
        "request_log": {"url": ""},
    }
    (folder / "tiergate.json").write_text(json.dumps(config), encoding="utf-8")


def table(measured: list[Variant]) -> str:
    names = list(measured[0].cost)
    lines = [f"{'CPU of one request, in µs':<28}" + "".join(f"{name:>20}" for name in names)]
    for variant in measured:
        line = f"{variant.name:<28}"
        for name in names:
            median = variant.median(name)
            line += f"{median:>12.0f} ({median / measured[0].median(name):>5.2f})"
        lines.append(line)
    return "\n".join(lines)


def main(rounds: int = 7) -> None:
    print(table(asyncio.run(run(rounds))))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["app"]:
            asyncio.run(app())
        case ["bare", target]:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(bare(target))
        case arguments:
            main(*map(int, arguments))
