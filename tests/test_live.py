"""The live stream: the last requests and each that ends, as events that a page can take up again;
it ends by itself, with its reader, and with the process."""

import asyncio
import json

import pytest
from finished import record

from tiergate_sidecar.live import GATHER_SECONDS, STREAM_SECONDS, Live
from tiergate_sidecar.recent import BATCH, MOST_FOLLOWERS, Ring


class Reader:
    """An ASGI client that leaves after so many seconds, or takes no more than so many events."""

    def __init__(self, *, leaves=None, takes=None):
        self.began = asyncio.get_running_loop().time()
        self.status, self.headers, self.heard = 0, {}, []
        self.leaves, self.takes = leaves, takes

    async def receive(self):
        if self.leaves is None:
            await asyncio.Event().wait()
        await asyncio.sleep(self.leaves)
        return {"type": "http.disconnect"}

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        if self.takes is not None and len(self.heard) >= self.takes:
            await asyncio.Event().wait()
        at = asyncio.get_running_loop().time() - self.began
        self.heard.append((round(at, 3), message.get("body", b"").decode()))

    async def read(self, live, **headers):
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await live({"type": "http", "headers": raw}, self.receive, self.send)
        return self

    @property
    def seconds(self):
        return asyncio.get_running_loop().time() - self.began

    def events(self, name):
        """Time, id and data of the events of this name."""
        found = []
        for at, text in self.heard:
            for part in text.split("\n\n"):
                said = dict(line.split(": ", 1) for line in part.split("\n") if ": " in line)
                if said.get("event") == name:
                    found.append((at, said.get("id"), json.loads(said["data"])))
        return found


def ids(events):
    return [[each["id"] for each in data] for _, _, data in events]


def live(ring, **settings):
    return Live(ring, lambda: {"version": "1"}, **settings)


async def test_a_stream_begins_with_what_a_page_must_know_and_the_last_requests():
    ring = Ring(10)
    for name in ("a", "b"):
        ring.finished(record(name))
    heard = await Reader(leaves=1).read(live(ring))
    assert heard.status == 200
    assert heard.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert heard.heard[0][1] == 'retry: 500\n\nevent: hello\ndata: {"version":"1"}\n\n'
    ((at, last, records),) = heard.events("records")
    assert (at, last, [each["id"] for each in records]) == (0, "b", ["a", "b"])
    assert records[0]["attempts"][0]["duration_us"] == 40_000
    assert records[0]["first_token_us"] is None


async def test_each_request_that_ends_is_told_at_once_and_many_together():
    ring, loop = Ring(1000), asyncio.get_running_loop()
    loop.call_later(2, ring.finished, record("a"))
    for number in range(BATCH + 5):
        loop.call_later(2.01, ring.finished, record(f"n{number}"))
    heard = await Reader(leaves=4).read(live(ring))
    first, second, third = heard.events("records")
    assert ids([first]) == [["a"]]
    assert first[0] == pytest.approx(2)
    assert (len(second[2]), second[0]) == (BATCH, pytest.approx(2 + GATHER_SECONDS))
    assert (len(third[2]), third[0]) == (5, second[0])


async def test_between_full_batches_others_have_their_turn():
    ring, turns = Ring(5 * BATCH), []
    for number in range(5 * BATCH):
        ring.finished(record(f"n{number}"))

    async def others():
        while True:
            turns.append(len(reader.heard) - 1)  # the first is the hello
            await asyncio.sleep(0)

    reader, beside = Reader(leaves=1), asyncio.create_task(others())
    reading = asyncio.create_task(reader.read(live(ring)))
    while len(turns) < 12:  # noqa: ASYNC110  # turns, and no event
        await asyncio.sleep(0)
    beside.cancel()
    assert {1, 2, 3, 4, 5} <= set(turns)
    reading.cancel()


async def test_a_reader_that_comes_back_hears_only_what_is_new():
    ring = Ring(10)
    for name in ("a", "b", "c"):
        ring.finished(record(name))
    again = await Reader(leaves=1).read(live(ring), last_event_id="b")
    assert ids(again.events("records")) == [["c"]]
    nothing = await Reader(leaves=1).read(live(ring), last_event_id="c")
    assert nothing.events("records") == []


async def test_who_was_too_slow_is_told_how_many_went_by():
    ring, loop = Ring(3), asyncio.get_running_loop()
    ring.finished(record("a"))
    for number in range(8):
        loop.call_later(0.01 * number + 0.01, ring.finished, record(f"n{number}"))
    heard = await Reader(leaves=1).read(live(ring))
    assert [count for _, _, count in heard.events("missed")] == [5]
    assert ids(heard.events("records")) == [["a"], ["n5", "n6", "n7"]]


async def test_a_quiet_stream_says_that_it_is_there_and_ends_by_itself():
    heard = await Reader().read(live(Ring(10)))
    assert [at for at, text in heard.heard if text.startswith(":")] == [5, 10, 15]
    assert heard.heard[-1] == (STREAM_SECONDS, "")


@pytest.mark.parametrize("ends", ["leaving", "closing"])
async def test_it_ends_with_its_reader_and_with_the_ring(ends):
    ring, loop = Ring(10), asyncio.get_running_loop()
    if ends == "closing":
        loop.call_later(2, ring.close)
    heard = await Reader(leaves=2 if ends == "leaving" else None).read(live(ring))
    assert heard.seconds == pytest.approx(2)
    assert repr(ring).endswith(" 0 followers>")
    await asyncio.sleep(0)  # a cancelled task needs a step to end
    assert len(asyncio.all_tasks()) == 1


async def test_a_reader_that_takes_nothing_is_let_go_of():
    ring, loop = Ring(10), asyncio.get_running_loop()
    loop.call_later(1, ring.finished, record("a"))
    heard = await Reader(takes=1).read(live(ring))
    assert heard.seconds == pytest.approx(6)
    assert repr(ring).endswith(" 0 followers>")


async def test_even_the_end_waits_for_no_reader():
    ring = Ring(10)
    heard = await Reader(takes=2).read(live(ring, seconds=4))  # hello, a sign of life
    assert heard.seconds == pytest.approx(4 + 5)
    assert repr(ring).endswith(" 0 followers>")


async def test_a_server_that_tells_of_a_broken_connection_is_believed():
    ring = Ring(10)

    class Broken(Reader):
        async def send(self, message):
            raise OSError("gone")

        async def receive(self):
            raise OSError("gone")

    await Broken().read(live(ring))
    assert repr(ring).endswith(" 0 followers>")


async def test_beyond_so_many_pages_it_says_to_come_back():
    ring = Ring(10)
    open_ones = [ring.follow().__enter__() for _ in range(MOST_FOLLOWERS)]
    heard = await Reader().read(live(ring))
    assert (heard.status, heard.headers["retry-after"]) == (503, "5")
    assert json.loads(heard.heard[0][1])["error"]["code"] == "overloaded"
    open_ones[0].__exit__()
    assert (await Reader(leaves=1).read(live(ring))).status == 200
