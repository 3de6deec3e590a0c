"""The writer: what is put is written, in batches and once, or is counted; and its thread ends.

With a store that does what the test says. That real ones behave so is said in `test_log_sql`.
"""

import logging
import os
import subprocess
import sys
import threading
import time

import pytest
from records import record

from tiergate.log_store import LogDown, RowsRefused
from tiergate.log_writer import BATCH, PRUNE_STEP, LogWriter

WALL = 1_700_000_000.0
RETENTION = 1000.0


class Store:
    """Keeps ids. `troubles` are raised by the next writes; an unset `gate` holds them."""

    def __init__(self, *troubles: Exception, poison: str = "poison") -> None:
        self.batches: list[list[str]] = []
        self.pruned: list[int] = []
        self.old = 0
        self.closed = 0
        self.opened = 0
        self.thread: str | None = None
        self.troubles = list(troubles)
        self.open_troubles: list[Exception] = []
        self.prune_trouble: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self._poison = poison
        self._changed = threading.Condition()

    @property
    def ids(self) -> list[str]:
        return [name for batch in self.batches for name in batch]

    def has(self, condition, within=5.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), within)

    def open(self) -> None:
        self.opened += 1
        self._tell()
        if self.open_troubles:
            raise self.open_troubles.pop(0)

    def write(self, records) -> None:
        self.thread = threading.current_thread().name
        assert self.gate.wait(10)
        if self.troubles:
            error = self.troubles.pop(0)
            self._tell()
            raise error
        if any(each.id == self._poison for each in records):
            raise RowsRefused("no such thing")
        self.batches.append([each.id for each in records])
        self._tell()

    def prune(self, before_us, most) -> int:
        if self.prune_trouble is not None:
            raise self.prune_trouble
        self.pruned.append(before_us)
        deleted = min(self.old, most)
        self.old -= deleted
        self._tell()
        return deleted

    def close(self) -> None:
        self.closed += 1

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()


