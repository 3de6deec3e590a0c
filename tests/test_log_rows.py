"""Pages of a log: each its own short transaction, and every row on one page.

What is read as a whole is in `test_replaying`.
"""

from records import AT, record

from tiergate import log_engine, log_table, read_log_url
from tiergate.log_sql import SqlStore
from tiergate_sidecar.log_rows import PAGE, pages


def test_a_log_that_is_written_meanwhile_is_not_held(tmp_path):
    url = read_log_url(f"sqlite:///{tmp_path / 'log.db'}")
    store = SqlStore(url)
    for first in range(0, PAGE + 1, 256):
        store.write([record(f"{number:05}", at=AT) for number in range(first, first + 256)])
    reading = pages(url, 0, AT)
    assert len(next(reading)) == PAGE
    store.write([record("later", at=AT + 1), record("z", at=AT)])
    store.prune(AT + 1, 100)  # the oldest by time, of which some are still to be read
    rest = list(next(reading))
    assert rest[-1]["id"] == "z"
    assert "attempts" not in rest[0]
    assert list(reading) == []
    store.close()


def test_a_page_is_found_by_the_index(tmp_path):
    url = read_log_url(f"sqlite:///{tmp_path / 'log.db'}")
    store = SqlStore(url)
    store.write([record()])
    store.close()
    where = "at >= 1 AND at <= 9 AND (at > 1 OR id > 'x') ORDER BY at, id LIMIT 5"
    with log_engine(url, read_only=True).connect() as connection:
        told = f"EXPLAIN QUERY PLAN SELECT * FROM {log_table.name} WHERE {where}"
        plan = " ".join(str(row) for row in connection.exec_driver_sql(told))
    assert "SEARCH requests USING INDEX requests_at" in plan
