"""How a client finds the Redis that a name stands for: at one of its addresses, checked by name."""

import socket

import pytest
from redis.exceptions import ConnectionError as Disconnected
from redisserver import RedisServer
from test_names import Names

from tiergate.names import Resolver
from tiergate.redis_client import make_client
from tiergate.redis_url import read_redis_url

AWAY = "127.77.77.77"
"""On the loopback, where nobody listens."""


async def ping(url: str, names: Names) -> bool:
    read = read_redis_url(url)
    resolver = Resolver(read.host, clock=lambda: 0, look_up=names)
    client = make_client(read, 5, resolver)
    try:
        return await client.ping()
    finally:
        await client.aclose(close_connection_pool=True)


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], [AWAY, "127.0.0.1"], [AWAY, "127.0.0.1", "127.77.77.78"]]
)
async def test_the_first_address_that_takes_a_connection_is_used(tmp_path, addresses):
    async with RedisServer(tmp_path) as server:
        names = Names(*addresses)
        assert await ping(f"redis://redis.test:{server.port}", names)
        assert [asked[0] for asked in names.asked] == ["redis.test"]


async def test_a_name_with_nobody_at_its_addresses_is_told_of_by_name():
    with pytest.raises(Disconnected, match=r"redis\.test:1"):
        await ping("redis://redis.test:1", Names(AWAY, AWAY))


async def test_a_name_that_nobody_knows_is_a_connection_that_failed():
    names = Names()
    names.answer = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with pytest.raises(Disconnected, match="Name or service not known"):
        await ping("redis://redis.test", names)


@pytest.mark.parametrize(("name", "right"), [("localhost", True), ("redis.test", False)])
async def test_tls_is_checked_against_the_name_wherever_it_is(tmp_path, name, right):
    async with RedisServer(tmp_path, tls=True) as server:
        url, names = server.url.replace("127.0.0.1", name), Names("127.0.0.1")
        if right:
            assert await ping(url, names)
        else:
            with pytest.raises(Disconnected, match="Hostname mismatch"):
                await ping(url, names)
