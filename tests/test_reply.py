"""What goes back to the client is whole or comes bit by bit, never both."""

import pytest
from wired import ANSWER, world

from tiergate.reply import Reply
from tiergate.testing import Say


@pytest.mark.parametrize(
    ("said", "wants", "seconds"),
    [
        (Say.completion(), b"false", 0),
        (Say.error(400), b"true", 0),
        (Say.stream(*ANSWER), b"true", 0),
        (Say.stream(*ANSWER, after=20), b"true", 0),
    ],
    ids=["a completion", "a refusal", "a stream", "one that is waited for"],
)
async def test_a_reply_is_whole_or_a_stream(said, wants, seconds):
    made = world({"p1": said}, streaming={"failover": "buffered"})
    body = b'{"model": "m", "messages": [], "stream": %b}' % wants
    async with made.gateway.handle(made.gateway.begin([]), body) as reply:
        assert (reply.body == b"") == (reply.stream is not None)
        assert (reply.stream is None) == (said.content_type == "application/json")
    assert made.clean  # leaving has let go of it, though nobody ran it


def test_a_reply_that_says_nothing_more_is_whole_and_cannot_be_changed():
    reply = Reply(204, [])
    assert (reply.body, reply.stream) == (b"", None)
    with pytest.raises(AttributeError):
        reply.status = 200
