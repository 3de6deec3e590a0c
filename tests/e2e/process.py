"""Real `tiergate` processes on port zero, each ended by its own pid."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

COMMAND = (sys.executable, "-m", "tiergate_sidecar")
ANY_PORT = "127.0.0.1:0"
START_SECONDS = 30

_URL = re.compile(r"http://[^/ ]+\d")


def environment(**more: str) -> dict[str, str]:
    """Nothing of ours but a path: no key, no TIERGATE_…; warnings are shown."""
    return {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "default", **more}


@dataclass
class Running:
    """A process that has said where it listens. `said` is what it printed until then."""

    process: asyncio.subprocess.Process
    url: str
    admin: str
    said: str

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, within: float = 10) -> tuple[int | None, str]:
        """Exit code and stderr, once it has ended by itself."""
        async with asyncio.timeout(within):
            _, error = await self.process.communicate()
        return self.process.returncode, error.decode()


@asynccontextmanager
async def running(
    *arguments: str, cwd: Path, lines: int = 1, **environ: str
) -> AsyncIterator[Running]:
    """A command that prints where it listens, in its first so many lines; killed on leaving."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        cwd=cwd,
        env=environment(**environ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            said = b"".join([await process.stdout.readline() for _ in range(lines)]).decode()
        urls = _URL.findall(said)
        assert urls, (await process.communicate())[1].decode()
        yield Running(process, urls[0], urls[1] if len(urls) > 1 else "", said)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def sidecar(*arguments: str, cwd: Path, lines: int = 2, **environ: str):
    """`tiergate serve` with both listeners on port zero."""
    return running(
        *("serve", "--listen", ANY_PORT, "--admin", ANY_PORT, *arguments),
        cwd=cwd,
        lines=lines,
        **environ,
    )
