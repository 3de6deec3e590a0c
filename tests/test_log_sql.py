"""Rows in real SQLite and PostgreSQL: all of a batch or none, once, exactly as they were.

And what becomes of a database that is locked, full, killed, paused or no database.
"""

import os
import resource
import sqlite3
import stat
import threading
from contextlib import closing

import msgspec
import pytest
from records import AT, ATTEMPT, KINDS, PROFILE, database, record
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from tiergate.log_row import COLUMNS, RequestRow, row_of
from tiergate.log_schema import log_table
from tiergate.log_sql import SqlStore, log_engine
from tiergate.log_store import LogDown, RowsRefused
from tiergate.log_url import read_log_url

UNKNOWN = dict.fromkeys([
    "client_id", "conversation", "requested_tier", "tier", "reason", "score", "requested_model",
    "provider", "model", "status", "error_code", "input_tokens", "cached_tokens", "output_tokens",
    "cost", "first_token_us", "overhead_us", "trace_id", "requested_reason", "caller_tier",
    "caller_max_tier", "policy", "policy_binds", "reach", "profile",
])  # fmt: skip


class Store(SqlStore):
    """A store that is closed at the end of its `with`."""

    def __init__(self, url: str) -> None:
        super().__init__(read_log_url(url))

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def rows(url: str) -> list[RequestRow]:
    with log_engine(read_log_url(url), read_only=True).connect() as connection:
        found = connection.execute(select(log_table).order_by(log_table.c.id))
        return [
            msgspec.convert(dict(zip(COLUMNS, each, strict=True)), RequestRow) for each in found
        ]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_row_comes_back_as_it_was_written(tmp_path, kind):
    largest = 2**53
    failed = msgspec.structs.replace(ATTEMPT, status=None, error="timeout ünï 'x' \\u0000 \"")
    full = record(
        "b",
        score=0.1,
        conversation="ünï 🎈 \\ ' \"",
        streaming=True,
        partial=True,
        attempts=(failed, ATTEMPT),
        input_tokens=largest,
        cached_tokens=largest,
        output_tokens=largest,
        first_token_us=largest,
        trace_id="f" * 32,
        caller_tier="simple",
        caller_max_tier="complex",
        policy="ünï",
        policy_binds=False,
        reach="0a1b2c3d",
        profile=PROFILE,
    )
    unknown = record("a", attempts=(), outcome="client_disconnected", **UNKNOWN)
    zeros = record("c", input_tokens=0, cached_tokens=0, output_tokens=0, cost=0.0, latency_us=0)
    async with database(kind, tmp_path) as made:
        with Store(made.url) as store:
            store.write([full, unknown, zeros])
        assert rows(made.url) == [row_of(unknown), row_of(full), row_of(zeros)]
        nulls = " AND ".join(f"{name} IS NULL" for name in UNKNOWN)
        assert made.ask(f"SELECT id FROM requests WHERE {nulls}") == [("a",)]


