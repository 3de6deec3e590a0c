"""Work on a thread of its own: what hangs there is bounded, and holds up neither loop nor exit."""

import asyncio
import subprocess
import sys
import threading

import pytest

from tiergate.aside import Aside, Busy


async def run(aside, work, *arguments):
    return await asyncio.get_running_loop().run_in_executor(aside, work, *arguments)


async def test_what_it_returns_and_what_it_raises_reach_whoever_waits():
    aside = Aside("tiergate-test")
    assert await run(aside, lambda: threading.current_thread().name) == "tiergate-test"
    assert await run(aside, divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await run(aside, divmod, 7, 0)


async def test_no_more_than_so_many_hang_and_each_that_returns_makes_room():
    aside, back = Aside("tiergate-test", at_once=2), [threading.Event() for _ in range(2)]
    hung = [asyncio.ensure_future(run(aside, event.wait, 10)) for event in back]
    await asyncio.sleep(0)
    for _ in range(3):
        with pytest.raises(Busy, match=r"earlier .*: 2"):
            await run(aside, int)
    back[0].set()
    assert await hung[0]
    assert await run(aside, int) == 0
    back[1].set()
    assert await hung[1]


async def test_whoever_stops_waiting_leaves_the_call_to_itself_and_it_counts_until_it_returns():
    aside, back, begun = Aside("tiergate-test"), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        back.wait(10)

    hung = asyncio.ensure_future(run(aside, hang))
    await asyncio.to_thread(begun.wait, 10)
    hung.cancel()
    await asyncio.wait({hung})
    with pytest.raises(Busy):
        await run(aside, int)
    thread = next(each for each in threading.enumerate() if each.name == "tiergate-test")
    back.set()
    thread.join(10)
    assert await run(aside, int) == 0


def test_a_call_that_hangs_ends_neither_the_loop_late_nor_the_process():
    code = """
import asyncio, threading
from tiergate.aside import Aside
async def main():
    work = asyncio.get_running_loop().run_in_executor(Aside("a"), threading.Event().wait)
    await asyncio.wait({work}, timeout=0.01)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20, check=True)
    assert done.stderr == b""
