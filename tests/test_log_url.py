"""What a URL of the request log means; what is wrong with one is told without its password."""

import sys

import pytest

from tiergate.errors import ConfigError
from tiergate.log_url import need_drivers, read_log_url

PG = "postgresql://"


@pytest.mark.parametrize(
    ("url", "kind", "where", "name"),
    [
        ("stdout:", "stdout", "", "stdout:"),
        ("sqlite:///tiergate.db", "sqlite", "tiergate.db", "sqlite:///tiergate.db"),
        ("sqlite:////var/lib/a b.db", "sqlite", "/var/lib/a b.db", "sqlite:////var/lib/a b.db"),
        (f"{PG}h/db", "postgresql", f"{PG}h/db", f"{PG}h/db"),
        (f"{PG}u:p%40w@h:5433/db", "postgresql", f"{PG}u:p%40w@h:5433/db", f"{PG}u@h:5433/db"),
        ("postgres://u@h/db", "postgresql", f"{PG}u@h/db", f"{PG}u@h/db"),
        ("postgresql+psycopg://h/db", "postgresql", f"{PG}h/db", f"{PG}h/db"),
        (f"{PG}a:1,[::1]:2/db", "postgresql", f"{PG}a:1,[::1]:2/db", f"{PG}a:1,[::1]:2/db"),
        (f"{PG}/db?host=/run/pg", "postgresql", f"{PG}/db?host=/run/pg", f"{PG}/db"),
    ],
)
def test_a_url_names_a_place(url, kind, where, name):
    read = read_log_url(url)
    assert (read.kind, read.where, read.name, repr(read)) == (kind, where, name, name)


def test_the_options_of_a_url_are_known_and_its_passwords_masked():
    url = read_log_url(f"{PG}u:p%40w@h/db?sslmode=require&sslpassword=k%26y&connect_timeout=9")
    assert url.options == {"sslmode", "sslpassword", "connect_timeout"}
    assert url.without_secrets("no p@w, no p%40w, no k&y") == "no ***, no ***, no ***"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("memory://", "begins with none of"),
        ("hunter2", "begins with none of"),
        ("mysql://u:hunter2@h/db", "begins with none of"),
        ("sqlite://", "name of a file"),
        ("sqlite:///", "name of a file"),
        ("sqlite:hunter2", "name of a file"),
        ("sqlite:///:memory:", "name of a file"),
        ("sqlite:///var/log/", "name of a file"),
        ("sqlite:///a.db?mode=ro", "no options"),
        ("postgresql:h/db", "two slashes"),
        (f"{PG}u:hunter2/@h/db", "is written"),
        (f"{PG}u:hunter2?@h/db", "is written"),
        (f"{PG}u:hunter2#@h/db", "is written"),
        (f"{PG}u:hunter2@hunter2@h/db", "is written"),
        (f"{PG}u:hunter2@h/db\n", "is written"),
        (f"{PG}u:hunter2@h:0/db", "port"),
        (f"{PG}u:hunter2@h:65536/db", "port"),
        (f"{PG}u:hunter2@h:5x/db", "port"),
        (f"{PG}u:hunter2@h:{'9' * 5000}/db", "port"),
        (f"{PG}u:hunter2@[h/db", "host"),
    ],
)
def test_a_url_that_is_wrong_is_refused_without_its_password(url, says):
    with pytest.raises(ConfigError, match=says) as refused:
        read_log_url(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "missing", "extra"),
    [
        ("sqlite:///a.db", "sqlalchemy", "log"),
        (f"{PG}h/db", "sqlalchemy", "log"),
        (f"{PG}h/db", "psycopg", "postgres"),
    ],
)
def test_a_driver_that_is_missing_is_named_with_its_extra(monkeypatch, url, missing, extra):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=rf"pip install 'tiergate\[{extra}\]'"):
        need_drivers(read_log_url(url))


@pytest.mark.parametrize("url", ["sqlite:///a.db", f"{PG}h/db"])
def test_installed_drivers_are_enough(url):
    need_drivers(read_log_url(url))


def test_lines_on_stdout_need_no_driver(monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    need_drivers(read_log_url("stdout:"))
