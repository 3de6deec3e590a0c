"""What one setting demands of another: each rule refuses with its path, and nothing else does."""

from datetime import date
from typing import Any

import pytest

from tiergate.config import Config, Provider
from tiergate.crosscheck import _CREDENTIALS, crosschecked, split_hosts, warnings_of
from tiergate.decoding import decode_tables
from tiergate.errors import ConfigError
from tiergate.request_headers import CLIENT_CREDENTIALS


def made(**tables: Any) -> Config:
    values = {
        "providers": {"p1": {"base_url": "http://p1.test/v1"}},
        "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
        **tables,
    }
    return decode_tables(values, Config, strict=True)


def refusal(**tables: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        crosschecked(made(**tables))
    return str(caught.value)


def provider(**settings: Any) -> dict[str, Any]:
    return {"providers": {"p1": {"base_url": "http://p1.test/v1", **settings}}}


@pytest.mark.parametrize(
    ("tables", "text"),
    [
        ({"routing": {"paths": ["v1"]}}, "routing.paths: 'v1' must be a plain path"),
        ({"routing": {"paths": ["/{x}"]}}, "routing.paths: '/{x}' must be a plain path"),
        ({"routing": {"aliases": {"a*b": "simple"}}}, "routing.aliases.a*b: '*' may stand only"),
        ({"routing": {"aliases": {"": "simple"}}}, "routing.aliases.: '*' may stand only"),
        ({"tiers": {}}, "tiers: no tier has a candidate; add [[tiers.simple]]"),
        ({"tiers": {"simple": []}}, "tiers: no tier has a candidate"),
        (
            {"tiers": {"complex": [{"provider": "p2", "model": "m"}]}},
            "tiers.complex[0].provider: 'p2' is not in [providers]",
        ),
        (
            {"tiers": {"simple": [{"provider": "p1", "model": "m"}] * 2}},
            "tiers.simple[1]: p1/m is listed twice",
        ),
        (
            {"tiers": {"simple": [{"provider": "p1", "model": "mö"}]}},
            "tiers.simple[0].model: must be printable ASCII",
        ),
        (
            {"tiers": {"simple": [{"provider": "p1", "model": "m\r\nx: y"}]}},
            "tiers.simple[0].model: must be printable ASCII",
        ),
        (
            {"retry": {"attempt_timeout_seconds": 31}},
            "retry.attempt_timeout_seconds: must not be longer than the deadline",
        ),
        (
            {"retry": {"tiers": {"complex": {"attempt_timeout_seconds": 31}}}},
            "retry.tiers.complex.attempt_timeout_seconds: must not be longer",
        ),
        (
            {"retry": {"attempt_timeout_seconds": 9, "tiers": {"simple": {"deadline_seconds": 8}}}},
            "retry.tiers.simple.attempt_timeout_seconds: must not be longer",
        ),
    ],
)
def test_tables_that_contradict_each_other_are_refused(tables, text):
    assert refusal(**tables).startswith(text)


@pytest.mark.parametrize(
    "url",
    [
        *["p1.test/v1", "ftp://p1.test", "http://", "http://p1:0/v1", "http://p1:99999/v1"],
        *["http://[::1/v1", "http://p1 .test/v1", "http://p1.test/v1\n", "http://pä.test"],
    ],
)
def test_a_base_url_must_be_an_address(url):
    assert refusal(**provider(base_url=url)) == (
        "providers.p1.base_url: must be an http:// or https:// address"
    )


@pytest.mark.parametrize("url", ["http://me@p1", "http://me:pw@p1/v1", "https://p1/v1#top"])
def test_a_base_url_carries_no_credentials(url):
    text = refusal(**provider(base_url=url))
    assert text.startswith("providers.p1.base_url: no user name, password or fragment")
    assert "pw" not in text.replace("password", "")


@pytest.mark.parametrize("url", ["http://[::1]:8000/v1", "https://a.test/v1?api-version=1"])
def test_other_addresses_are_fine(url):
    assert crosschecked(made(**provider(base_url=url))).providers["p1"].base_url == url


@pytest.mark.parametrize("name", ["p1", "azure"])
def test_a_base_url_is_needed_where_none_is_known(name):
    tiers = {"simple": [{"provider": name, "model": "m"}]}
    text = refusal(providers={name: {}}, tiers=tiers)
    assert text == f"providers.{name}.base_url: missing, and no address is known for {name!r}"


@pytest.mark.parametrize("name", ["", "a b", "p/1", "-p", "p" * 65, "pä"])
def test_a_providers_name_can_stand_in_a_header(name):
    text = refusal(
        providers={name: {"base_url": "http://h"}},
        tiers={"simple": [{"provider": name, "model": "m"}]},
    )
    assert text == f"providers.{name}: a name is up to 64 letters, digits, '.', '_' and '-'"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"forward_headers": ["x y"]}, ": 'x y' is not the name of a header"),
        ({"expose_headers": ["x:"]}, ": 'x:' is not the name of a header"),
        ({"headers": {"": "a"}}, ": '' is not the name of a header"),
        ({"forward_headers": ["Host"]}, ": the header 'Host' is set by tiergate itself"),
        ({"headers": {"TE": "a"}}, ": the header 'TE' is set by tiergate itself"),
        ({"headers": {"Content-Length": "1"}}, ": the header 'Content-Length' is set by tiergate"),
        ({"headers": {"x-a": "b\r\nx-c: d"}}, ".headers.x-a: must be printable ASCII"),
        ({"headers": {"x-a": "ä"}}, ".headers.x-a: must be printable ASCII"),
        (
            {"forward_headers": ["Authorization"]},
            ".forward_headers: 'Authorization' goes only with",
        ),
        ({"forward_headers": ["cookie"]}, ".forward_headers: 'cookie' goes only with credentials"),
        (
            {"expose_headers": ["Set-Cookie"]},
            ".expose_headers: 'Set-Cookie' of a provider must not",
        ),
        ({"expose_headers": ["content-length"]}, ".expose_headers: 'content-length' of a provider"),
        ({"expose_headers": ["Access-Control-Allow-Origin"]}, ".expose_headers: 'Access-Control-A"),
        ({"expose_headers": ["x-sentinel-tier"]}, ".expose_headers: 'x-sentinel-tier' of a provid"),
        *(
            ({"expose_headers": [name]}, f".expose_headers: {name!r} of a provider must not")
            for name in [
                "Strict-Transport-Security",
                "Alt-Svc",
                "Content-Security-Policy",
                "Transfer-Encoding",
                "Connection",
            ]
        ),
        *(
            ({"forward_headers": [name]}, f".forward_headers: {name!r} goes only with")
            for name in ["Api-Key", "OpenAI-Organization"]
        ),
    ],
)
def test_a_header_that_would_break_or_betray_something_is_refused(settings, text):
    assert refusal(**provider(**settings)).startswith(f"providers.p1{text}")


