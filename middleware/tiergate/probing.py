"""Asking after the ailing in the background, where `health.probe_interval_seconds` says so.

While anybody is in back-off, `GET {base_url}/models` at an interval; a good answer makes the
candidate ready for its probe early: that probe is still one real request. With nobody ailing
nothing runs.
"""

import asyncio
from collections.abc import Mapping

from tiergate.endpoint import Endpoint
from tiergate.faults import AttemptFailed
from tiergate.health import Health
from tiergate.transport import Transport


class Prober:
    """At most one task in a loop; it ends by itself when all are well, or with `close`."""

    def __init__(
        self,
        health: Health,
        endpoints: Mapping[str, Endpoint],
        transport: Transport,
        *,
        interval: float,
    ) -> None:
        self._health = health
        self._endpoints = endpoints
        self._transport = transport
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    def reconfigure(self, endpoints: Mapping[str, Endpoint], interval: float) -> None:
        """Ask these, so often, from the next time on."""
        self._endpoints = endpoints
        self._interval = interval

    def wake(self) -> None:
        """Begin asking, if that is wanted, somebody is ailing, and nobody asks yet."""
        if not self._names():
            return
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._task = loop.create_task(self._run())

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            ailing = [self._endpoints[name] for name in self._names()]
            if not ailing:
                return
            # All at once: a silent provider must not hold up the news of another.
            await asyncio.gather(*map(self._ask, ailing))

    async def _ask(self, endpoint: Endpoint) -> None:
        if await self._answers(endpoint):
            self._health.ready_early(endpoint.name)

    def _names(self) -> set[str]:
        """Providers with a back-off that has not passed: nobody else gains by being asked."""
        if self._interval == 0:
            return set()
        ailing = {each.provider for each in self._health.ailing() if each.seconds_left > 0}
        return ailing & self._endpoints.keys()

    async def _answers(self, endpoint: Endpoint) -> bool:
        try:
            async with asyncio.timeout(self._interval):
                return await self._transport.probe(endpoint)
        except (AttemptFailed, TimeoutError):
            return False