class Writer(LogWriter):
    """A writer that is ended at the end of its `with`, its thread gone."""

    def __init__(self, store, *, most=1000, clock=time.monotonic) -> None:
        if isinstance(store, Store):
            super().__init__(
                "log", lambda: store, most=most, retention=RETENTION, clock=clock, wall=lambda: WALL
            )
        else:
            super().__init__("log", store, most=most, retention=1, clock=clock, wall=lambda: WALL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.finish(0)

    def finish(self, seconds=5.0) -> None:
        thread, ended = self._thread, self.end(seconds)
        if ended is not None:
            ended.result(timeout=10)
            thread.join(10)  # it has still to return

    def counts(self):
        return self.queued, self.written, self.dropped


def threads():
    return [each.name for each in threading.enumerate() if each.name == "tiergate-log"]


def test_rows_are_written_by_a_thread_that_the_first_one_starts():
    store = Store()
    with Writer(store) as writer:
        assert (threads(), store.opened) == ([], 0)
        writer.put(record("a"))
        assert threads() == ["tiergate-log"]
        store.has(lambda s: s.ids == ["a"])
        assert store.thread == "tiergate-log"
        writer.finish()
        assert (threads(), store.closed, writer.counts()) == ([], 1, (0, 1, 0))
        assert not writer.is_down


def test_rows_of_a_moment_go_together_and_keep_their_order():
    store = Store()
    with Writer(store) as writer:
        for number in range(100):
            writer.put(record(f"{number:02}"))
        store.has(lambda s: len(s.ids) == 100)
        assert len(store.batches) <= 2
        assert store.ids == [f"{number:02}" for number in range(100)]


def test_rows_that_trickle_in_wait_for_company():
    store, begun = Store(), time.monotonic()
    with Writer(store) as writer:
        for number in range(100):
            writer.put(record(str(number)))
            time.sleep(0.005)  # the rate is the experiment
        writer.finish()
        assert len(store.ids) == 100
        # Half a second and more in fifths, and the first row, which has begun the thread.
        assert len(store.batches) <= 2 + (time.monotonic() - begun) / 0.2
        assert min(map(len, store.batches[1:-1])) > 1


def test_a_batch_is_bounded():
    store = Store()
    with Writer(store, most=10_000) as writer:
        for number in range(3 * BATCH):
            writer.put(record(str(number)))
        store.has(lambda s: len(s.ids) == 3 * BATCH)
        assert max(map(len, store.batches)) <= BATCH


def test_what_the_queue_has_no_room_for_is_counted_and_told_of(caplog):
    store = Store()
    store.gate.clear()
    with Writer(store, most=10) as writer:
        writer.rouse()
        writer.put(record("first"))
        while writer._in_hand == 0:
            time.sleep(0.005)
        for number in range(15):
            writer.put(record(str(number)))
        assert (writer.queued, writer.dropped) == (11, 5)
        store.gate.set()
        store.has(lambda s: len(s.ids) == 11)
        writer.finish()
        assert writer.counts() == (0, 11, 5)
    assert [each.getMessage() for each in caplog.records if "too slow" in each.getMessage()] == [
        "log is too slow: 5 rows dropped"
    ]


def test_a_store_that_is_down_gets_the_same_rows_later(caplog):
    caplog.set_level(logging.INFO)
    store = Store(LogDown("gone"), LogDown("gone"))
    with Writer(store) as writer:
        writer.put(record("a"))
        store.has(lambda s: len(s.troubles) == 1)
        assert (writer.queued, writer.is_down, writer.last_error) == (1, True, "gone")
        writer.put(record("b"))
        store.has(lambda s: s.ids == ["a", "b"])
        writer.finish()
        assert (writer.counts(), writer.is_down, writer.last_error) == ((0, 2, 0), False, "gone")
    said = [each.getMessage() for each in caplog.records]
    assert said == ["log cannot be used, rows of requests wait: gone", "log is back"]


def test_a_row_that_is_refused_keeps_none_of_the_others_out(caplog):
    store = Store()
    with Writer(store) as writer:
        for number in range(20):
            writer.put(record("poison" if number == 7 else str(number)))
        store.has(lambda s: len(s.ids) == 19)
        writer.finish()
        assert (writer.counts(), writer.last_error) == ((0, 19, 1), "no such thing")
        assert not writer.is_down
    assert "log does not take the row of poison: no such thing" in caplog.text


def test_a_bug_of_a_store_is_logged_and_the_rows_are_kept(caplog):
    store = Store(ZeroDivisionError("oh"))
    with Writer(store) as writer:
        writer.put(record("a"))
        store.has(lambda s: s.ids == ["a"])
        writer.finish()
        assert (writer.counts(), writer.last_error) == ((0, 1, 0), "ZeroDivisionError: oh")
    assert "Traceback" in caplog.text


def test_a_store_that_cannot_even_be_made_is_tried_again():
    store, tries = Store(), []

    def make():
        tries.append(1)
        if len(tries) < 3:
            raise ImportError("no module")
        return store

    with Writer(make) as writer:
        writer.put(record("a"))
        store.has(lambda s: s.ids == ["a"])
        assert writer.last_error == "ImportError: no module"


def test_a_store_that_is_never_made_is_given_up_at_the_end():
    def make():
        raise ImportError("no module")

    with Writer(make) as writer:
        writer.put(record("a"))
        writer.finish(0)
        assert (writer.counts(), threads()) == ((0, 0, 1), [])


def test_a_store_is_opened_before_there_is_a_row_and_its_trouble_is_known():
    store = Store()
    store.open_troubles = [LogDown("no folder")]
    with Writer(store) as writer:
        writer.rouse()
        store.has(lambda s: s.opened == 1)
        writer.finish()
        assert (writer.is_down, writer.last_error) == (True, "no folder")


def test_ending_writes_what_is_left_without_waiting_for_company():
    store = Store()
    store.gate.clear()
    with Writer(store) as writer:
        for number in range(3 * BATCH):
            writer.put(record(str(number)))
        store.gate.set()
        begun = time.monotonic()
        writer.finish()
        assert time.monotonic() - begun < 2
        assert writer.counts() == (0, 3 * BATCH, 0)


def test_ending_gives_up_when_the_time_is_over_and_counts():
    store = Store(*(LogDown("gone") for _ in range(1000)))
    with Writer(store) as writer:
        for number in range(5):
            writer.put(record(str(number)))
        store.has(lambda s: len(s.troubles) < 1000)
        writer.put(record("later"))
        begun = time.monotonic()
        writer.finish(0.3)
        assert 0.25 < time.monotonic() - begun < 2
        assert (writer.counts(), threads()) == ((0, 0, 6), [])


def test_ending_shortens_a_long_pause():
    store = Store(*(LogDown("gone") for _ in range(5)))  # then it pauses 1.6 s
    with Writer(store) as writer:
        writer.put(record("a"))
        store.has(lambda s: not s.troubles)
        begun = time.monotonic()
        writer.finish()
        assert time.monotonic() - begun < 1
        assert writer.counts() == (0, 1, 0)


def test_where_the_system_has_no_thread_left_rows_wait_for_the_next_one():
    store = Store()
    with Writer(store) as writer:
        threading.stack_size(2**46)  # bytes: more than there are
        try:
            writer.put(record("a"))
        finally:
            threading.stack_size(0)
        assert (writer.queued, writer.last_error) == (1, "can't start new thread")
        assert writer.end(1) is None
        writer.put(record("b"))
        writer.finish()
        assert (store.ids, writer.counts()) == (["a", "b"], (0, 2, 0))


def test_a_row_after_the_end_starts_anew():
    first, second = Store(), Store()
    stores = [second, first]
    with Writer(lambda: stores.pop()) as writer:
        writer.put(record("a"))
        writer.finish()
        assert writer.end(1) is None
        writer.put(record("b"))
        writer.finish()
        assert (first.ids, second.ids, writer.written) == (["a"], ["b"], 2)
        assert (first.closed, second.closed) == (1, 1)


def test_no_row_is_missed_when_many_come_and_go_at_the_moment_of_falling_asleep():
    store = Store()
    with Writer(store, most=100_000) as writer:
        for number in range(300):
            writer.put(record(str(number)))
            if number % 3 == 0:
                writer.finish()
        writer.finish()
        assert store.ids == [str(number) for number in range(300)]


def test_rows_past_their_age_go_in_steps_and_again_every_hour():
    store, now = Store(), [1000.0]
    store.old = 2 * PRUNE_STEP + 1
    with Writer(store, clock=lambda: now[0]) as writer:
        writer.rouse()
        store.has(lambda s: len(s.pruned) == 1)
        for step in (2, 3):
            now[0] += 1
            writer.put(record(str(step)))
            store.has(lambda s, step=step: len(s.pruned) == step)
        assert (store.old, set(store.pruned)) == (0, {round((WALL - RETENTION) * 1e6)})
        now[0] += 3599
        writer.put(record("4"))
        store.has(lambda s: "4" in s.ids)
        assert len(store.pruned) == 3
        now[0] += 2
        writer.put(record("5"))
        store.has(lambda s: len(s.pruned) == 4)


def test_rows_that_cannot_be_deleted_are_told_of_once_and_keep_no_row_out(caplog):
    store, now = Store(), [1000.0]
    store.prune_trouble = LogDown("permission denied")
    with Writer(store, clock=lambda: now[0]) as writer:
        for name in ("a", "b"):
            writer.put(record(name))
            store.has(lambda s, name=name: name in s.ids)
            now[0] += 3601
        writer.finish()
        assert (writer.written, writer.is_down, writer.last_error) == (
            2,
            False,
            "permission denied",
        )
    assert caplog.text.count("old rows cannot be deleted: permission denied") == 1


def test_the_end_of_the_interpreter_is_an_end_as_any_other():
    store = Store()
    with Writer(store) as writer:
        writer.put(record("a"))
        writer._at_exit()
        writer._at_exit()
        assert (store.ids, store.closed, writer.counts()) == (["a"], 1, (0, 1, 0))


END = """
import time
from records import record
from test_log_writer import Store
from tiergate.log_writer import LogWriter
store = Store()
store.close = lambda: print(*store.ids, flush=True)
writer = LogWriter("log", lambda: store, most=10, retention=1, clock=time.monotonic, wall=time.time)
for name in "abc":
    writer.put(record(name))
"""


def test_what_nobody_has_closed_is_written_when_the_interpreter_ends():
    code = f"import sys; sys.path.insert(0, {str(__file__.rpartition('/')[0])!r}){END}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr, done.returncode) == ("a b c\n", "", 0)


def test_a_store_that_hangs_keeps_no_interpreter_from_ending():
    code = f"import sys; sys.path.insert(0, {str(__file__.rpartition('/')[0])!r}){END}"
    code = code.replace("store = Store()", "store = Store(); store.gate.clear()")
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.returncode) == ("", 0)
    assert time.monotonic() - begun < 8


