"""Every row on one page, in the order of time and id, whatever the size of a page."""

import pytest
from records import AT, record
from sqlalchemy import select

from tiergate import log_engine, log_table, read_log_url
from tiergate.log_sql import SqlStore
from tiergate_sidecar.paging import paged

IDS = ["b", "d", "a", "c", "e"]  # the first two came first, the others at one time


@pytest.mark.parametrize(
    ("size", "pages"),
    [
        (1, [["b"], ["d"], ["a"], ["c"], ["e"], []]),
        (2, [["b", "d"], ["a", "c"], ["e"]]),
        (5, [["b", "d", "a", "c", "e"], []]),
        (6, [["b", "d", "a", "c", "e"]]),
    ],
)
def test_each_row_stands_on_one_page_in_order(tmp_path, size, pages):
    url = read_log_url(f"sqlite:///{tmp_path / 'log.db'}")
    store = SqlStore(url)
    store.write([record(name, at=AT + (place > 1)) for place, name in reversed([*enumerate(IDS)])])
    store.close()
    asked = select(log_table.c.id, log_table.c.at)
    with log_engine(url, read_only=True).connect() as connection, connection.begin():

        def run(page):
            return connection.execute(page).all()

        found = [[row.id for row in page] for page in paged(run, asked, size)]
        assert found == pages
        second = run(asked.where(log_table.c.id == "d"))[0]
        rest = [row.id for page in paged(run, asked, size, last=second) for row in page]
        assert rest == IDS[2:]
