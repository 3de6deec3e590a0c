"""Answering over ASGI: who may call, refusals that are heard, a client that leaves at any point.

After each request nothing is open and no task is left.
"""

import asyncio
import logging
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiergate import Caller, Gateway, Refused
from tiergate.exchange import ANONYMOUS
from tiergate.respond import Responder
from tiergate.testing import Say, ScriptedTransport, VirtualLoop

BODY = b'{"model": "m", "messages": []}'
STREAM = b'{"model": "m", "messages": [], "stream": true}'
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'


def part(data: bytes, *, more: bool = False, after: float = 0) -> tuple[float, dict[str, Any]]:
    return after, {"type": "http.request", "body": data, "more_body": more}


def leaving(after: float = 0) -> tuple[float, dict[str, Any]]:
    return after, {"type": "http.disconnect"}


class Line:
    """One connection: says each message its seconds after the last; a finished answer ends it.

    `stuck` is a client that reads nothing after so many messages, `broken` a server whose `send`
    says by an error that the client has left.
    """

    def __init__(
        self, *says: tuple[float, dict[str, Any]], stuck: int | None = None, broken: bool = False
    ) -> None:
        self.says = list(says)
        self.sent: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.taken = 0
        self._said = 0.0
        self._stuck, self._broken = stuck, broken
        self._finished = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if not self.says:
            await self._finished.wait()
            return {"type": "http.disconnect"}
        after, message = self.says[0]
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0, self._said + after - loop.time()))
        self.says.pop(0)
        self._said = loop.time()
        return message

    async def send(self, message: dict[str, Any]) -> None:
        if self._broken and self.sent:
            raise OSError("the peer is gone")
        if len(self.sent) == self._stuck:
            await asyncio.Event().wait()
        self.sent.append(message)
        self.times.append(asyncio.get_running_loop().time())
        if not message.get("more_body", True):
            self._finished.set()
        for _ in range(5):  # a server takes its time, and tells of the end before its send returns
            await asyncio.sleep(0)
        self.taken += 1

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def error(self) -> dict[str, Any]:
        """The error of an answer that is whole: its length as announced, its end said."""
        headers = dict(self.sent[0]["headers"])
        assert headers[b"content-length"] == b"%d" % len(self.body)
        assert headers[b"x-arbstr-request-id"]
        assert [message["more_body"] for message in self.sent[1:]][-1] is False
        return dict(msgspec.json.decode(self.body)["error"])


async def talk(
    line: Line,
    said: Say | None = None,
    *,
    authorize: Any = None,
    headers: list[tuple[bytes, bytes]] | None = None,
    **tables: Any,
) -> ScriptedTransport:
    """Let a request be answered; checks that nothing is left of it."""
    transport = ScriptedTransport({"p1": said or Say.completion()})
    config = {
        "providers": {"p1": {"base_url": "http://p1.test"}},
        "tiers": {tier: [{"provider": "p1", "model": "m"}] for tier in ("simple", "complex")},
        **tables,
    }
    clock = asyncio.get_running_loop().time
    gateway = Gateway(config, transport=transport, clock=clock, environ={})
    scope = {"type": "http", "path": "/", "headers": headers or [], "user": "ada"}
    await Responder(gateway, scope, line.receive, line.send).run(authorize)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert transport.open == 0
    return transport


# --- answers


async def test_a_whole_answer_has_its_length_and_its_end():
    line = Line(part(BODY[:5], more=True), part(BODY[5:], after=1))
    transport = await talk(line)
    assert line.status == 200
    assert line.taken == len(line.sent)
    assert line.body == Say.completion().pieces[0]
    assert dict(line.sent[0]["headers"])[b"content-length"] == b"%d" % len(line.body)
    assert [message["type"] for message in line.sent] == [
        "http.response.start",
        "http.response.body",
    ]
    assert transport.sent[0].json == {"model": "m", "messages": []}


async def test_a_stream_goes_out_piece_by_piece_without_a_length():
    line = Line(part(STREAM))
    await talk(line, Say.stream(CHUNK, CHUNK, LAST, b"data: [DONE]\n\n", after=1))
    assert b"content-length" not in dict(line.sent[0]["headers"])
    assert [message["body"] for message in line.sent[1:]] == [
        CHUNK, CHUNK, LAST, b"data: [DONE]\n\n", b"",
    ]  # fmt: skip
    assert line.times == [2, 2, 3, 4, 5, 5]
    assert [message["more_body"] for message in line.sent[1:]] == [True] * 4 + [False]
    assert line.taken == len(line.sent)


