"""Which phase the process is in. Who moves it on is `server`; pages only read it."""

from enum import Enum


class Phase(Enum):
    """The life of the process; it only moves on."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class Life:
    """Which phase the process is in."""

    def __init__(self, phase: Phase = Phase.STARTING) -> None:
        self.phase = phase

    def __repr__(self) -> str:
        return f"<Life {self.phase.value}>"
