"""The shipped fakes: scripted providers say what they are told, and virtual time jumps in order."""

import asyncio
import threading
import time

import msgspec
import pytest

from tiergate.config import Provider
from tiergate.document import SourceError, TierDocument
from tiergate.endpoint import Endpoint, compile_endpoints
from tiergate.faults import GARBLED, UNREACHABLE, AttemptFailed
from tiergate.testing import MemorySource, Say, ScriptedTransport, VirtualLoop


def endpoint(name: str = "p1") -> Endpoint:
    return compile_endpoints({name: Provider(base_url="http://x")}, {})[name]


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_lines_are_said_in_order_and_the_last_is_repeated():
    transport = ScriptedTransport({"p1": [Say.error(503), Say.error(400)]})
    said = [await transport.post(endpoint(), [], b"") for _ in range(3)]
    assert [answer.status for answer in said] == [503, 400, 400]


async def test_what_was_sent_is_kept_with_its_time():
    transport = ScriptedTransport({"p1": Say.completion(), "p2": Say.completion()})
    assert transport.calls() == []
    await asyncio.sleep(5)
    await transport.post(endpoint(), [("a", "b")], b'{"c": 1}')
    await asyncio.sleep(0.25)
    await transport.post(endpoint("p2"), [], b"{}")
    assert transport.calls() == [("p1", 0), ("p2", 0.25)]
    first = transport.sent[0]
    assert (first.at, first.headers, first.json) == (5, (("a", "b"),), {"c": 1})


async def test_an_answer_takes_its_time_and_ends():
    transport = ScriptedTransport({"p1": Say.stream(b"a", b"b", after=2)})
    answer = await transport.post(endpoint(), [], b"")
    assert (now(), answer.headers) == (2, ((b"Content-Type", b"text/event-stream"),))
    assert [await answer.read() for _ in range(3)] == [b"a", b"b", b""]
    assert now() == 6


async def test_open_counts_the_answers_that_nobody_let_go_of():
    transport = ScriptedTransport({"p1": Say.completion()})
    answers = [await transport.post(endpoint(), [], b"") for _ in range(2)]
    assert transport.open == 2
    for answer in (*answers, answers[0]):  # letting go twice is once
        answer.close()
    assert transport.open == 0


async def test_a_fault_a_cut_and_a_hang_are_what_they_say():
    transport = ScriptedTransport(
        {"p1": [Say(fault=UNREACHABLE, after=1), Say(cut=True), Say(hang=True), Say.never()]}
    )
    with pytest.raises(AttemptFailed) as failed:
        await transport.post(endpoint(), [], b"")
    assert (failed.value.fault, now(), transport.open) == (UNREACHABLE, 1, 0)
    with pytest.raises(AttemptFailed) as failed:
        await (await transport.post(endpoint(), [], b"")).read()
    assert failed.value.fault is GARBLED
    hanging = await transport.post(endpoint(), [], b"")
    for silent in (hanging.read(), transport.post(endpoint(), [], b"")):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(silent, 1000)


async def test_a_probe_is_answered_by_those_who_are_well():
    transport = ScriptedTransport({})
    assert await transport.probe(endpoint()) is False
    await asyncio.sleep(3)
    transport.well.add("p1")
    assert await transport.probe(endpoint()) is True
    assert transport.probed == [("p1", 0), ("p1", 3)]


async def test_members_of_a_completion_can_be_replaced():
    said = msgspec.json.decode(Say.completion("yes", usage=None, id="other").pieces[0])
    assert (said["usage"], said["id"]) == (None, "other")
    assert said["choices"][0]["message"]["content"] == "yes"


async def test_an_error_has_the_one_shape():
    said = Say.error(429, "slow", retry_after="3")
    assert said.headers == ((b"Retry-After", b"3"),)
    assert msgspec.json.decode(said.pieces[0])["error"]["code"] == "slow"


async def test_closing_is_noted_and_so_is_who_stays_after_a_reload():
    transport = ScriptedTransport({})
    transport.retain([endpoint("p1"), endpoint("p2")])
    assert transport.retained == ["p1", "p2"]
    await transport.close()
    assert transport.closed


async def test_a_memory_source_gives_its_documents_and_then_the_last():
    first, second = TierDocument("1"), TierDocument("2")
    source = MemorySource([first, second])
    assert [await source.fetch(None) for _ in range(3)] == [first, second, second]
    assert (source.fetched, source.shared, now()) == (3, True, 0)


async def test_a_memory_source_takes_its_time_and_raises_what_it_is_told_to():
    source = MemorySource([SourceError("down"), TierDocument("1")], after=2, shared=False)
    with pytest.raises(SourceError, match="down"):
        await source.fetch(None)
    assert (await source.fetch(None)).version == "1"
    assert (source.fetched, source.shared, now()) == (2, False, 4)
    source.after = float("inf")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(source.fetch(None), 1000)


def test_virtual_time_jumps_from_timer_to_timer_in_order():
    order = []

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append((seconds, now()))

    async def main() -> None:
        await asyncio.gather(wait(3600), wait(2), wait(86400))

    begun = time.monotonic()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.get_loop().time() == 0
        runner.run(main())
    assert order == [(2, 2), (3600, 3600), (86400, 86400)]
    assert time.monotonic() - begun < 5


async def test_virtual_time_waits_for_threads():
    await asyncio.sleep(1)
    never = threading.Event()
    assert await asyncio.to_thread(never.wait, 0.05) is False
    assert now() == 1
    async with asyncio.timeout(10):  # stands still, however many timers there are
        assert await asyncio.to_thread(never.wait, 0.05) is False
    assert now() == 1
    await asyncio.sleep(1)
    assert now() == 2
