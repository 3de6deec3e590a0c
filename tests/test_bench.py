"""The measurements measure what they say: whole answers, whole trees of processes, open loops.

How fast anything is, is not asked here. The peers, nginx and wrk are not needed.
"""

import asyncio
import random
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

# `bench` is no package: its files are programs, and import each other as such.
sys.path.append(str(Path(__file__).parents[1] / "bench"))

import work
from catalogue import DEFAULTS, FORWARDER
from client import Ending
from cpu import Costs, measure
from machine import cpu_seconds, tree
from openloop import arrivals, latencies
from stage import end, in_turn, staged
from table import Row, absent, at_least, at_most, rows
from work import Work

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\n"
ANSWERS = {
    "length": HEAD + b"content-length: 5\r\n\r\nhello",
    "chunks": HEAD + b"\r\n5\r\nhello\r\n1\r\n0\r\n0\r\n\r\n",
    "nothing": HEAD + b"Content-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_the_end_of_an_answer_is_found_however_it_is_cut(answer):
    for cut in range(1, len(answer)):
        ending = Ending()
        assert not ending.reached(answer[:cut])
        assert ending.reached(answer[cut:])
        assert ending.head.startswith(b"HTTP/1.1 200")
    one_by_one = Ending()
    heard = [one_by_one.reached(answer[at : at + 1]) for at in range(len(answer))]
    assert heard == [False] * (len(answer) - 1) + [True]


def test_arrivals_come_as_often_as_asked_and_not_evenly():
    due = arrivals(1000, 10, random.Random(1))
    assert due == sorted(due)
    assert due[-1] < 10
    assert 9_700 < len(due) < 10_300
    gaps = [later - sooner for sooner, later in pairwise(due)]
    assert min(gaps) < 0.0001
    assert max(gaps) > 0.005


def test_what_children_spend_counts_while_they_live_and_after():
    burn = "import time\nwhile time.process_time() < 0.15: pass\n"
    code = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {burn!r}], check=True)\n"
        f"child = subprocess.Popen([sys.executable, '-c', {burn + 'input()'!r}])\n"
        "print(flush=True); child.wait()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        until = time.monotonic() + 30
        while cpu_seconds(parent.pid) < 0.3 and time.monotonic() < until:
            pass
        assert cpu_seconds(parent.pid) >= 0.3
        assert len(tree(parent.pid)) == 2


def test_a_ratio_is_the_median_of_the_rounds():
    spent = {
        ("bare forwarder", "1 kB"): [1.0, 10.0, 2.0],
        (DEFAULTS.name, "1 kB"): [2.0, 30.0, 3.0],
    }
    assert Costs(spent).ratio(DEFAULTS, work.JSON) == 2.0
    assert "3 (2.00)" in Costs(spent).table([FORWARDER, DEFAULTS], [work.JSON])


def test_a_row_says_whether_it_is_met():
    said = rows(
        [
            at_most("a", 2, 1.5, aim=1.2),
            at_most("b", 2, 2.01),
            at_least("c", 50, 51),
            absent("d", "≥ 4", "no node"),
            Row("e", "none", "none", True),
        ]
    ).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in said]
    assert cells == [
        ["a", "≤ 2 (aim 1.2)", "1.50", "met"],
        ["b", "≤ 2", "2.01", "NOT MET"],
        ["c", "≥ 50", "51.00", "met"],
        ["d", "≥ 4", "absent: no node", ""],
        ["e", "none", "none", "met"],
    ]


def test_the_floor_and_a_sidecar_are_measured_from_end_to_end():
    async def measured() -> None:
        subjects = (FORWARDER, DEFAULTS)
        async with staged(subjects, end("provider"), work.SMALL) as started:
            for name, body in (("JSON", work.SMALL), ("stream", work.STREAM.body)):
                for one in in_turn(started, 1):
                    assert 10 < await measure(one, Work(name, body, 2, 20)) < 1e6
            due = arrivals(100, 0.2, random.Random(1))
            for one in started:
                took = latencies(one.port, one.request(work.SMALL), due)
                assert len(took) == len(due)
                assert min(took) > 0
            with pytest.raises(RuntimeError, match=r"bare forwarder, wrong: .*HTTP/1\.1 500"):
                await measure(started[0], Work("wrong", b"not JSON", 1, 1))

    asyncio.run(measured())
