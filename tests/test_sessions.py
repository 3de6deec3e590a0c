"""A conversation's tier only rises, in whatever order requests read and write; owners never share.

CONTRACT section 5 for the store in process: the rule as a table, the keys, the bounds, and a state
machine of hypothesis over interleaved requests. The clock is a number.
"""

import asyncio

import pytest
from health_clock import Clock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from session_rule import HIGH, LOW, MIDDLE, RULE

from tiergate.config import SessionSettings
from tiergate.exchange import ANONYMOUS, Caller
from tiergate.sessions import MemorySessions, Session, SessionsState, may_write, session_key
from tiergate.tiers import RANK, TIERS


def memory(**given) -> tuple[MemorySessions, Clock]:
    clock = Clock()
    return MemorySessions(SessionSettings(**given), clock), clock


# --- the rule


@pytest.mark.parametrize(
    ("held", "new", "read", "may"), [pytest.param(*row, id=name) for name, *row in RULE]
)
async def test_a_write_succeeds_only_upwards_or_over_what_was_read(held, new, read, may):
    assert may_write(held, new, read) is may
    made, _ = memory()
    if held is not None:
        assert await made.bind("k", held, None)
    assert await made.bind("k", new, read) is may
    assert await made.find("k") == (new if may else held)


async def test_a_hundred_requests_that_read_nothing_end_at_the_highest_tier():
    made, _ = memory()

    async def ask(number):
        read = await made.find("k")
        await asyncio.sleep(number * 7 % 10)  # a virtual second each: all of them have read by then
        tier = TIERS[number % 3]
        await made.bind("k", Session(f"p{number}", "m", tier, number), read)

    await asyncio.gather(*map(ask, range(100)))
    held = await made.find("k")
    assert held is not None
    assert held.tier == "complex"


# --- keys

KINDS = {
    "caller x": (Caller("x"), None),
    "caller y": (Caller("y"), None),
    "caller with the name of nobody": (Caller("anonymous"), None),
    "caller of no name": (Caller(""), None),
    "caller named like a credential": (Caller("authorization:x"), None),
    "caller no encoding knows": (Caller("\ud800"), None),
    "credential x": (ANONYMOUS, b"x"),
    "credential y": (ANONYMOUS, b"y"),
    "credential of nothing": (ANONYMOUS, b""),
    "credential of no text": (ANONYMOUS, b"\xff"),
    "nobody": (ANONYMOUS, None),
}


def test_owners_never_share_a_session():
    keys = {session_key("sentinel:", *owner, "c1") for owner in KINDS.values()}
    assert len(keys) == len(KINDS)


def test_a_named_caller_owns_it_whatever_credential_it_comes_with():
    keys = {session_key("s:", Caller("x", max_tier="simple"), said, "c") for said in (None, b"1")}
    assert len(keys) == 1


def test_a_key_holds_the_conversation_and_a_digest_of_the_owner():
    key = session_key("sentinel:", ANONYMOUS, b"Bearer secret", "a:b/ü")
    assert "secret" not in key
    prefix, kind, owner, conversation = key.split(":", 3)
    assert (prefix, kind, conversation) == ("sentinel", "session", "a:b/ü")
    assert len(owner) == 32
    assert set(owner) <= set("0123456789abcdef")


def test_conversations_and_environments_have_keys_of_their_own():
    made = [("a:", "1"), ("a:", "2"), ("b:", "1"), ("", "a:1"), ("", "1")]
    assert len({session_key(prefix, ANONYMOUS, b"x", name) for prefix, name in made}) == 5


# --- time and bounds


@pytest.mark.parametrize("seconds", [0.25, 60, 86_400])
async def test_a_session_lives_on_with_each_use_and_ends_without(seconds):
    made, clock = memory(ttl_seconds=seconds)
    await made.bind("k", LOW, None)
    for _ in range(5):
        clock.now += seconds * 0.9
        assert await made.find("k") == LOW
    assert made.peek("k") == LOW
    clock.now += seconds * 0.9
    assert made.peek("k") == LOW  # a look that uses nothing
    clock.now += seconds * 0.2
    assert (made.peek("k"), await made.find("k")) == (None, None)
    assert made.state().held == 0
    assert await made.bind("k", LOW, HIGH)


