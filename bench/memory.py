"""A million requests to one sidecar with its defaults: does it grow?"""

import work
from catalogue import DEFAULTS
from machine import pinned, processors
from nginx import UPSTREAM
from subject import running
from table import Row, at_most

WARM_UP = 20_000
"""Until every cache and ring of ours is full: the longest has 10,000 places."""

REQUESTS, STEP = 1_000_000, 100_000
CONNECTIONS = 16


async def run(rounds: int) -> list[Row]:
    """`rounds` is not for this one: it is long enough."""
    del rounds
    ours, others = processors()
    with pinned(others):
        async with (
            running(UPSTREAM, others, work.SMALL) as upstream,
            running(DEFAULTS, ours, work.SMALL, upstream=upstream.port) as one,
            one.clients(work.SMALL, CONNECTIONS) as clients,
        ):
            await clients.run(WARM_UP)
            warm = one.resident_bytes() / 1e6
            print(f"{WARM_UP:>9,} requests {warm:>8.1f} MB", flush=True)
            grown = 0.0
            for done in range(STEP, REQUESTS + 1, STEP):
                await clients.run(STEP)
                resident = one.resident_bytes() / 1e6
                grown = resident - warm
                print(f"{done:>9,} requests {resident:>8.1f} MB", flush=True)
    return [at_most(f"growth over {REQUESTS:,} requests", 5, grown, "MB")]
