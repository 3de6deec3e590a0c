"""What a conversation is held to: CONTRACT section 5 through the whole gateway, in virtual time.

Who may write a session, and where it is kept, is tested with the stores. Here: what a request reads
of it, what it leaves behind and when, in every mode of a stream and under every interleaving.
"""

import asyncio
import socket
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wired import ANSWER, DONE, ERROR, ROLE, Heard, World, account, ask, token, world

from tiergate import Caller
from tiergate.candidates import Candidate
from tiergate.config import SessionSettings
from tiergate.conversation import Conversation, conversation_of, raised
from tiergate.exchange import Decision, Exchange
from tiergate.faults import UNREACHABLE
from tiergate.request_headers import read_headers
from tiergate.sessions import MemorySessions, Session, session_key
from tiergate.snapshot import Snapshot
from tiergate.testing import Say, ScriptedTransport, VirtualLoop
from tiergate.tiers import RANK, TIERS
from tiergate.wire import parse_request

FINE = Say.completion()
REFUSED = Say.error(400)
DOWN = Say(fault=UNREACHABLE)
POOLS = {
    "simple": [{"provider": "p1", "model": "s1"}, {"provider": "p2", "model": "s2"}],
    "moderate": [
        {"provider": "p1", "model": "m1"},
        {"provider": "p2", "model": "m2"},
        {"provider": "p2", "model": "m3"},
    ],
    "complex": [{"provider": "p2", "model": "c2"}, {"provider": "p1", "model": "c1"}],
}
DEADLINE = {"X-Sentinel-Deadline-Ms": "8000"}
NO_RETRY = {"retries": 0, "fallbacks": 0}


def two(one: Any = FINE, other: Any = FINE, **tables: Any) -> World:
    """Two providers in each of three tiers."""
    return world({"p1": one, "p2": other}, **{"tiers": POOLS, **tables})


async def say(
    made: World, tier: str | None = None, conversation: str | None = "c", **given: Any
) -> Heard:
    """One turn that is not streamed."""
    given = {"stream": False, "model": None, "tier": tier, **given}
    return await ask(made, conversation_id=conversation, **given)


def held(made: World) -> int:
    return made.gateway.status().sessions.held


def where(heard: Heard) -> str:
    return heard.served.partition(" ")[0]


# --- held to its candidate and tier


async def test_a_conversation_stays_where_its_first_turn_was_served():
    firsts = set()
    for number in range(20):
        made = two()
        for _ in range(number):  # so that something else is drawn
            await say(made, "moderate", None)
        first = where(await say(made, "moderate"))
        firsts.add(first)
        for _ in range(10):
            assert (await say(made, "moderate")).served == f"{first} moderate explicit"
    assert firsts == {"p1/m1", "p2/m2", "p2/m3"}


async def test_without_a_conversation_every_request_is_drawn_and_nothing_is_held():
    made = two()
    assert len({where(await say(made, "moderate", None)) for _ in range(30)}) == 3
    assert held(made) == 0


@pytest.mark.parametrize(
    ("asked", "reason"), [("simple", "session"), ("moderate", "explicit"), (None, "session")]
)
async def test_an_equal_or_lower_tier_keeps_candidate_and_tier_and_says_why(asked, reason):
    made = two()
    first = where(await say(made, "moderate"))
    for _ in range(5):
        assert (await say(made, asked)).served == f"{first} moderate {reason}"


@pytest.mark.parametrize(
    ("provider", "tier", "best"),
    [
        ("p1", "complex", "p1/c1"),
        ("p2", "complex", "p2/c2"),
        ("p2", "moderate", "p2/m2"),  # of two, the first in the order of the configuration
    ],
)
async def test_a_higher_tier_prefers_the_sessions_provider_and_is_kept(provider, tier, best):
    for number in range(10):
        made = two(tiers={**POOLS, "simple": [{"provider": provider, "model": "s"}]})
        for _ in range(number):
            await say(made, "moderate", None)
        await say(made, "simple")
        assert (await say(made, tier)).served == f"{best} {tier} explicit"
        assert (await say(made, "simple")).served == f"{best} {tier} session"
        assert held(made) == 1


