"""Where settings come from: files of three kinds, the environment, flags.

Flags win over the environment, that over the file, that over defaults, and each value knows its
origin. Whatever cannot be read is refused in one line that says where.
"""

import json
import sys
import tomllib
from typing import Any

import pytest
import yaml

from tiergate.config import Config
from tiergate.errors import ConfigError
from tiergate.loading import config_of, load_config, read_document, read_tables
from tiergate.routing_config import TierEntry

TOML = """
[server]
listen = "127.0.0.1:8080"
grace_seconds = 25
[logging]
level = "info"
[providers.local]
base_url = "http://127.0.0.1:8000/v1"
[providers.openai]
api_key_env = "OPENAI_API_KEY"
[[tiers.simple]]
provider = "local"
model = "qwen3-8b"
relative_cost = 1
input_price_per_million = 0.05
output_price_per_million = 0.20
[[tiers.complex]]
provider = "openai"
model = "gpt-5"
relative_cost = 8
[tier_config]
source = "http"
url = "https://config.internal/api/v1/tiers/config"
api_key_env = "ZION_API_KEY"
[cache]
url = "memory://"
[sessions]
url = "rediss://me:pw@redis.internal:6379/1"
[retry.tiers.complex]
attempt_timeout_seconds = 90
deadline_seconds = 120
[streaming.tiers.complex]
first_token_timeout_seconds = 60
idle_timeout_seconds = 60
[streaming]
failover = "off"
"""
"""The example of CONTRACT section 12, less what has not landed."""

SMALL: dict[str, Any] = {
    "providers": {"p1": {"base_url": "http://p1.test/v1"}},
    "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
}


def refusal(source: Any, environ: dict[str, str] | None = None, **tables: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config({**source, **tables} if tables else source, environ=environ or {})
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.toml", lambda values: TOML),
        ("a.yaml", yaml.safe_dump),
        ("a.yml", yaml.safe_dump),
        ("a.JSON", json.dumps),
    ],
)
def test_the_example_loads_from_every_kind_of_file(tmp_path, name, write):
    file = tmp_path / name
    file.write_text(write(tomllib.loads(TOML)))
    config = load_config(file, environ={})
    assert config.tier_config.url == "https://config.internal/api/v1/tiers/config"
    assert config.sessions.url == "rediss://me:pw@redis.internal:6379/1"
    assert config.tiers["simple"] == (
        TierEntry(
            provider="local",
            model="qwen3-8b",
            input_price_per_million=0.05,
            output_price_per_million=0.20,
        ),
    )
    assert config.providers["openai"].base_url == "https://api.openai.com/v1"
    assert config.retry.deadline("complex") == 120
    assert config.streaming.idle_timeout("complex") == 60
    assert load_config(str(file), environ={}) == load_config(tomllib.loads(TOML), environ={})


def test_a_given_config_is_checked_too_and_a_sound_one_is_kept():
    assert load_config(load_config(SMALL, environ={})) == load_config(SMALL, environ={})
    with pytest.raises(ConfigError, match="tiers: no tier has a candidate"):
        load_config(Config())


def test_a_given_mapping_is_not_changed():
    before = json.dumps(SMALL)
    load_config(SMALL, environ={"TIERGATE_PROVIDERS__P1__BASE_URL": "http://other/v1"})
    assert json.dumps(SMALL) == before


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.ini", b"", "{file}: the name must end in .toml, .yaml, .yml, .json"),
        ("a", b"", "{file}: the name must end in"),
        ("a.toml", None, "configuration: cannot read {file}: No such file or directory"),
        ("a.toml", b"\xff", "configuration: cannot read {file}: not UTF-8"),
        ("a.toml", b"a = ", "{file}: Invalid value (at end of document)"),
        ("a.toml", b"a = 1\na = 2", "{file}: Cannot overwrite a value"),
        ("a.json", b"{", "{file}: Expecting property name"),
        ("a.json", b"[1]", "{file}: must hold tables of settings, not a list"),
        ("a.json", b"[" * 100_000, "{file}: maximum recursion depth exceeded"),
        ("a.yaml", b"a: [", "{file}: while parsing a flow node"),
        ("a.yaml", b"hello", "{file}: must hold tables of settings, not a str"),
        ("a.yaml", b"retry: &a [*a]", "file {file}: nested too deeply"),
        ("a.yaml", b"a: !!python/object:os.system {}", "{file}: could not determine a constructor"),
        ("a.yaml", b"", "tiers: no tier has a candidate"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(tmp_path, name, content, text):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    assert refusal(file).startswith(text.format(file=file))


def test_a_file_of_something_else_is_read_in_the_same_way_and_named_so(tmp_path):
    (tmp_path / "a.json").write_text('{"a": "${B}"}')
    assert read_tables(tmp_path / "a.json", "tiers") == {"a": "${B}"}, "no variables"
    with pytest.raises(ConfigError, match=r"^tiers: cannot read .*b.json: No such file"):
        read_tables(tmp_path / "b.json", "tiers")


def test_a_directory_or_an_impossible_name_is_no_file(tmp_path):
    (tmp_path / "a.toml").mkdir()
    assert refusal(tmp_path / "a.toml").endswith("a.toml: Is a directory")
    assert "null byte" in refusal("a\0.toml")


def test_yaml_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "a.yaml").write_text("a: 1")
    assert refusal(tmp_path / "a.yaml") == "YAML needs PyYAML: pip install 'tiergate[yaml]'"


