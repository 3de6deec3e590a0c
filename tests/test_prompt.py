"""What of a request is the user's own words, whatever the client sent; nothing here ever raises."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from tiergate.prompt import MAX_EARLIER, MAX_TEXT, Prompt, read_prompt

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
ROLES = st.sampled_from(["user", "assistant", "system", "tool", "developer", None])


def read(messages, *, most_bytes=1 << 20) -> Prompt:
    raw = messages if isinstance(messages, bytes) else json.dumps(messages).encode()
    return read_prompt({"messages": Raw(raw)}, most_bytes=most_bytes)


def user(content):
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("hi", "hi"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        ([{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "c"}], "c"),
        ([{"type": "text", "text": 5}, 7, None, {"type": "input_text", "text": "d"}], "d"),
        (None, ""),
        (5, ""),
        ("<system-reminder>prove it</system-reminder>\nhello", "hello"),
        ("<task>fix it</task><environment_details>a\nb</environment_details>", "fix it"),
        ("<system-reminder>never closed", "<system-reminder>never closed"),
        ("<rules>a <rules>b</rules> say", "say"),
        ("[read_file for 'x.py'] Result: def f(): ...", ""),
        ("<context>a</context><userRequest>hi</userRequest>\n# todo: prove", "hi"),
        ("<task>one</task> its list <feedback>two</feedback>", "one\ntwo"),
        ("<task> </task>prove it", "prove it"),
        ("<instructions>prove it</instructions>", "prove it"),
    ],
)
def test_the_last_turn_is_what_the_user_said(content, said):
    assert read([user(content)]).last_user == said


def test_the_last_turn_with_own_words_is_the_last_turn():
    messages = [user("prove it"), {"role": "assistant", "content": "…"}, user([{"type": "x"}])]
    prompt = read(messages)
    assert (prompt.last_user, prompt.turns) == ("prove it", 1)


def test_system_prompts_and_tools_are_no_words_of_the_user():
    call = {"role": "assistant", "content": None, "tool_calls": [{}, {}]}
    prompt = read(
        [
            {"role": "system", "content": "prove " * 1000},
            user("one"),
            call,
            {"role": "tool", "content": [{"type": "text", "text": "result"}]},
            {"role": "developer", "content": "x"},
            user("two"),
        ]
    )
    assert (prompt.last_user, prompt.recent) == ("two", ("one",))
    assert (prompt.turns, prompt.tool_calls, prompt.tool_results) == (2, 2, 1)


def test_earlier_turns_are_kept_newest_first_and_bounded():
    prompt = read([user(f"{number} " + "x" * 5000) for number in range(9)])
    assert [text[0] for text in prompt.recent] == ["7", "6", "5"]
    assert all(len(text) <= MAX_EARLIER + 2 for text in prompt.recent)
    assert prompt.turns == 9


def test_turns_of_few_words_leave_the_task_among_the_earlier_ones():
    task = "find out why the ledger drifts every night"
    prompt = read([user(task), *[user("continue")] * 9])
    assert prompt.recent == ("continue",) * 3 + (task,)


@pytest.mark.parametrize("size", [MAX_TEXT + 1, 50_000])
def test_what_agents_put_around_is_not_counted_however_long(size):
    around = f"<system-reminder>{'x' * size}</system-reminder>\nhi"
    prompt = read([user(around)])
    assert (prompt.last_user, prompt.characters) == ("hi", 2)


@pytest.mark.parametrize("size", [MAX_TEXT, MAX_TEXT + 1, MAX_TEXT + 9])
def test_the_length_is_that_before_the_cut(size):
    assert read([user("x" * size)]).characters == size


def test_of_a_long_turn_head_and_tail_are_kept():
    prompt = read([user("HEAD" + "x" * 100_000 + "TAIL")])
    assert (prompt.last_user[:4], prompt.last_user[-4:]) == ("HEAD", "TAIL")
    assert len(prompt.last_user) <= MAX_TEXT + 2
    assert prompt.characters == 100_008


def test_what_is_too_large_tells_its_size_and_its_kinds():
    messages = [user([{"type": "image_url", "image_url": {"url": "x" * 2000}}])]
    prompt = read(messages, most_bytes=1000)
    assert (prompt.read, prompt.last_user, prompt.kinds) == (False, "", {"image_url"})
    assert prompt.characters > 2000


def test_the_kinds_of_parts_are_told_of_all_messages():
    parts = [{"type": "input_audio"}, {"type": "file"}]
    assert read([user(parts), {"role": "assistant", "content": [{"type": "z"}]}]).kinds == {
        "input_audio",
        "file",
        "z",
    }


@pytest.mark.parametrize("raw", [b"null", b"{}", b"[1]", b'"x"', b"[[]]", b'[{"role": 1}]'])
def test_what_are_no_messages_say_nothing(raw):
    assert read(raw) == Prompt()
    assert read_prompt({}, most_bytes=10) == Prompt()


def test_half_a_surrogate_pair_costs_one_character_only():
    assert read(rb'[{"role": "user", "content": "say \ud83d it"}]').last_user == "say \ufffd it"


def test_broken_text_is_as_if_it_were_not_there():
    assert read(b'[{"role": "user", "content": "\xff"}]').last_user == ""


@given(st.lists(JSON | st.builds(lambda r, c: {"role": r, "content": c}, ROLES, JSON)))
def test_no_messages_raise(messages):
    prompt = read(messages)
    assert prompt.characters >= 0


@pytest.mark.parametrize("piece", ["<", "<system-reminder>", "<rules a", "[a", "</task>", "`"])
def test_a_text_of_nothing_but_openings_is_read(piece):
    assert read([user(piece * (1_000_000 // len(piece)))]).characters > 900_000
