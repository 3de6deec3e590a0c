"""What is read from the request log, in both databases, by a connection that may only read."""

import pytest
from past import PAST, check
from records import KINDS, database, record

from tiergate import log_engine, log_table, read_log_url, row_of
from tiergate.log_sql import SqlStore
from tiergate_sidecar.errors import HistoryUnavailable
from tiergate_sidecar.log_queries import Reader
from tiergate_sidecar.queries import Query
from tiergate_sidecar.sql_history import SqlHistory


def written(url, *records):
    store = SqlStore(read_log_url(url))
    store.write(records)
    store.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_everything_is_found_as_it_was_asked_for(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        written(made.url, *PAST)
        await check(SqlHistory(made.url))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_row_is_given_as_it_was_written(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        written(made.url, record("a", score=0.5))
        with Reader(read_log_url(made.url)) as reader:
            assert reader.request("a") == row_of(record("a", score=0.5))


@pytest.mark.parametrize("kind", KINDS)
async def test_rows_of_one_moment_are_each_read_once_over_many_pages(tmp_path, kind):
    names = [f"{number:04}" for number in range(1100)]
    async with database(kind, tmp_path) as made:
        written(made.url, *(record(name, at=1) for name in reversed(names)))
        with Reader(read_log_url(made.url)) as reader:
            older, rows = reader.newest(Query(since=0, until=1), 1050)
            assert older
            assert [row.id for row in rows] == names[50:]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_log_that_was_never_written_cannot_be_read(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        with (
            Reader(read_log_url(made.url)) as reader,
            pytest.raises(HistoryUnavailable, match="cannot be read") as refused,
        ):
            reader.stats(Query(since=0, until=1))
        assert (refused.value.status, refused.value.retry_after) == (503, 1)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spoilt", ["outcome = 'napping'", "profile = '{'"])
async def test_a_row_that_cannot_be_read_is_told_from_a_bug_of_ours(tmp_path, spoilt):
    async with database("sqlite", tmp_path) as made:
        written(made.url, record("a"))
        made.ask(f"UPDATE requests SET {spoilt}")
        with Reader(read_log_url(made.url)) as reader, pytest.raises(HistoryUnavailable):
            reader.request("a")


async def test_a_password_is_not_told(tmp_path):
    async with database("postgresql", tmp_path) as made:
        url = read_log_url(f"postgresql://nobody:hunter2@127.0.0.1:{made.server.port}/postgres")
        with Reader(url) as reader, pytest.raises(HistoryUnavailable) as refused:
            reader.request("a")
        assert "nobody" in str(refused.value)
        assert "hunter2" not in str(refused.value)


def test_interrupting_what_is_not_under_way_does_nothing(tmp_path):
    with Reader(read_log_url(f"sqlite:///{tmp_path / 'log.db'}")) as reader:
        reader.interrupt()


async def test_the_indexes_serve_the_pages(tmp_path):
    """Of many rows the database reads few: the plan names an index, never the whole table."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    written(url, *PAST)
    with log_engine(read_log_url(url), read_only=True).connect() as connection:
        for where in (
            "at > 1 ORDER BY at DESC",
            "outcome = 'timeout' AND at > 1",
            "client_id = ''",
        ):
            statement = f"EXPLAIN QUERY PLAN SELECT * FROM {log_table.name} WHERE {where}"
            plan = " ".join(str(row) for row in connection.exec_driver_sql(statement))
            assert "USING INDEX requests_" in plan
            assert "TEMP B-TREE" not in plan
