"""The sidecar's own tables: their defaults, what they refuse and by which name, and addresses."""

import pytest

from tiergate import ConfigError, read_document
from tiergate_sidecar.settings import (
    Address,
    Admin,
    Logging,
    Server,
    parse_address,
    settings_of,
    settings_warnings,
)

TIERS = {
    "providers": {"p1": {"base_url": "http://p1/v1"}},
    "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
}


def settings(environ=None, flags=None, **tables):
    return settings_of(read_document(TIERS | tables, environ=environ or {}, flags=flags))


@pytest.mark.parametrize(
    ("text", "host", "port", "printed"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1:8080"),
        ("localhost:0", "localhost", 0, "localhost:0"),
        (":80", "::", 80, "[::]:80"),
        ("[::1]:65535", "::1", 65535, "[::1]:65535"),
        ("[::]:00080", "::", 80, "[::]:80"),
    ],
)
def test_an_address_is_read_and_printed(text, host, port, printed):
    address = parse_address(text, "x")
    assert address == Address(host=host, port=port)
    assert str(address) == printed


@pytest.mark.parametrize(
    "text",
    [
        *("", "8080", "localhost", "localhost:", "localhost:http", "a:-1", "a:65536", "a:٣"),
        *("a:0000065536", "a:" + "1" * 5000, "é..é:80", "a\0b:80"),
    ],
)
def test_what_is_no_address_is_named_with_its_setting(text):
    with pytest.raises(ConfigError, match=r"^server\.listen: .* is not host:port$"):
        parse_address(text, "server.listen")


@pytest.mark.parametrize("text", ["::1:8080", "[::1:8080", "::1]:8080"])
def test_a_bare_ipv6_address_is_told_of_brackets(text):
    with pytest.raises(ConfigError, match=r"^x: .* in brackets"):
        parse_address(text, "x")


def test_the_defaults_are_those_of_the_contract():
    own, config = settings()
    assert own.server == Server(
        listen="127.0.0.1:8080", admin="127.0.0.1:9090", grace_seconds=25, strict=True
    )
    assert own.logging == Logging(level="info", format="console")
    assert own.admin == Admin(token_env="", recent_requests=1000)
    assert list(config.providers) == ["p1"]


def test_a_flag_goes_before_the_environment_and_that_before_the_file():
    own, _ = settings(
        {"TIERGATE_SERVER__LISTEN": ":2", "TIERGATE_SERVER__ADMIN": ":3", "TIERGATE_PORT": "tcp:"},
        {"server.listen": ":4"},
        server={"listen": ":1", "admin": ":1", "grace_seconds": "7"},
    )
    assert (own.server.listen, own.server.admin, own.server.grace_seconds) == (":4", ":3", 7)


