"""History on threads: an answer takes no longer than it may, and no more threads than there are."""

import asyncio
import socket
import threading
import time

import pytest
from past import ALL, PAST
from records import database

from tiergate import ConfigError, read_log_url
from tiergate.log_sql import SqlStore
from tiergate_sidecar.errors import HistoryUnavailable
from tiergate_sidecar.queries import Query
from tiergate_sidecar.sql_history import AT_ONCE, SqlHistory


def written(url):
    store = SqlStore(read_log_url(url))
    store.write(PAST)
    store.close()


def test_a_url_that_is_none_is_an_error_where_the_history_is_made():
    with pytest.raises(ConfigError):
        SqlHistory("mysql://h/db")


async def test_nothing_is_opened_before_somebody_asks(tmp_path):
    history = SqlHistory(f"sqlite:///{tmp_path / 'log.db'}")
    assert repr(history) == f"<SqlHistory sqlite:///{tmp_path / 'log.db'}>"
    with pytest.raises(HistoryUnavailable):
        await history.request("a")
    assert list(tmp_path.iterdir()) == []


async def test_a_silent_server_is_waited_for_no_longer_than_the_limit(tmp_path):
    async with database("postgresql", tmp_path) as made:
        written(made.url)
        history = SqlHistory(made.url, seconds=0.5)
        assert (await history.requests(Query(**ALL))).total == len(PAST)
        made.server.pause()
        begun = time.monotonic()
        asking = [history.stats(Query(**ALL)) for _ in range(AT_ONCE + 2)]
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert time.monotonic() - begun < 2
        assert {type(each) for each in answers} == {HistoryUnavailable}
        assert sum("at once" in str(each) for each in answers) == 2
        made.server.resume()
        async with asyncio.timeout(20):
            while not await served(history):  # noqa: ASYNC110  # a process has no event of ours
                await asyncio.sleep(0.02)


async def served(history):
    try:
        return (await history.requests(Query(**ALL))).total == len(PAST)
    except HistoryUnavailable:  # the late ones are still under way
        return False


async def test_a_question_that_takes_too_long_is_interrupted(tmp_path):
    url = f"sqlite:///{tmp_path / 'log.db'}"
    written(url)
    history, ended = SqlHistory(url, seconds=0.3), threading.Event()
    forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"

    def ask(reader):
        reader.request("a")
        try:
            reader._connection.exec_driver_sql(forever)
        finally:
            ended.set()

    with pytest.raises(HistoryUnavailable, match="in time"):
        await history._ask(ask)
    assert await asyncio.to_thread(ended.wait, 10)
    assert (await history.requests(Query(**ALL))).total == len(PAST)


def test_a_frozen_server_keeps_no_loop_from_ending_and_the_slot_comes_back(tmp_path):
    async def frozen() -> None:
        async with database("postgresql", tmp_path) as made:
            written(made.url)
            history = SqlHistory(made.url, seconds=0.5)
            made.server.pause()
            try:
                with pytest.raises(HistoryUnavailable, match="in time"):
                    await history.stats(Query(**ALL))
                assert not [each for each in threading.enumerate() if "asyncio_" in each.name]
            finally:
                made.server.resume()

    asyncio.run(frozen())


async def test_a_connection_that_falls_silent_is_hung_up_on(tmp_path):
    history, ended = SqlHistory("postgresql://u@127.0.0.1/db", seconds=0.3), threading.Event()
    ours, theirs = socket.socketpair()

    def ask(reader):
        reader._connected(ours, None)
        assert ours.recv(1) == b""  # it has been shut down: a server that is frozen says nothing
        ended.set()

    with pytest.raises(HistoryUnavailable, match="in time"):
        await history._ask(ask)
    assert await asyncio.to_thread(ended.wait, 10)
    async with asyncio.timeout(5):
        while history.threads.under_way:  # noqa: ASYNC110  # its end comes from the thread
            await asyncio.sleep(0.005)
    ours.close()
    theirs.close()


async def test_where_the_system_has_no_thread_left_it_is_said():
    history = SqlHistory("sqlite:///none.db")
    threading.stack_size(2**46)  # bytes: more than there are
    try:
        with pytest.raises(HistoryUnavailable, match="no thread"):
            await history.stats(Query(**ALL))
    finally:
        threading.stack_size(0)
    await asyncio.sleep(0)
    assert history.threads.under_way == 0
