"""What shared state adds to a request: sessions and a live configuration, with memory stores.

    .venv/bin/python bench/state.py [REQUESTS]

CPU time of this process over REQUESTS (100,000) requests, each step as the gateway takes it, in
the state that most requests meet: nothing due, a conversation that exists. Prints a table in
microseconds per request and exits with 1 when all of it together is over 15.
"""

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable

from tiergate.assembly import Assembly, World
from tiergate.conversation import Conversation, conversation_of, raised
from tiergate.exchange import ANONYMOUS, Exchange
from tiergate.request_headers import read_headers
from tiergate.resolve import resolve
from tiergate.routing import make_plan
from tiergate.snapshot import Snapshot
from tiergate.testing import ScriptedTransport
from tiergate.wire import parse_request

MOST_MICROSECONDS = 15.0
CONVERSATIONS = 1000
POOL = [{"provider": f"p{number}", "model": "m", "relative_cost": number} for number in range(1, 6)]
TABLES = {
    "providers": {entry["provider"]: {"base_url": "http://h.test"} for entry in POOL},
    "tiers": dict.fromkeys(("simple", "moderate", "complex"), POOL),
}


def assembly() -> Assembly:
    world = World(ScriptedTransport({}), time.monotonic, time.time, random.Random(1), {})
    return Assembly(TABLES, world)


def exchanges(parts: Assembly, snapshot: Snapshot) -> list[Exchange]:
    """One of each conversation, served by the first candidate of the tier."""
    made = []
    for number in range(CONVERSATIONS):
        exchange = Exchange(f"id-{number}", 0, [], parts.capacity.account())
        exchange.headers = read_headers([(b"authorization", b"Bearer sk-of-a-client")])
        body = b'{"messages": [], "tier": "moderate", "conversation_id": "c-%d"}' % number
        exchange.request = parse_request(body)
        exchange.decision = resolve(
            exchange.request, exchange.headers, ANONYMOUS, snapshot, parts.config.routing
        )
        exchange.candidate = snapshot.pools["moderate"][0]
        made.append(exchange)
    return made


async def microseconds(step: Callable[[Exchange], Awaitable[object]], of: list[Exchange]) -> float:
    """CPU of one step, without that of a step that does nothing."""

    async def nothing(_: Exchange) -> None:
        return

    spent = []
    for each in (nothing, step):
        begun = time.process_time()
        for exchange in of:
            await each(exchange)
        spent.append(time.process_time() - begun)
    return (spent[1] - spent[0]) / len(of) * 1e6


async def measure(requests: int) -> dict[str, float]:
    """Microseconds of CPU per request, by step."""
    parts = assembly()
    snapshot, tools = parts.store.snapshot, parts.tools
    assert snapshot is not None
    known = exchanges(parts, snapshot)
    several = known * max(1, requests // len(known))

    def conversation(exchange: Exchange) -> Conversation:
        made = conversation_of(exchange, lambda: parts.sessions, parts.key_prefix, time.time)
        assert made is not None
        return made

    async def tend(_: Exchange) -> None:
        parts.tend()

    async def recall(exchange: Exchange) -> None:
        session = await conversation(exchange).recall(exchange.caller, snapshot)
        assert exchange.decision is not None
        raised(exchange.decision, session)

    async def converse(exchange: Exchange) -> None:
        """All that a conversation adds: read it, be held to it, bind it."""
        one = conversation(exchange)
        session = await one.recall(exchange.caller, snapshot)
        assert exchange.decision is not None
        decision = raised(exchange.decision, session)
        make_plan(decision, snapshot, tools.health, tools.chance, session=session)
        await one.bind(exchange)

    async def plan(exchange: Exchange) -> None:
        assert exchange.decision is not None
        make_plan(exchange.decision, snapshot, tools.health, tools.chance)

    async def begin(exchange: Exchange) -> None:
        """A first turn: nothing is known, and it is bound."""
        one = conversation(exchange)
        await one.recall(exchange.caller, snapshot)
        await one.bind(exchange)

    began = await microseconds(begin, several[:CONVERSATIONS])  # before any is bound
    tended = await microseconds(tend, several)
    recalled = await microseconds(recall, several)
    conversed = await microseconds(converse, several) - await microseconds(plan, several)
    assert parts.sessions.state().held == CONVERSATIONS
    return {
        "tend": tended,
        "recall and raise": recalled,
        "favourite and bind": conversed - recalled,
        "all of it": tended + conversed,
        "(a first turn, bound)": tended + began,
    }


def main(requests: int = 100_000) -> int:
    measured = asyncio.run(measure(requests))
    print(f"{requests:,} requests, {CONVERSATIONS:,} conversations, memory stores")
    for step, spent in measured.items():
        print(f"{step:24}{spent:8.2f} µs of CPU")
    print(f"{'goal, all of it':24}{MOST_MICROSECONDS:8.2f} µs at most")
    return 1 if measured["all of it"] > MOST_MICROSECONDS else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
