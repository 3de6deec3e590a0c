"""A chat request: what is ours is read, or refused by name; all else stays the bytes it was."""

import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiergate.adaptation import Adaptation
from tiergate.errors import InvalidRequest
from tiergate.wire import parse_request

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
OURS = ("messages", "tier", "conversation_id", "model", "stream", "stream_options")


def request(**members: str) -> bytes:
    """A body of members given as JSON text, `messages` first."""
    said = {"messages": "[]", **members}
    members = ",".join(f'"{name}":{text}' for name, text in said.items())
    return f"{{{members}}}".encode()


def rendered(body: bytes, *, stream_usage: bool = True) -> bytes:
    return parse_request(body).render("m", stream_usage=stream_usage)


@pytest.mark.parametrize(
    "value",
    [
        "1.10", "1e5", "-0.0", "1E+2", "12345678901234567890123", "1e400", "null", "true",
        r'"\u0041\/\n"', r'"\ud83d\ude00"', '"gr\u00fc\u00df \U0001f600"', '"{not: json]"', '""',
        '{ "b" : 1,\t"a":[ 1 ,2 ],\n "b": 2 }', "[ ]", "{ }",
    ],
)  # fmt: skip
def test_a_value_that_is_not_ours_goes_on_byte_for_byte(value):
    assert rendered(request(x=value)) == f'{{"messages":[],"x":{value},"model":"m"}}'.encode()


def test_messages_with_null_content_and_tool_calls_go_on_byte_for_byte():
    messages = (
        '[ {"role":"assistant" ,"content":null, "tool_calls":[{"id":"c","function":'
        '{"arguments":"{\\"city\\": \\"K\\u00f6ln\\"}"}}]} ]'
    )
    assert messages.encode() in rendered(request(messages=messages))


def test_members_keep_their_order_and_the_model_its_place():
    body = b' { "b": 1,\n"model" : "x", "messages":[1], "a": 2 } '
    assert rendered(body) == b'{"b":1,"model":"m","messages":[1],"a":2}'


def test_tier_and_conversation_are_read_and_do_not_go_on():
    body = request(tier='"complex"', conversation_id='"c 1"', x="1")
    seen = parse_request(body)
    assert (seen.tier, seen.conversation) == ("complex", "c 1")
    assert rendered(body) == b'{"messages":[],"x":1,"model":"m"}'


def test_a_member_of_ours_is_known_however_its_name_is_escaped():
    body = rb'{"\u0074ier":"complex","messages":[]}'
    assert parse_request(body).tier == "complex"
    assert rendered(body) == b'{"messages":[],"model":"m"}'


def test_of_duplicate_members_the_last_counts_and_goes_on():
    body = b'{"tier":"simple","x":1,"messages":5,"tier":"complex","x":2,"messages":[]}'
    assert parse_request(body).tier == "complex"
    assert rendered(body) == b'{"x":2,"messages":[],"model":"m"}'


@pytest.mark.parametrize("member", ["tier", "conversation_id", "model", "stream", "n"])
def test_null_means_absent(member):
    seen, absent = parse_request(request(**{member: "null"})), parse_request(request())
    for name in ("tier", "model", "stream", "conversation", "choices", "wants_usage"):
        assert getattr(seen, name) == getattr(absent, name)


@pytest.mark.parametrize(
    ("said", "model"), [("null", None), ('""', None), ('"gpt"', "gpt"), (r'"g\u0070t"', "gpt")]
)
def test_the_model_is_read_and_empty_is_none(said, model):
    assert parse_request(request(model=said)).model == model


def test_the_model_of_the_candidate_is_written_as_json():
    body = parse_request(request(model='"x"')).render('a"b', stream_usage=True)
    assert json.loads(body)["model"] == 'a"b'


@pytest.mark.parametrize(("said", "stream"), [("true", True), ("false", False), ("null", False)])
def test_stream_is_read_and_goes_on_as_said(said, stream):
    assert parse_request(request(stream=said)).stream is stream
    assert f'"stream":{said}'.encode() in rendered(request(stream=said))


@pytest.mark.parametrize(
    ("n", "choices"),
    [
        ("3", 3), ("1", 1), ("0", 1), ("-2", 1), ("null", 1), ("2.5", 1), ('"2"', 1), ("[2]", 1),
        ("1e400", 1), ("9" * 5000, 1),
    ],
)  # fmt: skip
def test_the_number_of_choices_is_read_where_it_is_sensible_and_never_refused(n, choices):
    assert parse_request(request(n=n)).choices == choices
    assert f'"n":{n}'.encode() in rendered(request(n=n))


