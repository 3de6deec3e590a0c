"""The table of the request log in real databases: made once, whoever comes at the same time.

Also what an older and a newer process make of the same database, and a role with few rights.
"""

import subprocess
import sys

import pytest
from records import KINDS, database
from sqlalchemy import Connection, inspect, text

from tiergate.log_schema import MIGRATIONS, log_table, migrate
from tiergate.log_sql import log_engine
from tiergate.log_url import read_log_url

COUNT = "SELECT count(*), max(version) FROM requests_version"
MIGRATE = """
import pathlib, sys
from tiergate.log_schema import migrate
from tiergate.log_sql import log_engine
from tiergate.log_url import read_log_url
with log_engine(read_log_url(sys.argv[1])).connect() as connection:
    print(flush=True)
    sys.stdin.read(1)
    with connection.begin():
        migrate(connection)
"""


def add_a_column(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE requests ADD COLUMN region TEXT"))


def run(url, migrations=MIGRATIONS):
    path = url.removeprefix("sqlite:///")
    if path != url:
        open(path, "ab").close()
    with log_engine(read_log_url(url)).connect() as connection, connection.begin():
        migrate(connection, migrations)


@pytest.mark.parametrize("kind", KINDS)
async def test_processes_that_start_together_make_the_table_once(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        if made.server is None:
            (tmp_path / "log.db").touch()
        command = [sys.executable, "-c", MIGRATE, made.url]
        pipe = subprocess.PIPE
        starting = [
            subprocess.Popen(command, stdin=pipe, stdout=pipe)  # noqa: ASYNC220  # returns at once
            for _ in range(4)
        ]
        for each in starting:  # all are connected, and wait for the word
            assert each.stdout.readline() == b"\n"
        for each in starting:
            each.stdin.write(b"!")
            each.stdin.flush()
        for each in starting:
            each.communicate(timeout=30)
        assert [each.returncode for each in starting] == [0, 0, 0, 0]
        assert made.ask(COUNT) == [(1, len(MIGRATIONS))]
        assert made.ids() == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_table_of_before_gets_what_is_new_and_keeps_its_rows(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        run(made.url)
        names = "id, at, owner, streaming, attempts, outcome, partial, latency_us"
        made.ask(f"INSERT INTO requests ({names}) VALUES ('a', 1, '', '0', '[]', 'ok', '0', 1)")
        run(made.url, (*MIGRATIONS, add_a_column))
        run(made.url, (*MIGRATIONS, add_a_column))
        assert made.ask("SELECT id, region FROM requests") == [("a", None)]
        assert made.ask(COUNT) == [(1, len(MIGRATIONS) + 1)]
        run(made.url)  # a process that is a version behind leaves it as it is
        assert made.ask(COUNT) == [(1, len(MIGRATIONS) + 1)]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_older_process_writes_beside_a_newer_one(tmp_path, kind):
    names = "id, at, owner, streaming, attempts, outcome, partial, latency_us"
    async with database(kind, tmp_path) as made:
        for version, name in enumerate("ab", 1):
            run(made.url, MIGRATIONS[:version])
            made.ask(
                f"INSERT INTO requests ({names}) VALUES ('{name}', 1, '', '0', '[]', 'ok', '0', 1)"
            )
        run(made.url, MIGRATIONS[:1])
        assert made.ask("SELECT id, requested_reason, profile FROM requests ORDER BY id") == [
            ("a", None, None),
            ("b", None, None),
        ]
        with log_engine(read_log_url(made.url)).connect() as connection:
            found = inspect(connection).get_columns("requests")
            told = {each["name"]: str(each["type"]) for each in found}
        assert told.keys() == set(log_table.columns.keys())
        for one, like in (("profile", "attempts"), ("policy_binds", "partial"), ("reach", "id")):
            assert told[one] == told[like]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_migration_that_fails_changes_nothing(tmp_path, kind):
    def breaks(connection: Connection) -> None:
        add_a_column(connection)
        raise ZeroDivisionError

    async with database(kind, tmp_path) as made:
        run(made.url)
        with pytest.raises(ZeroDivisionError):
            run(made.url, (*MIGRATIONS, breaks))
        assert made.ask(COUNT) == [(1, len(MIGRATIONS))]
        run(made.url, (*MIGRATIONS, add_a_column))


async def test_a_role_that_may_only_write_rows_is_enough_where_the_table_is_there(tmp_path):
    async with database("postgresql", tmp_path) as made:
        run(made.url)
        made.ask("CREATE ROLE app LOGIN PASSWORD 'app'")
        made.ask("REVOKE ALL ON SCHEMA public FROM app")
        made.ask("GRANT SELECT, INSERT ON requests, requests_version TO app")
        run(f"postgresql://app:app@127.0.0.1:{made.server.port}/postgres")


def test_what_is_asked_for_often_has_an_index():
    indexed = {tuple(column.name for column in each.columns) for each in log_table.indexes}
    assert indexed == {("at",), ("client_id",), ("outcome", "at")}
