"""A real redis-server that a test starts, pauses, kills and starts again.

On a loopback port, with nothing on disk but its certificates. What the tests say about it is in
their own files.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Self
from urllib.parse import quote

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

_PROGRAM = "redis-server"
_STARTS_WITHIN = 10.0


def need_redis() -> str:
    """The path of redis-server; without one, a laptop skips the test and CI fails it."""
    found = shutil.which(_PROGRAM)
    if found is None:
        says = f"{_PROGRAM} is not installed: nothing here is tested without it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(says)
    return found


class RedisServer:
    """`async with RedisServer(tmp_path) as server`; its data is gone whenever it ends.

    `maxmemory` in Redis's words ("2mb"); what does not fit is then refused, nothing is evicted.
    `options` are further options of the server's command line.
    """

    def __init__(
        self,
        directory: Path,
        *,
        password: str | None = None,
        tls: bool = False,
        maxmemory: str | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.port = 0
        self._directory = directory
        self._password = password
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None
        self._options = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", *options]
        if password is not None:
            self._options += ["--requirepass", password]
        if maxmemory is not None:
            self._options += ["--maxmemory", maxmemory, "--maxmemory-policy", "noeviction"]

    @property
    def url(self) -> str:
        scheme, query = (
            ("rediss", f"?ssl_ca_certs={self._certificate}") if self._tls else ("redis", "")
        )
        password = "" if self._password is None else f":{quote(self._password, safe='')}@"
        return f"{scheme}://{password}127.0.0.1:{self.port}/0{query}"

    def client(self) -> Redis:
        """For looking in: `async with server.client() as redis`."""
        return Redis.from_url(self.url, protocol=2)

    async def __aenter__(self) -> Self:
        program = need_redis()
        if self._tls:
            self._make_certificate()
        for _ in range(
            5
        ):  # Redis takes no port zero: another process may be quicker with a free one
            self.port = _free_port()
            if await self._begin(program):
                return self
        raise AssertionError(f"{_PROGRAM} does not start; see {self._log}")

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    def pause(self) -> None:
        """Silent from now on: connections stay, and new ones are taken by the kernel alone."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    async def kill(self) -> None:
        """Gone, paused or not; connections to it are reset, new ones refused."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await asyncio.get_running_loop().run_in_executor(None, process.wait)

    async def start(self) -> None:
        """Again, empty, on the same port."""
        assert self._process is None
        assert await self._begin(need_redis()), f"does not start again; see {self._log}"

    @property
    def _log(self) -> Path:
        return self._directory / "redis.log"

    @property
    def _certificate(self) -> Path:
        return self._directory / "redis.pem"

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def _begin(self, program: str) -> bool:
        listen = ["--port", str(self.port)]
        if self._tls:
            key = str(self._directory / "redis.key")
            listen = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            listen += ["--tls-cert-file", str(self._certificate), "--tls-key-file", key]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220  # returns at once
                [program, *listen, *self._options], cwd=self._directory, stdout=log, stderr=log
            )
        try:
            async with asyncio.timeout(_STARTS_WITHIN):
                return await self._is_up(self._process)
        except BaseException:
            await self.kill()
            raise

    async def _is_up(self, process: "subprocess.Popen[bytes]") -> bool:
        async with self.client() as client:
            while process.poll() is None:
                try:
                    about = await client.info("server")
                except RedisError:
                    await asyncio.sleep(0.01)
                    continue
                if about["process_id"] == process.pid:  # not another's, on a port that was taken
                    return True
        self._process = None
        return False

    def _make_certificate(self) -> None:
        made = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=localhost",
        ]
        made += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
        key = self._directory / "redis.key"
        subprocess.run(
            [*made, "-keyout", key, "-out", self._certificate], check=True, capture_output=True
        )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
    return port
