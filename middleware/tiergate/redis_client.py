"""redis-py as we use it: how it connects, and which of its exceptions are of one command only.

When it is used, and what becomes of a Redis that does not answer, is `redis_link`'s.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from tiergate.names import Resolver
from tiergate.redis_url import RedisUrl

if TYPE_CHECKING:
    from redis.asyncio import Redis

# More would only queue in Redis, which does one command at a time: 200 operations at once took as
# long over 8 connections as over 64. To open 64 of them with TLS took half of the time limit.
CONNECTIONS: Final = 16


def make_client(url: RedisUrl, timeout: float, resolver: Resolver) -> "Redis":
    """A client that connects when it is used, each time to where the host is then.

    `timeout`, in seconds, is that of connecting; nothing else has one. TLS is checked against the
    name in the URL, whatever address it has.
    """
    # A costly driver, and one that a library without Redis need not have.
    from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as Disconnected

    connect: Any = Connection._connect  # not typed

    class Plain(Connection):
        """Its own lookup would be one of the loop's threads for each try."""

        address = ""

        async def _connect(self) -> None:
            *others, last = await resolver.addresses()
            for self.address in others:
                with suppress(OSError):
                    await connect(self)
                    return
            self.address = last
            await connect(self)

        def _connection_arguments(self) -> Any:
            return {**super()._connection_arguments(), "host": self.address}

    class Tls(SSLConnection, Plain):
        """With one context for all: redis-py reads the system's certificates for each, 20 ms."""

        shared: Any = None

        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            Tls.shared = self.ssl_context = Tls.shared or self.ssl_context

        def _connection_arguments(self) -> Any:
            return {**super()._connection_arguments(), "server_hostname": url.host}

    pool = ConnectionPool(
        connection_class=Tls if url.tls else Plain,
        # The places of a line bound it: redis-py's own waiting can lose a connection when it is
        # cancelled, and every time limit is a cancellation.
        max_connections=CONNECTIONS,
        host=url.host,
        port=url.port,
        db=url.db,
        username=url.username,
        password=url.password,
        protocol=2,  # 3 brings messages that nobody asked for, and nothing that we need
        socket_timeout=None,  # one timer an operation is enough, and it is ours
        socket_connect_timeout=timeout,
        # Once, at once: a connection that Redis closed while it was idle says so when it is used.
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[Disconnected],
        **url.options,
    )
    return Redis(connection_pool=pool)


def is_of_one_command(error: BaseException) -> bool:
    """Whether Redis refused a command or a key, and not to work."""
    from redis.exceptions import ClusterDownError, DataError, ReadOnlyError, ResponseError

    if isinstance(error, ReadOnlyError | ClusterDownError):  # MASTERDOWN is one of the latter
        return False
    busy = str(error).startswith("BUSY ")  # with a script that does not end
    return isinstance(error, ResponseError | DataError) and not busy
