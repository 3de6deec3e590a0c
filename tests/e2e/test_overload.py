"""More than the process may take on at once.

The promise: what is too much is refused at once with 503 `overloaded`, the rest is served, and
memory stays bounded whatever clients send or ask for. Resident memory is the high water mark of a
process of its own, as the kernel counts it.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.faults import TEXT, configured, world
from e2e.support import (
    CHAT,
    DONE,
    RawClient,
    completing,
    connected,
    error_of,
    event,
    recording,
)

from tiergate_sidecar.rawhttp import Call

MIB = 1 << 20
RESIDENT_MIB = 256
PATIENCE = {  # with a busy machine that moves a gigabyte: these tests are not about them
    "retry": {"deadline_seconds": 60, "attempt_timeout_seconds": 60},
    "streaming": {
        "first_token_timeout_seconds": 60,
        "idle_timeout_seconds": 60,
        "buffered_deadline_seconds": 60,
    },
}


@dataclass
class Process:
    """A server in a process of its own."""

    url: str
    pid: int

    @property
    def most_resident_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(each for each in status.splitlines() if each.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024


@asynccontextmanager
async def process(config: dict, folder: Path) -> AsyncIterator[Process]:
    """`serve_app.py` with that configuration; ended on leaving."""
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    script = Path(__file__).with_name("serve_app.py")
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, script, file),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert started.stdout is not None
    try:
        async with asyncio.timeout(20):
            url = (await started.stdout.readline()).decode().strip()
        yield Process(url, started.pid)
        assert started.returncode is None, "the server has died"
    finally:
        started.kill()
        await started.communicate()


@dataclass
class Answered:
    status: int
    headers: dict[str, str]
    body: bytes
    elapsed: float


async def post(url: str, body: bytes, *headers: str) -> Answered:
    """One request whose body goes out in slices, and ends early when the answer is there."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with connected(url) as client:
        sending = asyncio.create_task(_send(client, body, headers))
        status, answered, said = await client.answer()
        elapsed = loop.time() - begun
        sending.cancel()
        await asyncio.wait({sending})
    return Answered(status, answered, said, elapsed)


