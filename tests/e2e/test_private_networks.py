"""Providers behind a private CA and behind a forward proxy: real TLS, real CONNECT.

The promise: they are reached as any other, only what is configured is trusted, no key and no
password reaches who should not have it, and a proxy in trouble is one more reason to fall back.
"""

import asyncio
import ssl
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e.support import (
    CHAT,
    DONE,
    HELLO,
    Upstream,
    completing,
    error_of,
    event,
    routed,
    serving,
    streaming,
)
from starlette.applications import Starlette

from tiergate import Gateway, TierMiddleware
from tiergate_sidecar.rawhttp import RawServer

ENVIRON = {"P1_KEY": "sk-provider-secret"}
LOGIN = ("proxy user", "p@ss:word")
LOGIN_IN_URL = "proxy%20user:p%40ss%3Aword@"
BASIC = f"Basic {b64encode(':'.join(LOGIN).encode()).decode()}"


class Authority:
    """A certificate authority in a folder, and the servers it vouches for."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.file = folder / "ca.pem"
        self._make("ca", "/CN=Private CA", "keyUsage=critical,keyCertSign")

    def context(self, name: str = "IP:127.0.0.1") -> ssl.SSLContext:
        """TLS for a server of that name."""
        signed = ("-CA", self.file, "-CAkey", self.folder / "ca.key")
        usage = ("basicConstraints=critical,CA:FALSE", f"subjectAltName={name}")
        self._make("server", "/CN=server", *usage, signed=signed)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        return context

    def _make(
        self, name: str, subject: str, *extensions: str, signed: tuple[Any, ...] = ()
    ) -> None:
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", subject]
        for extension in extensions:
            made += ["-addext", extension]
        out = ("-keyout", self.folder / f"{name}.key", "-out", self.folder / f"{name}.pem")
        subprocess.run([*made, *signed, *out], check=True, capture_output=True)


class Proxy:
    """A forward proxy: tunnels for CONNECT, absolute addresses otherwise. Notes what it reads."""

    def __init__(self, *, login: str | None = None) -> None:
        self.heads: list[str] = []
        self.heard = bytearray()
        self._login = login
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            try:
                while await self._one(reader, writer):
                    pass
            finally:
                writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        if self._login is not None and f"Proxy-Authorization: {self._login}\r\n" not in head:
            writer.write(b"HTTP/1.1 407 Who Are You\r\nContent-Length: 0\r\n\r\n")
            return True
        method, target, _ = head.split(" ", 2)
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            there = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 Tunnel\r\n\r\n")
            await self._tunnel((reader, writer), there)
            return False
        return await self._forward(head, reader, writer)

    async def _tunnel(self, here: Any, there: Any) -> None:
        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65_536):
                self.heard += data
                writer.write(data)
                await writer.drain()
            writer.transport.abort()

        try:
            await asyncio.gather(pump(here[0], there[1]), pump(there[0], here[1]))
        finally:
            there[1].transport.abort()

    async def _forward(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        method, url, version = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        headers.pop("Proxy-Authorization", None)
        body = await reader.readexactly(int(headers.get("Content-Length", 0)))
        host, _, path = url.removeprefix("http://").partition("/")
        name, _, port = host.partition(":")
        from_there, to_there = await asyncio.open_connection(name, int(port))
        try:
            sent = [f"{method} /{path} {version}", *map(": ".join, headers.items()), "", ""]
            to_there.write("\r\n".join(sent).encode() + body)
            answer = await from_there.readuntil(b"\r\n\r\n")
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            writer.write(answer + await from_there.readexactly(length))
            await writer.drain()
        finally:
            to_there.transport.abort()
        return True


@asynccontextmanager
async def gateway(*base_urls: str, **p1: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a served gateway; `p1` are more settings of the first provider."""
    config = routed(*base_urls, retry={"retries": 1, "backoff_seconds": 0.01})
    config["providers"]["p1"] |= {"api_key_env": "P1_KEY", **p1}
    app = TierMiddleware(Starlette(), gateway=Gateway(config, environ=ENVIRON), authorize="open")
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=10) as client:
        yield client


async def ask(client: httpx.AsyncClient, **members: Any) -> httpx.Response:
    return await client.post(CHAT, json={**HELLO, "model": "small", **members})


@asynccontextmanager
async def provider(
    context: ssl.SSLContext | None = None, *, stream: bool = False
) -> AsyncIterator[Upstream]:
    said = streaming(event("hel"), event("lo", "stop"), DONE) if stream else completing()
    upstream = Upstream([said])
    upstream.server = RawServer(upstream.server.handler, ssl=context)
    async with upstream.server:
        yield upstream


# --- a private CA


