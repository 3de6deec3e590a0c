"""A pod's life by kubelet's rules, over real processes: who starts when, who ends when, and how.

What runs, with which arguments, variables, probes and hooks, is read from the pod. Its containers
share this machine with every other process, so that some words of it mean something else here:
images, the files in them, mounts, ports, and "every address", which is loopback. kubelet's own
probes come ten times as often, for as long. Users and resources mean nothing here, init containers
that end are not known, and nobody is started again.
"""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from e2e.config_map import ConfigMap
from e2e.process import COMMAND, environment

IMAGES = {
    "tiergate:0.1.0": COMMAND,
    "example-app:1.0": (sys.executable, str(Path(__file__).with_name("example_app.py"))),
}
FILES = {"/opt/tiergate/bin/python": sys.executable}
PORTS = (4190, 4191, 4192, 8000)

HASTE = 10
LEAST_SECONDS = 2
"""What kubelet leaves a container between SIGTERM and SIGKILL, however late the former comes."""
USUAL_GRACE_SECONDS = 30

Secrets = Mapping[str, Mapping[str, str]]


class Container:
    """`probed` holds what the startup probe has got so far: statuses, 0 for no answer."""

    def __init__(self, spec: dict[str, Any], folder: Path, secrets: Secrets) -> None:
        self.name: str = spec["name"]
        self.spec = spec
        self.env: dict[str, str] = {}
        for each in spec.get("envFrom", ()):
            self.env |= secrets[each["secretRef"]["name"]]
        self.env |= {each["name"]: each["value"] for each in spec.get("env", ())}
        self.probed: list[int] = []
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.process: Process | None = None
        self.folder = folder / f"container-{self.name}"
        self.folder.mkdir()

    @property
    def out(self) -> str:
        """Its stdout so far."""
        return (self.folder / "out").read_text()

    @property
    def log(self) -> str:
        """Its stderr so far."""
        return (self.folder / "log").read_text()