async def _send(client: RawClient, body: bytes, headers: tuple[str, ...]) -> None:
    lines = [f"POST {CHAT} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    await client.say("\r\n".join([*lines, "", ""]).encode())
    for start in range(0, len(body), 65_536):
        await client.say(body[start : start + 65_536])


def check_shed(answers: list[Answered], served: list[Answered], *, within: float) -> None:
    """Everybody else was told at once to come back later."""
    shed = [each for each in answers if each not in served]
    assert shed
    for each in shed:
        assert each.status == 503
        assert error_of(each.body)["code"] == "overloaded"
        assert each.headers["retry-after"] == "1"
        assert each.elapsed < within


def report(what: str, server: Process, answers: list[Answered]) -> None:
    slowest = max(each.elapsed for each in answers if each.status == 503)
    print(  # noqa: T201  # what `pytest -rP` shows
        f"{what}: {dict(Counter(each.status for each in answers))},"
        f" {server.most_resident_mib:.0f} MiB resident at most, slowest 503 {slowest:.2f} s"
    )


async def test_a_hundred_bodies_of_10_mib_stay_under_256_mib_and_are_shed(tmp_path):
    frame = json.dumps({"model": "small", "messages": [{"role": "user", "content": "%"}]})
    body = frame.replace("%", "x" * (10 * MIB - len(frame) + 1)).encode()
    assert len(body) == 10 * MIB
    everybody = asyncio.Event()

    async def answer_late(call: Call) -> None:
        await everybody.wait()
        await completing()(call)

    async with (
        recording(answer_late) as upstream,
        process(configured(upstream.base_url, **PATIENCE), tmp_path) as server,
    ):
        posts = [asyncio.create_task(post(server.url, body)) for _ in range(100)]
        while sum(each.done() for each in posts) < 100 - len(upstream.received):
            await asyncio.wait([each for each in posts if not each.done()], timeout=0.1)
        everybody.set()
        answers = await asyncio.gather(*posts)
        report("100 bodies of 10 MiB", server, answers)
        assert server.most_resident_mib < RESIDENT_MIB
        healthy = await post(server.url, frame.encode())
    served = [each for each in answers if each.status == 200]
    assert 2 <= len(served) <= 6  # 64 MiB hold no more
    assert len(upstream.received) == len(served) + 1
    check_shed(answers, served, within=20)
    assert healthy.status == 200


async def test_a_hundred_buffered_streams_of_5_mib_stay_under_256_mib_and_are_shed(tmp_path):
    piece = event("y" * 65_536)
    pieces = 5 * MIB // len(piece) + 1

    async def say_much(call: Call) -> None:
        await call.start(200, [("content-type", "text/event-stream")])
        for _ in range(pieces):
            await call.send(piece)
            await asyncio.sleep(0)
        await call.send(event("", "stop") + DONE)
        await call.finish()

    body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    chosen = "X-Sentinel-Stream-Failover: buffered"
    async with (
        recording(say_much) as upstream,
        process(configured(upstream.base_url, **PATIENCE), tmp_path) as server,
    ):
        posts = [post(server.url, json.dumps(body).encode(), chosen) for _ in range(100)]
        answers = await asyncio.gather(*posts)
        report("100 buffered streams of 5 MiB", server, answers)
        assert server.most_resident_mib < RESIDENT_MIB
        healthy = await post(server.url, json.dumps(body).encode(), chosen)
    served = [each for each in answers if each.status == 200]
    assert len(served) >= 12  # so many fit into 64 MiB
    for each in [*served, healthy]:
        assert each.status == 200
        assert each.body == piece * pieces + event("", "stop") + DONE
    check_shed(answers, served, within=20)


async def test_a_request_beyond_max_in_flight_is_refused_at_once():
    patient = {"attempt_timeout_seconds": 3}
    async with world(limits={"max_in_flight": 5}, retry=patient) as here:
        answers = await asyncio.gather(*(here.ask("json", "slow 1 always") for _ in range(20)))
        served = [each for each in answers if each.status == 200]
        shed = [each for each in answers if each.status == 503]
        assert (len(served), len(shed)) == (5, 15)
        assert {each.text for each in served} == {TEXT}
        for each in shed:
            assert each.error["code"] == "overloaded"
            assert each.headers["retry-after"] == "1"
            assert each.elapsed < 0.6  # it has not waited for a place
        assert len(here.seen()) == 5
        assert (await here.ask("json")).text == TEXT


async def test_without_a_free_connection_the_wait_is_bounded_and_nobody_is_charged():
    narrow = {"max_connections": 2, "acquire_timeout_seconds": 0.1}
    async with world(providers=1, provider=narrow) as here:
        answers = await asyncio.gather(*(here.ask("json", "slow 0.35 always") for _ in range(6)))
        shed = [each for each in answers if each.status == 503]
        assert len(shed) == 4
        for each in shed:
            assert each.error["code"] == "overloaded"
            assert 0.1 <= each.elapsed < 0.35
            assert "x-arbstr-provider" not in each.headers  # nothing was sent
        assert len(here.seen()) == 2
        assert not here.ailing()
        assert (await here.ask("json")).text == TEXT


async def test_without_a_free_connection_another_provider_serves():
    narrow = {"max_connections": 2, "acquire_timeout_seconds": 0.05}
    async with world(providers=2, provider=narrow) as here:
        answers = await asyncio.gather(*(here.ask("json", "slow 0.3 always") for _ in range(4)))
        assert [each.text for each in answers] == [TEXT] * 4
        assert sorted(each.provider for each in here.seen()) == ["p1", "p1", "p2", "p2"]
        assert not here.ailing()


async def test_a_short_wait_for_a_connection_is_rewarded():
    narrow = {"max_connections": 2, "acquire_timeout_seconds": 3}
    async with world(providers=1, provider=narrow) as here:
        answers = await asyncio.gather(*(here.ask("json", "slow 0.05 always") for _ in range(8)))
        assert [each.text for each in answers] == [TEXT] * 8
        assert here.mock.server.connections <= 2