@pytest.mark.parametrize(
    ("options", "wants", "sent"),
    [
        (None, None, '{"include_usage":true}'),
        ("null", None, '{"include_usage":true}'),
        ("{}", None, '{"include_usage":true}'),
        ('{"include_usage": null}', None, '{"include_usage":true}'),
        ('{ "a" : 1.10, "b":[ 1 ] }', None, '{"a":1.10,"b":[ 1 ],"include_usage":true}'),
        ('{"include_usage": false}', False, '{"include_usage": false}'),
        ('{"include_usage": true, "a":1}', True, '{"include_usage": true, "a":1}'),
        ('{"include_usage": "yes"}', False, '{"include_usage": "yes"}'),
        ("[1]", False, "[1]"),
        ("5", False, "5"),
    ],
)
def test_usage_is_asked_for_in_a_stream_whose_client_left_it_open(options, wants, sent):
    members = {"stream": "true"} | ({} if options is None else {"stream_options": options})
    seen = parse_request(request(**members))
    assert seen.wants_usage is wants
    body = seen.render("m", stream_usage=True)
    assert body.count(b'"stream_options"') == 1
    assert f'"stream_options":{sent}'.encode() in body


@pytest.mark.parametrize("options", [None, "null", '{ "a": 1}'])
@pytest.mark.parametrize(("stream", "stream_usage"), [("false", True), ("true", False)])
def test_stream_options_are_left_alone_without_a_stream_or_where_the_provider_has_none(
    options, stream, stream_usage
):
    members = {"stream": stream} | ({} if options is None else {"stream_options": options})
    body = parse_request(request(**members)).render("m", stream_usage=stream_usage)
    assert body == request(**members, model='"m"')


def test_a_render_leaves_the_request_as_it_was_for_the_next_attempt():
    seen = parse_request(request(stream="true", stream_options='{"a":1}'))
    assert seen.render("m", stream_usage=True) == seen.render("m", stream_usage=True)
    assert b"include_usage" not in seen.render("m", stream_usage=False)


def test_a_model_gets_the_members_that_it_takes_and_all_else_as_it_came():
    changed = Adaptation(
        rename=(("max_tokens", "max_completion_tokens"),),
        drop=("temperature",),
        set=(("reasoning", b'{"effort": "low"}'),),
    )
    seen = parse_request(request(max_tokens="1.0e2", temperature="0.20", x='{ "a" :1 }'))
    assert seen.render("m", stream_usage=True, adaptation=changed) == (
        b'{"messages":[],"x":{ "a" :1 },"model":"m","max_completion_tokens":1.0e2,'
        b'"reasoning":{"effort": "low"}}'
    )
    unchanged = b'{"messages":[],"max_tokens":1.0e2,"temperature":0.20,"x":{ "a" :1 },"model":"m"}'
    assert seen.render("m", stream_usage=True) == unchanged, "another model, on the next attempt"


def test_a_member_is_adapted_however_its_name_is_escaped_and_its_last_value_counts():
    body = rb'{"messages":[],"\u0074emperature":1,"gr\u00fcn":1,"max_tokens":1,"max\u005ftokens":2}'
    changed = Adaptation(rename=(("max_tokens", "max"),), drop=("temperature", "gr\u00fcn"))
    rendered = parse_request(body).render("m", stream_usage=True, adaptation=changed)
    assert rendered == b'{"messages":[],"model":"m","max":2}'


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        (b"", None, "JSON"),
        (b"{", None, "JSON"),
        (b'{"messages":[]} x', None, "JSON"),
        (b'{"messages":[NaN]}', None, "JSON"),
        (b'\xef\xbb\xbf{"messages":[]}', None, "JSON"),
        (b"[]", None, "object"),
        (b"null", None, "object"),
        (b'"text"', None, "object"),
        (b'{"messages":["\xff"]}', None, "UTF-8"),
        (b'{"messages":["\xed\xa0\x80"]}', None, "UTF-8"),
        (b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None, "deep"),
        (b'{"messages":[],"x":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001, None, "deep"),
        (b"{}", "messages", "array"),
        (request(messages="null"), "messages", "array"),
        (request(messages='{"a":[]}'), "messages", "array"),
        (request(messages='"[]"'), "messages", "array"),
        (request(tier='"huge"'), "tier", "simple, moderate, complex"),
        (request(tier='"Simple"'), "tier", "simple"),
        (request(tier='""'), "tier", "simple"),
        (request(tier="1"), "tier", "string"),
        (request(tier='["simple"]'), "tier", "string"),
        (request(model="5"), "model", "string"),
        (request(model='{"a":1}'), "model", "string"),
        (request(stream='"true"'), "stream", "true or false"),
        (request(stream="1"), "stream", "true or false"),
        (request(conversation_id="7"), "conversation_id", "string"),
        (request(conversation_id='""'), "conversation_id", "256"),
        (request(conversation_id=f'"{"x" * 257}"'), "conversation_id", "256"),
        (request(conversation_id=r'"a\u0000b"'), "conversation_id", "printable"),
        (request(conversation_id=r'"a\nb"'), "conversation_id", "printable"),
    ],
)
def test_what_is_wrong_is_refused_and_named(body, param, says):
    with pytest.raises(InvalidRequest) as refusal:
        parse_request(body)
    error = json.loads(refusal.value.body())["error"]
    assert (refusal.value.status, error["code"], error["param"]) == (400, "invalid_request", param)
    assert says in error["message"]


