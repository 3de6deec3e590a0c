"""One request that may be sent to two scripted providers, one attempt at a time."""

import asyncio
import random

import msgspec
import pytest

from tiergate.attempt import Asker, Delivered, Tools
from tiergate.candidates import Candidate
from tiergate.capacity import Capacity
from tiergate.classify import Classifier
from tiergate.config import Config, HealthSettings, Provider
from tiergate.endpoint import compile_endpoints
from tiergate.exchange import Decision, Exchange
from tiergate.faults import AttemptFailed
from tiergate.health import Health
from tiergate.opening import Commit
from tiergate.policies import Policies
from tiergate.request_headers import read_headers
from tiergate.retry import RetryBudget
from tiergate.testing import Say, ScriptedTransport
from tiergate.wire import parse_request

P1, P2 = Candidate("p1", "big", 1), Candidate("p2", "big", 1)
WALL = 1_700_000_000
EVENTS = ((b"Content-Type", b"text/event-stream"),)


class Attempts:
    """One request that may be sent to `p1` and `p2`."""

    def __init__(self, *said: Say, stream: bool = False, commit=Commit.FIRST_TOKEN, **tables):
        clock = asyncio.get_running_loop().time
        config = Config(
            providers={name: Provider(base_url="http://h.test") for name in ("p1", "p2")}, **tables
        )
        self.transport = ScriptedTransport({"p1": said, "p2": said[-1:]})
        self.capacity = Capacity(config.limits)
        body = msgspec.json.encode({"model": "m", "messages": [], "stream": stream, "x": 1})
        self.exchange = Exchange(id="id-1", arrived=0, pairs=[], account=self.capacity.account())
        self.exchange.headers = read_headers([])
        self.exchange.request = parse_request(body)
        self.exchange.decision = Decision("moderate", "default")
        self.exchange.candidate = P1
        self.tokens = 0
        self.tools = Tools(
            config=config,
            endpoints=compile_endpoints(config.providers, {"p1": "key-1"}),
            transport=self.transport,
            classifier=Classifier(config.classifier),
            policies=Policies((), most_bytes=1),
            health=Health(HealthSettings(), clock),
            budget=RetryBudget(config.retry),
            clock=clock,
            wall=lambda: WALL + clock(),
            chance=random.Random(1),
        )
        self.asker = Asker(self.tools, self.exchange, commit)

    async def ask(self, candidate=P1, *, limit: float = 10, deadline: float = 30) -> Delivered:
        return await self.asker.ask(candidate, limit=limit, deadline=deadline, on_token=self._count)

    async def fails(self, candidate=P1, **times: float) -> AttemptFailed:
        """The failure of an attempt that leaves nothing open and nothing held."""
        with pytest.raises(AttemptFailed) as failed:
            await self.ask(candidate, **times)
        assert (self.transport.open, self.capacity.held_bytes) == (0, 0)
        return failed.value

    def _count(self) -> None:
        self.tokens += 1
