"""How much the process takes on at once: requests, and bytes held for them. Full means no, at once.

There is no queue here: waiting would only hide the overload from whoever could go elsewhere.
"""

from tiergate.config import Limits
from tiergate.errors import Overloaded

_RETRY_AFTER_SECONDS = 1


class Capacity:
    """The places of a process. A request enters, and has an `Account` of the bytes it holds.

    Entering raises `Overloaded` when all `max_in_flight` places are taken.
    """

    def __init__(self, limits: Limits) -> None:
        self.in_flight = 0
        self.held_bytes = 0
        self.reconfigure(limits)

    def __repr__(self) -> str:
        return f"<Capacity {self.in_flight} requests, {self.held_bytes} bytes held>"

    def account(self) -> "Account":
        return Account(self)

    def reconfigure(self, limits: Limits) -> None:
        """Other limits for whoever comes from now on."""
        self.most_bytes = limits.max_buffered_bytes
        self._most_requests = limits.max_in_flight

    def __enter__(self) -> None:
        if self.in_flight >= self._most_requests:
            raise Overloaded("Too many requests at once.", retry_after=_RETRY_AFTER_SECONDS)
        self.in_flight += 1

    def __exit__(self, *_: object) -> None:
        self.in_flight -= 1


class Account:
    """The bytes that are held for one request, given back all together."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._held = 0

    def hold(self, count: int) -> None:
        """Count `count` more bytes; raises `Overloaded` when the process holds enough."""
        capacity = self._capacity
        held = capacity.held_bytes + count
        if held > capacity.most_bytes:
            raise Overloaded("Too much in memory at once.", retry_after=_RETRY_AFTER_SECONDS)
        capacity.held_bytes = held
        self._held += count

    def drop(self, count: int) -> None:
        """Some of them are gone."""
        self._capacity.held_bytes -= count
        self._held -= count

    def close(self) -> None:
        """All of them are gone; may be called again."""
        self.drop(self._held)