async def test_a_provider_that_is_not_in_the_higher_tier_is_left():
    pools = {"simple": POOLS["simple"][:1], "complex": POOLS["complex"][:1]}
    made = two(tiers=pools)
    assert where(await say(made, "simple")) == "p1/s1"
    assert (await say(made, "complex")).served == "p2/c2 complex explicit"
    assert (await say(made, "simple")).served == "p2/c2 complex session"


async def test_a_session_ends_when_it_has_not_been_used_for_its_ttl():
    made = two(sessions={"ttl_seconds": 100})
    await say(made, "complex")
    for _ in range(3):
        await asyncio.sleep(90)
        assert (await say(made, "simple")).headers["x-sentinel-tier"] == "complex"
    await asyncio.sleep(101)
    assert (await say(made, "simple")).headers["x-sentinel-tier"] == "simple"


# --- when its candidate cannot serve


async def test_in_back_off_another_of_the_tier_serves_and_the_session_follows():
    made = two()
    first = where(await say(made, "simple"))
    provider, _, model = first.partition("/")
    permit = made.gateway.health.admit(Candidate(provider, model, 1), 15)
    assert permit is not None
    made.gateway.health.failed(permit)
    other = where(await say(made, "simple"))
    assert {first, other} == {"p1/s1", "p2/s2"}
    await asyncio.sleep(31)  # the first is available again, and no longer the session's
    for _ in range(5):
        assert where(await say(made, "simple")) == other


@pytest.mark.parametrize("before", [0, 2], ids=["while it rises", "in its tier"])
async def test_a_failover_moves_the_session(before):
    lines = [FINE, *[FINE] * before, DOWN, FINE]
    pools = {**POOLS, "simple": POOLS["simple"][:1]}
    made = two(lines, retry={"retries": 0}, tiers=pools)
    await say(made, "simple")
    for _ in range(before):
        assert where(await say(made, "complex")) == "p1/c1"
    moved = await say(made, "complex")
    assert where(moved) == "p2/c2"
    assert moved.headers["x-arbstr-retries"] == "1/p1, 1/p2"
    await asyncio.sleep(31)  # p1 is available again, and no longer the session's
    for _ in range(5):
        assert where(await say(made, "simple")) == "p2/c2"


async def test_with_all_of_its_tier_in_back_off_no_lower_one_serves():
    made = two(retry=NO_RETRY)
    await say(made, "complex")
    for candidate in (Candidate("p1", "c1", 1), Candidate("p2", "c2", 1)):
        permit = made.gateway.health.admit(candidate, 15)
        assert permit is not None
        made.gateway.health.failed(permit)
    told = await say(made, "simple")
    assert (told.status, told.headers["x-sentinel-tier"]) == (503, "complex")
    assert told.headers["retry-after"] == "30"


# --- bound by success only

FAILURES = {
    "502": (DOWN, 502),
    "a client's 4xx passed on": (REFUSED, 400),
    "a provider's 429": (Say.error(429), 429),
    "504": (Say.never(), 504),
    "a body that is no completion": (Say(200, (b"{}",)), 502),
}


