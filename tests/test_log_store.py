"""Rows as JSON lines: whole lines, each of them once, whatever the reader at the other end does."""

import json
import os
import threading

import pytest
from records import record

from tiergate.log_store import LineStore, LogDown


def test_a_row_is_a_line():
    reading, writing = os.pipe()
    store = LineStore(writing)
    store.open()
    store.write([record("a"), record("b\n")])
    store.write([record("c")])
    store.write([])
    store.close()
    os.close(writing)
    with open(reading) as lines:
        assert [json.loads(line)["id"] for line in lines] == ["a", "b\n", "c"]


def test_lines_are_nobodys_to_delete():
    assert LineStore(1).prune(0, 500) == 0


def test_a_reader_that_is_slow_is_waited_for():
    reading, writing = os.pipe()
    store, names = LineStore(writing), [f"r{number}" for number in range(500)]

    def write() -> None:
        store.write([record(name) for name in names])  # more than a pipe holds
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    with open(reading) as lines:
        assert [json.loads(line)["id"] for line in lines] == names
    writer.join()


def test_what_a_full_pipe_did_not_take_follows_without_a_seam():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    store, names, heard = LineStore(writing), [f"r{number}" for number in range(500)], b""
    while True:
        try:
            store.write([record(name) for name in names])
            break
        except LogDown:
            heard += os.read(reading, 10_000)
    assert heard
    os.close(writing)
    with open(reading, "rb") as rest:
        heard += rest.read()
    assert [json.loads(line)["id"] for line in heard.splitlines()] == names


def test_a_pipe_that_nobody_reads_any_more_is_a_store_that_is_down():
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(LogDown, match="stdout: Broken pipe"):
        LineStore(writing).write([record()])
    os.close(writing)


def test_pieces_are_whole_lines_that_a_pipe_takes_at_once():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    heard = b""
    for _ in range(2):  # of two processes that share the pipe
        with pytest.raises(LogDown):
            LineStore(writing).write([record(f"r{number}") for number in range(500)])
        heard += os.read(reading, 100_000)
        assert heard.endswith(b"\n")  # full, and yet no line is cut
    assert all(json.loads(line) for line in heard.splitlines())
    os.close(reading)
    os.close(writing)


def test_a_line_that_was_given_up_in_its_middle_takes_no_other_with_it():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    store = LineStore(writing)
    with pytest.raises(LogDown):
        store.write([record("x" * 100_000)])  # more than a pipe holds
    heard = os.read(reading, 100_000)
    store.write([record("a")])
    os.close(writing)
    with open(reading, "rb") as rest:
        heard += rest.read()
    cut, whole = heard.splitlines()
    assert cut.count(b"x") > 50_000
    assert json.loads(whole)["id"] == "a"


def test_what_the_parent_had_begun_is_not_written_by_its_fork():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    store, rows = LineStore(writing), [record("x" * 100_000)]
    with pytest.raises(LogDown):
        store.write(rows)
    os.read(reading, 100_000)
    if (child := os.fork()) == 0:
        store.write([record("c")])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert json.loads(os.read(reading, 100_000))["id"] == "c"
    store._process = child  # as it is seen from there
    store.write([record("d")])
    assert json.loads(os.read(reading, 100_000))["id"] == "d"
    os.close(reading)
    os.close(writing)
