"""The rows of a log in the order of their time, from real databases and lines; nothing is made.

What is no log is told in one line, without a password; memory is bounded, and rows of an older log
are rows.
"""

import io
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from records import AT, KINDS, PROFILE, database, record

from tiergate import ConfigError, log_engine, read_log_url, row_of
from tiergate.log_row import encoded
from tiergate.log_schema import MIGRATIONS, migrate
from tiergate.log_sql import SqlStore
from tiergate_sidecar.replaying import LONGEST_LINE, REORDERED, LogRows

PLACES = [record(f"r{place}", at=AT + at, profile=PROFILE) for place, at in enumerate((3, 1, 2, 1))]
IN_ORDER = ["r1", "r3", "r2", "r0"]


def written(url, records):
    store = SqlStore(read_log_url(url))
    for first in range(0, len(records), 256):
        store.write(records[first : first + 256])
    store.close()


def ids(rows):
    return [row.id for row in rows]


@pytest.mark.parametrize("kind", KINDS)
async def test_rows_of_a_database_come_in_the_order_of_their_time(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        written(made.url, PLACES)
        assert ids(LogRows(made.url)) == IN_ORDER
        assert ids(LogRows(made.url, since=AT + 2, until=AT + 2)) == ["r2"]
        (row,) = LogRows(made.url, since=AT + 3)
        wanted = row_of(record("r0", at=AT + 3, profile=PROFILE, attempts=()))
        assert row == wanted  # the attempts are left out


@pytest.mark.parametrize("kind", KINDS)
async def test_more_rows_than_a_page_are_read_once_each(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        records = [record(f"{number:05}", at=AT + number // 4000) for number in range(10_001)]
        written(made.url, records)
        assert ids(LogRows(made.url)) == [each.id for each in records]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_log_of_the_version_before_is_read(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        if made.server is None:
            (tmp_path / "log.db").touch()
        with log_engine(read_log_url(made.url)).connect() as connection, connection.begin():
            migrate(connection, MIGRATIONS[:1])
        names = "id, at, owner, streaming, attempts, outcome, partial, latency_us, tier, reason"
        said = "'a', 7, '', '0', '[]', 'ok', '0', 1, 'simple', 'alias'"
        made.ask(f"INSERT INTO requests ({names}) VALUES ({said})")
        (row,) = LogRows(made.url)
        assert (row.id, row.tier, row.reason) == ("a", "simple", "alias")
        assert (row.requested_reason, row.reach, row.profile) == (None, None, None)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_no_request_log_is_told(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        if made.server is None:
            (tmp_path / "log.db").touch()
        with pytest.raises(ConfigError, match="is no request log: it has no table 'requests'"):
            ids(LogRows(made.url))
        made.ask("CREATE TABLE requests (id TEXT)")
        with pytest.raises(ConfigError, match="is no request log: its table 'requests' is"):
            ids(LogRows(made.url))


async def test_a_row_that_nobody_can_read_is_counted(tmp_path):
    async with database("sqlite", tmp_path) as made:
        written(made.url, PLACES)
        made.ask("UPDATE requests SET tier = 'huge' WHERE id = 'r2'")
        rows = LogRows(made.url)
        assert (ids(rows), rows.unreadable) == (["r1", "r3", "r0"], 1)


async def test_a_column_of_broken_json_is_told_in_one_line(tmp_path):
    async with database("sqlite", tmp_path) as made:
        written(made.url, PLACES)
        made.ask("UPDATE requests SET profile = '{' WHERE id = 'r2'")
        with pytest.raises(ConfigError, match=r"log.db cannot be read: Expecting property name"):
            ids(LogRows(made.url))


@pytest.mark.parametrize("name", ["none.db", "none/log.db"])
def test_a_file_that_is_not_there_is_not_made(tmp_path, name):
    for log in (f"sqlite:///{tmp_path / name}", str(tmp_path / name)):
        with pytest.raises(ConfigError, match=r"there is no file|No such file"):
            ids(LogRows(log))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_told(tmp_path):
    file = tmp_path / "log.db"
    file.write_bytes(b"no database " * 999)
    with pytest.raises(ConfigError, match=r"log.db cannot be read: file is not a database"):
        ids(LogRows(f"sqlite:///{file}"))


async def test_a_server_that_cannot_be_reached_is_told_in_one_line_without_its_password(tmp_path):
    async with database("postgresql", tmp_path) as made:
        port = made.server.port
        wrong = f"postgresql://tiergate:hunter2@127.0.0.1:{port}/postgres"
        await made.server.kill()
        with pytest.raises(ConfigError, match="cannot be read: connection failed") as refused:
            ids(LogRows(wrong))
        assert "\n" not in str(refused.value)
        assert "hunter2" not in str(refused.value)


def test_a_database_is_only_read(tmp_path):
    file = tmp_path / "log.db"
    written(f"sqlite:///{file}", PLACES)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    file.chmod(0o400)
    before = (file.read_bytes(), list(tmp_path.iterdir()))
    assert ids(LogRows(f"sqlite:///{file}")) == IN_ORDER
    assert (file.read_bytes(), list(tmp_path.iterdir())) == before


@pytest.mark.parametrize("missing", ["sqlalchemy", "psycopg"])
def test_without_its_driver_a_database_cannot_be_read(missing):
    asked = f"""
import sys
sys.modules[{missing!r}] = None
from tiergate import ConfigError
from tiergate_sidecar.replaying import LogRows
try:
    list(LogRows("postgresql://ann:pw@localhost:1/d"))
except ConfigError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("postgresql://ann@localhost:1/d cannot be read: ")
    assert missing in said.stdout


def test_stdout_keeps_nothing():
    with pytest.raises(ConfigError, match="stdout: keeps nothing"):
        ids(LogRows("stdout:"))


def test_a_url_of_another_kind_is_no_file_and_its_password_is_not_told():
    with pytest.raises(ConfigError, match="begins with none of") as refused:
        ids(LogRows("mysql://ann:hunter2@h/d"))
    assert "hunter2" not in str(refused.value)


# --- lines


def lines(*records) -> bytes:
    return b"".join(encoded(each) + b"\n" for each in records)


def test_lines_are_put_in_the_order_of_their_time(tmp_path):
    file = tmp_path / "pod.log"
    file.write_bytes(lines(*PLACES))
    rows = LogRows(str(file))
    assert (ids(rows), rows.unreadable, rows.late) == (IN_ORDER, 0, 0)
    assert next(iter(rows)).profile == PROFILE
    assert ids(LogRows(str(file), since=AT + 2)) == ["r2", "r0"]
    assert ids(LogRows("-", stdin=io.BytesIO(lines(*PLACES)))) == IN_ORDER


def test_a_line_may_wait_for_many_but_not_for_all():
    many = [record(f"r{number}", at=AT + number) for number in range(REORDERED + 2)]
    rows = LogRows("-", stdin=io.BytesIO(lines(*many[1:], many[0])))
    assert ids(rows)[:3] == ["r1", "r0", "r2"]
    assert rows.late == 1


def test_lines_that_are_no_rows_are_left_out_and_counted():
    odd = [b"Started\n", b"\n", b'{"id": 1}\n', b"[" * 100_000 + b"\n", b'"\xff"\n', b'{"id": "cut']
    said = lines(PLACES[0]) + b"".join(odd) + b"x" * (LONGEST_LINE + 5) + b"\n" + lines(PLACES[1])
    rows = LogRows("-", stdin=io.BytesIO(said))
    assert ids(rows) == ["r1", "r0"]
    assert rows.unreadable == 6
    assert ids(LogRows("-", stdin=io.BytesIO(b""))) == []


def test_a_file_of_something_else_is_told(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("Nothing of the kind.\n" * 10)
    with pytest.raises(ConfigError, match=r"notes.txt is no request log: none of its lines is a r"):
        ids(LogRows(str(file)))
    with pytest.raises(ConfigError, match=r"cannot read .*: Is a directory"):
        ids(LogRows(str(tmp_path)))