def test_putting_a_row_costs_microseconds_however_slow_the_store_is():
    store = Store()
    store.gate.clear()
    rows = [record(str(number)) for number in range(2000)]
    with Writer(store, most=10_000) as writer:
        writer.put(record("first"))
        begun = time.perf_counter()
        for each in rows:
            writer.put(each)
        assert (time.perf_counter() - begun) / len(rows) < 20e-6  # 0.2 on a quiet machine
        store.gate.set()
        store.has(lambda s: len(s.ids) == 2001)


def test_a_store_that_hangs_at_the_end_is_given_up_once_and_its_rows_are_counted(caplog):
    store, second = Store(), Store()
    store.gate.clear()
    stores = [second, store]
    with Writer(lambda: stores.pop()) as writer:
        writer.put(record("a"))
        while writer._in_hand == 0:
            time.sleep(0.005)
        hanging = writer._thread
        writer.put(record("b"))
        writer._at_exit()
        writer.give_up()
        assert writer.end(9) is None  # nobody waits for it again, at exit neither
        assert writer.counts() == (0, 0, 2)
        writer.put(record("c"))
        second.has(lambda s: s.ids == ["c"])
        store.gate.set()  # it comes back, and is the thread no more
        hanging.join(10)
        assert (store.ids, store.closed) == (["a"], 1)
        writer.finish()
        assert writer.counts() == (0, 1, 2)
    assert caplog.text.count("log: 2 rows were not written in time") == 1


