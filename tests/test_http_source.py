"""The configuration service over real sockets: what it is asked, and what becomes of its answers.

The key goes to the address that was configured and nowhere else; an answer that is no document
is refused in words that name the service and never the key.
"""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace
from test_names import Names

from tiergate.document import SourceError, TierDocument, parse_document
from tiergate.sources import MAX_DOCUMENT_BYTES, HttpSource
from tiergate_sidecar.rawhttp import Call, RawServer

KEY = "zion-secret"
PATH = "/api/v1/tiers/config"
ENTRY = {"provider": "p1", "model": "m", "inputPricePerMillion": 1, "outputPricePerMillion": 2}
DATA = {"version": "7", "tiers": {"simple": [ENTRY]}}
BODY = json.dumps({"success": True, "data": DATA}).encode()
HELD = parse_document(DATA, fetched_at=1000, etag='"7"')


def answering(
    status: int = 200, body: bytes = BODY, *headers: tuple[str, str]
) -> Callable[[Call], Awaitable[None]]:
    async def answer(call: Call) -> None:
        await call.respond(status, body, headers)

    return answer


def source(server: RawServer, key: str | None = KEY) -> HttpSource:
    return HttpSource(f"{server.url}{PATH}?env=a", key, wall=lambda: 2000.5)


async def asked(server: RawServer, held: TierDocument | None = None) -> TierDocument:
    async with asyncio.timeout(5):
        return await source(server).fetch(held)


async def refusal(server: RawServer, held: TierDocument | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        await asked(server, held)
    text = str(caught.value)
    assert KEY not in text
    return text.replace(f"{server.url}{PATH}", "URL")


@pytest.mark.parametrize(("key", "sent"), [(KEY, KEY), (None, None)])
async def test_a_service_is_asked_with_its_key_and_its_document_is_read(key, sent):
    calls = []

    async def answer(call: Call) -> None:
        calls.append(call)
        await call.respond(200, BODY, [("etag", '"7"'), ("set-cookie", "a=b")])

    async with RawServer(answer) as server:
        one = source(server, key)
        assert await one.fetch(None) == replace(HELD, fetched_at=2000.5)
        await one.fetch(None)
    assert [(call.method, call.target) for call in calls] == [("GET", f"{PATH}?env=a")] * 2
    for name, value in [("x-api-key", sent), ("accept", "application/json"), ("cookie", None)]:
        assert [call.header(name) for call in calls] == [value] * 2
    assert [call.header("if-none-match") for call in calls] == [None] * 2


async def test_an_unchanged_document_is_kept_and_as_good_as_new():
    calls = []

    async def answer(call: Call) -> None:
        calls.append(call)
        await call.respond(304)

    async with RawServer(answer) as server:
        assert await asked(server, HELD) == replace(HELD, fetched_at=2000.5)
    assert [call.header("if-none-match") for call in calls] == ['"7"']


async def test_a_changed_document_replaces_the_held_one_and_its_etag():
    async with RawServer(answering(200, BODY.replace(b'"7"', b'"8"'))) as server:
        made = await asked(server, HELD)
    assert (made.version, made.etag, made.fetched_at) == ("8", None, 2000.5)


@pytest.mark.parametrize("etag", [None, "", '"ä"', '"7"\r\nx-api-key: other', '"\ud800"'])
async def test_an_etag_that_cannot_be_sent_is_not_and_nothing_is_unchanged_then(etag):
    calls = []

    async def answer(call: Call) -> None:
        calls.append(call)
        await call.respond(304)

    async with RawServer(answer) as server:
        held = replace(HELD, etag=etag)
        assert await refusal(server, held) == "URL answered with status 304"
    assert [call.header("if-none-match") for call in calls] == [None]


async def test_an_etag_that_is_not_text_is_not_kept():
    async def answer(call: Call) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(BODY)}\r\netag: ".encode()
        await call.raw(head + b"\xff\r\n\r\n" + BODY)

    async with RawServer(answer) as server:
        assert (await asked(server)).etag is None