def test_ordinary_headers_are_fine():
    settings = {
        "forward_headers": ["X-Tenant"],
        "expose_headers": ["x-cost", "te-x"],
        "headers": {"api-key": "k", "Authorization": "Token k"},
    }
    assert crosschecked(made(**provider(**settings))).providers["p1"].headers["api-key"] == "k"


def test_the_credentials_that_cannot_be_forwarded_are_those_that_a_client_may_send():
    assert {name.decode() for name in CLIENT_CREDENTIALS} | {"cookie"} == _CREDENTIALS


def two_hosts(second: str, **tiers: Any) -> dict[str, Any]:
    return {
        "providers": {
            "p1": {"base_url": "https://one.test/v1", "credentials": "client"},
            "p2": {"base_url": second},
        },
        "tiers": tiers,
    }


M1, M2, OTHER = ({"provider": p, "model": m} for p, m in (("p1", "m"), ("p2", "m"), ("p2", "n")))


@pytest.mark.parametrize(
    ("tiers", "where"),
    [
        ({"simple": [M1, OTHER]}, "tiers.simple"),
        ({"simple": [M1], "complex": [M2]}, "model m"),
    ],
)
def test_a_clients_key_must_not_reach_a_second_host(tiers, where):
    text = refusal(**two_hosts("https://two.test/v1", **tiers))
    assert text == f'{where}: credentials = "client" must not reach more than one host'


def test_a_clients_key_may_reach_one_host_by_two_names_and_another_tier_another_host():
    same = crosschecked(made(**two_hosts("https://one.test/v2", simple=[M1, OTHER])))
    apart = crosschecked(made(**two_hosts("https://two.test", simple=[M1], complex=[OTHER])))
    assert same.providers["p1"].credentials == apart.providers["p1"].credentials == "client"


