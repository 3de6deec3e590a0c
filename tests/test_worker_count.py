"""Whoever serves with several processes is told that their sessions are apart, and nobody else.

When the warning is given is `test_assembly`'s.
"""

import pytest

from tiergate.worker_count import warn_of_workers, worker_count


@pytest.mark.parametrize(
    ("environ", "arguments", "count"),
    [
        ({}, [], 1),
        ({"WEB_CONCURRENCY": "4"}, ["gunicorn", "app:app"], 4),
        ({}, ["gunicorn", "-w", "4", "app:app"], 4),
        ({}, ["uvicorn", "--workers", "2", "app:app"], 2),
        ({}, ["granian", "--workers=3"], 3),
        ({"WEB_CONCURRENCY": "2"}, ["uvicorn", "--workers", "8"], 8),
        ({"WEB_CONCURRENCY": "8"}, ["uvicorn", "--workers", "2"], 8),
        ({"WEB_CONCURRENCY": ""}, ["gunicorn", "-w"], 1),
        ({"WEB_CONCURRENCY": "auto"}, ["gunicorn", "-w", "auto"], 1),
        ({"WEB_CONCURRENCY": "-4"}, ["gunicorn", "--workers="], 1),
        ({}, ["gunicorn", "-w4", "app:app"], 4),
        ({"GUNICORN_CMD_ARGS": "--threads 2 --workers=4"}, ["gunicorn", "app:app"], 4),
        ({"GUNICORN_CMD_ARGS": "-w 4"}, ["gunicorn", "app:app"], 4),
        ({"GUNICORN_CMD_ARGS": "-w"}, ["gunicorn", "-worker", "4"], 1),
        ({"WEB_CONCURRENCY": "²"}, ["x", "--workers-per-core", "9"], 1),
    ],
)
def test_the_number_of_workers_is_what_the_server_was_told(environ, arguments, count):
    assert worker_count(environ, arguments) == count


def test_the_environment_of_the_process_counts_where_none_is_given(monkeypatch):
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    assert worker_count(None, []) == 3


@pytest.mark.parametrize("workers", ["1", "2"])
def test_only_several_are_warned(workers, caplog):
    warn_of_workers({"WEB_CONCURRENCY": workers}, [])
    assert [each.message[:9] for each in caplog.records] == ["2 workers"] * (workers == "2")
