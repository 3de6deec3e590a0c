"""A committed stream goes on event by event, and ends complete with one [DONE] or honestly without.

Virtual time; the provider is a list of pieces and the seconds before each.
"""

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from wired import account

from tiergate.candidates import Candidate
from tiergate.completion import Usage
from tiergate.config import Limits, Provider
from tiergate.endpoint import compile_endpoints
from tiergate.errors import ClientGone
from tiergate.exchange import Decision, Exchange
from tiergate.faults import GARBLED, AttemptFailed
from tiergate.relay import SLICE_BYTES, Relay, StreamLimits, summary_event
from tiergate.testing import Say, ScriptedTransport
from tiergate.transcript import Transcript
from tiergate.transport import Answer

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
TOKEN = b'data:{"choices":[ {"index":0,"delta":{"content":"gr\xc3\xbc\xc3\x9f"}}]}\r\n\r\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}\n\n'
COMMENT = b": ping\n\n"
GARBAGE = b"data: oops\n\n"
DONE = b"data: [DONE]\n\n"
THEIR_DONE = b"data:[DONE]\r\n\r\n"
ERROR = b'data: {"error":{"code":"overloaded"}}\n\n'
CANDIDATE = Candidate("p1", "m1", 1, input_price=0.5, output_price=1.5)

CUT, HANG = AttemptFailed(GARBLED), float("inf")


class Script:
    """Says these pieces; a number is that many seconds of silence, a failure is raised."""

    status, headers = 200, ()

    def __init__(self, *script: bytes | float | AttemptFailed) -> None:
        self.reads = 0
        self.closed = False
        self._left = list(script)

    async def read(self) -> bytes:
        self.reads += 1
        while self._left:
            said = self._left.pop(0)
            if isinstance(said, bytes):
                return said
            if isinstance(said, AttemptFailed):
                raise said
            await (asyncio.Event().wait() if said == HANG else asyncio.sleep(said))
        return b""

    def close(self) -> None:
        self.closed = True


class Client:
    """Takes what is written, after `slow` seconds each; notes when."""

    def __init__(self, slow: float = 0, *, only: bytes = b"") -> None:
        self.got: list[tuple[float, bytes]] = []
        self._slow, self._only = slow, only

    async def write(self, data: bytes) -> None:
        if self._only in data:
            await asyncio.sleep(self._slow)
        self.got.append((asyncio.get_running_loop().time(), data))

    @property
    def stream(self) -> bytes:
        return b"".join(data for _, data in self.got)

    @property
    def error(self) -> dict[str, Any]:
        """The error that the last event carries, which must be no [DONE]."""
        assert DONE.strip() not in self.stream
        last: dict[str, Any] = json.loads(self.got[-1][1].removeprefix(b"data: "))["error"]
        return last


def relay_of(
    answer: Answer,
    first: bytes = ROLE,
    *,
    choices: int = 1,
    relay_usage: bool = False,
    max_event_bytes: int = 1000,
    summary: Callable[[Exchange], bytes] | None = None,
    at_end: bool = False,
) -> tuple[Relay, Exchange]:
    decision = Decision("simple", "default")
    exchange = Exchange("id", 0, [], account(), candidate=CANDIDATE, decision=decision)
    transcript = Transcript(
        choices=choices, relay_usage=relay_usage, max_event_bytes=max_event_bytes
    )
    limits = StreamLimits(first_token=10, idle=20, send=30)
    held = transcript.feed(first)
    exchange.account.hold(len(held))
    made = Relay(answer, transcript, held, limits, exchange, at_end=at_end)
    if summary is not None:
        made.trailer = lambda: summary(exchange)
    return made, exchange


async def relayed(*script, client: Client | None = None, **settings) -> tuple[Client, Relay]:
    client = client or Client()
    relay, _ = relay_of(Script(*script), **settings)
    await relay.run(client.write)
    return client, relay


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_each_event_reaches_the_client_before_the_next_is_said():
    client, relay = await relayed(1, TOKEN, 1, TOKEN, 1, STOP, 1, THEIR_DONE, HANG)
    assert client.got == [(0, ROLE), (1, TOKEN), (2, TOKEN), (3, STOP), (4, THEIR_DONE)]
    assert relay.error_code is None