@pytest.mark.parametrize(
    "source",
    [
        {"source": "file", "file": "tiers.json"},
        {"source": "http", "url": "https://config.internal"},
        {"source": "http", "url": "http://[::1]:8000/tiers?env=a", "api_key_env": "ZION"},
    ],
)
@pytest.mark.parametrize("tiers", [{}, {"simple": [{"provider": "p1", "model": "m"}]}])
def test_tiers_from_elsewhere_need_none_here_and_may_have_some(source, tiers):
    assert crosschecked(made(tier_config=source, tiers=tiers)).tier_config.source != "inline"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ({"source": "file"}, 'file: missing, with source = "file"'),
        ({"source": "http"}, "url: must be an http:// or https:// address"),
        ({"source": "http", "url": "c.internal"}, "url: must be an http:// or https:// address"),
        ({"source": "http", "url": "ftp://c"}, "url: must be an http:// or https:// address"),
        ({"source": "http", "url": "http://c:0/"}, "url: must be an http:// or https:// address"),
        (
            {"source": "http", "url": "http://me:pw@c"},
            "url: no user name, password or fragment; keys go to api_key_env",
        ),
        ({"url": "http://c"}, 'url: set, but source = "inline" does not use it'),
        ({"file": "a.json"}, 'file: set, but source = "inline" does not use it'),
        (
            {"source": "file", "file": "a.json", "url": "http://c"},
            'url: set, but source = "file" does not use it',
        ),
        (
            {"source": "http", "url": "http://c", "file": "a.json"},
            'file: set, but source = "http" does not use it',
        ),
    ],
)
def test_a_source_says_where_it_is_and_no_other_place(source, text):
    assert refusal(tier_config=source) == f"tier_config.{text}"


@pytest.mark.parametrize("url", ["http://proxy:3128", "http://me:pw@proxy:3128/", "http://[::1]:1"])
def test_a_proxy_may_have_a_user(url):
    assert crosschecked(made(**provider(proxy_url=url))).providers["p1"].proxy_url == url


@pytest.mark.parametrize(
    "url",
    [
        *[
            "proxy:3128",
            "https://proxy",
            "socks5://proxy",
            "http://",
            "http://me:pw@",
            "http://p:0",
        ],
        *["http://proxy/path", "http://pw@[::1", "http://p w@proxy", "http://pröxy"],
    ],
)
def test_another_proxy_is_refused_and_its_password_not_shown(url):
    assert refusal(**provider(proxy_url=url)) == (
        "providers.p1.proxy_url: must be http://[user:password@]host:port"
    )


@pytest.mark.parametrize("table", ["cache", "sessions"])
@pytest.mark.parametrize("url", ["memory://", "redis://h", "rediss://me:pw@h:6379/1"])
def test_a_store_is_in_memory_or_in_redis(table, url):
    assert getattr(crosschecked(made(**{table: {"url": url}})), table).url == url


@pytest.mark.parametrize("table", ["cache", "sessions"])
@pytest.mark.parametrize(
    "url",
    ["memory", "http://me:pw@h", "redis://", "redis://me:pw@h:x", "redis://h/pw", "redis://:p/w@h"],
)
def test_another_store_is_refused_by_its_table_and_a_password_is_not_shown(table, url):
    text = refusal(**{table: {"url": url}})
    assert text.startswith(f"{table}.url: neither memory:// nor Redis: ")
    assert "pw" not in text


def test_a_wrong_cache_is_told_of_once_though_sessions_go_there_too():
    assert refusal(cache={"url": "x://"}).count("url") == 1


def test_a_key_prefix_is_printable():
    assert refusal(cache={"key_prefix": "a\nb"}) == "cache.key_prefix: must be printable"


def test_an_empty_cache_url_is_refused():
    assert refusal(cache={"url": ""}).startswith("cache.url: ")


@pytest.mark.parametrize(
    ("listed", "split"),
    [
        ([("simple", "p1", "m"), ("simple", "p2", "n")], {"tiers.simple"}),
        ([("simple", "p1", "m"), ("complex", "p2", "m")], {"model m"}),
        ([("simple", "p1", "m"), ("simple", "p2", "m")], {"tiers.simple", "model m"}),
        ([("simple", "p1", "m"), ("complex", "p2", "n")], set()),
        ([("simple", "p2", "m"), ("simple", "p3", "m")], set()),
        ([("simple", "p1", "m"), ("simple", "nobody", "m")], set()),
        ([], set()),
    ],
)
def test_the_groups_that_could_hand_a_callers_key_to_a_second_host_are_found(listed, split):
    providers = {
        "p1": Provider(base_url="https://one.test/v1", credentials="client"),
        "p2": Provider(base_url="https://two.test/v1"),
        "p3": Provider(base_url="https://three.test/v1"),
    }
    assert split_hosts(listed, providers) == split


def test_every_problem_is_told_at_once():
    text = refusal(routing={"paths": ["x"]}, tiers={}, retry={"attempt_timeout_seconds": 99})
    assert [part.split(":")[0] for part in text.split("; ") if not part.startswith("add")] == [
        "routing.paths",
        "tiers",
        "retry.attempt_timeout_seconds",
    ]


