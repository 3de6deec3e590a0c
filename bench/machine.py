"""What the operating system knows of a tree of processes, and who may run on which processor.

Linux only: it reads /proc. What is measured is the whole tree, a server's workers and helpers with
it, so that nobody looks cheap by working in a child. Nothing here knows what is measured.
"""

import os
import platform
import re
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = resource.getpagesize()


def processors() -> tuple[set[int], set[int]]:
    """For what is measured, and for everybody else; the same one where there is only one."""
    first, *others = sorted(os.sched_getaffinity(0))
    return {first}, set(others) or {first}


@contextmanager
def pinned(processors: set[int]) -> Iterator[None]:
    """What is started inside runs there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all below it, threads and ended children included."""
    spent = 0.0
    for member in tree(pid):
        with suppress(OSError):  # it ended meanwhile: its parent has its time
            spent += time.clock_gettime(~member << 3 | 2)  # clock_getcpuclockid(3) of Linux
            spent += sum(map(int, _stat(member)[13:15])) / TICKS
    return spent


def resident_bytes(pid: int) -> int:
    """Of the tree; what its members share counts once for each."""
    held = 0
    for member in tree(pid):
        with suppress(OSError):
            held += int(Path(f"/proc/{member}/statm").read_text().split()[1]) * PAGE
    return held


def tree(pid: int) -> list[int]:
    """The process and everybody below it."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                parents[int(entry)] = int(_stat(int(entry))[1])
    members = [pid]
    for member in members:
        members += [child for child, parent in parents.items() if parent == member]
    return members


def _stat(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) from `state` on: the name before may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def spent_by_others() -> float:
    """Processor seconds that others have spent on this machine, but for an arbitrary start.

    Exact once our children have ended: the running ones count as others.
    """
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _iowait, interrupts, soft, stolen = map(
            int, file.readline().split()[1:9]
        )
    everybody = (user + nice + system + interrupts + soft + stolen) / TICKS
    return everybody - sum(os.times()[:4])


def described() -> str:
    """One line, for whoever reads the figures elsewhere."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.+)", cpuinfo)
    memory = os.sysconf("SC_PHYS_PAGES") * PAGE / 2**30
    return (
        f"{model[1] if model else platform.machine()}, {len(os.sched_getaffinity(0))} processors, "
        f"{memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"
    )


def free_port() -> int:
    """For a program that cannot say which port it was given. Free a moment ago, that is all."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
        return port


def most_files() -> int:
    """Raise this process's limit of open files, and its children's, to the highest allowed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
