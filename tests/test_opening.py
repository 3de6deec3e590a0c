"""A stream before its commit point: what is held back, when it goes out, and what breaks it.

Virtual time; the provider is a list of pieces and the seconds before each.
"""

import asyncio
from typing import NamedTuple

import pytest
from wired import ANSWER, COMMENT, DONE, ERROR, ROLE, STOP, token

from tiergate.capacity import Capacity
from tiergate.config import Limits
from tiergate.errors import Overloaded
from tiergate.faults import DISCONNECTED, GARBLED, OVERSIZED, SILENT, STALLED, AttemptFailed
from tiergate.opening import COMMIT_OF, Commit, Opening, OpeningLimits
from tiergate.transcript import Transcript

BYTE, TOKEN, WHOLE = Commit.FIRST_BYTE, Commit.FIRST_TOKEN, Commit.COMPLETE
CUT, HANG = AttemptFailed(DISCONNECTED), float("inf")
LIMITS = OpeningLimits(first_token=10, idle=20, deadline=100, max_bytes=5000)
REASONING = b'data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n\n'
TOOL = b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\n\n'
NULLS = b'data: {"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":[]}}]}\n\n'


class Provider:
    """Says these pieces; a number is that many seconds of silence, a failure is raised."""

    status, headers = 200, ()

    def __init__(self, script: tuple[bytes | float | AttemptFailed, ...]) -> None:
        self.left = list(script)

    async def read(self) -> bytes:
        while self.left:
            said = self.left[0]
            if isinstance(said, AttemptFailed):
                raise said
            if isinstance(said, bytes):
                return self.left.pop(0)
            await (asyncio.Event().wait() if said == HANG else asyncio.sleep(said))
            self.left.pop(0)
        return b""

    def close(self) -> None:
        pass


class Told(NamedTuple):
    opening: Opening
    provider: Provider
    seconds: float
    fault: str | None
    held_bytes: int
    tokens: int


async def reach(
    commit: Commit,
    *script: bytes | float | AttemptFailed,
    limits: OpeningLimits = LIMITS,
    event: int = 1000,
    choices: int = 1,
) -> Told:
    """Open a stream; what is then held must be what the account says."""
    provider, capacity = Provider(script), Capacity(Limits())
    transcript = Transcript(choices=choices, relay_usage=True, max_event_bytes=event)
    tokens: list[float] = []
    clock = asyncio.get_running_loop().time
    begun = clock()
    opening = Opening(
        provider, transcript, commit, capacity.account(), on_token=lambda: tokens.append(clock())
    )
    fault = None
    try:
        await opening.reach(limits)
        assert capacity.held_bytes == len(opening.held)
    except AttemptFailed as failure:
        fault = failure.fault.label
        assert capacity.held_bytes == 0
    return Told(opening, provider, clock() - begun, fault, capacity.held_bytes, len(tokens))


# --- the commit point of each mode


def test_each_mode_has_its_commit_point():
    assert COMMIT_OF == {"off": BYTE, "first_token": TOKEN, "buffered": WHOLE}


@pytest.mark.parametrize("first", [ROLE, COMMENT, ERROR, b"data: {", token("a")])
async def test_off_commits_at_the_first_byte_whatever_it_is(first):
    told = await reach(BYTE, 3.0, first, HANG)
    assert (told.fault, told.seconds) == (None, 3)
    assert told.opening.held == (b"" if first == b"data: {" else first)
    assert not told.opening.at_end


@pytest.mark.parametrize("first", [token("a"), REASONING, TOOL, STOP])
async def test_first_token_commits_at_anything_that_is_more_than_a_role(first):
    told = await reach(TOKEN, COMMENT, 1.0, ROLE, 2.0, NULLS, 3.0, first, HANG)
    assert (told.fault, told.seconds, told.tokens) == (None, 6, 1)
    assert told.opening.held == COMMENT + ROLE + NULLS + first  # the preamble goes with it


async def test_buffered_commits_when_the_answer_is_whole_and_done():
    told = await reach(WHOLE, *(part for piece in ANSWER for part in (1.5, piece)), HANG)
    assert (told.fault, told.seconds, told.tokens) == (None, 7.5, 1)
    assert told.opening.held == b"".join(ANSWER[:-1])  # `[DONE]` is the relay's to send
    assert not told.opening.at_end