@pytest.mark.parametrize("strict", [False, "false", "False", "0", 0])
def test_a_configuration_may_be_newer_than_the_process_that_reads_it(strict, caplog):
    tables = {**SMALL, "server": {"strict": strict}, "quotas": [{"name": "a"}]}
    assert load_config(tables, environ={}).tiers["simple"][0].model == "m"
    assert "quotas: unknown key, ignored" in caplog.text


@pytest.mark.parametrize("server", [{}, {"strict": True}, {"strict": "yes"}, 3, None])
def test_unknown_keys_are_refused_unless_that_is_said(server):
    assert refusal({**SMALL, "server": server, "quotas": []}) == "quotas: unknown key"


def test_the_sidecars_tables_are_passed_by():
    tables = {**SMALL, "server": {"listen": "x", "nope": 1}, "logging": {"level": 3}}
    assert load_config(tables, environ={}) == load_config(SMALL, environ={})


# the environment


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("TIERGATE_RETRY__RETRIES", "5", "retry.retries", 5),
        ("TIERGATE_HEADERS__CLIENT_RETRIES", "true", "headers.client_retries", True),
        (
            "TIERGATE_RETRY__TIERS__COMPLEX__DEADLINE_SECONDS",
            "60",
            "retry.tiers.complex.deadline_seconds",
            60,
        ),
        ("TIERGATE_ROUTING__PATHS", '["/a", "/b"]', "routing.paths", ("/a", "/b")),
        (
            "TIERGATE_ROUTING__ALIASES",
            '{"gpt-4o*": "complex"}',
            "routing.aliases",
            {"gpt-4o*": "complex"},
        ),
        ("TIERGATE_CACHE__KEY_PREFIX", "[x]:", "cache.key_prefix", "[x]:"),
        ("TIERGATE_PORT", "tcp://10.0.0.1:8080", "retry.retries", 2),
        ("TIERGATE_SERVICE_HOST", "10.0.0.1", "retry.retries", 2),
        ("TIERGATE_PORT_8080_TCP_ADDR", "10.0.0.1", "retry.retries", 2),
        ("OTHER_RETRY__RETRIES", "5", "retry.retries", 2),
        ("tiergate_retry__retries", "5", "retry.retries", 2),
    ],
)
def test_the_environment_sets_what_has_a_double_underscore_in_its_name(name, text, path, value):
    found: Any = load_config(SMALL, environ={name: text})
    for part in path.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == value


def test_the_environment_alone_can_be_a_configuration():
    environ = {
        "TIERGATE_PROVIDERS__P1__BASE_URL": "http://p1.test/v1",
        "TIERGATE_TIERS__SIMPLE": '[{"provider": "p1", "model": "m"}]',
    }
    assert config_of(read_document(None, environ=environ)) == load_config(SMALL, environ={})


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"TIERGATE_RETRY__RETIRES": "1"}, "retry.retires: unknown key (did you mean 'retries'?)"),
        ({"TIERGATE_RETRY__RETRIES": ""}, "retry.retries: must be a whole number, not text"),
        ({"TIERGATE_ROUTING__PATHS": "[1,]"}, "the environment variable TIERGATE_ROUTING__PATHS: "),
        ({"TIERGATE_ROUTING__PATHS": "[" * 100_000 + "]"}, "the environment variable TIERGATE_ROU"),
        ({"TIERGATE_ROUTING__PATHS": "/v1"}, "routing.paths: must be a list, not text"),
        (
            {"TIERGATE_TIERS__SIMPLE__MODEL": "m"},
            "TIERGATE_TIERS__SIMPLE__MODEL: simple is not a table, so tiers.simple.model cannot",
        ),
    ],
)
def test_an_environment_variable_that_cannot_be_used_is_refused(environ, text):
    assert refusal(SMALL, environ).startswith(text)