class Pod:
    """`told` is what happened to it in order: "app started", "app SIGTERM", "app exited 0", …"""

    def __init__(
        self,
        pod: Mapping[str, Any],
        folder: Path,
        config_maps: Mapping[str, ConfigMap],
        secrets: Secrets,
        environ: Mapping[str, str],
    ) -> None:
        self.told: list[str] = []
        self._ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self.config_maps = config_maps
        self._secrets = secrets
        self._environ = environ
        spec = pod["spec"]
        self._volumes = {each["name"]: each["configMap"]["name"] for each in spec["volumes"]}
        self.sidecars = [self._container(each, folder) for each in spec.get("initContainers", ())]
        self.main = [self._container(each, folder) for each in spec["containers"]]
        self.grace = spec.get("terminationGracePeriodSeconds", USUAL_GRACE_SECONDS)
        self._waiting: list[asyncio.Task[None]] = []
        assert all(each.spec["restartPolicy"] == "Always" for each in self.sidecars)

    def __getitem__(self, name: str) -> Container:
        return next(each for each in (*self.sidecars, *self.main) if each.name == name)

    def url(self, port: int) -> str:
        """Where that port of the pod's is here."""
        return f"http://127.0.0.1:{self._ports[port]}"

    async def start(self) -> None:
        """Until every startup probe has succeeded; raises `TimeoutError` when one does not."""
        await self.start_sidecars()
        for each in self.main:  # one after the other; none waits for another to be up
            await self._spawn(each)
        async with asyncio.TaskGroup() as group:
            for each in self.main:
                group.create_task(self._up(each))

    async def start_sidecars(self) -> None:
        """In order, each when the one before it is up."""
        for each in self.sidecars:
            await self._spawn(each)
            await self._up(each)

    async def end(self) -> float:
        """The pod is deleted. Every preStop begins at once; what has ended it, gets SIGTERM, but a
        sidecar only when the app's containers and the sidecars after it have exited.

        Returns the seconds it took.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        deadline = begun + self.grace
        async with asyncio.TaskGroup() as group:
            before = [group.create_task(self._stop(each, deadline)) for each in self.main]
            for each in reversed(self.sidecars):
                before.append(group.create_task(self._stop(each, deadline, tuple(before))))
        return loop.time() - begun

    async def completed(self) -> list[int]:
        """The exit codes of the app's containers, once all have exited by themselves; what is left
        of the pod has ended then too."""
        codes = [await each.exited for each in self.main]
        await self.end()
        return codes

    async def run(self, name: str, *command: str) -> tuple[int | None, str]:
        """A second command in a running container: its exit code, and what it says."""
        container = self[name]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=container.folder,
            env=environment(**container.env, **self._environ),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode, said.decode()

    async def close(self) -> None:
        """Kill what still runs."""
        for each in (*self.sidecars, *self.main):
            if each.process is not None and each.process.returncode is None:
                each.process.kill()
        await asyncio.gather(*self._waiting)

    def _container(self, spec: dict[str, Any], folder: Path) -> Container:
        """With the words that mean something else here put into ours."""
        text = json.dumps(spec)
        for port, free in self._ports.items():
            text = re.sub(rf"\b{port}\b", str(free), text)
        text = re.sub(r'":(\d+)"', r'"127.0.0.1:\1"', text)
        for mount in spec.get("volumeMounts", ()):
            assert "subPath" not in mount
            here = self.config_maps[self._volumes[mount["name"]]].folder
            text = text.replace(f"{mount['mountPath']}/", f"{here}/")
        for path, there in FILES.items():
            text = text.replace(path, there)
        return Container(json.loads(text), folder, self._secrets)

    async def _spawn(self, container: Container) -> None:
        folder, spec = container.folder, container.spec
        with (folder / "out").open("wb") as out, (folder / "log").open("wb") as log:
            container.process = await asyncio.create_subprocess_exec(
                *(*IMAGES[spec["image"]], *spec["args"]),
                cwd=folder,
                env=environment(**container.env, **self._environ),
                stdout=out,
                stderr=log,
            )
        self.told.append(f"{container.name} started")
        self._waiting.append(asyncio.create_task(self._exit(container, container.process)))

    async def _exit(self, container: Container, process: Process) -> None:
        code = await process.wait()
        self.told.append(f"{container.name} exited {code}")
        container.exited.set_result(code)

    async def _up(self, container: Container) -> None:
        probe = container.spec.get("startupProbe")
        if probe is None:
            return
        asked = probe["httpGet"]
        url = f"http://127.0.0.1:{asked['port']}{asked['path']}"
        async with (
            asyncio.timeout(probe["periodSeconds"] * probe["failureThreshold"]),
            httpx.AsyncClient(timeout=1) as client,
        ):
            while True:
                status = 0
                with suppress(httpx.TransportError):
                    status = (await client.get(url)).status_code
                container.probed.append(status)
                if 200 <= status < 400:
                    return
                assert not container.exited.done(), container.log
                await asyncio.sleep(probe["periodSeconds"] / HASTE)

    async def _stop(
        self, container: Container, deadline: float, before: Collection[asyncio.Task[None]] = ()
    ) -> None:
        if container.process is None or container.exited.done():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._pre_stop(container)
                if before:
                    await asyncio.wait(before)
        if container.exited.done():
            return
        self._signal(container, signal.SIGTERM)
        last = max(deadline, asyncio.get_running_loop().time() + LEAST_SECONDS)
        try:
            async with asyncio.timeout_at(last):
                await asyncio.shield(container.exited)
        except TimeoutError:
            self._signal(container, signal.SIGKILL)
            await container.exited

    async def _pre_stop(self, container: Container) -> None:
        hook = container.spec.get("lifecycle", {}).get("preStop")
        if hook is not None:
            code, said = await self.run(container.name, *hook["exec"]["command"])
            assert code == 0, said
            self.told.append(f"{container.name} preStop over")

    def _signal(self, container: Container, number: signal.Signals) -> None:
        assert container.process is not None
        self.told.append(f"{container.name} {number.name}")
        container.process.send_signal(number)


@asynccontextmanager
async def scheduled(
    pod: Mapping[str, Any],
    folder: Path,
    config_maps: Mapping[str, ConfigMap],
    secrets: Secrets,
    **environ: str,
) -> AsyncIterator[Pod]:
    """A pod that nobody has started yet; what still runs on leaving is killed.

    `config_maps` are by name, `secrets` the variables of each by its name.
    `environ` is what the network of a cluster would do: every container has it.
    """
    one = Pod(pod, folder, config_maps, secrets, environ)
    try:
        yield one
    finally:
        await one.close()


def _free_ports(count: int) -> list[int]:
    """Below those that the kernel gives to connections: nobody gets one before we do."""
    free: list[int] = []
    for port in range(20_000 + os.getpid() % 1000 * 10, 32_000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            free.append(port)
        if len(free) == count:
            return free
    raise OSError("no free ports")
