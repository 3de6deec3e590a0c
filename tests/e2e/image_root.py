"""A root file system as a container of our image has it: read-only, and no shell to be found.

The tree that `image/build-tree.sh` builds stands at /opt/tiergate, system and interpreter beside it
from this machine. Mounts and network are those of one process, and end with it. What runs in there
is the test's business.
"""

import asyncio
import os
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path

import pytest
from dockerfile import ROOT, final, pairs

BUILD_SECONDS = 90
_FOLDERS = ("dev", "etc/ssl", "etc/tiergate", "opt/tiergate", "proc", "tmp", "usr")
_USER, _GROUP = final("USER").value.split(":")
_UNPRIVILEGED = (
    *("/usr/bin/setpriv", "--no-new-privs", "--clear-groups", "--bounding-set=-all"),
    *(f"--reuid={_USER}", f"--regid={_GROUP}"),
    *("/usr/bin/env", "-C", final("WORKDIR").value),
)  # fmt: skip

# $1 is the new root, $2 the tree, $3 the prefix of our interpreter, $4 the configuration.
_MOUNT = r"""
show() { mount --bind "$1" "$2" && mount -o remount,bind,ro "$2"; }
mount --bind "$1" "$1"
for folder in usr proc etc/ssl; do show "/$folder" "$1/$folder"; done
for file in null urandom; do mount --bind "/dev/$file" "$1/dev/$file"; done
for shell in dash bash; do mount --bind /dev/null "$1/usr/bin/$shell"; done
case $3 in /usr*) ;; *) show "$3" "$1$3" ;; esac
show "$2" "$1/opt/tiergate"
show "$4" "$1/etc/tiergate"
mount -t tmpfs -o mode=1777,size=1m tmpfs "$1/tmp"
mount -o remount,bind,ro "$1"
root=$1
shift 4
exec chroot "$root" "$@"
"""
_LOOPBACK_UP = (
    "import fcntl, os, socket, struct, sys\n"
    "with socket.socket() as any:\n"
    "    fcntl.ioctl(any, 0x8914, struct.pack('16sH14x', b'lo', 0x41))\n"  # SIOCSIFFLAGS: up
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


def need_mounts() -> None:
    """Mounts are root's; without them a laptop skips the test and CI fails it."""
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "true"], check=False, capture_output=True
    )
    if tried.returncode or os.geteuid() or sys.version_info[:2] != (3, 11):
        says = "not root on CPython 3.11, or no mounts: nothing here tests the image without it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(says)


@cache
def built(folder: Path) -> Path:
    """The tree, built there once."""
    need_mounts()
    tree = folder / "opt" / "tiergate"
    tree.mkdir(parents=True)
    command = ["sh", str(ROOT / "image" / "build-tree.sh"), str(tree)]
    environ = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return tree


@asynccontextmanager
async def contained(tree: Path, folder: Path, toml: str, *command: str) -> AsyncIterator[Process]:
    """A command with the image's user, environment and files; killed on leaving."""
    root, config = folder / "root", folder / "config"
    prefix = sys.base_prefix
    for each in (config, *(root / name for name in _FOLDERS), root / prefix[1:]):
        each.mkdir(parents=True, exist_ok=True)
    for name in ("null", "urandom"):
        (root / "dev" / name).touch()
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    (config / "tiergate.toml").write_text(toml, encoding="utf-8")
    enter = (
        *("unshare", "--mount", "--net", "--propagation", "private"),
        *(sys.executable, "-c", _LOOPBACK_UP),
        *("sh", "-euc", _MOUNT, "sh", str(root), str(tree), prefix, str(config)),
    )
    async with _started(*enter, *_UNPRIVILEGED, *command) as process:
        yield process


@asynccontextmanager
async def beside(process: Process, *command: str) -> AsyncIterator[Process]:
    """A second command in the same container; killed on leaving."""
    enter = ("nsenter", "--target", str(process.pid), "--mount", "--net", "--root", "--wd")
    async with _started(*enter, *_UNPRIVILEGED, *command) as second:
        yield second


async def said(process: Process, *command: str) -> tuple[int | None, str]:
    """Exit code of a second command in the same container, and what it says."""
    async with beside(process, *command) as second, asyncio.timeout(20):
        out, error = await second.communicate()
    return second.returncode, (out + error).decode()


@asynccontextmanager
async def _started(*command: str) -> AsyncIterator[Process]:
    """Each of these becomes the next by exec, so that its pid is that of the last."""
    process = await asyncio.create_subprocess_exec(
        *command, env=_environment(), stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def _environment() -> dict[str, str]:
    path = os.environ["PATH"]
    return {name: value.replace("$PATH", path) for name, value in pairs("ENV").items()}