@pytest.mark.parametrize(
    ("settings", "url", "variable"),
    [
        ({}, "https://api.openai.com/v1", "OPENAI_API_KEY"),
        ({"base_url": "http://proxy/v1"}, "http://proxy/v1", "OPENAI_API_KEY"),
        ({"api_key_env": "MINE"}, "https://api.openai.com/v1", "MINE"),
        ({"api_key_file": "/run/key"}, "https://api.openai.com/v1", ""),
        ({"credentials": "client"}, "https://api.openai.com/v1", ""),
    ],
)
def test_a_well_known_name_fills_in_what_is_left_out(settings, url, variable):
    tiers = {"simple": [{"provider": "openai", "model": "m"}]}
    filled = crosschecked(made(providers={"openai": settings}, tiers=tiers)).providers["openai"]
    assert (filled.base_url, filled.api_key_env) == (url, variable)


def test_a_tier_with_one_candidate_is_worth_a_warning():
    pool = [{"provider": "p1", "model": "a"}, {"provider": "p1", "model": "b"}]
    config = made(tiers={"simple": pool, "complex": pool[:1], "moderate": []})
    assert [text.split(":")[0] for text in warnings_of(config)] == ["tiers.complex"]


def test_a_request_log_is_kept_where_a_url_can_say():
    said = refusal(request_log={"url": "mysql://u:hunter2@h/db"})
    assert "request_log.url: the URL of the request log cannot be used" in said
    assert "hunter2" not in said
    assert crosschecked(made(request_log={"url": "sqlite:///a.db"})).request_log.url


def test_a_gateway_that_hands_on_what_it_does_not_know_may_have_no_tier_yet():
    crosschecked(made(tiers={}, routing={"unknown_model": "pass"}))


def entry(**settings: Any) -> dict[str, Any]:
    return {"tiers": {"simple": [{"provider": "p1", "model": "m", **settings}]}}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"rename": {"messages": "input"}}, "rename: 'messages' is not to be changed"),
        ({"supports": ["tools", "tools"]}, "supports: 'tools' is listed twice"),
        ({"set": {"when": date(2026, 1, 1)}}, "set.when: must be a value that JSON has"),
    ],
)
def test_a_wrong_entry_is_refused_by_its_path(settings, text):
    assert refusal(**entry(**settings)).startswith(f"tiers.simple[0].{text}")


def policies(*listed: dict[str, Any]) -> dict[str, Any]:
    return {"policies": [{"name": f"n{number}", **each} for number, each in enumerate(listed)]}


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ({"name": "n0"}, "name: 'n0' is the name of another policy"),
        ({"name": "gr\u00fcn"}, "name: must be printable ASCII, for it stands in a header"),
        ({"name": "a\r\nb"}, "name: must be printable ASCII"),
        ({"name": " a"}, "name: must be printable ASCII"),
        ({"allowed_models": ["a*b"]}, "allowed_models: 'a*b': a model's name, '*' only"),
        ({"allowed_models": ["m", ""]}, "allowed_models: '': a model's name"),
        ({"keywords": ["code", " \t"]}, "keywords: one is blank"),
        ({"keywords": ["k"] * 201}, "keywords: more than 200"),
    ],
)
def test_a_wrong_policy_is_refused_by_its_path(policy, text):
    assert refusal(**policies({}, policy)).startswith(f"policies[1].{text}")


def test_ordinary_policies_are_fine():
    tables = policies({"allowed_models": ["m", "gpt-5*", "*"]}, {"keywords": ["k"] * 200})
    assert len(crosschecked(made(**tables)).policies) == 2


PRICED = {"provider": "p1", "model": "m", "output_price_per_million": 4}


@pytest.mark.parametrize(
    ("policy", "source", "warned"),
    [
        ({}, {}, False),
        ({"allowed_models": ["m"]}, {}, False),
        ({"allowed_models": ["other"]}, {}, True),
        ({"max_output_price_per_million": 4}, {}, False),
        ({"max_output_price_per_million": 3.9}, {}, True),
        ({"allowed_models": ["other"]}, {"source": "file", "file": "a.json"}, False),
    ],
)
def test_a_policy_that_nobody_satisfies_is_worth_a_warning(policy, source, warned):
    tiers = {"simple": [PRICED, {**PRICED, "model": "n", "output_price_per_million": 5}]}
    said = warnings_of(made(tiers=tiers, tier_config=source, **policies(policy)))
    text = "policies[0]: 'n0' allows no candidate of any tier"
    assert said == ([text] if warned else [])


def test_the_classifiers_settings_are_checked_as_a_set():
    text = refusal(classifier={"moderate": 0.9, "complex": 0.1})
    assert text.startswith("classifier.")
