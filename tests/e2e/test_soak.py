"""The short version of `make soak`: two hundred slow streams at once, with faults and clients that
leave, hold nothing afterwards: no place, no byte, no probe, no task, no connection.

Memory is the long run's: two hundred streams are too few to tell a leak from an allocator's mood.
"""

import importlib.util
import sys
from pathlib import Path

SOAK = Path(__file__).parents[2] / "bench" / "soak.py"


def load_soak():
    """`bench` is no package, and is not on the path of the tests."""
    spec = importlib.util.spec_from_file_location("soak", SOAK)
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


async def test_two_hundred_slow_streams_leave_nothing_behind():
    report = await load_soak().run(200, seed=3, rounds=1, token_delay=0.2)
    print(report)  # noqa: T201  # what `pytest -rP` shows
    (only,) = report.rounds
    assert only.left == dict.fromkeys(only.left, 0)
    assert only.peak > 150
    assert only.torn == 0
    assert sum(only.ended.values()) == 200
    assert only.ended["complete"] > 140
    assert only.ended["left by their clients"] > 5


def test_an_answer_that_is_neither_complete_nor_an_error_is_told():
    ending = load_soak().ending
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    assert ending(head + b"data: {}\n\ndata: [DONE]\n\n0\r\n\r\n") == "complete"
    assert ending(head + b'data: {"error":{}}\n\n0\r\n\r\n') == "error within the stream"
    assert ending(b'HTTP/1.1 502 Bad\r\n\r\n{"error":{}}') == "status 502"
    for torn in (
        b"",
        head + b"data: {}\n\n",
        head + b"data: {}\n\n0\r\n\r\n",
        head + b"data: [DONE]\n\ndata: [DONE]\n\n0\r\n\r\n",
        head + b'data: {"error":{}}\n\ndata: [DONE]\n\n0\r\n\r\n',
        b"HTTP/1.1 502 Bad\r\n\r\n",
    ):
        assert ending(torn) == "torn"
