"""One proxied request in virtual time: what is read and sent when, and how it ends."""

import asyncio
import json
from typing import Any, NamedTuple

import pytest

from tiergate_sidecar.destinations import App, Silence
from tiergate_sidecar.errors import ProviderFailed
from tiergate_sidecar.passage import SLICE_BYTES, Passage
from tiergate_sidecar.upstreams import UpstreamError, UpstreamSlow
from tiergate_sidecar.vigil import LOOK_SECONDS

IDLE = 60
READER = 20


class Destination(App):
    """The app, with a reader waited for less; `refusal` is what its answers are met with."""

    refusal: Exception | None = None

    @property
    def silence(self) -> Silence:
        return Silence(IDLE, READER)

    def answer_headers(self, headers: Any, status: int) -> Any:
        if self.refusal is not None:
            raise self.refusal
        return super().answer_headers(headers, status)


class Upstream:
    """Upstreams, pool and answer in one: `says` are the pieces of the answer, each after so many
    seconds, or an exception; `taken` is what arrived of the body."""

    def __init__(self, *says: Any, takes: float = 0, head: float = 0, places: int = 1) -> None:
        self.says = list(says)
        self.taken: list[bytes] = []
        self.asked: list[Any] = []
        self.takes, self.head = takes, head
        self.places = asyncio.Semaphore(places)
        self.patience = 1.0
        self.users = 0
        self.closed = 0
        self.status, self.headers = 200, ((b"X-App", b"1"),)

    async def take(self, _: Any) -> "Upstream":
        self.users += 1
        return self

    async def give_back(self, _: Any) -> None:
        self.users -= 1

    async def ask(self, method: str, url: str, headers: Any, body: Any) -> "Upstream":
        self.asked.append((method, url, dict(headers)))
        if body is not None and not isinstance(body, bytes):
            async for piece in body:
                await asyncio.sleep(self.takes)
                self.taken.append(piece)
        elif body is not None:
            self.taken.append(body)
        await asyncio.sleep(self.head)
        if self.says and isinstance(self.says[0], Exception):
            raise self.says[0]
        return self

    async def read(self) -> tuple[bytes, bool]:
        seconds, said = self.says.pop(0)
        await asyncio.sleep(seconds)
        if isinstance(said, Exception):
            raise said
        return said, not self.says

    def close(self) -> None:
        self.closed += 1

    @property
    def is_free(self) -> bool:
        return self.users == 0 and not self.places.locked()


class Heard(NamedTuple):
    status: int
    pieces: list[tuple[float, bytes]]
    whole: bool
    seconds: float

    @property
    def code(self) -> str:
        return json.loads(b"".join(piece for _, piece in self.pieces))["error"]["code"]


