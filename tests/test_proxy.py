"""Where the reverse proxy sends what is not ours: the provider, the app, or nobody."""

import asyncio

import pytest

from tiergate import Gateway
from tiergate.testing import ScriptedTransport
from tiergate_sidecar.destinations import App, ProviderPath
from tiergate_sidecar.errors import EndpointNotAllowed
from tiergate_sidecar.proxy import ReverseProxy
from tiergate_sidecar.settings import Proxy

CONFIG = {
    "providers": {"p1": {"base_url": "http://p1.test/v1"}, "p2": {"base_url": "http://p2.test"}},
    "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
    "limits": {"send_timeout_seconds": 7, "max_in_flight": 9},
}
TARGET, PROVIDER = {"target": "http://app.test"}, {"provider": "p1"}
BOTH = TARGET | PROVIDER
CHAT = "/v1/chat/completions"


def gateway(**tables) -> Gateway:
    return Gateway(CONFIG | tables, transport=ScriptedTransport({}), environ={})


def proxied(settings: dict, **tables) -> ReverseProxy:
    made = Proxy(**settings)
    return ReverseProxy(gateway(**tables), lambda: made)


def where(proxy: ReverseProxy, method: str, path: str) -> str:
    """The address that is asked, "nobody", or "refused"."""
    scope = {
        "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [],
    }  # fmt: skip
    try:
        destination = proxy.destination(scope)
    except EndpointNotAllowed:
        return "refused"
    return "nobody" if destination is None else destination.url(scope)


@pytest.mark.parametrize(
    ("settings", "method", "path", "place"),
    [
        ({}, "GET", "/", "nobody"),
        ({}, "POST", "/v1/embeddings", "nobody"),
        ({}, "POST", CHAT, "nobody"),
        (TARGET, "GET", "/", "http://app.test/"),
        (TARGET, "POST", "/v1/embeddings", "http://app.test/v1/embeddings"),
        (TARGET, "GET", "/v1/files/../x", "http://app.test/v1/files/../x"),
        (TARGET, "POST", CHAT, "nobody"),
        (TARGET, "GET", CHAT, "nobody"),
        (TARGET, "GET", f"{CHAT}/c1", f"http://app.test{CHAT}/c1"),
        (PROVIDER, "GET", "/", "nobody"),
        (PROVIDER, "POST", "/v1/embeddings", "http://p1.test/v1/embeddings"),
        (PROVIDER, "GET", "/v1/files", "refused"),
        (PROVIDER, "GET", "/x/../v1/files", "refused"),
        (PROVIDER, "POST", CHAT, "http://p1.test/v1/chat/completions"),
        (PROVIDER, "GET", CHAT, "nobody"),
        (PROVIDER, "GET", f"{CHAT}/c1", "refused"),
        (PROVIDER | {"paths": ["*"]}, "GET", CHAT, "http://p1.test/v1/chat/completions"),
        (PROVIDER | {"paths": ["*"]}, "GET", "/v1/files", "http://p1.test/v1/files"),
        (PROVIDER | {"paths": []}, "POST", "/v1/embeddings", "refused"),
        (PROVIDER | {"paths": []}, "POST", CHAT, "http://p1.test/v1/chat/completions"),
        (BOTH, "GET", "/", "http://app.test/"),
        (BOTH, "GET", "/v1", "http://app.test/v1"),
        (BOTH, "POST", "/v1/embeddings", "http://p1.test/v1/embeddings"),
        (BOTH, "POST", "/v1/files", "refused"),
        (BOTH, "GET", CHAT, "nobody"),
        ({**BOTH, "provider": "p2"}, "POST", "/v1/embeddings", "http://p2.test/embeddings"),
    ],
)
def test_each_request_has_one_place_to_go(settings, method, path, place):
    assert where(proxied(settings), method, path) == place


def test_a_path_of_the_gateways_own_is_a_chat_for_the_provider():
    proxy = proxied(PROVIDER, routing={"paths": ["/chat"]})
    assert where(proxy, "POST", "/chat") == "http://p1.test/v1/chat/completions"
    assert where(proxy, "GET", "/chat") == "nobody"
    assert where(proxy, "POST", CHAT) == "refused"


def test_the_two_places_have_their_own_patience():
    scope = {"method": "POST", "headers": [], "query_string": b""}
    proxy = proxied({**BOTH, "idle_timeout_seconds": 33})
    app = proxy.destination({**scope, "path": "/", "raw_path": b"/"})
    provider = proxy.destination({**scope, "path": CHAT, "raw_path": CHAT.encode()})
    assert isinstance(app, App)
    assert isinstance(provider, ProviderPath)
    assert (app.silence.upstream, app.silence.reader, app.limit) == (33, 33, 9)
    assert (provider.silence.upstream, provider.silence.reader) == (33, 7)


def test_other_settings_are_live_with_the_next_request():
    now = [Proxy(**PROVIDER), Proxy(**TARGET), Proxy(provider="p1", paths=("/v1/files",))]
    proxy = ReverseProxy(gateway(), lambda: now[0])
    places = []
    while now:
        places.append([where(proxy, "GET", path) for path in ("/v1/files", "/v1/embeddings")])
        del now[0]
    assert places == [
        ["refused", "http://p1.test/v1/embeddings"],
        ["http://app.test/v1/files", "http://app.test/v1/embeddings"],
        ["http://p1.test/v1/files", "refused"],
    ]


async def test_another_key_is_live_with_the_next_request(tmp_path):
    key = tmp_path / "key"
    key.write_text("sk-1")
    providers = {"p1": {"base_url": "http://p1.test/v1", "api_key_file": str(key)}}
    tables = CONFIG | {"providers": providers}
    proxy_settings = Proxy(**PROVIDER)
    async with Gateway(tables, transport=ScriptedTransport({}), environ={}) as made:
        proxy = ReverseProxy(made, lambda: proxy_settings)
        scope = {"method": "POST", "path": CHAT, "raw_path": b"", "headers": []}
        seen = []
        for text in ("sk-1", "sk-2"):
            key.write_text(text)
            await made.reload()
            destination = proxy.destination(scope)
            assert destination is not None
            seen.append(dict(destination.request_headers(scope))["authorization"])
    assert seen == ["Bearer sk-1", "Bearer sk-2"]


async def test_a_request_that_reaches_nobody_is_answered_too():
    sent = []

    async def send(message):
        sent.append(message)

    proxy = proxied(TARGET)
    scope = {
        "type": "http", "method": "GET", "path": "*", "raw_path": b"*", "query_string": b"",
        "headers": [],
    }  # fmt: skip
    destination = proxy.destination(scope)
    assert destination is not None
    await proxy.pass_on(destination, scope, asyncio.Event().wait, send)
    assert sent[0]["status"] == 400


async def test_it_tells_where_it_leads_and_no_more():
    proxy = proxied(BOTH)
    assert repr(proxy) == "<ReverseProxy to p1 and http://app.test>"
    assert repr(proxied({})) == "<ReverseProxy to - and ->"
    await proxy.close()
    assert len(asyncio.all_tasks()) == 1
