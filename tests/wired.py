"""A gateway over scripted providers, asked as a client asks it: through ASGI, in virtual time."""

import asyncio
import random
import re
from typing import Any, NamedTuple

import msgspec

from tiergate import Caller, Gateway, TierMiddleware
from tiergate.candidates import Candidate
from tiergate.capacity import Account, Capacity
from tiergate.config import Limits
from tiergate.health import Permit, State
from tiergate.testing import ScriptedTransport


def token(text: str) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % text.encode()


ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
ERROR = b'data: {"error":{"code":"overloaded","message":"m"}}\n\n'
COMMENT = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
EPOCH = 1_700_000_000  # Unix time when virtual time is 0
ANSWER = (ROLE, token("a"), token("b"), STOP, DONE)


def account(**limits: int) -> Account:
    """Of a process that holds nothing else; `limits` are those of `[limits]`."""
    return Capacity(Limits(**limits)).account()


class World(NamedTuple):
    gateway: Gateway
    transport: ScriptedTransport

    def state(self, provider: str) -> State:
        return self.gateway.health.state(Candidate(provider, "m", 1))

    def failures(self) -> dict[str, int]:
        """Who is not available, and after how many failures in a row."""
        return {ailing.provider: ailing.failures for ailing in self.gateway.health.ailing()}

    def admit(self, provider: str) -> Permit:
        """Leave for another request to send there."""
        permit = self.gateway.health.admit(Candidate(provider, "m", 1), 15)
        assert permit is not None
        return permit

    @property
    def clean(self) -> bool:
        """Nothing is open, nothing is held, nobody is counted."""
        capacity = self.gateway.capacity
        return (self.transport.open, capacity.held_bytes, capacity.in_flight) == (0, 0, 0)

    def asked(self) -> list[str]:
        return [sent.provider for sent in self.transport.sent]


class Heard(NamedTuple):
    """What a client heard: every piece of the body with its time, in seconds since it asked."""

    status: int
    headers: dict[str, str]
    pieces: list[tuple[float, bytes]]
    seconds: float

    @property
    def body(self) -> bytes:
        return b"".join(piece for _, piece in self.pieces)

    @property
    def text(self) -> str:
        return "".join(re.findall(r'"content":"(\w+)"', self.body.decode()))

    @property
    def events(self) -> list[bytes]:
        return [event for event in self.body.split(b"\n\n") if event and event[:1] != b":"]

    @property
    def code(self) -> str | None:
        """Of the error, in-band or not."""
        last = self.events[-1].removeprefix(b"data: ") if self.events else b""
        said = msgspec.json.decode(last) if last[:1] == b"{" else {}
        return said.get("error", {}).get("code")

    @property
    def served(self) -> str:
        """By whom, and why: `p1/m1 simple explicit`."""
        said = self.headers
        names = ("x-arbstr-provider", "x-sentinel-model", "x-sentinel-tier", "x-sentinel-reason")
        provider, *rest = (said.get(name, "-") for name in names)
        return f"{provider}/{' '.join(rest)}"

    @property
    def whole(self) -> bool:
        """Whether it is all of `ANSWER`."""
        return self.status == 200 and self.text == "ab" and self.events[-1] == b"data: [DONE]"


def world(
    script: dict[str, Any],
    *,
    transport: ScriptedTransport | None = None,
    tracer_provider: Any = None,
    meter_provider: Any = None,
    **tables: Any,
) -> World:
    """Providers of the script, all offering `m`: routed by model they are asked in their order."""
    offers = [
        {"provider": name, "model": "m", "relative_cost": cost}
        for cost, name in enumerate(script, 1)
    ]
    given = {
        "providers": {name: {"base_url": "http://h.test"} for name in script},
        "tiers": {"moderate": offers},
        **tables,
        "retry": {"jitter": 0, **tables.get("retry", {})},
    }
    transport, loop = transport or ScriptedTransport(script), asyncio.get_running_loop()
    gateway = Gateway(
        given,
        transport=transport,
        clock=loop.time,
        wall=lambda: EPOCH + loop.time(),
        chance=random.Random(7),
        environ={},
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
    )
    return World(gateway, transport)


async def ask(
    world: World,
    *,
    mode: str | None = None,
    stream: bool = True,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    leave_after: float | None = None,
    caller: Caller | None = None,
    **members: Any,
) -> Heard:
    """One request; `mode` is its streaming mode, `leave_after` the seconds its client stays.

    `caller` is what the host's `authorize` says, `members` go into the body; `body` stands in its
    place.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    asked = {**(headers or {}), **({"x-sentinel-stream-failover": mode} if mode else {})}
    plain = {"model": "m", "messages": [], "stream": stream, **members}
    body = msgspec.json.encode(plain) if body is None else body
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in asked.items()],
    }
    says = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = [{"status": 0, "headers": []}]
    pieces: list[tuple[float, bytes]] = []

    async def receive() -> dict[str, Any]:
        if says:
            return says.pop(0)
        stays = 10_000 if leave_after is None else leave_after
        await asyncio.sleep(max(0, begun + stays - loop.time()))
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            sent[0] = message
        elif message["body"]:
            pieces.append((round(loop.time() - begun, 3), message["body"]))

    async def who(_: Any) -> Caller:
        assert caller is not None
        return caller

    authorize = who if caller is not None else None
    app = TierMiddleware(_nobody, gateway=world.gateway, authorize=authorize)
    await app(scope, receive, send)
    said = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Heard(sent[0]["status"], said, pieces, round(loop.time() - begun, 3))


async def _nobody(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("not for the host")