async def test_a_body_without_bytes_is_refused_as_no_json():
    line = Line((0, {"type": "http.request"}))
    await talk(line)
    assert (line.status, line.error["code"]) == (400, "invalid_request")


# --- who may call


def raising(error: Exception) -> Any:
    async def authorize(scope: Any) -> Caller:
        raise error

    return authorize


@pytest.mark.parametrize(
    ("refused", "code", "kind"),
    [
        (Refused(401), "invalid_api_key", "authentication_error"),
        (Refused(403), "permission_denied", "permission_error"),
        (Refused(429, retry_after=6.2), "rate_limit_exceeded", "rate_limit_error"),
        (Refused(401, "No such token."), "invalid_api_key", "authentication_error"),
    ],
    ids=["401", "403", "429", "401 with a text"],
)
async def test_a_refused_caller_hears_it_in_the_one_shape_and_nothing_is_called(
    refused, code, kind
):
    line = Line(part(BODY))
    transport = await talk(line, authorize=raising(refused))
    assert line.status == refused.status
    assert (line.error["code"], line.error["type"]) == (code, kind)
    assert line.error["message"] == str(refused)
    wait = dict(line.sent[0]["headers"]).get(b"retry-after")
    assert wait == (b"7" if refused.status == 429 else None)
    assert transport.sent == []


async def returning_nothing(scope: Any) -> Any:
    return None


@pytest.mark.parametrize(
    "authorize", [raising(KeyError("sk-secret")), returning_nothing], ids=["raises", "returns none"]
)
async def test_a_broken_authorize_opens_no_door(authorize, caplog):
    line = Line(part(BODY))
    with caplog.at_level(logging.ERROR, "tiergate"):
        transport = await talk(line, authorize=authorize)
    assert (line.status, line.error["code"]) == (500, "internal_error")
    assert b"sk-secret" not in line.body
    assert dict(line.sent[0]["headers"])[b"x-arbstr-request-id"].decode() in caplog.text
    assert "authorize" in caplog.text
    assert transport.sent == []


async def test_a_caller_has_a_default_tier_and_a_highest_one():
    async def who(scope: Any) -> Caller:
        return Caller(scope["user"], tier="complex", max_tier="complex")

    line = Line(part(b'{"messages": []}'))
    await talk(line, authorize=who)
    assert dict(line.sent[0]["headers"])[b"x-sentinel-tier"] == b"complex"

    async def child(scope: Any) -> Caller:
        return Caller(scope["user"], max_tier="simple")

    line = Line(part(b'{"messages": [], "tier": "complex"}'))
    await talk(line, authorize=child)
    assert (line.status, line.error["code"]) == (403, "tier_not_allowed")


async def test_the_caller_is_known_to_the_exchange_and_anonymous_without_authorize():
    async def who(scope: Any) -> Caller:
        return Caller("ada")

    gateway = Gateway(
        {"providers": {"p1": {"base_url": "http://x"}},
         "tiers": {"simple": [{"provider": "p1", "model": "m"}]}},
        transport=ScriptedTransport({"p1": Say.completion()}),
        environ={},
    )  # fmt: skip
    for authorize, caller in ((who, Caller("ada")), (None, ANONYMOUS)):
        line = Line(part(BODY))
        responder = Responder(gateway, {"headers": [], "path": "/"}, line.receive, line.send)
        await responder.run(authorize)
        assert responder._exchange.caller == caller
        assert responder.body == b""  # let go of: its answer may take long


# --- bodies that are refused


SMALL = {"limits": {"max_body_bytes": 40, "body_timeout_seconds": 5}}


async def test_a_body_that_announces_too_much_is_refused_and_then_drained():
    line = Line(*(part(b"x" * 30, more=True, after=0.1) for _ in range(4)), part(b"x", after=0.1))
    await talk(line, headers=[(b"content-length", b"121")], **SMALL)
    assert (line.status, line.error["code"]) == (413, "request_too_large")
    assert line.says == []
    assert line.times[:2] == [0, 0]  # heard at once
    assert line.times[-1] == pytest.approx(0.5)  # and ended when all had come


async def test_a_body_that_grows_too_large_is_refused_and_drained_for_a_second():
    line = Line(*(part(b"x" * 30, more=True, after=0.3) for _ in range(100)))
    transport = await talk(line, **SMALL)
    assert (line.status, line.error["code"]) == (413, "request_too_large")
    assert line.times == pytest.approx([0.6, 0.6, 1.6])
    assert len(line.says) > 90
    assert transport.sent == []


async def test_a_body_of_just_the_limit_is_served():
    line = Line(part(BODY.ljust(40)))
    await talk(line, headers=[(b"content-length", b"40")], **SMALL)
    assert line.status == 200