def test_a_fork_begins_anew_and_leaves_the_parent_its_rows():
    store = Store()
    store.gate.clear()
    with Writer(store) as writer:
        writer.put(record("parent"))
        while writer._in_hand == 0:
            time.sleep(0.005)
        writer.put(record("waiting"))
        with writer._turn:  # whatever another thread holds at that moment
            child = os.fork()
        if child == 0:
            own = Store()
            writer._open_store = lambda: own
            writer.put(record("child"))
            writer.finish()
            os._exit(0 if own.ids == ["child"] else 1)
        assert os.waitpid(child, 0)[1] == 0
        store.gate.set()
        writer.finish()
        assert store.ids == ["parent", "waiting"]


@pytest.mark.parametrize("trouble", [LogDown("gone"), RowsRefused("no such thing")])
def test_a_call_that_fails_after_it_was_given_up_counts_no_row_twice(trouble):
    store = Store(trouble)
    store.gate.clear()
    with Writer(store) as writer:
        writer.put(record("a"))
        while writer._in_hand == 0:
            time.sleep(0.005)
        hanging = writer._thread
        writer.give_up()
        store.gate.set()
        hanging.join(10)
        assert (store.ids, writer.counts(), threads()) == ([], (0, 0, 1), [])


def test_a_thread_that_is_no_more_the_writers_takes_nothing():
    with Writer(Store()) as writer:
        writer._queue.append(record("a"))  # and nobody is roused
        assert (writer._has_work(), writer._take()) == (False, [])
        writer._queue.clear()


def test_a_store_that_hangs_while_it_is_made_is_given_up_without_a_row(caplog):
    made, store = threading.Event(), Store()

    def make():
        assert made.wait(10)
        return store

    with Writer(make) as writer:
        writer.rouse()
        hanging = writer._thread
        writer.give_up()
        made.set()
        hanging.join(10)
        assert (writer.counts(), threads(), store.ids) == ((0, 0, 0), [], [])
    assert "not written" not in caplog.text