async def test_a_refused_write_is_no_use():
    made, clock = memory(ttl_seconds=10)
    await made.bind("k", HIGH, None)
    clock.now += 9
    assert not await made.bind("k", LOW, None)
    clock.now += 2
    assert await made.find("k") is None


async def test_beyond_the_bound_the_least_recently_used_goes():
    made, _ = memory(max_in_process=3)
    for key in "abc":
        await made.bind(key, LOW, None)
    await made.find("a")
    await made.bind("b", MIDDLE, LOW)
    await made.bind("d", LOW, None)
    assert [await made.find(key) for key in "abcd"] == [LOW, MIDDLE, None, LOW]
    assert made.state() == SessionsState("memory://", 3)


async def test_what_another_store_holds_is_taken_as_it_is():
    made, _ = memory()
    made.remember("k", HIGH)
    made.remember("k", LOW)
    assert made.look("k") == LOW


async def test_other_limits_keep_what_fits_and_was_used_last():
    made, clock = memory(max_in_process=4, ttl_seconds=100)
    for key in "abcd":
        await made.bind(key, LOW, None)
    await made.find("a")
    clock.now += 90
    made.reconfigure(SessionSettings(max_in_process=2, ttl_seconds=20))
    assert [made.peek(key) for key in "abcd"] == [LOW, None, None, LOW]
    clock.now += 15
    await made.bind("e", LOW, None)
    assert [made.peek(key) for key in "ade"] == [LOW, None, LOW]
    clock.now += 10
    assert [made.peek(key) for key in "ade"] == [None, None, LOW]


async def test_the_same_limits_again_change_nothing():
    made, clock = memory(ttl_seconds=100)
    await made.bind("k", LOW, None)
    clock.now += 90
    made.reconfigure(SessionSettings(ttl_seconds=100))
    clock.now += 20
    assert await made.find("k") is None


async def test_sessions_outlive_a_close():
    made, _ = memory()
    await made.bind("k", LOW, None)
    await made.close()
    assert await made.find("k") == LOW


# --- any interleaving

KEYS = ["a", "b", "c", "d"]
SECONDS = 100
MOST = 3


class Interleaved(RuleBasedStateMachine):
    """Requests of four conversations that read, take their time, and write; room for three."""

    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        given = SessionSettings(ttl_seconds=SECONDS, max_in_process=MOST)
        self.made = MemorySessions(given, self.clock)
        self.used: dict[str, tuple[Session, float]] = {}  # the most recently used last

    @rule(target=requests, key=st.sampled_from(KEYS))
    def begin(self, key):
        read = self.made.look(key)
        assert read == self.expected(key)
        if read is not None:
            self.use(key, read)
        return key, read

    @rule(
        request=consumes(requests),
        tier=st.sampled_from(TIERS),
        provider=st.sampled_from(["p1", "p2"]),
    )
    def succeed(self, request, tier, provider):
        key, read = request
        floor = RANK[tier] if read is None else max(RANK[tier], RANK[read.tier])
        new = Session(provider, "m", TIERS[floor], self.clock.now)
        held = self.made.peek(key)
        written = self.made.raise_to(key, new, read)
        assert self.made.peek(key) == (new if written else held)
        if held is not None:
            assert RANK[self.made.peek(key).tier] >= RANK[held.tier]
            assert written or RANK[held.tier] >= RANK[new.tier]
        if written:
            self.use(key, new)

    @rule(request=consumes(requests))
    def fail(self, request):
        """It leaves nothing behind."""

    @rule(seconds=st.sampled_from([1, 40, 99, 100]))
    def wait(self, seconds):
        self.clock.now += seconds

    @rule()
    def reload_with_the_same_limits(self):
        self.made.reconfigure(SessionSettings(ttl_seconds=SECONDS, max_in_process=MOST))

    @invariant()
    def it_holds_what_was_used_last_and_no_longer_than_its_time(self):
        assert [self.made.peek(key) for key in KEYS] == [self.expected(key) for key in KEYS]
        assert self.made.state().held == len(self.alive()) <= MOST

    def use(self, key, session):
        self.used.pop(key, None)
        self.used[key] = (session, self.clock.now)
        self.used = dict(list(self.alive().items())[-MOST:])

    def alive(self):
        now = self.clock.now
        return {key: each for key, each in self.used.items() if now < each[1] + SECONDS}

    def expected(self, key):
        session, _ = self.alive().get(key, (None, 0))
        return session


Interleaved.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestInterleaved = Interleaved.TestCase
