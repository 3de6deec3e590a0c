"""Images, sounds and files of a request are found by their bytes, and only where they are parts.

Whatever the body is, looking at it is a bounded number of searches.
"""

import base64
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergate.attachments import MOST_PARTS, Attachments, attachments_of

BASE64 = base64.b64encode(bytes(range(256)) * 40).decode()
PNG = f"data:image/png;base64,{BASE64}"
IMAGE = {"type": "image_url", "image_url": {"url": "https://a.test/a.png"}}
EMBEDDED = {"type": "image_url", "image_url": {"detail": "low", "url": PNG}}
SOUND = {"type": "input_audio", "input_audio": {"format": "wav", "data": BASE64}}
FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:;base64,{BASE64}"}}
BARE = {"type": "file", "file": {"filename": "a.pdf", "file_data": BASE64}}
NAMED = {"type": "file", "file": {"file_id": "file-1"}}
TEXT = {"type": "text", "text": "look"}


def user(*parts):
    return {"role": "user", "content": list(parts)}


def found(*messages, **how) -> Attachments:
    return attachments_of(json.dumps(messages, **how).encode())


@pytest.mark.parametrize("how", [{}, {"separators": (",", ":")}, {"indent": 3}], ids=str)
@pytest.mark.parametrize(
    ("parts", "count", "features", "encoded"),
    [
        ([TEXT], 0, (), 0),
        ([TEXT, IMAGE], 1, ("vision",), 0),
        ([EMBEDDED, IMAGE, EMBEDDED], 3, ("vision",), 2 * (len(PNG) + 1)),
        ([SOUND], 1, ("audio",), len(BASE64) + 1),
        ([FILE], 1, ("files",), len(BASE64) + 14),
        ([BARE, NAMED], 2, ("files",), len(BASE64) + 1),
        ([SOUND, EMBEDDED], 2, ("vision", "audio"), len(BASE64) + len(PNG) + 2),
    ],
)
def test_parts_are_counted_and_their_base64_measured(parts, count, features, encoded, how):
    assert found(user(*parts), **how) == Attachments(count, features, encoded)


def test_a_slash_may_be_escaped():
    body = json.dumps([user(EMBEDDED)]).replace("/", "\\/").encode()
    assert attachments_of(body) == Attachments(1, ("vision",), len(PNG) + 1 + PNG.count("/"))


TALK = [
    json.dumps(IMAGE),
    json.dumps([user(EMBEDDED, SOUND, FILE)]),
    f'<img src="{PNG}">',
    "image_url",
    "data: 1, 2, 3",
    '"image_url": "input_audio": "file_id": \\"image_url\\":',
]


@pytest.mark.parametrize("text", TALK, ids=range(len(TALK)))
@pytest.mark.parametrize("beside", [[], [TEXT]], ids=["alone", "as a part"])
def test_a_text_that_speaks_of_parts_has_none(text, beside):
    assert found({"role": "user", "content": text}, user(*beside)) == Attachments()
    assert found(user({"type": "text", "text": text}, *beside)) == Attachments()


def test_a_text_that_quotes_an_image_beside_one_keeps_its_length():
    quoted = {"type": "text", "text": f'<img src="{PNG}">'}
    assert found(user(quoted, IMAGE)) == Attachments(1, ("vision",), 0)
    assert found(user(IMAGE, {"type": "text", "text": "data: " + "x" * 999})).encoded_bytes == 0


def test_results_of_tools_need_a_model_that_has_tools():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = {"role": "assistant", "content": None, "tool_calls": [call]}
    told = {"role": "tool", "tool_call_id": "c", "content": "12"}
    assert found(asked, told) == Attachments(0, ("tools",), 0)
    assert found({**asked, "tool_calls": None}) == Attachments()


@pytest.mark.parametrize("messages", [b"", b"[]", b"null", b"[1]", b"{}"])
def test_messages_of_nothing_have_nothing(messages):
    assert attachments_of(messages) == Attachments()


def test_of_a_body_that_is_nothing_but_names_a_thousand_are_looked_at():
    many = b'[{"type":1},' + b'{"image_url":1,"data":"x"},' * 20_000 + b"1]"
    assert attachments_of(many) == Attachments(MOST_PARTS, ("vision",), 2 * MOST_PARTS)
    names = b'[{"type":1},' + b'"image_url",' * 20_000 + b'{"image_url":1}]'
    assert attachments_of(names) == Attachments()


@given(
    st.lists(
        st.sampled_from([IMAGE, EMBEDDED, SOUND, FILE, BARE, NAMED])
        | st.text().map(lambda text: {"type": "text", "text": text}),
        max_size=8,
    ),
    st.booleans(),
)
def test_among_any_texts_every_part_is_found_and_nothing_else(parts, ascii_only):
    told = found(user(*parts), ensure_ascii=ascii_only)
    texts = [part for part in parts if part["type"] == "text"]
    assert told.count == len(parts) - len(texts)
    assert (told.encoded_bytes > 0) is any(BASE64 in json.dumps(part) for part in parts)


def test_any_bytes_are_read_to_some_end():
    chance = random.Random(8)
    marks = [b'"type"', b'"image_url"', b":", b'"data:', b";base64,", b'data"', b'"', b"\\", b" "]
    for _ in range(3000):
        body = b"".join(chance.choice(marks) for _ in range(chance.randrange(30)))
        assert attachments_of(body).count <= body.count(b'"image_url"')
