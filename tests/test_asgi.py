"""The ASGI entry: what is not ours reaches the wrapped app untouched, lifespan included.

Hand-made scope, receive and send; the frameworks themselves are in `e2e`.
"""

import asyncio
import logging
from typing import Any

import pytest

from tiergate import Caller, ConfigError, Gateway, TierMiddleware
from tiergate.testing import Say, ScriptedTransport

BODY = b'{"model": "m", "messages": []}'


class Noting(Gateway):
    """Says when it opens and closes."""

    notes: list[Any]

    async def open(self) -> None:
        await super().open()
        self.notes.append("gateway opened")

    async def close(self) -> None:
        await super().close()
        self.notes.append("gateway closed")


def gateway(*, key: bool = False, **routing: Any) -> Noting:
    provider = {"base_url": "http://p1.test", **({"api_key_env": "KEY"} if key else {})}
    made = Noting(
        {
            "providers": {"p1": provider},
            "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
            "routing": routing,
        },
        transport=ScriptedTransport({"p1": Say.completion()}),
        clock=asyncio.get_running_loop().time,
        environ={"KEY": "sk-1"},
    )
    made.notes = []
    return made


def scope(path: str = "/v1/chat/completions", **more: Any) -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": path, "headers": [], **more}


class Wire:
    """A server's side of one connection: messages to be received, messages that were sent."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages)
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self.messages:
            return self.messages.pop(0)
        return await asyncio.Future()

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])


def request(body: bytes = BODY) -> Wire:
    return Wire({"type": "http.request", "body": body, "more_body": False})


class Host:
    """A wrapped app that notes what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any]] = []

    async def __call__(self, *call: Any) -> None:
        self.calls.append(call)


async def nobody_left_behind() -> bool:
    await asyncio.sleep(0)
    return asyncio.all_tasks() == {asyncio.current_task()}


# --- the guard


THEIRS = {
    "another path": scope("/v1/models"),
    "a longer path": scope("/v1/chat/completions/"),
    "another method": scope(method="GET"),
    "OPTIONS": scope(method="OPTIONS"),
    "a WebSocket": {"type": "websocket", "path": "/v1/chat/completions", "headers": []},
    "an unknown type": {"type": "quic.stream"},
    "a prefix that is no segment": scope("/apiv1/chat/completions", root_path="/api"),
    "a prefix that is not given": scope("/api/v1/chat/completions"),
    "another prefix": scope("/x/v1/chat/completions", root_path="/api"),
}


@pytest.mark.parametrize("given", THEIRS.values(), ids=THEIRS)
async def test_what_is_not_ours_reaches_the_app_with_the_very_same_objects(given):
    host, wire, before = Host(), request(), dict(given)
    receive, send = wire.receive, wire.send
    await TierMiddleware(host, gateway=gateway())(given, receive, send)
    ((got_scope, got_receive, got_send),) = host.calls
    assert got_scope is given
    assert (got_receive is receive, got_send is send) == (True, True)
    assert given == before
    assert len(wire.messages) == 1


OURS = {
    "the path": scope(),
    "below a prefix": scope("/api/v1/chat/completions", root_path="/api"),
    "a prefix already stripped": scope(root_path="/api"),
    "an empty prefix": scope(root_path=""),
    "a prefix that ends within a segment": scope(root_path="/v1/chat/comp"),
}


@pytest.mark.parametrize("given", OURS.values(), ids=OURS)
async def test_a_post_to_our_path_is_answered_and_the_app_not_called(given):
    host, wire = Host(), request()
    await TierMiddleware(host, gateway=gateway())(given, wire.receive, wire.send)
    assert (wire.status, host.calls) == (200, [])
    assert wire.sent[-1]["more_body"] is False
    assert await nobody_left_behind()


async def test_other_paths_may_be_ours():
    host, wire = Host(), request()
    made = TierMiddleware(host, gateway=gateway(paths=["/chat", "/talk"]))
    await made(scope("/talk"), wire.receive, wire.send)
    await made(scope(), wire.receive, wire.send)
    assert wire.status == 200
    assert len(host.calls) == 1


async def test_nothing_of_a_request_is_kept_on_the_middleware():
    made = TierMiddleware(Host(), gateway=gateway())
    before = dict(vars(made))
    wires = [request() for _ in range(3)]
    await asyncio.gather(*(made(scope(), wire.receive, wire.send) for wire in wires))
    assert [wire.status for wire in wires] == [200] * 3
    assert vars(made) == before
    ids = {value for wire in wires for name, value in wire.sent[0]["headers"]
           if name == b"x-arbstr-request-id"}  # fmt: skip
    assert len(ids) == 3


# --- a request that is passed on after all


async def test_a_request_passed_on_comes_with_its_body_and_then_the_real_receive():
    got: list[Any] = []

    async def host(given: Any, receive: Any, send: Any) -> None:
        got.extend([given, send, await receive(), await receive()])

    body = b'{"model": "theirs", "tier": null, "messages": []}'
    wire = Wire(
        {"type": "http.request", "body": body[:9], "more_body": True},
        {"type": "http.request", "body": body[9:], "more_body": False},
        {"type": "http.disconnect"},
    )
    given, send = scope(), wire.send
    await TierMiddleware(host, gateway=gateway(unknown_model="pass"))(given, wire.receive, send)
    assert got[0] is given
    assert got[1] is send
    assert got[2] == {"type": "http.request", "body": body, "more_body": False}
    assert got[3] == {"type": "http.disconnect"}
    assert wire.sent == []
    assert await nobody_left_behind()


# --- lifespan