async def test_buffered_waits_for_every_answer_that_was_asked_for():
    second = STOP.replace(b'"index":0', b'"index":1')
    told = await reach(WHOLE, token("a"), STOP, 15.0, second, DONE, choices=2)
    assert (told.fault, told.seconds) == (None, 15)
    assert (await reach(WHOLE, token("a"), STOP, DONE, choices=2)).fault == GARBLED.label


@pytest.mark.parametrize("mode", [TOKEN, WHOLE])
async def test_a_body_that_ends_complete_without_done_is_at_its_end(mode):
    last = STOP.removesuffix(b"\n\n")  # known only once the body has ended
    told = await reach(mode, ROLE, last)
    assert (told.fault, told.opening.at_end) == (None, True)
    assert told.opening.held == ROLE + STOP


async def test_a_complete_answer_waits_two_seconds_for_its_done_and_no_longer():
    told = await reach(WHOLE, token("a"), 5.0, STOP, HANG)
    assert (told.fault, told.seconds) == (None, 7)
    assert told.opening.held == token("a") + STOP
    assert told.opening.at_end  # it is not waited for again


async def test_half_an_event_after_a_complete_answer_does_not_prolong_the_wait_for_its_done():
    dribble = [part for _ in range(20) for part in (0.5, b"data")]
    assert (await reach(WHOLE, token("a"), STOP, *dribble)).seconds == 2


async def test_the_usage_after_a_complete_answer_is_waited_for_and_read():
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'
    told = await reach(WHOLE, token("a"), STOP, 1.5, usage, 1.5, DONE)
    assert (told.fault, told.seconds) == (None, 3)
    assert told.opening.held == token("a") + STOP + usage


# --- what breaks it


BREAKS = {
    "an empty body": ((), 0, GARBLED),
    "a body of half an event": ((b'data: {"choi',), 0, GARBLED),
    "a preamble and the end": ((COMMENT, ROLE), 0, GARBLED),
    "a preamble and a cut": ((ROLE, 1.0, CUT), 1, DISCONNECTED),
    "[DONE] and nothing else": ((ROLE, 1.0, DONE), 1, GARBLED),
    "an error event": ((ROLE, 2.0, ERROR, HANG), 2, GARBLED),
    "an error event beside a token": ((token("a") + ERROR, HANG), 0, GARBLED),
    "nothing at all": ((HANG,), 10, SILENT),
    "a preamble and silence": ((ROLE, HANG), 10, STALLED),
    "comments and no token": ((*[4.0, COMMENT] * 9,), 10, STALLED),
    "events and no token": ((*[4.0, ROLE] * 9,), 10, STALLED),
    "an event too large": ((ROLE, 1.0, b"x" * 1001), 1, OVERSIZED),
    "a large event in one piece": ((b"data: " + b"x" * 1001 + b"\n\n",), 0, OVERSIZED),
}


@pytest.mark.parametrize("commit", [TOKEN, WHOLE])
@pytest.mark.parametrize(("script", "after", "fault"), BREAKS.values(), ids=BREAKS)
async def test_before_the_first_token_a_break_is_a_failure(commit, script, after, fault):
    told = await reach(commit, *script)
    assert (told.fault, told.seconds, told.held_bytes) == (fault.label, after, 0)


LATE_BREAKS = {
    "the end": ((), 1, GARBLED),
    "[DONE] without a finish reason": ((1.0, DONE), 2, GARBLED),
    "a cut": ((1.0, CUT), 2, DISCONNECTED),
    "a cut inside an event": ((b'data: {"choi', CUT), 1, DISCONNECTED),
    "an error event": ((1.0, ERROR, HANG), 2, GARBLED),
    "an error event after the finish reason": ((STOP, ERROR, HANG), 1, GARBLED),
    "silence": ((HANG,), 21, STALLED),
    "half an event and silence": ((9.0, b"data", HANG), 21, STALLED),
    "an event too large": ((b"x" * 1001,), 1, OVERSIZED),
}