async def test_the_stream_arrives_byte_for_byte_at_every_split():
    stream = ROLE + TOKEN + COMMENT + USAGE + STOP + DONE
    for cut in range(1, len(stream)):
        client, _ = await relayed(stream[cut:], first=stream[:cut], relay_usage=True)
        assert client.stream.replace(b"\r", b"") == stream.replace(b"\r", b""), cut


async def test_byte_by_byte_each_event_goes_on_whole():
    stream = ROLE + TOKEN + STOP
    client, _ = await relayed(*(bytes([byte]) for byte in stream[1:]), first=stream[:1])
    assert [data for _, data in client.got] == [ROLE, TOKEN, STOP, DONE]


async def test_an_event_that_is_not_json_is_dropped_and_counted():
    relay, exchange = relay_of(Script(GARBAGE + TOKEN, GARBAGE, STOP))
    client = Client()
    await relay.run(client.write)
    assert client.stream == ROLE + TOKEN + STOP + DONE
    assert exchange.events_dropped == 2


@pytest.mark.parametrize(
    ("script", "done", "seconds"),
    [
        ([STOP, THEIR_DONE], THEIR_DONE, 0),
        ([STOP + THEIR_DONE + THEIR_DONE + TOKEN], THEIR_DONE, 0),
        ([STOP], DONE, 0),
        ([STOP, b"data: [DONE]"], DONE, 0),
        ([STOP.rstrip(b"\n")], DONE, 0),
        ([STOP, HANG], DONE, 2),
        ([STOP, 1.9, THEIR_DONE], THEIR_DONE, 1.9),
        ([STOP, 2.1, THEIR_DONE], DONE, 2),
        ([STOP, 1.5, USAGE, 1.5, THEIR_DONE], THEIR_DONE, 3),
        ([STOP, 1.5, USAGE, HANG], DONE, 3.5),
        ([STOP, b"data: {", HANG], DONE, 2),
        ([STOP, CUT], DONE, 0),
        ([STOP, b"data: " + b"x" * 1001], DONE, 0),
    ],
)
async def test_a_complete_answer_ends_with_one_done(script, done, seconds):
    client, relay = await relayed(*script)
    assert client.stream == ROLE + STOP + done
    assert relay.error_code is None
    assert now() == pytest.approx(seconds)


async def test_a_provider_that_only_pings_after_its_answer_does_not_hold_the_done_back():
    client, _ = await relayed(STOP, *[0.5, COMMENT] * 100)
    assert client.stream == ROLE + STOP + COMMENT * 3 + DONE
    assert now() == pytest.approx(2)


@pytest.mark.parametrize(
    ("script", "code", "seconds"),
    [
        ([TOKEN], "stream_interrupted", 0),
        ([TOKEN, CUT], "stream_interrupted", 0),
        ([TOKEN, THEIR_DONE], "stream_interrupted", 0),
        ([TOKEN, STOP[:30], CUT], "stream_interrupted", 0),
        ([TOKEN, STOP[:30]], "stream_interrupted", 0),
        ([TOKEN, b"data: " + b"x" * 1001, HANG], "stream_interrupted", 0),
        ([TOKEN, b"data: " + b"x" * 1001 + b"\n\n", HANG], "stream_interrupted", 0),
        ([TOKEN, HANG], "stream_stalled", 20),
        ([19, HANG], "stream_stalled", 10),
        ([5, TOKEN, 19, STOP[:30], HANG], "stream_stalled", 25),
    ],
)
async def test_an_incomplete_answer_ends_with_one_error_and_no_done(script, code, seconds):
    client, relay = await relayed(*script)
    assert client.stream.count(b'"error"') == 1
    assert client.error["code"] == relay.error_code == code
    assert (client.error["type"], client.error["provider"]) == ("upstream_error", "p1")
    assert now() == pytest.approx(seconds)


