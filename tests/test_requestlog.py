"""The request log as an observer: it opens nothing before it must, and never slows its loop.

Real files, real databases, the real thread. What the thread does with a bad store is said in
`test_log_writer`, what a database does in `test_log_sql`.
"""

import asyncio
import gc
import json
import os
import sys
import threading
import time

import pytest
from records import KINDS, database, record

from tiergate import Gateway, load_config
from tiergate.config import RequestLogSettings
from tiergate.errors import ConfigError
from tiergate.requestlog import RequestLog, request_log_of


def opened(url: str, **settings) -> RequestLog:
    return RequestLog(RequestLogSettings(url=url, **settings), clock=time.monotonic, wall=time.time)


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "tiergate-log"]


async def until(condition, within: float = 30) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  # a thread and a process have no event of ours
            await asyncio.sleep(0.005)


def test_no_url_is_no_log():
    assert request_log_of(RequestLogSettings(), clock=time.monotonic, wall=time.time) is None


@pytest.mark.parametrize("kind", KINDS)
async def test_a_record_becomes_a_row(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        log = opened(made.url)
        assert repr(log) == f"<RequestLog {log.state.name}>"
        log.finished(record("a", at=round(time.time() * 1e6)))
        await until(lambda: log.state.written == 1)
        assert made.ids() == ["a"]
        await log.close()
        await until(lambda: threads() == [])
        log.finished(record("b", at=round(time.time() * 1e6)))  # after the end it begins anew
        await log.close()
        assert made.ids() == ["a", "b"]
        assert (log.state.written, log.state.queued, log.state.dropped) == (2, 0, 0)


async def test_nothing_is_opened_before_it_must(tmp_path):
    log = opened(f"sqlite:///{tmp_path / 'log.db'}")
    await log.close()
    assert (threads(), list(tmp_path.iterdir())) == ([], [])
    log.open()
    await until((tmp_path / "log.db-wal").exists)
    await log.close()


async def test_lines_go_to_stdout():
    reading, writing = os.pipe()
    settings = RequestLogSettings(url="stdout:")
    log = RequestLog(settings, clock=time.monotonic, wall=time.time, stdout=writing)
    log.finished(record("a"))
    await log.close()
    os.close(writing)
    assert json.loads(os.read(reading, 10_000))["id"] == "a"
    os.close(reading)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u:hunter2@h/db", "begins with none of"),
        ("postgresql://u:hunter2@h:port/db", "port"),
    ],
)
def test_a_url_that_cannot_be_used_is_an_error_where_the_log_is_made(url, says):
    with pytest.raises(ConfigError, match=says) as refused:
        opened(url)
    assert "hunter2" not in str(refused.value)


def test_a_missing_driver_is_an_error_where_the_log_is_made(monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigError, match=r"tiergate\[log\]"):
        opened("sqlite:///log.db")


async def test_a_server_that_is_down_is_told_of_without_its_password(tmp_path):
    async with database("postgresql", tmp_path) as made:
        log = opened(made.url)
        await made.server.kill()
        log.finished(record("a"))
        await until(lambda: not log.state.available)
        state = log.state
        assert (state.queued, state.dropped) == (1, 0)
        assert "p w" not in f"{state}"
        assert state.name == f"postgresql://tiergate@127.0.0.1:{made.server.port}/postgres"
        await made.server.start()
        await until(lambda: log.state.written == 1)
        assert log.state.available
        assert log.state.last_error  # this one, or what it said while it started
        await log.close()


async def test_closing_waits_for_a_silent_server_no_longer_than_it_was_told(tmp_path):
    async with database("postgresql", tmp_path) as made:
        log = opened(made.url)
        log.finished(record("a"))
        await until(lambda: log.state.written == 1)
        made.server.pause()
        log.finished(record("b"))
        log.finished(record("c"))
        begun = time.monotonic()
        await log.close(0.5)
        assert 0.4 < time.monotonic() - begun < 2
        assert (log.state.queued, log.state.written, log.state.dropped) == (0, 1, 2)
        made.server.resume()  # the call comes back, to a thread that has no time left
        await until(lambda: threads() == [])
        assert log.state.queued == 0
        assert log.state.written + log.state.dropped == 3
        assert len(made.ids()) >= log.state.written


async def test_a_log_that_nobody_holds_any_more_writes_what_it_has_and_ends(tmp_path):
    async with database("sqlite", tmp_path) as made:
        log = opened(made.url)
        log.finished(record("a", at=round(time.time() * 1e6)))
        del log
        gc.collect()
        await until(lambda: threads() == [])
        assert made.ids() == ["a"]


def test_one_log_serves_loops_one_after_the_other(tmp_path):
    log = opened(f"sqlite:///{tmp_path / 'log.db'}")

    async def one(name: str) -> None:
        log.finished(record(name))
        await log.close()

    for name in ("a", "b"):
        asyncio.run(one(name))
    assert log.state.written == 2


async def test_a_gateway_keeps_the_log_that_its_configuration_asks_for(tmp_path):
    async with database("sqlite", tmp_path) as made:
        tables = {
            "providers": {"p": {"base_url": "http://h.test"}},
            "tiers": {"simple": [{"provider": "p", "model": "m"}]},
        }
        given = {**tables, "request_log": {"url": made.url}}
        asked = [given]
        gateway = Gateway(given, read=lambda: load_config(asked[0]), environ={})
        assert (threads(), gateway.status().needs_restart) == ([], ())
        async with gateway:
            await until(lambda: threads() == ["tiergate-log"])
            asked[0] = {**tables, "request_log": {"url": made.url, "retention_days": 3}}
            await gateway.reload()
            assert gateway.status().needs_restart == ("request_log",)
            assert gateway.status().request_log.name == made.url
        await until(lambda: threads() == [])
        asked[0] = tables
        without = Gateway(tables, read=lambda: load_config(asked[0]), environ={})
        await without.reload()
        assert (without.status().needs_restart, without.status().request_log) == ((), None)
        asked[0] = given
        await without.reload()
        assert without.status().needs_restart == ("request_log",)
