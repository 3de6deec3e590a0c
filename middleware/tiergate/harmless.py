"""Calling code that may raise anything and must not break a request: that is logged, once.

For what is told of a request. What a request cannot do without raises its own, from `errors`.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

_log = logging.getLogger("tiergate")

P = ParamSpec("P")
T = TypeVar("T")


class Complaints:
    """Logs that something is broken, the first time: it is likely to be so for every request."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._said = False

    def exception(self) -> None:
        """Log the exception at hand, if it is the first."""
        if not self._said:
            self._said = True
            _log.exception(self._text)


class _Complaining(Protocol):
    @property
    def complaints(self) -> Complaints: ...


S = TypeVar("S", bound=_Complaining)


def harmless(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T | None]:
    """A method of an object with `complaints` that gives None where it would have raised."""

    @wraps(method)
    def guarded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return method(self, *args, **kwargs)
        except Exception:  # noqa: BLE001  # anybody's code
            self.complaints.exception()
            return None

    return guarded