@pytest.mark.parametrize("rest", [[], [DONE], [TOKEN], [CUT], [HANG]])
async def test_the_providers_own_error_is_the_last_event(rest):
    client, relay = await relayed(TOKEN, ERROR, *rest)
    assert client.stream == ROLE + TOKEN + ERROR
    assert relay.error_code is None


@pytest.mark.parametrize(("relay_usage", "seen"), [(True, USAGE), (False, b"")])
async def test_usage_is_kept_and_passed_on_only_where_it_was_asked_for(relay_usage, seen):
    relay, exchange = relay_of(Script(STOP, USAGE, DONE), relay_usage=relay_usage)
    client = Client()
    await relay.run(client.write)
    assert client.stream == ROLE + STOP + seen + DONE
    assert exchange.usage == Usage(10, 5)


async def test_usage_of_a_broken_stream_is_kept_too():
    relay, exchange = relay_of(Script(USAGE, CUT))
    await relay.run(Client().write)
    assert exchange.usage == Usage(10, 5)


async def test_every_choice_asked_for_must_finish():
    second = STOP.replace(b'"index":0', b'"index":1')
    assert (await relayed(STOP, choices=2))[1].error_code == "stream_interrupted"
    assert (await relayed(STOP, second, choices=2))[0].stream == ROLE + STOP + second + DONE


@pytest.mark.parametrize("sign", [COMMENT, ROLE, GARBAGE, USAGE, b"data: "])
async def test_the_first_token_must_come_in_time_whatever_else_is_said(sign):
    client, _ = await relayed(*[3, sign] * 20)
    assert client.error["code"] == "stream_stalled"
    assert now() == pytest.approx(10)


@pytest.mark.parametrize("sign", [COMMENT, TOKEN, GARBAGE, USAGE, b"data: 1\n\n"])
async def test_a_whole_event_or_comment_shows_that_the_provider_lives(sign):
    client, _ = await relayed(TOKEN, *[19, sign] * 10, STOP)
    assert client.stream.endswith(STOP + DONE)
    assert now() == pytest.approx(190)


async def test_half_an_event_is_no_sign_of_life():
    client, _ = await relayed(TOKEN, b"data: {", *[5, b" "] * 20)
    assert client.error["code"] == "stream_stalled"
    assert now() == pytest.approx(20)


@pytest.mark.parametrize(
    ("slow_at", "script"),
    [
        (TOKEN, [TOKEN, 19, STOP]),
        (b"assistant", [9, TOKEN, 19, STOP]),
        (STOP, [TOKEN, 1, STOP, 1.5]),
        (b"ping", [STOP, 1, COMMENT, 0.5, USAGE]),
    ],
)
async def test_the_time_the_client_takes_is_not_the_providers_silence(slow_at, script):
    client = Client(29, only=slow_at)
    _, relay = await relayed(*script, THEIR_DONE, client=client)
    assert client.stream.endswith(THEIR_DONE)
    assert relay.error_code is None