@pytest.mark.parametrize(
    ("environ", "ttl"),
    [
        ({}, 1800),
        ({"TIER_CONFIG_TTL_SECONDS": "60"}, 60),
        ({"TIER_CONFIG_TTL_SECONDS": "60", "TIERGATE_TIER_CONFIG__TTL_SECONDS": "90"}, 90),
    ],
)
def test_the_seeds_variable_of_the_ttl_is_read_and_our_own_wins(environ, ttl):
    document = read_document({**SMALL, "tier_config": {"source": "inline"}}, environ=environ)
    assert config_of(document).tier_config.ttl_seconds == ttl
    if environ:
        name = list(environ)[-1]
        assert document.origins["tier_config.ttl_seconds"] == f"environment {name}"


@pytest.mark.parametrize("text", ["", "an hour", "0", "-1", "inf"])
def test_a_ttl_that_is_none_is_refused(text):
    said = refusal(SMALL, {"TIER_CONFIG_TTL_SECONDS": text})
    assert said.startswith("tier_config.ttl_seconds: must be a number")


def test_an_ipv6_address_is_text_and_no_list():
    document = read_document(None, environ={"TIERGATE_SERVER__LISTEN": "[::1]:8080"})
    assert document.values == {"server": {"listen": "[::1]:8080"}}


def test_flags_win_over_the_environment_over_the_file_over_defaults(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("[retry]\nretries = 1\nfallbacks = 1\njitter = 0\n")
    document = read_document(
        file,
        environ={"TIERGATE_RETRY__RETRIES": "2", "TIERGATE_RETRY__FALLBACKS": "2"},
        flags={"retry.retries": 3, "server.listen": ":1"},
    )
    assert document.values["retry"] == {"retries": 3, "fallbacks": "2", "jitter": 0}
    assert document.origins == {
        "retry.retries": "flag",
        "retry.fallbacks": "environment TIERGATE_RETRY__FALLBACKS",
        "retry.jitter": f"file {file}",
        "server.listen": "flag",
    }


def test_a_table_from_the_environment_replaces_the_whole_one():
    document = read_document(
        {"routing": {"aliases": {"a": "simple", "b": "simple"}, "default_tier": "simple"}},
        environ={"TIERGATE_ROUTING__ALIASES": '{"c": "complex"}'},
    )
    assert document.values["routing"]["aliases"] == {"c": "complex"}
    assert document.origins == {
        "routing.default_tier": "given",
        "routing.aliases.c": "environment TIERGATE_ROUTING__ALIASES",
    }


# ${VAR}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "one"),
        ("x-${A}-${B}-y", "x-one-two-y"),
        ("${NO:-fallback}", "fallback"),
        ("${NO:-}", ""),
        ("${EMPTY:-fallback}", "fallback"),
        ("${EMPTY}", ""),
        ("${A:-fallback}", "one"),
        ("$A {A} $", "$A {A} $"),
        ("${NO:-http://h:1/${A}", "http://h:1/${A"),
        ("${TRICK}", "${A}"),
    ],
)
def test_variables_are_filled_in_as_a_shell_would(text, value):
    environ = {"A": "one", "B": "two", "EMPTY": "", "TRICK": "${A}"}
    values = {"deep": [{"er": (text,)}], "n": 3}
    assert read_document(values, environ=environ).values == {"deep": [{"er": [value]}], "n": 3}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("${NO}", "the environment variable NO is not set"),
        ("${", "'${' is not followed by a variable's name and '}'"),
        ("${}", "'${' is not followed by a variable's name and '}'"),
        ("${1A}", "'${' is not followed by a variable's name and '}'"),
        ("${A B}", "'${' is not followed by a variable's name and '}'"),
        ("${A:+b}", "'${' is not followed by a variable's name and '}'"),
    ],
)
def test_a_variable_that_cannot_be_filled_in_is_named_with_its_path(text, reason):
    tiers = {"simple": [{"provider": "p1", "model": text}]}
    assert refusal(SMALL, {"A": "one"}, tiers=tiers) == f"tiers.simple[0].model: {reason}"


# the process


def test_without_being_told_otherwise_the_environment_is_the_processs(monkeypatch):
    monkeypatch.setenv("TIERGATE_RETRY__RETRIES", "7")
    assert load_config(SMALL).retry.retries == 7