@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_behind_a_private_ca_is_served_like_any_other(tmp_path, stream):
    authority = Authority(tmp_path / "ca")
    async with (
        provider(authority.context(), stream=stream) as upstream,
        gateway(upstream.base_url, ca_file=str(authority.file)) as client,
    ):
        answers = [await ask(client, stream=stream) for _ in range(3)]
        assert [each.status_code for each in answers] == [200] * 3
        assert all(("data: [DONE]" in each.text) is stream for each in answers)
    assert [call.connection for call in upstream.received] == [1, 1, 1]


@pytest.mark.parametrize("trusted", ["nothing private", "another CA", "the CA, another name"])
async def test_who_is_not_vouched_for_hears_nothing_and_the_next_one_serves(tmp_path, trusted):
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    name = "DNS:elsewhere.test" if "another name" in trusted else "IP:127.0.0.1"
    file = {"nothing private": "", "another CA": str(other.file)}.get(trusted, str(ours.file))
    async with (
        provider(ours.context(name)) as upstream,
        provider() as second,
        gateway(upstream.base_url, second.base_url, ca_file=file) as client,
    ):
        answer = await ask(client)
        assert (answer.status_code, answer.headers["x-arbstr-provider"]) == (200, "p2")
    assert not upstream.received


async def test_a_private_ca_is_trusted_by_its_provider_alone_and_is_all_that_this_one_trusts(
    tmp_path,
):
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    async with (
        provider(other.context()) as first,
        provider(ours.context()) as second,
        gateway(first.base_url, second.base_url, ca_file=str(ours.file)) as client,
    ):
        assert (await ask(client)).status_code == 502
    assert not first.received
    assert not second.received


# --- a proxy


@pytest.mark.parametrize("stream", [False, True])
async def test_through_a_tunnel_the_proxy_learns_the_address_and_nothing_else(tmp_path, stream):
    authority = Authority(tmp_path / "ca")
    async with (
        Proxy(login=BASIC) as proxy,
        provider(authority.context(), stream=stream) as upstream,
        gateway(
            upstream.base_url,
            ca_file=str(authority.file),
            proxy_url=f"http://{LOGIN_IN_URL}{proxy.address}",
        ) as client,
    ):
        answers = [await ask(client, stream=stream) for _ in range(3)]
        assert [each.status_code for each in answers] == [200] * 3
    [head] = proxy.heads
    assert head.startswith(f"CONNECT {upstream.server.url.removeprefix('https://')} HTTP/1.1\r\n")
    assert f"Proxy-Authorization: {BASIC}\r\n" in head
    assert ENVIRON["P1_KEY"] not in head
    assert b"sk-provider-secret" not in proxy.heard
    for call in upstream.received:
        assert call.header("authorization") == "Bearer sk-provider-secret"
        assert call.header("proxy-authorization") is None


async def test_a_plain_provider_is_asked_through_the_proxy_with_our_login_every_time():
    async with (
        Proxy(login=BASIC) as proxy,
        provider() as upstream,
        gateway(upstream.base_url, proxy_url=f"http://{LOGIN_IN_URL}{proxy.address}") as client,
    ):
        assert [(await ask(client)).status_code for _ in range(3)] == [200] * 3
    assert len(proxy.heads) == 3
    for head, call in zip(proxy.heads, upstream.received, strict=True):
        assert head.startswith(f"POST {upstream.base_url}/chat/completions HTTP/1.1\r\n")
        assert call.target == "/v1/chat/completions"
        assert call.header("authorization") == "Bearer sk-provider-secret"
        assert call.header("proxy-authorization") is None


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tunnel"])
@pytest.mark.parametrize("login", ["", "proxy%20user:wrong@"], ids=["no login", "wrong login"])
async def test_a_proxy_that_does_not_let_us_in_is_never_the_providers_word(tmp_path, tls, login):
    authority = Authority(tmp_path / "ca")
    async with (
        Proxy(login=BASIC) as proxy,
        provider(authority.context() if tls else None) as upstream,
        gateway(upstream.base_url, proxy_url=f"http://{login}{proxy.address}") as client,
    ):
        answer = await ask(client)
        assert answer.status_code == 502
        assert "407" not in answer.text
        assert "wrong" not in answer.text
        error_of(answer.text)
    assert not upstream.received
    assert len(proxy.heads) == 2  # one retry: it may have been a slip


async def test_a_proxy_that_is_down_costs_only_a_fallback_and_only_its_own_provider_uses_it():
    async with Proxy() as gone:
        pass
    async with (
        provider() as upstream,
        provider() as second,
        gateway(upstream.base_url, second.base_url, proxy_url=f"http://{gone.address}") as client,
    ):
        answers = [await ask(client) for _ in range(3)]
        served = [(each.status_code, each.headers["x-arbstr-provider"]) for each in answers]
        assert served == [(200, "p2")] * 3
    assert not upstream.received