@pytest.mark.parametrize(("said", "status"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_request_that_fails_leaves_nothing(said, status, stream):
    made = two(said, said, retry={"retries": 0})
    assert (await say(made, "simple", stream=stream)).status in (status, 504 if stream else status)
    assert held(made) == 0


async def test_what_was_refused_before_anybody_was_asked_leaves_nothing():
    made = two(tiers={"simple": POOLS["simple"]})
    assert (await say(made, "complex")).status == 503
    assert (await say(made, model="nope")).status == 404
    assert held(made) == 0


async def test_a_failed_upgrade_leaves_the_session_as_it_was():
    made = two([FINE, REFUSED, FINE], [FINE, REFUSED, FINE])
    first = where(await say(made, "simple"))
    assert (await say(made, "complex")).status == 400
    assert (await say(made, "simple")).served == f"{first} simple explicit"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("mode", ["off", "first_token", "buffered"])
async def test_a_client_that_leaves_before_the_answer_leaves_nothing(mode, stream):
    slow = Say.stream(*ANSWER, after=20) if stream else Say.completion(after=20)
    made = two(slow, slow, streaming={"first_token_timeout_seconds": 90})
    await say(made, "simple", mode=mode, stream=stream, leave_after=18)
    assert (held(made), made.clean) == (0, True)


# --- streams

MODES = ["off", "first_token", "buffered"]


async def heard_at_done(made: World, mode: str, **given: Any) -> tuple[Heard, list[int]]:
    """A streamed turn, and how many sessions were held when each of its last bytes was sent."""
    counts: list[int] = []
    loop = asyncio.get_running_loop()
    body = b'{"messages": [], "stream": true, "tier": "simple", "conversation_id": "c"}'
    exchange = made.gateway.begin([(b"x-sentinel-stream-failover", mode.encode())])
    begun, pieces = loop.time(), []

    async def write(data: bytes) -> None:
        counts.append(held(made))
        pieces.append((loop.time() - begun, data))

    async with made.gateway.handle(exchange, body) as reply:
        said = {name.decode(): value.decode() for name, value in reply.headers}
        assert reply.stream is not None
        await reply.stream.run(write)
    return Heard(reply.status, said, pieces, loop.time() - begun), counts


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ending", ["theirs", "ours"])
@pytest.mark.parametrize("after", [0, 6], ids=["at once", "comments first"])
async def test_a_stream_binds_before_its_done_is_sent(mode, ending, after):
    pieces = ANSWER if ending == "theirs" else ANSWER[:-1]
    said = Say.stream(*pieces, after=after)
    made = two(said, said, streaming={"first_token_timeout_seconds": 60})
    heard, counts = await heard_at_done(made, mode)
    assert heard.whole
    assert heard.pieces[-1][1].endswith(DONE)
    assert counts[-1] == 1
    assert set(counts[:-1]) == {0}
    assert (b": waiting" in heard.body) == (mode == "buffered" and after > 0)
    served = made.asked()[0]
    assert (await say(made, "simple", stream=True)).headers["x-arbstr-provider"] == served


BROKEN = {
    "cut": Say.stream(ROLE, token("a"), cut=True),
    "ended early": Say.stream(ROLE, token("a")),
    "the provider's own error": Say.stream(ROLE, token("a"), ERROR),
    "silent": Say.stream(ROLE, token("a"), hang=True),
    "an event too large": Say.stream(ROLE, token("a"), b"data: " + b"x" * 2000),
}


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("mode", MODES)
async def test_a_broken_stream_leaves_nothing(said, mode):
    made = two(said, said, retry=NO_RETRY, streaming={"max_event_bytes": 1000})
    heard = await say(made, "simple", stream=True, mode=mode)
    assert heard.code is not None
    assert (held(made), made.clean) == (0, True)


async def test_a_stream_that_breaks_after_comments_leaves_nothing():
    broken = Say.stream(ROLE, token("a"), after=9, cut=True)
    made = two(broken, broken, retry=NO_RETRY)
    heard = await say(made, "simple", stream=True, mode="buffered")
    assert heard.body.startswith(b": waiting")
    assert heard.code == "provider_error"
    assert (held(made), made.clean) == (0, True)


LEAVING = {
    # mode, seconds before each piece, when the client leaves, how many sessions are held
    "off, after the first byte": ("off", 1, 1.5, 1),
    "off, before": ("off", 2, 1.5, 0),
    "first_token, after the token": ("first_token", 1, 2.5, 1),
    "first_token, before": ("first_token", 1, 1.5, 0),
    "buffered, before": ("buffered", 1, 3.5, 0),
    "buffered, in the comments": ("buffered", 9, 20, 0),
}


@pytest.mark.parametrize(("mode", "pace", "leaves", "bound"), LEAVING.values(), ids=LEAVING)
async def test_a_client_that_leaves_binds_after_the_commit_point_and_not_before(
    mode, pace, leaves, bound
):
    said = Say.stream(*ANSWER, after=pace)
    made = two(said, said, streaming={"first_token_timeout_seconds": 60})
    leaves += pace  # the headers take as long as a piece
    await say(made, "simple", stream=True, mode=mode, leave_after=leaves)
    assert (held(made), made.clean) == (bound, True)


@pytest.mark.parametrize("after", [0, 9], ids=["at once", "comments first"])
async def test_a_client_that_stops_reading_a_buffered_answer_binds_it(after):
    said = Say.stream(*ANSWER, after=after)
    made = two(said, said, limits={"send_timeout_seconds": 3})
    body = b'{"messages": [], "stream": true, "tier": "simple", "conversation_id": "c"}'
    exchange = made.gateway.begin([(b"x-sentinel-stream-failover", b"buffered")])

    async def write(data: bytes) -> None:
        if b"choices" in data:
            await asyncio.Event().wait()

    async with made.gateway.handle(exchange, body) as reply:
        assert reply.stream is not None
        with pytest.raises(Exception, match="stopped reading"):
            await reply.stream.run(write)
    assert (held(made), made.clean) == (1, True)


async def test_a_stream_that_nobody_began_to_send_leaves_nothing():
    made = two(Say.stream(*ANSWER), Say.stream(*ANSWER))
    body = b'{"messages": [], "stream": true, "tier": "simple", "conversation_id": "c"}'
    async with made.gateway.handle(made.gateway.begin([]), body) as reply:
        assert reply.stream is not None
    assert (held(made), made.clean) == (0, True)


# --- whose it is, and what it is called


async def test_a_request_routed_by_its_model_neither_reads_nor_writes():
    made = two()
    assert (await say(made, model="c1")).served == "p1/c1 complex model"
    assert held(made) == 0
    first = where(await say(made, "moderate"))
    assert (await say(made, model="s1")).served == "p1/s1 simple model"
    assert (await say(made, "simple")).served == f"{first} moderate session"


OWNERS: dict[str, dict[str, Any]] = {
    "anonymous": {},
    "one key": {"headers": {"Authorization": "Bearer one"}},
    "another key": {"headers": {"Authorization": "Bearer two"}},
    "ada": {"caller": Caller("ada")},
    "eve with a key": {"caller": Caller("eve"), "headers": {"Authorization": "Bearer one"}},
    "one called as the anonymous are": {"caller": Caller("anonymous")},
}


async def test_owners_of_one_conversation_id_do_not_share_a_session():
    made = two()
    for number, owner in enumerate(OWNERS.values(), 1):
        assert (await say(made, "simple", **owner)).headers["x-sentinel-tier"] == "simple"
        assert (await say(made, "complex", **owner)).status == 200
        assert held(made) == number
    for owner in OWNERS.values():
        assert (await say(made, "simple", **owner)).headers["x-sentinel-tier"] == "complex"


async def test_a_callers_key_does_not_matter_where_the_host_says_who_it_is():
    made, ada = two(), Caller("ada")
    await say(made, "complex", caller=ada, headers={"Authorization": "Bearer one"})
    told = await say(made, "simple", caller=ada, headers={"Authorization": "Bearer two"})
    assert told.headers["x-sentinel-tier"] == "complex"


async def test_a_session_above_what_the_caller_may_have_by_now_holds_it_to_nothing():
    made = two()
    await say(made, "complex", caller=Caller("ada"))
    for _ in range(3):
        told = await say(made, None, caller=Caller("ada", max_tier="moderate"))
        assert told.served.endswith(" simple default")
    told = await say(made, "simple", caller=Caller("ada", max_tier="complex"))
    assert told.served.endswith(" complex session")  # nor is it lowered


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_body_names_the_conversation_else_the_header(stream):
    said = Say.stream(*ANSWER) if stream else FINE
    made = two(said, said)
    header = {"X-Sentinel-Conversation": "h"}
    await say(made, "complex", "b", headers=header, stream=stream)
    assert held(made) == 1
    for conversation, tier in (("b", "complex"), ("h", "simple")):
        told = await say(made, "simple", conversation, stream=stream)
        assert told.headers["x-sentinel-tier"] == tier
    await say(made, "complex", None, headers=header, stream=stream)
    told = await say(made, "simple", "h", stream=stream)
    assert told.headers["x-sentinel-tier"] == "complex"


# --- a store that is silent


@pytest.mark.parametrize(
    ("after", "status"), [(0.1, 200), (0.7, 504)], ids=["time is left", "it is not enough"]
)
async def test_a_session_that_is_not_there_by_half_of_the_deadline_holds_to_nothing(after, status):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        slow, cache = Say.completion(after=after), {"url": url, "timeout_seconds": 9}
        made = two(slow, slow, cache=cache)
        heard = await say(made, "simple", headers={"X-Sentinel-Deadline-Ms": "1000"})
        assert (heard.status, made.transport.sent[0].at) == (status, 0.5)
        await made.gateway.close()


@pytest.mark.parametrize(
    ("stream", "asked", "ended"),
    [(False, {}, 30), (False, DEADLINE, 8), (True, DEADLINE, 8), (True, {}, 11.8)],
    ids=["whole", "shortened", "a stream's shortened", "a stream's first token has its own time"],
)
async def test_a_deadline_counts_the_wait_for_a_session(stream, asked, ended):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        made = two(Say.never(), Say.never(), cache={"url": url, "timeout_seconds": 2})
        heard = await say(made, "simple", headers=asked, stream=stream)
        assert (heard.code, heard.seconds) == ("deadline_exceeded", ended)
        assert made.transport.sent[0].at == pytest.approx(1.8)  # from then on Redis is away
        await made.gateway.close()


# --- by itself


EVERYBODY = Snapshot("1", dict.fromkeys(TIERS, (Candidate("p1", "m1", 1),)), {}, {}, (), {})
NO_COMPLEX = Snapshot("1", {**EVERYBODY.pools, "complex": ()}, {}, {}, (), {})


def exchange_of(**members: Any) -> Exchange:
    """One that was served by `p1/m1`."""
    made = Exchange("id-1", 0, [], account())
    made.headers = read_headers([(b"x-sentinel-conversation", b"h")])
    made.request = parse_request(msgspec.json.encode({"messages": [], **members}))
    made.decision = Decision("moderate", "default")
    made.candidate = Candidate("p1", "m1", 1)
    return made


def memory() -> MemorySessions:
    return MemorySessions(SessionSettings(), asyncio.get_running_loop().time)


async def test_a_session_is_dated_by_its_first_binding_and_keeps_the_date_when_it_rises():
    sessions, exchange = memory(), exchange_of()
    for wall, tier in ((1_000.9, "moderate"), (2_000.9, "complex"), (3_000.9, "complex")):
        exchange.decision = Decision(tier, "explicit")
        one = Conversation(lambda: sessions, "k", lambda wall=wall: wall)  # type: ignore[misc]
        await one.recall(Caller("ada"), EVERYBODY, seconds=1)
        await one.bind(exchange)
        assert await sessions.find("k") == Session("p1", "m1", tier, 1000)


async def test_a_session_that_a_reload_moves_is_bound_where_sessions_are_kept_then():
    left, now = memory(), memory()
    kept = [left]
    one = Conversation(lambda: kept[-1], "k", lambda: 5)
    await one.recall(Caller("ada"), EVERYBODY, seconds=1)
    kept.append(now)
    await one.bind(exchange_of())
    assert (await left.find("k"), await now.find("k")) == (None, Session("p1", "m1", "moderate", 5))


@pytest.mark.parametrize(
    ("highest", "snapshot", "holds"),
    [
        (None, EVERYBODY, True),
        ("complex", EVERYBODY, True),
        ("moderate", EVERYBODY, False),
        (None, NO_COMPLEX, False),
    ],
    ids=["anybody", "one who may", "one who may not", "a tier of nobody"],
)
async def test_a_session_holds_only_to_a_tier_that_can_be_had(highest, snapshot, holds):
    """Else a conversation would be refused until its session ends."""
    sessions, session = memory(), Session("p1", "m1", "complex", 1)
    await sessions.bind("k", session, None)
    one = Conversation(lambda: sessions, "k", lambda: 5)
    assert await one.recall(Caller("ada", max_tier=highest), snapshot, seconds=1) == (
        session if holds else None
    )
    await one.bind(exchange_of())
    assert await sessions.find("k") == session


@pytest.mark.parametrize(
    ("members", "decision", "named"),
    [
        ({"conversation_id": "b"}, Decision("simple", "default"), "b"),
        ({}, Decision("simple", "default"), "h"),
        ({"conversation_id": "b"}, Decision("simple", "model", "m1"), None),
    ],
)
async def test_a_request_belongs_to_the_conversation_it_names_unless_it_names_a_model(
    members, decision, named
):
    sessions, exchange = memory(), exchange_of(**members)
    exchange.decision = decision
    one = conversation_of(exchange, lambda: sessions, "pre:", lambda: 5)
    assert (one is None) == (named is None)
    if one is not None:
        await one.bind(exchange)
        (key,) = [
            key
            for name in "bh"
            if await sessions.find(key := session_key("pre:", exchange.caller, None, name))
        ]
        assert key.endswith(f":{named}")


LOW, HIGH = Decision("simple", "default"), Decision("complex", "alias")
MIDDLE = Session("p1", "m1", "moderate", 1)


@pytest.mark.parametrize(
    ("decision", "session", "then"),
    [
        (LOW, None, LOW),
        (LOW, MIDDLE, Decision("moderate", "session")),
        (HIGH, MIDDLE, HIGH),
        (Decision("moderate", "alias"), MIDDLE, Decision("moderate", "alias")),
    ],
)
def test_a_session_raises_a_decision_and_lowers_none(decision, session, then):
    assert raised(decision, session) == then


# --- together


class Turns:
    """A transport where each turn of a conversation has a script of its own."""

    def __init__(self, scripts: list[Say]) -> None:
        self.turns = [ScriptedTransport({"p1": said, "p2": said}) for said in scripts]

    @property
    def open(self) -> int:
        return sum(each.open for each in self.turns)

    async def post(self, endpoint: Any, headers: Any, body: bytes) -> Any:
        turn = self.turns[msgspec.json.decode(body)["turn"]]
        return await turn.post(endpoint, headers, body)


TURN = st.tuples(
    st.sampled_from(TIERS),
    st.integers(0, 6),  # when it is sent
    st.integers(0, 6),  # how long its provider takes
    st.booleans(),  # whether it is streamed
    st.integers(0, 9).map(lambda number: number == 0),  # whether it fails
)


@settings(deadline=None, max_examples=60)
@given(st.lists(TURN, min_size=1, max_size=8))
def test_whatever_comes_together_a_conversation_ends_at_the_highest_tier_that_was_served(turns):
    async def main() -> None:
        scripts = [
            REFUSED
            if fails
            else Say.stream(*ANSWER, after=takes / 8)
            if stream
            else Say.completion(after=takes)
            for _, _, takes, stream, fails in turns
        ]
        transport: Any = Turns([*scripts, FINE])
        made = two(transport=transport, health={"initial_backoff_seconds": 0})
        served: list[str] = []

        async def turn(number: int) -> None:
            tier, at, _, stream, fails = turns[number]
            await asyncio.sleep(at)
            told = await say(made, tier, stream=stream, turn=number)
            assert told.status == (400 if fails else 200)
            given = told.headers["x-sentinel-tier"]
            assert RANK[given] >= RANK[tier]
            if not fails:
                served.append(given)

        await asyncio.gather(*map(turn, range(len(turns))))
        assert held(made) == (1 if served else 0)
        if served:
            last = [await say(made, "simple", turn=-1) for _ in range(3)]
            highest = max(served, key=lambda tier: RANK[tier])
            assert {each.headers["x-sentinel-tier"] for each in last} == {highest}
            assert len({where(each) for each in last}) == 1
        assert made.clean

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
