"""What every table of the configuration file is made of: the base and the ranges of its numbers.

The tables themselves are in `config` and `routing_config`. Durations are seconds.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

_DAY: Final = 86_400  # of seconds: more is a slip of the unit, and timers do not take infinity

Seconds = Annotated[float, Meta(ge=0, le=_DAY)]
PositiveSeconds = Annotated[float, Meta(gt=0, le=_DAY)]
Count = Annotated[int, Meta(ge=0)]
PositiveCount = Annotated[int, Meta(ge=1)]
Lifetime = Annotated[float, Meta(gt=0, le=366 * _DAY)]
Price = Annotated[float, Meta(ge=0, le=1_000_000)]  # a dollar a token
Cost = Annotated[float, Meta(ge=0, le=10)]
Score = Annotated[float, Meta(gt=0, lt=1)]
Weight = Annotated[float, Meta(ge=-20, le=20)]  # of a score that is nearly sure at 5


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration file."""