@pytest.mark.parametrize(
    ("tables", "wrong"),
    [
        ({"server": {"lisen": ":1"}}, r"server\.lisen: unknown key \(did you mean 'listen'\?\)"),
        ({"server": {"listen": ""}}, r"server\.listen: must not be empty"),
        ({"server": {"listen": "no"}}, r"server\.listen: 'no' is not host:port"),
        ({"server": {"admin": "no"}}, r"server\.admin: 'no' is not host:port"),
        ({"server": {"grace_seconds": -1}}, r"^server\.grace_seconds: ."),
        ({"server": {"probes": "no"}}, r"server\.probes: 'no' is not host:port"),
        (
            {"auth": {"token_file": "a"}},
            r"auth\.token_file: unknown key \(did you mean 'tokens_file'",
        ),
        ({"proxy": {"target": "app:8000"}}, r"^proxy\.target: must be an http"),
        ({"proxy": {"target": "http://"}}, r"^proxy\.target: must be an http"),
        ({"proxy": {"target": "http://app/?a=1"}}, r"^proxy\.target: must be an http"),
        ({"proxy": {"target": "http://app/?"}}, r"^proxy\.target: must be an http"),
        ({"proxy": {"target": "http://app/#a"}}, r"^proxy\.target: must be an http"),
        ({"proxy": {"target": "http://me:pw@app/"}}, r"^proxy\.target: must be an http"),
        ({"proxy": {"target": "http://app:99999"}}, r"^proxy\.target: must be an http"),
        ({"proxy": {"target": "http://app:0"}}, r"^proxy\.target: must be an http"),
        ({"proxy": {"target": "http://a b"}}, r"^proxy\.target: must be an http"),
        ({"proxy": {"provider": "p9"}}, r"^proxy\.provider: 'p9' is not in \[providers\]"),
        ({"proxy": {"paths": ["/embeddings"]}}, r"^proxy\.paths: '/embeddings' must begin"),
        ({"proxy": {"paths": ["/v1/*/x"]}}, r"^proxy\.paths: '/v1/\*/x' must begin"),
        ({"proxy": {"paths": ["/v1/%2e"]}}, r"^proxy\.paths: '/v1/%2e' must begin"),
        ({"proxy": {"idle_timeout_seconds": 0}}, r"^proxy\.idle_timeout_seconds: ."),
        ({"proxy": {"target": "x", "provider": "p9"}}, r"proxy\.target: .*; proxy\.provider: ."),
        ({"server": []}, r"^server: ."),
        ({"admin": {"token": "x"}}, r"admin\.token: unknown key"),
        ({"admin": {"recent_requests": 0}}, r"^admin\.recent_requests: ."),
        ({"admin": {"recent_requests": 10_001}}, r"^admin\.recent_requests: ."),
        ({"logging": {"format": "xml"}}, r"^logging\.format: ."),
        ({"retry": {"retrys": 1}}, r"retry\.retrys: unknown key"),
    ],
)
def test_what_is_wrong_is_refused_with_its_path(tables, wrong):
    with pytest.raises(ConfigError, match=wrong):
        settings(**tables)


def test_a_token_of_ours_goes_to_no_provider():
    theirs = {"providers": {"p1": {"base_url": "http://p1/v1", "credentials": "client"}}}
    assert settings(**theirs)[0].auth.tokens_file == ""
    with pytest.raises(ConfigError, match=r"^providers\.p1\.credentials: with auth\.tokens_file"):
        settings(**theirs, auth={"tokens_file": "tokens"})


@pytest.mark.parametrize("target", ["http://127.0.0.1:8000", "https://app/base/", "http://[::1]:1"])
def test_a_proxy_leads_to_an_app_and_to_a_provider_that_there_is(target):
    proxy = {"target": target, "provider": "p1", "paths": ["*", "/v1/x*", "/v1/a/b-c_d.e~f:g@h"]}
    own, config = settings(proxy=proxy)
    assert (own.proxy.target, own.proxy.provider) == (target, "p1")
    assert own.proxy.paths[0] == "*"
    assert settings_warnings(own, config) == []


@pytest.mark.parametrize(("provider", "warned"), [("", 1), ("p1", 0)])
def test_passing_on_without_somewhere_to_go_is_warned_of(provider, warned):
    own, config = settings(proxy={"provider": provider}, routing={"unknown_model": "pass"})
    assert len(settings_warnings(own, config)) == warned


def test_an_empty_admin_address_is_allowed():
    assert settings(server={"admin": ""})[0].server.admin == ""


def test_without_strictness_unknown_keys_are_warnings_everywhere(caplog):
    own, config = settings(server={"strict": False, "novel": 1}, retry={"newer": 2})
    assert (own.server.strict, config.retry.retries) == (False, 2)
    for path in ("server.novel", "retry.newer"):
        assert f"configuration: {path}: unknown key, ignored" in caplog.text


@pytest.mark.parametrize(
    ("tables", "environ", "url"),
    [
        ({}, {}, "sqlite:///tiergate.db"),
        ({"request_log": {"retention_days": 3}}, {}, "sqlite:///tiergate.db"),
        ({"request_log": {"url": ""}}, {}, ""),
        ({"request_log": {"url": "stdout:"}}, {}, "stdout:"),
        ({}, {"TIERGATE_REQUEST_LOG__URL": "stdout:"}, "stdout:"),
    ],
)
def test_a_sidecar_keeps_a_request_log_unless_it_is_told_otherwise(tables, environ, url):
    _, config = settings(environ, **tables)
    assert config.request_log.url == url
    assert config.request_log.retention_days == tables.get("request_log", {}).get(
        "retention_days", 30
    )