async def test_nothing_is_read_from_the_provider_while_the_client_does_not_take_it():
    provider, client = Script(TOKEN, TOKEN, STOP), Client(5)
    relay, _ = relay_of(provider)
    task = asyncio.create_task(relay.run(client.write))
    reads = []
    for _ in range(4):
        await asyncio.sleep(2.5)
        reads.append((len(client.got), provider.reads))
        await asyncio.sleep(2.5)
    await task
    assert reads == [(0, 0), (1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("slow_at", [b"assistant", STOP, DONE])
async def test_a_client_that_stops_reading_is_gone_after_the_send_timeout(slow_at):
    client = Client(31, only=slow_at)
    with pytest.raises(ClientGone):
        await relayed(STOP, client=client)
    assert now() == pytest.approx(30)


async def test_what_is_left_at_the_end_of_the_body_is_sent_within_the_send_timeout_too():
    client = Client(31, only=b"stop")
    with pytest.raises(ClientGone):
        await relayed(STOP.rstrip(b"\n"), client=client)


async def test_what_was_held_goes_out_first_in_slices_and_is_given_back():
    relay, exchange = relay_of(Script(STOP), TOKEN * 3000)
    client = Client()
    await relay.run(client.write)
    assert client.stream == TOKEN * 3000 + STOP + DONE
    assert [len(data) for _, data in client.got][:2] == [SLICE_BYTES] * 2
    assert max(len(data) for _, data in client.got) == SLICE_BYTES
    exchange.account.hold(Limits().max_buffered_bytes)  # all of the room is free


async def test_of_a_stream_that_was_held_to_its_end_nothing_more_is_read():
    provider, client = Script(TOKEN), Client()
    relay, _ = relay_of(provider, TOKEN + STOP + THEIR_DONE, at_end=True)
    await relay.run(client.write)
    await relay.close()
    assert client.stream == TOKEN + STOP + THEIR_DONE
    assert (provider.reads, provider.closed) == (0, True)


@pytest.mark.parametrize(
    ("first", "script", "times"),
    [
        (ROLE, [2, TOKEN, 1, TOKEN, STOP], [2]),
        (TOKEN, [2, TOKEN, STOP], [0]),
        (ROLE, [3, STOP], [3]),
        (ROLE, [HANG], []),
    ],
)
async def test_the_first_token_is_told_once_when_it_is_there(first, script, times):
    relay, _ = relay_of(Script(*script), first)
    told: list[float] = []
    relay.on_token = lambda: told.append(now())
    await relay.run(Client().write)
    assert told == times


@pytest.mark.parametrize(
    ("rest", "oversized"), [([b"data: " + b"x" * 1001], True), ([CUT], False), ([STOP], False)]
)
async def test_an_event_that_is_too_large_is_told_apart_from_a_break(rest, oversized):
    _, relay = await relayed(TOKEN, *rest)
    assert relay.is_oversized == oversized


@pytest.mark.parametrize("rest", [[DONE, HANG], [DONE, CUT], [ERROR], [CUT]])
async def test_the_end_of_it_all_is_told_once_the_provider_is_let_go(rest):
    provider = Script(STOP, *rest)
    relay, _ = relay_of(provider)
    told: list[bool] = []
    relay.on_close = lambda: told.append(provider.closed)
    await relay.run(Client().write)
    assert told == []
    await relay.close()
    assert told == [True]


async def test_usage_is_kept_of_a_stream_whose_client_has_left():
    relay, exchange = relay_of(Script(USAGE + GARBAGE, TOKEN, HANG))
    task = asyncio.create_task(relay.run(Client().write))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (exchange.usage, exchange.events_dropped) == (Usage(10, 5), 1)


def summary(exchange: Exchange) -> bytes:
    return summary_event(exchange, latency=1.2344, created=1_700_000_000.9)


async def test_a_summary_precedes_the_done():
    client, _ = await relayed(STOP, USAGE, THEIR_DONE, summary=summary)
    assert client.stream.startswith(ROLE + STOP + b'data: {"id":"id"')
    assert client.stream.endswith(b"\n\n" + THEIR_DONE)
    chunk = json.loads(client.stream.split(b"\n\n")[2].removeprefix(b"data: "))
    assert (chunk["choices"], chunk["object"]) == ([], "chat.completion.chunk")
    assert (chunk["model"], chunk["created"]) == ("m1", 1_700_000_000)
    assert chunk["arbstr"] == {
        "cost_usd": 0.0000125,
        "latency_ms": 1234,
        "tier": "simple",
        "provider": "p1",
        "model": "m1",
    }


async def test_a_summary_of_unknown_cost_says_null():
    client, _ = await relayed(STOP, summary=summary)
    assert b'"cost_usd":null' in client.stream


@pytest.mark.parametrize("script", [[CUT], [ERROR], [HANG]])
async def test_a_stream_that_failed_has_no_summary(script):
    client, _ = await relayed(*script, summary=summary)
    assert b"arbstr" not in client.stream


@pytest.mark.parametrize(
    ("script", "reads", "seconds"),
    [
        ([STOP + DONE, b"", STOP], 2, 0),  # read to the empty piece that ends the body
        ([STOP + DONE, b"\n", b"\n", b""], 4, 0),
        ([STOP + DONE, HANG], 2, 0.5),
        ([STOP + DONE, *[0.2, b"\n"] * 50], 4, 0.5),
        ([STOP + DONE, CUT], 2, 0),
        ([ERROR, 0.1, b""], 2, 0.1),
        ([STOP, b""], 2, 0),  # at its end already
        ([STOP, b"data: [DONE]", b""], 3, 0),
        ([STOP, HANG], 2, 2),  # [DONE] is ours: who knows whether it ever ends
        ([TOKEN, CUT], 2, 0),
    ],
)
async def test_closing_reads_a_finished_body_to_its_end_for_a_moment(script, reads, seconds):
    provider = Script(*script)
    relay, _ = relay_of(provider)
    await relay.run(Client().write)
    await relay.close()
    assert provider.closed
    assert provider.reads == reads
    assert now() == pytest.approx(seconds)


async def test_closing_lets_go_of_the_provider_whoever_interrupts():
    provider = Script(DONE, HANG)
    relay, _ = relay_of(provider)
    await relay.run(Client().write)
    task = asyncio.create_task(relay.close())
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert provider.closed


async def test_fifty_chunks_of_a_scripted_provider_arrive_one_by_one():
    transport = ScriptedTransport({"p1": Say.stream(*[TOKEN] * 50, STOP, after=1)})
    endpoints = compile_endpoints({"p1": Provider(base_url="http://p1.test/v1")}, {})
    answer = await transport.post(endpoints["p1"], [], b"")
    relay, _ = relay_of(answer)
    client = Client()
    await relay.run(client.write)
    await relay.close()
    assert [data for _, data in client.got] == [ROLE, *[TOKEN] * 50, STOP, DONE]
    assert {round(b - a, 6) for (a, _), (b, _) in pairwise(client.got[1:-1])} == {1}
    assert transport.open == 0


# --- what success leaves behind


class Bound:
    """Notes how much the client had heard when it was told."""

    def __init__(self, client: Client) -> None:
        self.heard: list[bytes] = []
        self._client = client

    async def __call__(self) -> None:
        await asyncio.sleep(0.1)  # a store takes its time
        self.heard.append(self._client.stream)


@pytest.mark.parametrize("rest", [(STOP, DONE), (STOP, b""), (STOP, HANG), (STOP, CUT)])
async def test_a_complete_stream_tells_its_success_once_and_before_its_done(rest):
    relay, _ = relay_of(Script(TOKEN, *rest))
    client = Client()
    relay.on_success = bound = Bound(client)
    await relay.run(client.write)
    await relay.close()
    assert bound.heard == [ROLE + TOKEN + STOP]
    assert client.stream.endswith(DONE)


@pytest.mark.parametrize("rest", [(b"",), (CUT,), (ERROR, b""), (HANG,), (b"x" * 2000,)])
async def test_a_broken_stream_tells_no_success(rest):
    relay, _ = relay_of(Script(TOKEN, *rest))
    client = Client()
    relay.on_success = bound = Bound(client)
    await relay.run(client.write)
    await relay.close()
    assert bound.heard == []


@pytest.mark.parametrize("script", [(HANG,), (TOKEN, HANG)])
async def test_a_client_that_leaves_a_healthy_stream_is_a_success(script):
    relay, _ = relay_of(Script(*script))
    client = Client()
    relay.on_success = bound = Bound(client)
    running = asyncio.create_task(relay.run(client.write))
    await asyncio.sleep(1)
    running.cancel()
    await asyncio.wait([running])
    assert bound.heard == []  # it may yet break
    await relay.close()
    assert len(bound.heard) == 1


async def test_a_client_that_leaves_after_the_providers_error_is_none():
    relay, _ = relay_of(Script(ERROR, HANG))
    client = Client(100, only=b"overloaded")
    relay.on_success = bound = Bound(client)
    with pytest.raises(ClientGone):
        await relay.run(client.write)
    await relay.close()
    assert bound.heard == []


async def test_what_never_went_out_is_no_success():
    relay, _ = relay_of(Script(STOP, b""))
    relay.on_success = bound = Bound(Client())
    await relay.close()
    assert bound.heard == []
