"""A buffered stream that takes long: comments, then the whole answer or an error that is in-band.

The delivery is a task that the test ends as it likes; `wired` tests have real ones.
"""

import asyncio

import pytest
from wired import ANSWER, DONE, ROLE, STOP, account, token

from tiergate.attempt import Delivered
from tiergate.candidates import Candidate
from tiergate.config import Provider
from tiergate.endpoint import compile_endpoints
from tiergate.errors import ClientGone, ProviderFailed
from tiergate.exchange import Attempt, Decision, Exchange
from tiergate.relay import Relay, StreamLimits
from tiergate.testing import Say, ScriptedTransport
from tiergate.transcript import Transcript
from tiergate.waiting import COMMENT, Waiting

P1, P2 = Candidate("p1", "m1", 1), Candidate("p2", "m2", 1)
ENDPOINT = compile_endpoints({"p1": Provider(base_url="http://h.test")}, {})["p1"]
LIMITS = StreamLimits(first_token=10, idle=20, send=30)


class Client:
    """Notes what it hears and when; reads nothing after `patience` writes."""

    def __init__(self, patience: int = 1000) -> None:
        self.heard: list[tuple[float, bytes]] = []
        self._patience = patience

    async def write(self, data: bytes) -> None:
        if len(self.heard) == self._patience:
            await asyncio.Event().wait()
        self.heard.append((asyncio.get_running_loop().time(), data))


class World:
    """A delivery that ends after `seconds` with what it brings: an answer or an error."""

    def __init__(self, brings: Delivered | Exception, seconds: float) -> None:
        self.exchange = Exchange("id-1", 0, [], account())
        self.exchange.decision = Decision("moderate", "default")
        self.exchange.candidate = P2
        self.exchange.attempts = (Attempt(P1, 0, 1), Attempt(P1, 1, 1), Attempt(P2, 2, 1))
        self.delivery = asyncio.create_task(self._deliver(brings, seconds))
        self.waiting = Waiting(self.delivery, self.exchange, comment_seconds=15, send_seconds=30)

    async def _deliver(self, brings: Delivered | Exception, seconds: float) -> Delivered:
        await asyncio.sleep(seconds)
        if isinstance(brings, Exception):
            raise brings
        return brings


async def stream(*pieces: bytes, transport: ScriptedTransport | None = None) -> Delivered:
    """An answer held to its end (of which the first two pieces were read before)."""
    transport = transport or ScriptedTransport({"p1": Say.stream(*pieces[2:])})
    answer = await transport.post(ENDPOINT, [], b"")
    transcript = Transcript(choices=1, relay_usage=True, max_event_bytes=1000)
    held = b"".join(map(transcript.feed, pieces[:2]))
    exchange = Exchange("id-1", 0, [], account(), candidate=P2)
    exchange.account.hold(len(held))
    relay = Relay(answer, transcript, held, LIMITS, exchange)
    return Delivered(ENDPOINT, 200, (), relay=relay)


TOLD = b": x-sentinel-model=m2 x-arbstr-provider=p2 x-arbstr-retries=2/p1, 1/p2\n\n"


async def test_comments_come_at_their_interval_until_the_answer_is_there():
    world, client = World(await stream(*ANSWER), 40), Client()
    await world.waiting.run(client.write)
    assert client.heard[:3] == [(0, COMMENT), (15, COMMENT), (30, COMMENT)]
    assert [at for at, _ in client.heard[3:]] == [40] * len(client.heard[3:])
    assert b"".join(data for _, data in client.heard[3:]) == b"".join(ANSWER[:-1]) + TOLD + DONE
    await world.waiting.close()


async def test_an_answer_that_came_meanwhile_needs_no_comment():
    world, client = World(await stream(*ANSWER), 1), Client()
    await asyncio.sleep(2)
    await world.waiting.run(client.write)
    assert client.heard[0] == (2, ROLE + token("a"))
    await world.waiting.close()


async def test_a_higher_tier_that_served_after_all_is_told_with_it():
    world, client = World(await stream(*ANSWER), 1), Client()
    world.exchange.escalated = "complex"
    await world.waiting.run(client.write)
    assert client.heard[-1][1] == b": x-sentinel-tier=complex" + TOLD[1:] + DONE
    await world.waiting.close()


async def test_what_delivery_did_is_told_before_the_summary_and_done():
    delivered = await stream(*ANSWER)
    delivered.relay.trailer = lambda: b"data: summary\n\n"
    world, client = World(delivered, 1), Client()
    await world.waiting.run(client.write)
    assert client.heard[-1][1] == TOLD + b"data: summary\n\n" + DONE
    await world.waiting.close()


async def test_a_stream_that_breaks_after_all_is_told_in_band_without_done():
    world, client = World(await stream(ROLE, token("a")), 1), Client()
    await world.waiting.run(client.write)
    assert b"stream_interrupted" in client.heard[-1][1]
    assert TOLD not in b"".join(data for _, data in client.heard)
    await world.waiting.close()


async def test_an_error_is_in_band():
    world, client = World(ProviderFailed("nobody", provider="p2"), 20), Client()
    await world.waiting.run(client.write)
    assert [at for at, _ in client.heard] == [0, 15, 20]
    assert client.heard[-1][1] == (
        b'data: {"error":{"message":"nobody","type":"upstream_error","param":null,'
        b'"code":"provider_error","provider":"p2"}}\n\n'
    )
    await world.waiting.close()


async def test_a_providers_own_refusal_is_in_band_in_its_own_words():
    refusal = Delivered(ENDPOINT, 400, (), b'{\n "error": {"code": "content_filter"}\n}')
    world, client = World(refusal, 1), Client()
    await world.waiting.run(client.write)
    assert client.heard[-1][1] == (
        b'data: {\ndata:  "error": {"code": "content_filter"}\ndata: }\n\n'
    )
    await world.waiting.close()


@pytest.mark.parametrize("patience", [0, 1, 2], ids=["at once", "later", "at the error"])
async def test_a_client_that_stops_reading_is_gone(patience):
    world, client = World(ProviderFailed("nobody"), 20), Client(patience)
    with pytest.raises(ClientGone):
        await world.waiting.run(client.write)
    assert asyncio.get_running_loop().time() == [0, 15, 20][patience] + 30
    await world.waiting.close()
    assert world.delivery.done()


async def test_closing_ends_a_delivery_that_is_under_way():
    world = World(await stream(ROLE, STOP), 1000)
    await asyncio.sleep(1)
    await world.waiting.close()
    assert world.delivery.cancelled()
    assert asyncio.get_running_loop().time() == 1


@pytest.mark.parametrize("relayed", [False, True], ids=["unseen", "relayed"])
async def test_closing_lets_go_of_what_was_brought(relayed):
    transport = ScriptedTransport({"p1": Say.stream(*ANSWER[2:])})
    world = World(await stream(*ANSWER, transport=transport), 1)
    await asyncio.sleep(2)
    if relayed:
        await world.waiting.run(Client().write)
    assert transport.open == 1
    await world.waiting.close()
    assert transport.open == 0


@pytest.mark.parametrize(
    "brings",
    [ProviderFailed("nobody"), Delivered(ENDPOINT, 400, (), b"{}")],
    ids=["an error", "a refusal"],
)
async def test_closing_after_a_delivery_that_brought_no_stream_is_nothing(brings):
    world = World(brings, 1)
    await asyncio.sleep(2)
    await world.waiting.close()
    assert world.delivery.done()
    assert not world.delivery.cancelled()