def test_a_conversation_of_256_characters_of_any_script_is_kept():
    name = "\u00fc" * 256
    assert parse_request(request(conversation_id=f'"{name}"')).conversation == name


def test_what_was_read_can_be_rendered_from_a_deeper_stack():
    """The decoder's limit of nesting depends on the stack: it must be met at once or never."""

    def nested(depth: int) -> bytes:
        return request(stream="true", stream_options='{"a":' + "[" * depth + "]" * depth + "}")

    def accepted(depth: int) -> bool:
        try:
            return bool(parse_request(nested(depth)))
        except InvalidRequest:
            return False

    def deeper(frames: int) -> bytes:
        return deeper(frames - 1) if frames else seen.render("m", stream_usage=True)

    deepest = max(depth for depth in range(1000) if accepted(depth))
    seen = parse_request(nested(deepest))
    assert deeper(30).count(b"[") == deepest + 1


@settings(deadline=None)
@given(
    document=st.dictionaries(st.text().filter(lambda name: name not in OURS), JSON),
    ascii_only=st.booleans(),
    indent=st.none() | st.integers(0, 2),
)
def test_any_document_arrives_as_it_was_less_what_is_ours(document, ascii_only, indent):
    sent = {**document, "tier": "simple", "messages": [document], "conversation_id": "c"}
    body = json.dumps(sent, ensure_ascii=ascii_only, indent=indent).encode(errors="replace")
    expected = {**json.loads(body), "model": "m"}
    del expected["tier"], expected["conversation_id"]
    arrived = json.loads(rendered(body))
    assert arrived == expected
    assert list(arrived) == list(expected)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*OURS, "n"]), JSON))
def test_any_value_of_ours_is_read_or_refused_by_its_name(said):
    body = json.dumps({"messages": [], **said}).encode()
    try:
        arrived = rendered(body)
    except InvalidRequest as refused:
        refusal = refused
    else:
        refusal = None
        assert json.loads(arrived)["model"] == "m"
    assert refusal is None or refusal.param in said


def some_json(chance: random.Random, depth: int = 0) -> str:
    """A document that is nearly a chat request, and often wrong."""
    kind = chance.randrange(7 if depth < 4 else 5)
    if kind < 5:
        texts = ["null", "true", "1.10", "-3e7", r'"\ud800"', '"\\u00e9"', '"simple"', "01", "["]
        return chance.choice(texts)
    inner = [some_json(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 5:
        return "[" + ",".join(inner) + "]"
    names = [*OURS, "n", "x", r"\u0000"]
    return "{" + ",".join(f'"{chance.choice(names)}":{each}' for each in inner) + "}"


def test_ten_thousand_random_bodies_are_read_or_refused_in_bounded_time():
    chance = random.Random(7)
    begun, refused = time.process_time(), 0
    for turn in range(10_000):
        if turn % 2:
            body = chance.randbytes(chance.randrange(80))
        else:
            members = ",".join(f'"{name}":{some_json(chance)}' for name in OURS)
            body = (f"{{{members}}}" if turn % 4 else some_json(chance)).encode()
        try:
            json.loads(rendered(body), strict=False)
        except InvalidRequest:
            refused += 1
    assert 5_000 <= refused < 10_000
    assert time.process_time() - begun < 20
