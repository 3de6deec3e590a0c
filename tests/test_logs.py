"""The process's log on stderr: one JSON object a line for collectors, or lines for people."""

import asyncio
import json
import logging
import re
from contextlib import contextmanager

import pytest
from rootlog import kept

from tiergate_sidecar.logs import configure_logging, hold_logs
from tiergate_sidecar.settings import Logging


@contextmanager
def configured(**settings):
    with kept():
        configure_logging(Logging(**settings))
        yield


def test_json_is_one_object_a_line(capsys):
    with configured(format="json"):
        logging.getLogger("tiergate").warning("two\nlines of %s", "ñ€🙂 \ud800")
        logging.getLogger("aiohttp.client").error("second")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", first.pop("time"))
    assert first == {
        "level": "warning",
        "logger": "tiergate",
        "message": "two\nlines of ñ€🙂 ?",
    }
    assert (second["level"], second["logger"]) == ("error", "aiohttp.client")


def test_json_keeps_a_traceback_in_its_line(capsys):
    with configured(format="json"):
        try:
            raise ValueError("odd")
        except ValueError:
            logging.getLogger("tiergate").exception("failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["traceback"].endswith("ValueError: odd")


def test_console_is_a_line_with_time_level_and_logger(capsys):
    with configured():
        logging.getLogger("tiergate").warning("watch out")
    line = capsys.readouterr().err
    assert re.fullmatch(r"\S+ \S+ WARNING tiergate  watch out\n", line)


@pytest.mark.parametrize(
    ("level", "ours", "of_others"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"], ["warning", "error"]),
        ("warning", ["warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_the_level_bounds_what_is_said_and_others_say_less(capsys, level, ours, of_others):
    others = ("uvicorn.error", "watchfiles.main")
    for name, said in (("tiergate", ours), *((other, of_others) for other in others)):
        with configured(format="json", level=level):
            for each in ("debug", "info", "warning", "error"):
                getattr(logging.getLogger(name), each)("x")
        lines = capsys.readouterr().err.splitlines()
        assert [json.loads(line)["level"] for line in lines] == said


def test_what_the_end_of_the_grace_cancels_leaves_no_traceback(capsys):
    with configured():
        log = logging.getLogger("uvicorn.error")
        for end in (asyncio.CancelledError(), ValueError("odd")):
            log.error("Exception in ASGI application", exc_info=end)
    said = capsys.readouterr().err
    assert (said.count("Traceback"), said.count("ValueError")) == (0, 1)


def test_that_a_reader_which_took_nothing_was_let_go_of_is_no_error(capsys):
    with configured():
        for what in ("completing", "starting"):
            log = logging.getLogger("uvicorn.error")
            log.error("ASGI callable returned without %s response.", what)
    assert re.findall(r"without (\w+)", capsys.readouterr().err) == ["starting"]


def test_what_is_logged_before_the_form_is_known_waits_for_it(capsys):
    with kept():
        hold_logs()
        logging.getLogger("tiergate").warning("early")
        assert capsys.readouterr().err == ""
        configure_logging(Logging(format="json"))
        logging.getLogger("tiergate").warning("late")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in lines] == ["early", "late"]
