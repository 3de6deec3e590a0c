"""ConfigMaps from an API server over TLS: read within their time, remembered shortly, and whatever
cannot be known is a `LookupError` that says why."""

import json
from contextlib import asynccontextmanager

import pytest
from kubeapi import SILENT, FakeApi

from tiergate import ConfigError
from tiergate_sidecar.kube import FRESH_SECONDS, LARGEST, MOST, ConfigMaps, api_server

PATH = "/api/v1/namespaces/shop/configmaps/tiergate"


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@asynccontextmanager
async def reading(api, *, clock=None, seconds=5):
    maps = ConfigMaps(api.url, api.account, clock or Clock(), seconds=seconds)
    try:
        yield maps
    finally:
        await maps.close()


async def test_a_configmap_is_read_with_the_accounts_token(tmp_path):
    async with (
        FakeApi(tmp_path, {("shop", "tiergate"): "[routing]\n"}).serving() as api,
        reading(api) as maps,
    ):
        assert await maps.read("shop", "tiergate") == "[routing]\n"
        assert api.asked == [(PATH, "Bearer one")]


async def test_it_is_remembered_for_as_long_as_a_deployment_takes_to_come_up(tmp_path):
    clock, known = Clock(), {("shop", "tiergate"): "old"}
    async with FakeApi(tmp_path, known).serving() as api, reading(api, clock=clock) as maps:
        assert [await maps.read("shop", "tiergate") for _ in range(3)] == ["old"] * 3
        known["shop", "tiergate"] = "new"
        clock.now = FRESH_SECONDS - 1
        assert await maps.read("shop", "tiergate") == "old"
        assert len(api.asked) == 1
        clock.now = FRESH_SECONDS + 1
        assert await maps.read("shop", "tiergate") == "new"
        assert await maps.read("play", "tiergate") is None  # each namespace has its own


async def test_what_is_remembered_is_bounded_by_its_size(tmp_path):
    large = "#" * (MOST // 5)
    names = [f"m{number}" for number in range(6)]
    known = {("shop", name): large for name in names}
    async with FakeApi(tmp_path, known).serving() as api, reading(api) as maps:
        for name in (*names, names[-1], names[0]):
            assert await maps.read("shop", name) == large
        asked = [path.rpartition("/")[2] for path, _ in api.asked]
        assert asked == [*names, names[0]]


@pytest.mark.parametrize("missing", [(404, b"{}"), None])
async def test_one_that_is_missing_may_be_there_the_next_time(tmp_path, missing):
    known = {("shop", "tiergate"): missing}
    async with FakeApi(tmp_path, known).serving() as api, reading(api) as maps:
        assert await maps.read("shop", "tiergate") is None
        known["shop", "tiergate"] = "text"
        assert await maps.read("shop", "tiergate") == "text"


async def test_token_and_authority_are_those_of_the_moment(tmp_path):
    api = FakeApi(tmp_path, {})
    async with api.serving(), reading(api) as maps:
        await maps.read("shop", "a")
        api.rotate("two")
        await maps.read("shop", "b")
        assert [token for _, token in api.asked] == ["Bearer one", "Bearer two"]
        api.renew()  # the files say so already; the server shows the old certificate still
        with pytest.raises(LookupError, match="certificate verify failed"):
            await maps.read("shop", "c")
        assert len(api.asked) == 2


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ((500, b"oops"), "answered 500"),
        ((403, b"{}"), "answered 403"),
        ((302, b""), "answered 302"),
        ((200, b"<html>"), "is no ConfigMap"),
        ((200, b'{"data": {"tiergate.toml": 1}}'), "is no ConfigMap"),
        ((200, b'{"data": {"tiergate.toml": "\xff"}}'), "is no ConfigMap"),
        ((200, json.dumps({"data": {"x": "y" * LARGEST}}).encode()), "longer than"),
    ],
)
async def test_an_answer_that_says_nothing_is_not_known_and_not_remembered(tmp_path, said, why):
    known = {("shop", "tiergate"): said}
    async with FakeApi(tmp_path, known).serving() as api, reading(api) as maps:
        with pytest.raises(LookupError, match=why):
            await maps.read("shop", "tiergate")
        assert len(api.asked) == 1  # where it is sent to has not got the token
        known["shop", "tiergate"] = "text"
        assert await maps.read("shop", "tiergate") == "text"


async def test_one_that_does_not_answer_is_waited_for_shortly(tmp_path):
    async with (
        FakeApi(tmp_path, {("shop", "tiergate"): SILENT}).serving() as api,
        reading(api, seconds=0.05) as maps,
    ):
        with pytest.raises(LookupError, match=r"cannot be asked: .*imeout"):
            await maps.read("shop", "tiergate")


async def test_one_that_is_away_is_not_known(tmp_path):
    api = FakeApi(tmp_path, {})
    api.url = "https://127.0.0.1:1"
    async with reading(api) as maps:
        with pytest.raises(LookupError, match="cannot be asked"):
            await maps.read("shop", "tiergate")


@pytest.mark.parametrize("spoil", ["token", "ca.crt"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"a\nb: c"])
async def test_an_account_that_is_of_no_use_is_not_known_either(tmp_path, spoil, content):
    api = FakeApi(tmp_path, {("shop", "tiergate"): "text"})
    if content is None:
        (api.account / spoil).unlink()
    else:
        (api.account / spoil).write_bytes(content)
    async with api.serving(), reading(api) as maps:
        if (spoil, content) == ("token", b""):
            assert await maps.read("shop", "tiergate") == "text"  # what it is worth, the API says
        else:
            with pytest.raises(LookupError, match="cannot be asked"):
                await maps.read("shop", "tiergate")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "a/b",
        "../../shop/configmaps/tiergate",
        "A",
        "a?b",
        "a%2fb",
        "-a",
        "a" * 254,
        "a\n",
    ],
)
async def test_what_is_no_name_does_not_get_into_a_path(tmp_path, name):
    api = FakeApi(tmp_path, {})
    async with api.serving(), reading(api) as maps:
        for namespace, each in (("shop", name), (name, "tiergate")):
            with pytest.raises(LookupError, match="is no name"):
                await maps.read(namespace, each)
        assert await maps.read("a1-b", "a.b-c") is None
        assert len(api.asked) == 1


@pytest.mark.parametrize(
    ("host", "url"),
    [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")],
)
def test_the_api_server_is_where_the_pod_is_told(host, url):
    assert api_server({"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}) == url


def test_outside_of_a_pod_there_is_none():
    with pytest.raises(ConfigError, match="not a pod"):
        api_server({})
