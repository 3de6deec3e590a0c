"""A real PostgreSQL that a test starts, pauses, kills and starts again.

On a loopback port, as an unprivileged user, because it refuses to run as root. What the tests say
about it is in their own files.
"""

import asyncio
import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg
import pytest

_STARTS_WITHIN = 20.0
_QUICK = ("fsync=off", "full_page_writes=off", "shared_buffers=16MB")


def need_postgresql() -> Path:
    """The folder of its programs; without one, a laptop skips the test and CI fails it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        says = "PostgreSQL is not installed: nothing here is tested without it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(says)
    return (found[-1] if found else Path(on_path or "")).parent


class PgServer:
    """`async with PgServer() as server`; it and its data are gone on leaving.

    `settings` are of postgresql.conf ("max_connections=5").
    """

    def __init__(self, *settings: str, password: str = "p w/@#?:%ñ") -> None:
        self.port = 0
        self._settings = (*_QUICK, *settings)
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        secret = quote(self._password, safe="")
        return f"postgresql://tiergate:{secret}@127.0.0.1:{self.port}/postgres"

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement, from the outside."""
        with psycopg.connect(self.url, connect_timeout=5, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[arg-type]  # text
            return cursor.fetchall() if cursor.description else []

    async def __aenter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="tiergate-pg-"))
        shutil.copytree(_template(self._password), self._folder / "data")
        if _as_user():
            user = pwd.getpwnam(_as_user()["user"])
            for each in (self._folder, *self._folder.rglob("*")):
                os.chown(each, user.pw_uid, user.pw_gid)
        try:
            await self.start()
        except BaseException:
            shutil.rmtree(self._folder)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.kill()
        finally:
            shutil.rmtree(self._folder)

    async def start(self) -> None:
        """Begin; again on the same port, with the data that there was."""
        assert self._process is None
        for _ in range(5):  # it takes no port zero: another process may be quicker with a free one
            self.port = self.port or _free_port()
            if await self._begin():
                return
        raise AssertionError(f"PostgreSQL does not start: {self._log.read_text()}")

    async def kill(self) -> None:
        """Gone at once, paused or not, its connections cut."""
        process, self._process = self._process, None
        if process is not None:
            self._signal(process, signal.SIGCONT)
            process.send_signal(signal.SIGQUIT)  # its own word for at once; it ends its children
            await asyncio.get_running_loop().run_in_executor(None, process.wait)

    def pause(self) -> None:
        """Silent from now on: connections stay, and new ones are taken by the kernel alone."""
        assert self._process is not None
        self._signal(self._process, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._signal(self._process, signal.SIGCONT)

    def _signal(self, process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in (process.pid, *map(int, children)):
            with suppress(ProcessLookupError):  # a child that ended meanwhile
                os.kill(pid, number)

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    async def _begin(self) -> bool:
        options = [f"-c{each}" for each in self._settings]
        options += ["-clisten_addresses=127.0.0.1", "-cunix_socket_directories="]
        command = [need_postgresql() / "postgres", "-D", self._folder / "data", f"-p{self.port}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220  # returns at once
                [*command, *options], cwd=self._folder, stdout=log, stderr=log, **_as_user()
            )
        async with asyncio.timeout(_STARTS_WITHIN):
            while self._process.poll() is None:
                try:
                    self.ask("SELECT 1")
                except psycopg.OperationalError:
                    await asyncio.sleep(0.02)
                else:
                    return True
        self._process = None
        self.port = 0
        return False


def _as_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    names = {each.pw_name for each in pwd.getpwall()}
    name = "postgres" if "postgres" in names else "nobody"
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}


@cache
def _template(password: str) -> Path:
    """A cluster that others are copied from: making one takes a second."""
    folder = Path(tempfile.mkdtemp(prefix="tiergate-pg-"))
    atexit.register(shutil.rmtree, folder)
    secret = folder / "secret"
    secret.write_text(password)
    if _as_user():
        user = pwd.getpwnam(_as_user()["user"])
        for each in (folder, secret):
            os.chown(each, user.pw_uid, user.pw_gid)
    made = [need_postgresql() / "initdb", "--no-sync", "--wal-segsize=1", "--encoding=UTF8"]
    made += ["--locale=C", "--username=tiergate", "--auth=scram-sha-256", f"--pwfile={secret}"]
    subprocess.run(
        [*made, "-D", folder / "data"], check=True, capture_output=True, cwd=folder, **_as_user()
    )
    return folder / "data"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
    return port
