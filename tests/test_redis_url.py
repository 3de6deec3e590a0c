"""What a Redis URL may say, and that what it may not is told without its password."""

from typing import Any

import pytest

from tiergate.errors import ConfigError
from tiergate.redis_url import RedisUrl, read_redis_url

PASSWORD = "hunter2"


@pytest.mark.parametrize(
    ("url", "expected", "name"),
    [
        ("redis://cache", {"host": "cache"}, "redis://cache:6379/0"),
        ("redis://Cache:7000/", {"host": "cache", "port": 7000}, "redis://cache:7000/0"),
        ("redis://cache/12", {"host": "cache", "db": 12}, "redis://cache:6379/12"),
        ("redis://[::1]:7000/1", {"host": "::1", "port": 7000, "db": 1}, "redis://[::1]:7000/1"),
        ("redis://:p%40%2F@h", {"host": "h", "password": "p@/"}, "redis://h:6379/0"),
        ("redis://u%3A:p:q@h", {"host": "h", "username": "u:", "password": "p:q"}, None),
        ("redis://h?client_name=a%26b", {"host": "h", "options": {"client_name": "a&b"}}, None),
    ],
)
def test_a_url_names_one_server(url, expected, name):
    assert read_redis_url(url) == RedisUrl(**expected)
    if name is not None:
        assert read_redis_url(url).name == name


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {"ssl_check_hostname": True}),
        ("?ssl_ca_certs=/a%20b.pem", {"ssl_check_hostname": True, "ssl_ca_certs": "/a b.pem"}),
        ("?ssl_check_hostname=False", {"ssl_check_hostname": False}),
        ("?ssl_cert_reqs=none", {"ssl_check_hostname": False, "ssl_cert_reqs": "none"}),
    ],
)
def test_tls_is_checked_unless_the_url_says_otherwise(query, options: dict[str, Any]):
    read = read_redis_url(f"rediss://h{query}")
    assert (read.tls, read.options, read.name) == (True, options, "rediss://h:6379/0")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("memcached://h", "begins with neither redis:// nor rediss://"),
        (f"redis://:{PASSWORD}@", "names no host"),
        (f"redis://:{PASSWORD}@h:port", "host or port cannot be read"),
        (f"redis://:{PASSWORD}@h:70000", "host or port cannot be read"),
        (f"redis://:{PASSWORD}@[::1", "host or port cannot be read"),
        (f"redis://:1/{PASSWORD}@h", "/ is written %2F"),
        (f"redis://u:1?{PASSWORD}@h", "? is %3F"),
        (f"redis://u:1#{PASSWORD}@h", "# is %23"),
        (f"redis://:{PASSWORD}@h/one", "not the number of a database"),
        (f"redis://:{PASSWORD}@h/1/2", "not the number of a database"),
        (f"redis://:{PASSWORD}@h?socket_timeout=5", "the option 'socket_timeout'; known are"),
        (f"redis://:{PASSWORD}@h?ssl_ca_certs=a", "ssl_ca_certs needs rediss://"),
        (f"rediss://:{PASSWORD}@h?ssl_cert_reqs=x", "ssl_cert_reqs is none of required, optional"),
        (f"rediss://:{PASSWORD}@h?ssl_ca_certs=", "ssl_ca_certs is empty"),
    ],
)
def test_what_is_wrong_is_named_and_the_password_is_not(url, says):
    with pytest.raises(ConfigError) as wrong:
        read_redis_url(url)
    assert says in str(wrong.value)
    assert PASSWORD not in str(wrong.value)


def test_no_text_made_of_it_holds_the_password():
    url = read_redis_url(f"redis://user:{PASSWORD}@h")
    assert repr(url) == "redis://h:6379/0"
    assert url.without_secrets(f"AUTH {PASSWORD} failed") == "AUTH *** failed"
    assert read_redis_url("redis://h").without_secrets("as it is") == "as it is"
