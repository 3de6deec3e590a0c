"""Work in threads: so much at once, waited for so long; what is late counts until it returns."""

import asyncio
import threading

import pytest

from tiergate_sidecar.in_thread import Crowded, Late, Threads, Undone


def nothing():
    """Whoever ends by itself needs no stop."""


async def test_the_work_is_done_beside_the_loop_and_its_result_or_error_comes_back():
    threads = Threads("aside", at_once=1, seconds=5)
    assert await threads.run(lambda: threading.current_thread().name, nothing) == "aside"
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0, nothing)
    assert threads.under_way == 0


async def test_one_too_many_is_refused_at_once():
    threads, go = Threads("aside", at_once=1, seconds=5), threading.Event()
    first = asyncio.create_task(threads.run(go.wait, nothing))
    await asyncio.sleep(0)
    with pytest.raises(Crowded):
        await threads.run(nothing, nothing)
    go.set()
    assert await first
    await threads.run(nothing, nothing)


async def test_what_is_late_is_stopped_and_counts_until_it_returns():
    threads, go, stopped = Threads("aside", at_once=1, seconds=0.05), threading.Event(), []
    with pytest.raises(Late):
        await threads.run(go.wait, lambda: stopped.append(True))
    assert stopped == [True]
    assert threads.under_way == 1
    go.set()
    async with asyncio.timeout(5):
        while threads.under_way:  # noqa: ASYNC110  # its end comes from the thread
            await asyncio.sleep(0.005)


async def test_where_the_system_has_no_thread_left_it_is_said_and_nothing_counts():
    threads = Threads("aside", at_once=1, seconds=5)
    threading.stack_size(2**46)  # bytes: more than there are
    try:
        with pytest.raises(Undone, match="no thread is left"):
            await threads.run(nothing, nothing)
    finally:
        threading.stack_size(0)
    assert threads.under_way == 0


def test_a_loop_that_ends_first_is_no_error():
    threads, go, ended = Threads("aside", at_once=1, seconds=0.01), threading.Event(), []

    def work():
        go.wait()
        ended.append(threading.current_thread())

    async def leave():
        with pytest.raises(Late):
            await threads.run(work, nothing)

    asyncio.run(leave())
    go.set()
    for thread in threading.enumerate():
        if thread.name == "aside":
            thread.join(5)
    assert len(ended) == 1
