"""Whatever providers do, in every mode: bounded attempts, one answer, one end, nothing left behind.

One property over random scripts of attempt outcomes, through ASGI in virtual time.
"""

import asyncio
import re
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from wired import COMMENT, DONE, ERROR, ROLE, STOP, Heard, World, ask, token, world

from tiergate.faults import BUSY, DISCONNECTED, STALE
from tiergate.testing import Say, VirtualLoop


def line(name: str, kind: str, after: float, cut: int) -> Say:
    """What a provider says; every token of it is its own."""
    tokens = tuple(token(f"{name}n{number}") for number in range(3))
    whole = (ROLE, *tokens, STOP, DONE)
    return {
        "fine": Say.stream(*whole, after=after),
        "no done": Say.stream(*whole[:-1], after=after),
        "no done, and silence": Say.stream(*whole[:-1], after=after, hang=True),
        "cut": Say.stream(*whole[:cut], after=after, cut=True),
        "silence": Say.stream(*whole[:cut], after=after, hang=True),
        "the end": Say.stream(*whole[:cut], after=after),
        "error event": Say.stream(*whole[:cut], ERROR, *whole[cut:], after=after),
        "half": Say.stream(*whole[:cut], b'data: {"choi', after=after, cut=True),
        "comments": Say.stream(COMMENT, *whole, after=after),
        "503": Say(503, after=after),
        "429": Say.error(429, retry_after="1"),
        "400": Say.error(400),
        "501": Say.error(501),
        "reset": Say(fault=DISCONNECTED, after=after),
        "stale": Say(fault=STALE),
        "busy": Say(fault=BUSY),
        "silent": Say.never(),
    }[kind]


KINDS = (
    "fine", "no done", "no done, and silence", "cut", "silence", "the end", "error event", "half",
    "comments", "503", "429", "400", "501", "reset", "stale", "busy", "silent",
)  # fmt: skip
LINES = st.tuples(
    st.sampled_from(KINDS), st.sampled_from([0.0, 0.1, 4.0, 9.5, 19.0]), st.integers(0, 5)
)


@settings(max_examples=400, deadline=None)
@given(
    scripts=st.lists(st.lists(LINES, min_size=1, max_size=3), min_size=1, max_size=4),
    mode=st.sampled_from(["off", "first_token", "buffered"]),
    retries=st.integers(0, 3),
    fallbacks=st.integers(0, 3),
    deadline=st.sampled_from([None, 0.001, 2, 25]),
    leave_after=st.sampled_from([None, None, None, 0.5, 12, 40]),
)
def test_whatever_providers_do_a_stream_keeps_its_bounds_and_its_word(
    scripts, mode, retries, fallbacks, deadline, leave_after
):
    script = {
        f"p{number}": [line(f"p{number}x{turn}", *each) for turn, each in enumerate(lines)]
        for number, lines in enumerate(scripts)
    }
    kinds = {f"p{number}": [kind for kind, *_ in lines] for number, lines in enumerate(scripts)}

    async def run() -> tuple[World, Heard]:
        made = world(
            script, retry={"retries": retries, "fallbacks": fallbacks, "deadline_seconds": 30}
        )
        given = {} if deadline is None else {"X-Sentinel-Deadline-Ms": str(int(deadline * 1000))}
        heard = await ask(made, mode=mode, headers=given, leave_after=leave_after)
        await asyncio.sleep(300)  # nothing may come later
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return made, heard

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        made, heard = runner.run(run())

    assert made.clean
    bound = {"off": 10, "first_token": 30, "buffered": 120}[mode]
    assert all(sent.at < min(bound, deadline or bound) for sent in made.transport.sent)

    counts = attempts(made, kinds)
    total = sum(counts.values())
    assert total <= (1 if mode == "off" else 1 + retries + fallbacks)
    if leave_after is not None and heard.seconds >= leave_after:
        return
    history = ", ".join(f"{count}/{name}" for name, count in counts.items() if count)
    told = re.search(rb"^: .*x-arbstr-retries=(.*)$", heard.body, flags=re.MULTILINE)
    if told:
        assert told[1].decode() == history
    elif b": waiting" not in heard.body:
        assert heard.headers.get("x-arbstr-retries") == (history if total > 1 else None)
    if heard.status == 200:
        ends_as_it_should(heard, script)


def attempts(made: World, kinds: dict[str, list[str]]) -> dict[str, int]:
    """Per provider, from what the transport saw: a busy one and the one free re-send left out."""
    seen: list[tuple[str, str]] = []
    for name in made.asked():
        turn = [other for other, _ in seen].count(name)
        seen.append((name, kinds[name][min(turn, len(kinds[name]) - 1)]))
    counts: dict[str, int] = {}
    resent = False
    for (name, kind), (_, then) in pairwise([*seen, ("", "busy")]):
        # A re-send that found no connection was none: the first sending was the attempt.
        free = kind == "stale" and not resent and then != "busy"
        resent = resent or free
        if kind != "busy" and not free:
            counts[name] = counts.get(name, 0) + 1
    return counts


def ends_as_it_should(heard: Heard, script: dict[str, Any]) -> None:
    """One [DONE] or one error, last; the tokens are those of one answer, each once, in order."""
    events = heard.events
    last = [event for event in events if b"[DONE]" in event or b'"error"' in event]
    assert last == events[-1:]
    tokens = re.findall(rb'"content":"(\w+)"', heard.body)
    answers = [
        re.findall(rb'"content":"(\w+)"', b"".join(said.pieces))
        for lines in script.values()
        for said in lines
    ]
    complete = b"[DONE]" in events[-1]
    assert any(
        answer == tokens if complete else answer[: len(tokens)] == tokens for answer in answers
    )
    assert not complete or len(tokens) == 3