async def passed(
    upstream: Upstream,
    *body: tuple[float, bytes],
    leaves: float = 10_000,
    reads: float = 0,
    refusal: Exception | None = None,
    send_error: Exception | None = None,
    method: str = "POST",
    free: bool = True,
    **headers: str,
) -> Heard:
    """What the client heard. Each piece of `body` comes after so many seconds, all of it before the
    client `leaves`; each piece of the answer takes it `reads` seconds."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    given = headers or ({"transfer-encoding": "chunked"} if body else {})
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
    scope = {
        "type": "http", "method": method, "raw_path": b"/p", "path": "/p", "query_string": b"",
        "headers": pairs, "client": None, "scheme": "http", "http_version": "1.1",
    }  # fmt: skip
    coming, status, pieces, whole = list(body), 0, [], False

    async def receive() -> dict[str, Any]:
        if not coming:
            await asyncio.sleep(begun + leaves - loop.time())
            return {"type": "http.disconnect"}
        seconds, piece = coming.pop(0)
        await asyncio.sleep(seconds)
        return {"type": "http.request", "body": piece, "more_body": bool(coming)}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, whole
        if send_error is not None:
            raise send_error
        if message["type"] == "http.response.start":
            status = message["status"]
            return
        await asyncio.sleep(reads)
        pieces.append((round(loop.time() - begun, 2), message["body"]))
        whole = not message.get("more_body", False)

    destination = Destination("http://app.test", IDLE, 9)
    if refusal is not None:
        destination = type("Refusing", (Destination,), {"refusal": refusal})(
            "http://app.test", 1, 9
        )
    await Passage(destination, upstream, scope, receive, send).run()  # type: ignore[arg-type]
    seconds = round(loop.time() - begun, 6)
    assert upstream.is_free is free
    await asyncio.sleep(0.01)  # a cancelled task needs a step to end
    assert len(asyncio.all_tasks()) == 1
    return Heard(status, pieces, whole, seconds)


# --- both ways


async def test_a_request_without_a_body_is_asked_at_once():
    upstream = Upstream((0, b"hello"))
    heard = await passed(upstream, method="GET")
    assert heard == (200, [(0, b"hello")], True, 0)
    ((method, url, headers),) = upstream.asked
    assert (method, url) == ("GET", "http://app.test/p")
    assert "content-length" not in headers
    assert upstream.closed == 1


async def test_a_small_body_that_is_all_here_is_sent_as_one():
    upstream = Upstream((0, b"ok"))
    await passed(upstream, (0, b"abc"), content_length="3")
    assert upstream.taken == [b"abc"]
    assert "content-length" not in upstream.asked[0][2]  # aiohttp says it


async def test_a_body_that_comes_in_pieces_goes_on_in_pieces_with_its_own_framing():
    upstream = Upstream((0, b"ok"))
    await passed(upstream, (0, b"ab"), (5, b""), (5, b"c"), content_length="3")
    assert upstream.taken == [b"ab", b"c"]
    assert upstream.asked[0][2]["content-length"] == "3"
    upstream = Upstream((0, b"ok"))
    await passed(upstream, (0, b"ab"), (5, b"c"))
    assert "content-length" not in upstream.asked[0][2]


async def test_a_large_piece_is_sent_in_slices():
    upstream = Upstream((0, b"ok"))
    body = b"x" * (SLICE_BYTES * 2 + 1)
    await passed(upstream, (0, body), content_length=str(len(body)))
    assert [len(piece) for piece in upstream.taken] == [SLICE_BYTES, SLICE_BYTES, 1]
    assert upstream.asked[0][2]["content-length"] == str(len(body))


async def test_an_empty_body_in_chunks_is_none():
    upstream = Upstream((0, b"ok"))
    await passed(upstream, (0, b""))
    assert upstream.taken == []


async def test_each_piece_of_an_answer_goes_out_when_it_comes():
    heard = await passed(Upstream((1, b"a"), (30, b"b"), (IDLE - 1, b"")))
    assert heard.pieces == [(1, b"a"), (31, b"b"), (90, b"")]
    assert heard.whole


async def test_nothing_is_read_while_the_client_does_not_take_it():
    heard = await passed(Upstream((0, b"a"), (0, b"b"), (0, b"")), reads=READER - 1)
    assert [seconds for seconds, _ in heard.pieces] == [19, 38, 57]


# --- who is silent, and for how long


async def test_a_slow_upload_may_take_as_long_as_it_goes_on():
    body = [(IDLE - 1, b"x")] * 10
    heard = await passed(Upstream((0, b"ok")), *body)
    assert (heard.status, heard.seconds) == (200, 590)


@pytest.mark.parametrize("before", [0, 1])
async def test_an_upload_that_stops_is_a_408(before):
    heard = await passed(Upstream((0, b"ok")), *[(1, b"x")] * before, (IDLE * 2, b"y"))
    assert (heard.status, heard.code) == (408, "request_timeout")
    assert IDLE <= heard.seconds <= IDLE + before + LOOK_SECONDS


async def test_an_upload_that_is_not_taken_is_a_504():
    heard = await passed(Upstream((0, b"ok"), takes=IDLE * 2), (0, b"x"), (0, b"y"))
    assert (heard.status, heard.code) == (504, "deadline_exceeded")


@pytest.mark.parametrize(("head", "status"), [(IDLE - 1, 200), (IDLE + 1, 504)])
async def test_an_answer_is_waited_for_so_long(head, status):
    assert (await passed(Upstream((0, b"ok"), head=head))).status == status


async def test_an_answer_that_stops_is_cut_off(caplog):
    heard = await passed(Upstream((0, b"a"), (IDLE * 2, b"b")))
    assert (heard.status, heard.pieces, heard.whole) == (200, [(0, b"a")], False)
    assert "cut off waited too long for the answer" in caplog.text


async def test_a_client_that_reads_nothing_is_cut_off():
    heard = await passed(Upstream((0, b"a"), (0, b"b")), reads=READER * 2)
    assert heard.whole is False
    assert READER <= heard.seconds <= READER + LOOK_SECONDS


# --- clients that leave


@pytest.mark.parametrize("after", [LOOK_SECONDS, 10])
async def test_a_client_that_leaves_is_not_answered_and_nobody_is_asked_on(after, caplog):
    waiting = await passed(Upstream((0, b"ok"), head=30), leaves=after)
    assert (waiting.status, waiting.seconds) == (0, after)
    midway = await passed(Upstream((0, b"a"), (30, b"b")), leaves=after)
    assert (midway.whole, midway.seconds) == (False, after)
    assert caplog.text == ""


@pytest.mark.parametrize("pieces", [0, 1, 3])
async def test_a_client_that_leaves_before_its_body_ends_is_not_answered(pieces, caplog):
    upstream = Upstream((0, b"ok"))
    assert await leaving_midway(upstream, [b"x"] * pieces) == 0
    assert len(upstream.asked) == min(1, pieces)
    assert caplog.text == ""


async def leaving_midway(upstream: Upstream, body: list[bytes]) -> int:
    """How many messages a client was sent that left in the middle of its body."""
    sent: list[Any] = []
    says = [{"type": "http.request", "body": piece, "more_body": True} for piece in body]

    async def receive() -> Any:
        return says.pop(0) if says else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "raw_path": b"/p", "query_string": b"", "client": None,
        "headers": [(b"content-length", b"99")],
    }  # fmt: skip
    destination = Destination("http://app.test", IDLE, 9)
    await Passage(destination, upstream, scope, receive, send).run()  # type: ignore[arg-type]
    assert upstream.is_free
    return len(sent)


async def test_a_server_that_says_so_by_an_error_is_understood(caplog):
    upstream = Upstream((0, b"ok"))
    heard = await passed(upstream, send_error=OSError("gone"))
    assert (heard.status, upstream.closed, caplog.text) == (0, 1, "")


# --- failures of the other side


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(UpstreamError("no"), 502, "bad_gateway"), (UpstreamSlow("no"), 504, "deadline_exceeded")],
)
async def test_who_is_not_there_is_told_to_the_client_and_why_to_us(error, status, code, caplog):
    heard = await passed(Upstream(error))
    assert (heard.status, heard.code) == (status, code)
    assert caplog.records[0].getMessage().endswith(" no")


async def test_an_answer_that_is_cut_off_for_us_is_cut_off_for_the_client(caplog):
    heard = await passed(Upstream((0, b"a"), (1, UpstreamError("reset"))))
    assert (heard.status, heard.pieces, heard.whole) == (200, [(0, b"a")], False)
    assert caplog.messages == ["the app: cut off reset"]


async def test_an_answer_may_be_refused_for_what_it_says():
    upstream = Upstream((0, b"secret"))
    heard = await passed(upstream, refusal=ProviderFailed("no", provider="p1"))
    assert (heard.status, heard.code, upstream.closed) == (502, "provider_error", 1)


async def test_a_request_framed_twice_reaches_nobody():
    upstream = Upstream((0, b"ok"))
    heard = await passed(upstream, content_length="1", transfer_encoding="chunked")
    assert (heard.status, heard.code, upstream.asked) == (400, "invalid_request", [])


@pytest.mark.parametrize(("freed", "status"), [(0.9, 200), (1.1, 503)])
async def test_a_place_is_waited_for_a_while(freed, status):
    upstream = Upstream((0, b"ok"))
    await upstream.places.acquire()
    asyncio.get_running_loop().call_later(freed, upstream.places.release)
    heard = await passed(upstream, free=status == 200)
    assert (heard.status, heard.seconds) == (status, min(freed, 1))
    assert len(upstream.asked) == (status == 200)


async def test_a_bug_of_ours_is_one_answer_and_a_line_in_the_log(caplog):
    heard = await passed(Upstream(KeyError("bug")))
    assert (heard.status, heard.code) == (500, "internal_error")
    assert "a bug in tiergate" in caplog.text
    assert "KeyError" in caplog.text