@pytest.mark.parametrize("kind", KINDS)
async def test_costs_are_exact_and_so_are_their_sums(tmp_path, kind):
    costs = [1e-8, 1.25e-8, 0.1, 0.2, 12_345_678.12345678, 3.0000000000000004e-05, 0.0]
    async with database(kind, tmp_path) as made:
        with Store(made.url) as store:
            store.write([record(f"r{n}", cost=cost) for n, cost in enumerate(costs)])
            store.write([record(f"s{n}", cost=1e-8) for n in range(1000)])
        assert [row.cost for row in rows(made.url)[: len(costs)]] == costs
        ((total,),) = made.ask("SELECT sum(cost) FROM requests WHERE id LIKE 's%'")
        assert float(total) == pytest.approx(1e-5, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_batch_of_any_size_is_written_whole_and_once(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        with Store(made.url) as store:
            sent = [record(f"{number:03}") for number in range(64 + 64 + 16 + 8 + 3)]
            store.write(sent)
            store.write([record("000", outcome="timeout"), record("999")])  # an answer was lost
        assert made.ids() == [each.id for each in sent] + ["999"]
        assert made.ask("SELECT outcome FROM requests WHERE id = '000'") == [("ok",)]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_nul_in_a_text_keeps_no_row_out(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        with Store(made.url) as store:
            store.write([record("a", requested_model="x\0y"), record("b")])
        assert [row.requested_model[0] for row in rows(made.url)] == ["x", "g"]


@pytest.mark.parametrize("kind", KINDS)
async def test_rows_that_can_never_be_written_are_refused_and_none_of_them_is_there(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        with Store(made.url) as store:
            broken = record("b", owner=None)
            with pytest.raises(RowsRefused, match=r"owner"):
                store.write([record("a"), broken])
            assert made.ids() == []
            store.write([record("a")])
        assert made.ids() == ["a"]


@pytest.mark.parametrize("kind", KINDS)
async def test_old_rows_go_in_steps_the_oldest_first(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        with Store(made.url) as store:
            store.write([record(f"{age:02}", at=AT - age) for age in range(20)])
            assert store.prune(AT - 4, 10) == 10
            assert made.ids() == [f"{age:02}" for age in range(10)]
            assert store.prune(AT - 4, 10) == 5
            assert store.prune(AT - 4, 10) == 0
        assert made.ids() == ["00", "01", "02", "03", "04"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_reader_cannot_write(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        with Store(made.url) as store:
            store.open()
        with (
            log_engine(read_log_url(made.url), read_only=True).connect() as connection,
            pytest.raises(DBAPIError, match=r"read.?only"),
            connection.begin(),
        ):
            connection.execute(log_table.delete())


def test_a_new_file_is_its_owners_alone(tmp_path):
    with Store(f"sqlite:///{tmp_path / 'log.db'}") as store:
        store.write([record()])
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert modes == dict.fromkeys(["log.db", "log.db-wal", "log.db-shm"], 0o600)


def test_a_file_that_was_there_keeps_its_mode(tmp_path):
    file = tmp_path / "log.db"
    file.touch()
    file.chmod(0o640)
    with Store(f"sqlite:///{file}") as store:
        store.open()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "a#b.db", "ünï.db"])
def test_a_file_may_have_any_name(tmp_path, name):
    with Store(f"sqlite:///{tmp_path / name}") as store:
        store.write([record()])
    assert [row.id for row in rows(f"sqlite:///{tmp_path / name}")] == ["r1"]


def test_a_database_that_is_locked_is_down_until_it_is_not(tmp_path):
    with Store(f"sqlite:///{tmp_path / 'log.db'}") as store:
        store.open()
        with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LogDown, match="database is locked"):
                store.write([record()])
            other.execute("COMMIT")
        store.write([record()])
        assert rows(f"sqlite:///{tmp_path / 'log.db'}") == [row_of(record())]


def test_a_full_disk_takes_none_of_a_batch_and_later_all(tmp_path):
    url = f"sqlite:///{tmp_path / 'log.db'}"
    batch = [record(f"r{number:04}") for number in range(1000)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Store(url) as store:
        store.write([record("a")])
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, before[1]))
            with pytest.raises(LogDown, match=r"full|I/O"):
                store.write(batch)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert [row.id for row in rows(url)] == ["a"]
        store.write(batch)
    assert len(rows(url)) == 1001


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: (path.parent.mkdir(), path.mkdir()), "directory"),
        (lambda path: (path.parent.mkdir(), path.write_text("no database " * 999)), "not a data"),
    ],
    ids=["no folder", "a folder", "no database"],
)
def test_what_is_no_database_is_down(tmp_path, make, says):
    file = tmp_path / "new" / "log.db"
    make(file)
    with Store(f"sqlite:///{file}") as store:
        for _ in range(2):
            with pytest.raises(LogDown, match=says):
                store.write([record()])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_table_of_somebody_else_is_left_alone(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        made.ask("CREATE TABLE requests (id TEXT)")
        with Store(made.url) as store, pytest.raises(LogDown, match="already exists"):
            store.write([record()])
        assert made.ids() == []


async def test_a_killed_server_is_down_and_is_used_again_when_it_is_back(tmp_path):
    async with database("postgresql", tmp_path) as made:
        with Store(made.url) as store:
            store.write([record("a")])
            await made.server.kill()
            for _ in range(2):
                with pytest.raises(LogDown) as down:
                    store.write([record("b")])
                assert "p w" not in str(down.value)
            await made.server.start()
            store.write([record("b")])
        assert made.ids() == ["a", "b"]


async def test_a_paused_server_is_waited_for(tmp_path):
    async with database("postgresql", tmp_path) as made:
        with Store(made.url) as store:
            store.write([record("a")])
            made.server.pause()
            writing = threading.Thread(target=store.write, args=([record("b")],))
            writing.start()
            writing.join(0.3)
            assert writing.is_alive()
            made.server.resume()
            writing.join(10)
            assert not writing.is_alive()
        assert made.ids() == ["a", "b"]


async def test_a_connection_has_time_limits_and_what_the_url_says_goes_before_ours(tmp_path):
    async with database("postgresql", tmp_path) as made:
        url = read_log_url(f"{made.url}?tcp_user_timeout=7000")
        with log_engine(url).connect() as connection, connection.begin():
            (limit,) = connection.exec_driver_sql("SHOW statement_timeout").one()
            said = connection.connection.driver_connection.info.get_parameters()
        assert limit == "10s"
        assert (said["connect_timeout"], said["tcp_user_timeout"]) == ("5", "7000")
        assert said["application_name"] == "tiergate"


async def test_a_wrong_password_is_told_of_without_being_told(tmp_path):
    async with database("postgresql", tmp_path) as made:
        port = made.server.port
        with (
            Store(f"postgresql://tiergate:hunter2@127.0.0.1:{port}/postgres") as store,
            pytest.raises(LogDown, match="password authentication failed") as down,
        ):
            store.open()
        assert "hunter2" not in str(down.value)


def test_the_columns_of_the_table_are_those_of_a_row():
    assert tuple(each.name for each in log_table.columns) == COLUMNS


def test_nothing_is_left_open(tmp_path):
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with Store(f"sqlite:///{tmp_path / 'log.db'}") as store:
            store.write([record()])
    assert len(os.listdir("/proc/self/fd")) == len(before)
