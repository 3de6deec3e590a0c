"""Before anybody is asked: what is noted of a request in each step, also when it ends there."""

import asyncio
import json
import random
from typing import Any

import pytest

from tiergate.assembly import Assembly, World
from tiergate.errors import Answerable, InvalidRequest
from tiergate.exchange import Caller, Exchange
from tiergate.metrics import Metrics
from tiergate.preparation import prepare
from tiergate.record import record_of
from tiergate.resolve import NotOurs
from tiergate.testing import ScriptedTransport


def made(**more: Any) -> Assembly:
    tables = {
        "providers": {"p1": {"base_url": "http://h.test"}},
        "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
        **more,
    }
    loop, chance = asyncio.get_running_loop(), random.Random(1)
    outside = World(ScriptedTransport({}), loop.time, lambda: 0.0, chance, environ={})
    return Assembly(tables, outside)


def arrived(parts: Assembly, *pairs: tuple[bytes, bytes]) -> Exchange:
    return Exchange("id-1", 0, list(pairs), parts.capacity.account())


async def test_a_request_that_is_prepared_is_decided_counted_and_has_its_pool():
    parts, metrics = made(), Metrics()
    exchange = arrived(parts)
    _, conversation = await prepare(parts, metrics, exchange, b'{"messages": []}')
    assert conversation is None
    assert exchange.decision is not None
    assert (exchange.requested_tier, exchange.decision.tier) == ("simple", "simple")
    assert [(share.provider, share.share) for share in exchange.pool] == [("p1", 1.0)]
    assert metrics.tier_requests.read() == {("simple",): 1}
    assert metrics.selections.read() == {("simple", "p1", "m"): 1}


async def test_tiers_that_have_not_come_yet_are_waited_for(tmp_path):
    file = tmp_path / "tiers.json"
    entry = {"provider": "p1", "model": "late", "relativeCost": 1}
    prices = {"inputPricePerMillion": 1, "outputPricePerMillion": 1}
    file.write_text(json.dumps({"tiers": {"simple": [entry | prices]}}))
    parts = made(tiers={}, tier_config={"source": "file", "file": str(file)})
    assert parts.store.snapshot is None
    exchange = arrived(parts)
    await prepare(parts, Metrics(), exchange, b'{"messages": []}')
    assert [share.model for share in exchange.pool] == ["late"]


async def test_a_trace_hears_of_the_decision_with_its_pool():
    class Trace:
        def decided(self, exchange: Exchange) -> None:
            told.append((exchange.decision, exchange.pool))

    parts, told = made(), []
    exchange = arrived(parts)
    exchange.trace = Trace()  # type: ignore[assignment]
    await prepare(parts, Metrics(), exchange, b'{"messages": []}')
    assert told == [(exchange.decision, exchange.pool)]


@pytest.mark.parametrize(
    ("body", "code", "noted"),
    [
        (b"[]", "invalid_request", (False, False, False)),
        (b'{"messages": 1}', "invalid_request", (True, True, True)),
        (b'{"messages": [], "model": "x"}', "model_not_found", (True, True, True)),
    ],
)
async def test_a_refusal_leaves_what_was_known_by_then(body, code, noted):
    parts, metrics = made(), Metrics()
    exchange = arrived(parts)
    with pytest.raises(Answerable) as refused:
        await prepare(parts, metrics, exchange, body)
    assert refused.value.code == code
    known = (exchange.is_read, exchange.headers is not None, exchange.request is not None)
    assert (known, exchange.decision) == (noted, None)
    assert metrics.tier_requests.read() == {}


MINE = (b"x-request-id", b"mine")
KEY = (b"authorization", b"Bearer k")
ASKED = b'{"messages": [], "model": "x", "stream": true}'


@pytest.mark.parametrize(
    ("body", "pairs", "model", "streaming"),
    [
        (ASKED, [(b"x-sentinel-tier", b"nonsense")], "x", True),
        (b'{"messages": []}', [(b"idempotency-key", b"\xff")], None, False),
        (ASKED.replace(b"[]", b"1"), [], "x", True),
        (ASKED.replace(b"true", b"1"), [], "x", False),
        (ASKED.replace(b'"x"', b"1"), [], None, True),
        (ASKED.replace(b'"x"', b"1"), [(b"x-sentinel-tier", b"nonsense")], None, True),
    ],
)
async def test_of_a_malformed_request_the_record_has_what_can_be_read(
    body, pairs, model, streaming
):
    parts = made()
    exchange, fine = arrived(parts, MINE, KEY, *pairs), arrived(parts, KEY)
    with pytest.raises(InvalidRequest):
        await prepare(parts, Metrics(), exchange, body)
    await prepare(parts, Metrics(), fine, b'{"messages": []}')
    record = record_of(exchange, 0)
    assert (record.client_id, record.owner) == ("mine", record_of(fine, 0).owner)
    assert (record.requested_model, record.streaming) == (model, streaming)


@pytest.mark.parametrize(
    ("body", "tier"), [(b'{"messages": [], "tier": "complex"}', "complex"), (ASKED, None)]
)
async def test_a_tier_that_the_caller_may_not_have_is_what_it_asked_for(body, tier):
    parts = made()
    exchange = arrived(parts)
    exchange.caller = Caller("ada", max_tier="simple")
    with pytest.raises(Answerable):
        await prepare(parts, Metrics(), exchange, body)
    assert (exchange.requested_tier, exchange.decision) == (tier, None)


async def test_a_default_above_what_the_caller_may_have_was_not_asked_for():
    parts = made()
    exchange = arrived(parts)
    exchange.caller = Caller("ada", tier="complex", max_tier="simple")
    await prepare(parts, Metrics(), exchange, b'{"messages": []}')
    assert exchange.requested_tier == "simple"


async def test_a_tier_of_nobody_is_counted_as_asked_for_and_chosen_never():
    parts, metrics = made(), Metrics()
    exchange = arrived(parts)
    with pytest.raises(Answerable, match="complex"):
        await prepare(parts, metrics, exchange, b'{"messages": [], "tier": "complex"}')
    assert (exchange.requested_tier, exchange.pool) == ("complex", ())
    assert metrics.tier_requests.read() == {("complex",): 1}
    assert metrics.selections.read() == {}


async def test_a_model_that_is_the_hosts_is_passed_on():
    parts = made(routing={"unknown_model": "pass"})
    with pytest.raises(NotOurs):
        await prepare(parts, Metrics(), arrived(parts), b'{"messages": [], "model": "x"}')


@pytest.mark.parametrize(
    ("body", "header", "has_one"),
    [
        (b'{"messages": [], "conversation_id": "c"}', None, True),
        (b'{"messages": []}', b"c", True),
        (b'{"messages": [], "model": "m", "conversation_id": "c"}', None, False),
    ],
)
async def test_a_conversation_counts_unless_the_model_was_named(body, header, has_one):
    parts = made()
    pairs = [(b"x-sentinel-conversation", header)] if header else []
    _, conversation = await prepare(parts, Metrics(), arrived(parts, *pairs), body)
    assert (conversation is not None) is has_one


async def test_a_client_that_leaves_while_its_session_is_read_is_known_by_the_tier_it_asked_for():
    class Slow:
        async def find(self, key: str) -> None:
            await asyncio.Event().wait()

    parts = made()
    parts.sessions = Slow()  # type: ignore[assignment]
    exchange = arrived(parts)
    body = b'{"messages": [], "conversation_id": "c"}'
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await prepare(parts, Metrics(), exchange, body)
    assert exchange.requested_tier == "simple"
