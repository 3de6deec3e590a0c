"""What the app's other routes pay for `TierMiddleware`: CPU with it minus without it.

The ASGI app is called in this process, without a server and without a loop, many times: nothing
else would show half a microsecond. Blocks with and without alternate.
"""

import statistics
import time
from collections.abc import Callable, Coroutine
from typing import Any

from catalogue import config
from machine import pinned, processors
from mounted import host
from table import Row, at_most, columns

from tiergate import TierMiddleware

CALLS = 2000
BLOCKS = 60
ROUTES = {
    "GET /hello": {"method": "GET", "path": "/hello"},
    "POST /hello": {"method": "POST", "path": "/hello"},
    "GET of nothing": {"method": "GET", "path": "/nothing"},
}
App = Callable[..., Coroutine[Any, Any, None]]


def scope(of: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"accept", b"*/*")],
        **of,
    }


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: dict[str, Any]) -> None:
    del message


def microseconds(app: App, of: dict[str, str]) -> float:
    """CPU of one call; nothing in it ever waits."""
    scopes = [scope(of) for _ in range(CALLS)]
    begun = time.process_time()
    for each in scopes:
        try:
            app(each, receive, send).send(None)
        except StopIteration:
            continue
        raise RuntimeError("it waits")
    return (time.process_time() - begun) / CALLS * 1e6


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    del scope, receive, send


def added(app: App, of: dict[str, str], blocks: int) -> tuple[float, float]:
    """Microseconds without, and how many more with: the median of the blocks' differences."""
    with_it = TierMiddleware(app, config=config(1), authorize="open")
    plain, more = [], []
    for number in range(blocks):
        if number % 2:
            one, other = microseconds(app, of), microseconds(with_it, of)
        else:
            other, one = microseconds(with_it, of), microseconds(app, of)
        plain.append(one)
        more.append(other - one)
    return statistics.median(plain), statistics.median(more)


async def run(rounds: int) -> list[Row]:
    ours, _ = processors()
    lines = [("other routes, CPU in µs", "without", "added")]
    found = []
    with pinned(ours):
        for name, of in ROUTES.items():
            for kind, app in (("Starlette", host()), ("an app that does nothing", nothing)):
                plain, more = added(app, of, max(BLOCKS, rounds))
                lines.append((f"{kind}, {name}", f"{plain:.2f}", f"{more:.2f}"))
                found.append(more)
    print(columns(lines))
    return [at_most("other routes, with minus without", 0.5, max(found), "µs")]