async def test_a_body_that_does_not_come_is_408():
    line = Line(part(b"{", more=True), part(b"}", after=60))
    await talk(line, **SMALL)
    assert (line.status, line.error["code"]) == (408, "request_timeout")
    assert line.times == [5, 5, 6]


async def test_a_packed_body_is_415_and_drained():
    line = Line(part(b"\x1f\x8b", more=True, after=0.2), part(b"", after=0.2))
    transport = await talk(line, headers=[(b"content-encoding", b"gzip")])
    assert (line.status, line.error["code"]) == (415, "unsupported_encoding")
    assert line.error["param"] == "Content-Encoding"
    assert line.times == pytest.approx([0, 0, 0.4])
    assert transport.sent == []


async def test_a_client_that_leaves_while_its_refusal_is_drained_is_let_go():
    line = Line(part(b"x", more=True), leaving(after=0.1))
    await talk(line, authorize=raising(Refused(401)))
    assert line.times == pytest.approx([0, 0, 0.1])


# --- clients that leave


async def test_leaving_before_the_body_is_complete_calls_nobody_and_sends_nothing():
    line = Line(part(b"{", more=True), leaving(after=1))
    transport = await talk(line)
    assert (line.sent, transport.sent) == ([], [])


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_leaving_while_the_provider_is_silent_ends_the_call_at_once(body):
    line = Line(part(body), leaving(after=2))
    transport = await talk(line, Say.never())
    assert asyncio.get_running_loop().time() == 2
    assert (line.sent, len(transport.sent)) == ([], 1)


async def test_leaving_between_two_attempts_asks_nobody_again():
    line = Line(part(BODY), leaving(after=0.5))
    transport = await talk(line, Say.error(503))
    assert asyncio.get_running_loop().time() == 0.5
    assert (line.sent, len(transport.sent)) == ([], 1)


async def test_leaving_in_mid_stream_ends_the_call_and_nothing_more_is_sent():
    line = Line(part(STREAM), leaving(after=3.5))
    await talk(line, Say.stream(CHUNK, CHUNK, hang=True, after=1))
    assert asyncio.get_running_loop().time() == 3.5
    assert [message["body"] for message in line.sent[1:]] == [CHUNK, CHUNK]


async def test_another_message_is_not_taken_for_leaving():
    line = Line(part(BODY), part(b""))
    await talk(line, Say.completion(after=1))
    assert line.status == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [(BODY, Say.completion()), (STREAM, Say.stream(CHUNK, hang=True))],
    ids=["whole", "stream"],
)
async def test_a_client_that_reads_nothing_is_given_up_after_the_send_timeout(body, said):
    line = Line(part(body), stuck=1)
    await talk(line, said, limits={"send_timeout_seconds": 4})
    assert asyncio.get_running_loop().time() == 4
    assert len(line.sent) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [(BODY, Say.completion()), (STREAM, Say.stream(CHUNK, hang=True)), (b"{", None)],
    ids=["whole", "stream", "refused"],
)
async def test_a_server_whose_send_raises_says_that_the_client_left(body, said):
    line = Line(part(body), broken=True)
    await talk(line, said)
    assert len(line.sent) == 1


async def test_a_cancelled_request_is_let_go_and_stays_cancelled():
    line = Line(part(STREAM))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(talk(line, Say.stream(CHUNK, hang=True)), 2)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert len(line.sent) == 2


PIECES = [CHUNK, LAST, b"data: [DONE]\n\n", b": ping\n\n", b"data: {", b""]
SAYS = st.one_of(
    st.builds(
        Say.stream,
        st.sampled_from(PIECES),
        st.sampled_from(PIECES),
        st.sampled_from(PIECES),
        after=st.sampled_from([0.0, 0.5, 3.0]),
        cut=st.booleans(),
        hang=st.booleans(),
    ),
    st.sampled_from([Say.completion(after=1), Say.error(503), Say.error(400), Say.never()]),
)


@settings(max_examples=300, deadline=None)
@given(
    said=SAYS,
    body=st.sampled_from([BODY, STREAM, b"{"]),
    left=st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.5, 9.0]),
)
def test_whenever_a_client_leaves_the_call_ends_within_a_second(said, body, left):
    line = Line(part(body), leaving(after=left))

    async def run() -> float:
        await talk(line, said)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(run()) <= left + 1
    assert [message["type"] for message in line.sent[:1]] in ([], ["http.response.start"])
    assert sum(message.get("more_body") is False for message in line.sent) <= 1