@pytest.mark.parametrize("status", [201, 204, 301, 304, 401, 403, 404, 429, 500, 503])
async def test_any_other_status_is_a_failure_and_the_key_follows_no_redirect(status):
    calls = []

    async def answer(call: Call) -> None:
        calls.append(call)
        await call.respond(
            status, b"" if status in (204, 304) else BODY, [("location", "/elsewhere")]
        )

    async with RawServer(answer) as server:
        assert await refusal(server) == f"URL answered with status {status}"
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "URL: the answer is not JSON"),
        (b"<html>", "URL: the answer is not JSON"),
        (BODY[:-5], "URL: the answer is not JSON"),
        (b'"\xff"', "URL: the answer is not JSON"),
        (b"[" * 100_000, "URL: the answer is not JSON"),
        (b'{"version": ' + b"1" * 5000 + b"}", "URL: the answer is not JSON"),
        (b"null", "URL: the document is no JSON object"),
        (b"{}", "URL: the document has no 'tiers'"),
        (b'{"success": false}', "URL: the service says success: false"),
    ],
)
async def test_an_answer_that_is_no_document_is_refused(body, text):
    async with RawServer(answering(200, body)) as server:
        assert await refusal(server) == text


async def test_wrong_entries_are_skipped():
    tiers = {"simple": [ENTRY, {**ENTRY, "relativeCost": 300}]}
    body = json.dumps({"success": True, "data": {**DATA, "tiers": tiers}}).encode()
    async with RawServer(answering(200, body)) as server:
        made = await asked(server)
    assert len(made.tiers["simple"]) == len(made.skipped) == 1


async def test_a_compressed_document_is_read():
    encoded = answering(200, gzip.compress(BODY), ("content-encoding", "gzip"))
    async with RawServer(encoded) as server:
        assert (await asked(server)).version == "7"


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "compressed"])
async def test_more_than_tiers_can_be_is_not_read_to_its_end(packed):
    blown = b" " * (MAX_DOCUMENT_BYTES + 1)
    body, headers = blown, []
    if packed:
        body, headers = gzip.compress(blown), [("content-encoding", "gzip")]
    async with RawServer(answering(200, body, *headers)) as server:
        assert await refusal(server) == "URL: the answer is over 4194304 bytes"


async def reset(call: Call) -> None:
    call.reset()


async def cut(call: Call) -> None:
    await call.start(200, [("content-length", "1000")])
    await call.send(BODY)


async def gibberish(call: Call) -> None:
    await call.raw(b"\x00\x01\x02\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (reset, "URL: Connection reset by peer"),
        (cut, "URL: ClientPayloadError"),
        (gibberish, "URL: ClientResponseError"),
        (answering(200, b"no gzip", ("content-encoding", "gzip")), "URL: ClientPayloadError"),
    ],
)
async def test_what_breaks_on_the_wire_is_a_failure_in_few_words(answer, text):
    async with RawServer(answer) as server:
        assert await refusal(server) == text


async def test_a_service_that_is_not_there_is_a_failure():
    async with RawServer(answering()) as server:
        pass
    assert (await refusal(server)).startswith("URL: Connect call failed")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70])
async def test_an_address_that_nobody_has_is_a_failure(host):
    with pytest.raises(SourceError) as caught:
        await HttpSource(f"http://{host}/tiers", KEY, wall=lambda: 0).fetch(None)
    assert str(caught.value).startswith(f"http://{host}/tiers: ")


async def test_a_service_is_reached_by_its_name_at_any_of_its_addresses():
    async with RawServer(answering()) as server:
        port = server.url.rpartition(":")[2]
        names = Names("::1", "127.0.0.1")
        one = HttpSource(f"http://tiers.test:{port}/a", KEY, wall=lambda: 0, look_up=names)
        assert (await one.fetch(None)).version == "7"
    assert [asked[0] for asked in names.asked] == ["tiers.test"]


async def test_of_a_name_whose_lookup_hangs_one_lookup_is_under_way():
    names = Names("127.0.0.1")
    names.may.clear()
    one = HttpSource("http://tiers.test:1/a", KEY, wall=lambda: 0, look_up=names)
    before = asyncio.all_tasks()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await one.fetch(None)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert len(names.asked) == 1
    names.may.set()


async def test_who_stops_asking_leaves_no_connection():
    arrived, left = asyncio.Event(), asyncio.Event()

    async def silent(call: Call) -> None:
        arrived.set()
        await call.gone.wait()
        left.set()

    async with RawServer(silent) as server:
        waiting = asyncio.create_task(source(server).fetch(None))
        async with asyncio.timeout(5):
            await arrived.wait()
            waiting.cancel()
            await left.wait()
            await asyncio.wait({waiting})
    assert waiting.cancelled()


async def test_many_documents_leave_no_connection_open():
    async with RawServer(answering()) as server:
        one: Any = source(server)
        for _ in range(20):
            await one.fetch(None)
        async with asyncio.timeout(5):
            while server.open:  # noqa: ASYNC110  # sockets close without an event of ours
                await asyncio.sleep(0.005)
        assert server.connections == 20