@pytest.mark.parametrize(("script", "after", "fault"), LATE_BREAKS.values(), ids=LATE_BREAKS)
async def test_buffered_takes_a_break_after_the_first_token_for_a_failure_too(script, after, fault):
    told = await reach(WHOLE, 1.0, ROLE + token("a"), *script)
    assert (told.fault, told.seconds, told.tokens) == (fault.label, after, 1)
    committed = await reach(TOKEN, 1.0, ROLE + token("a"), *script)
    assert (committed.fault, committed.seconds) == (None, 1)


@pytest.mark.parametrize(
    ("script", "after", "fault"),
    [((), 0, GARBLED), ((1.0, CUT), 1, DISCONNECTED), ((HANG,), 10, SILENT)],
    ids=["an empty body", "a cut", "silence"],
)
async def test_off_fails_before_its_first_byte(script, after, fault):
    told = await reach(BYTE, *script)
    assert (told.fault, told.seconds) == (fault.label, after)


async def test_bytes_that_the_process_cannot_hold_shed_the_request_and_are_given_back():
    capacity = Capacity(Limits(max_buffered_bytes=len(ROLE) + 5))
    transcript = Transcript(choices=1, relay_usage=True, max_event_bytes=1000)
    opening = Opening(
        Provider((ROLE, token("a"))), transcript, WHOLE, capacity.account(), on_token=lambda: None
    )
    with pytest.raises(Overloaded):
        await opening.reach(LIMITS)
    assert capacity.held_bytes == 0


async def test_leaving_gives_back_what_is_held():
    capacity = Capacity(Limits())
    transcript = Transcript(choices=1, relay_usage=True, max_event_bytes=1000)
    opening = Opening(
        Provider((ROLE, HANG)), transcript, WHOLE, capacity.account(), on_token=lambda: None
    )
    task = asyncio.create_task(opening.reach(LIMITS))
    await asyncio.sleep(1)
    assert capacity.held_bytes == len(ROLE)
    task.cancel()
    await asyncio.wait({task})
    assert (task.cancelled(), capacity.held_bytes) == (True, 0)


# --- time and size, while the answer is healthy


async def test_comments_and_events_keep_a_slow_answer_alive():
    told = await reach(WHOLE, token("a"), *[15.0, COMMENT] * 2, 15.0, token("b"), 15.0, STOP, DONE)
    assert (told.fault, told.seconds) == (None, 60)


async def test_a_first_token_that_the_timeout_allows_is_not_cut_short_by_the_idle_limit():
    limits = OpeningLimits(first_token=50, idle=20, deadline=100, max_bytes=5000)
    slow = await reach(TOKEN, *[15.0, COMMENT] * 3, 2.0, token("a"), limits=limits)
    assert (slow.fault, slow.seconds) == (None, 47)
    stalled = await reach(TOKEN, ROLE, HANG, limits=limits)
    assert (stalled.fault, stalled.seconds) == (STALLED.label, 20)


async def test_a_deadline_that_comes_while_the_answer_flows_commits_what_is_held():
    tokens = [part for _ in range(50) for part in (9.0, token("a"))]
    told = await reach(WHOLE, *tokens)
    assert (told.fault, told.seconds) == (None, 100)
    assert told.opening.held == token("a") * 11
    assert not told.opening.at_end
    assert await told.provider.read() == token("a")  # and nothing is lost in between


async def test_a_deadline_before_any_token_is_a_failure():
    limits = OpeningLimits(first_token=50, idle=20, deadline=30, max_bytes=5000)
    told = await reach(WHOLE, *[9.0, ROLE] * 9, limits=limits)
    assert (told.fault, told.seconds) == (STALLED.label, 30)


async def test_a_deadline_within_the_wait_for_done_commits_a_complete_answer():
    limits = OpeningLimits(first_token=10, idle=20, deadline=6, max_bytes=5000)
    told = await reach(WHOLE, token("a"), 5.0, STOP, HANG, limits=limits)
    assert (told.fault, told.seconds, told.opening.at_end) == (None, 6, True)


@pytest.mark.parametrize("commit", [TOKEN, WHOLE])
async def test_a_full_buffer_commits_what_is_held(commit):
    told = await reach(commit, *[ROLE] * 200, HANG)
    assert told.fault is None
    assert LIMITS.max_bytes <= len(told.opening.held) < LIMITS.max_bytes + len(ROLE)
    assert (told.seconds, told.opening.at_end) == (0, False)