UP, DOWN = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
UP_DONE = {"type": "lifespan.startup.complete"}
DOWN_DONE = {"type": "lifespan.shutdown.complete"}


async def run_lifespan(app: Any, *messages: dict[str, Any]) -> list[Any]:
    """What was sent, and in it when the gateway opened and closed."""
    wire, made = Wire(*messages), gateway()
    made.notes = wire.sent
    await TierMiddleware(app, gateway=made)({"type": "lifespan"}, wire.receive, wire.send)
    return wire.sent


async def test_an_app_with_a_lifespan_has_our_opening_and_closing_inside_it():
    seen: list[Any] = []

    async def host(given: Any, receive: Any, send: Any) -> None:
        seen.append(await receive())
        await send(UP_DONE)
        seen.append(await receive())
        await send(DOWN_DONE)

    sent = await run_lifespan(host, UP, DOWN)
    assert seen == [UP, DOWN]
    assert sent == ["gateway opened", UP_DONE, "gateway closed", DOWN_DONE]


@pytest.mark.parametrize("error", [ValueError("Django"), AssertionError("http only")], ids=repr)
async def test_for_an_app_that_knows_no_lifespan_the_protocol_is_answered_here(error):
    async def host(given: Any, receive: Any, send: Any) -> None:
        raise error

    sent = await run_lifespan(host, UP, DOWN)
    assert sent == ["gateway opened", UP_DONE, "gateway closed", DOWN_DONE]


async def test_an_app_that_ignores_lifespan_is_let_return():
    assert await run_lifespan(Host(), UP) == []


async def test_what_an_app_raises_after_the_start_is_the_servers_to_hear():
    async def host(given: Any, receive: Any, send: Any) -> None:
        await receive()
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError, match="no database"):
        await run_lifespan(host, UP, DOWN)


@pytest.mark.parametrize(
    "said", ["lifespan.startup.failed", "lifespan.shutdown.failed"], ids=["start", "end"]
)
async def test_a_failure_that_the_app_reports_is_passed_on(said):
    failed = {"type": said, "message": "no database"}

    async def host(given: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(failed)

    closed = ["gateway closed"] if said == "lifespan.shutdown.failed" else []
    assert await run_lifespan(host, UP) == [*closed, failed]


# --- who may call


async def test_with_our_own_key_and_no_authorize_one_warning_is_logged(caplog):
    made = TierMiddleware(Host(), gateway=gateway(key=True))
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING, "tiergate"):
        for wire in (request(), request()):
            await made(scope(), wire.receive, wire.send)
            assert wire.status == 200
        wire = Wire(UP, DOWN)
        await made({"type": "lifespan"}, wire.receive, wire.send)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "authorize" in caplog.text
    assert "sk-1" not in caplog.text


async def test_the_warning_comes_at_start_where_there_is_a_lifespan(caplog):
    async def host(given: Any, receive: Any, send: Any) -> None:
        await send(UP_DONE)

    wire = Wire()
    made = TierMiddleware(host, gateway=gateway(key=True))
    await made({"type": "lifespan"}, wire.receive, wire.send)
    assert len(caplog.records) == 1


async def who(given: Any) -> Caller:
    return Caller("ada")


@pytest.mark.parametrize(
    ("authorize", "key"), [("open", True), (who, True), (None, False)], ids=["open", "who", "none"]
)
async def test_no_warning_where_it_is_meant_or_nothing_is_spent(authorize, key, caplog):
    wire = request()
    made = TierMiddleware(Host(), gateway=gateway(key=key), authorize=authorize)
    await made(scope(), wire.receive, wire.send)
    assert (wire.status, caplog.records) == (200, [])


async def test_authorize_is_asked_with_the_scope_and_decides():
    asked = []

    async def who(given: Any) -> Caller:
        asked.append(given)
        return Caller("ada", max_tier="simple")

    wire, given = request(b'{"tier": "complex", "messages": []}'), scope()
    await TierMiddleware(Host(), gateway=gateway(), authorize=who)(given, wire.receive, wire.send)
    assert asked[0] is given
    assert wire.status == 403


# --- making one


async def test_it_is_made_from_a_configuration_or_from_a_gateway():
    made = gateway()
    assert TierMiddleware(Host(), gateway=made).gateway is made
    assert TierMiddleware(Host(), config=made.config).gateway.config == made.config


@pytest.mark.parametrize("both", [True, False])
async def test_it_is_not_made_from_both_or_from_neither(both):
    given = {"config": {}, "gateway": gateway()} if both else {}
    with pytest.raises(ConfigError, match="either config= or gateway="):
        TierMiddleware(Host(), **given)


async def test_other_paths_are_ours_as_soon_as_a_reload_says_so(tmp_path):
    path, text = tmp_path / "tiergate.json", '{{"routing": {{"paths": ["{}"]}}, {}}}'
    rest = (
        '"providers": {"p1": {"base_url": "http://p1.test"}},'
        '"tiers": {"simple": [{"provider": "p1", "model": "m"}]}'
    )
    path.write_text(text.format("/old", rest))
    transport = ScriptedTransport({"p1": Say.completion()})
    host = Host()
    made = TierMiddleware(host, gateway=Gateway(path, transport=transport, environ={}))
    path.write_text(text.format("/new", rest))
    for given in (scope("/old"), scope("/new")):
        wire = request()
        await made(given, wire.receive, wire.send)
    assert len(host.calls) == 1
    await made.gateway.reload()
    for given in (scope("/old"), scope("/new")):
        wire = request()
        await made(given, wire.receive, wire.send)
    assert [call[0]["path"] for call in host.calls] == ["/new", "/old"]
