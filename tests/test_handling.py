"""A request is ended once, whatever ends it, and its body is not kept while its answer goes out."""

import asyncio
import gc
import weakref

import pytest

from tiergate.handling import Handling
from tiergate.reply import Reply

REPLY = Reply(200, [], b"")


class Ends(list):
    async def __call__(self, reply, error):
        self.append((reply, type(error)))


async def begin():
    return REPLY


async def broken():
    raise ValueError("no reply")


async def test_the_reply_is_had_inside_and_ended_on_leaving():
    ends = Ends()
    async with Handling(begin, ends) as reply:
        assert (reply, ends) == (REPLY, [])
    assert ends == [(REPLY, type(None))]


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, KeyboardInterrupt])
async def test_what_is_raised_inside_is_told_and_goes_on(error):
    ends = Ends()
    with pytest.raises(error):
        async with Handling(begin, ends):
            raise error
    assert ends == [(REPLY, error)]


async def test_without_a_reply_it_is_ended_too():
    ends = Ends()
    with pytest.raises(ValueError, match="no reply"):
        async with Handling(broken, ends):
            raise AssertionError
    assert ends == [(None, ValueError)]


async def test_what_the_reply_was_made_of_is_let_go():
    class Body:
        async def __call__(self):
            return REPLY

    body = Body()
    gone = weakref.ref(body)
    async with Handling(body, Ends()):
        del body
        gc.collect()
        assert gone() is None
