"""What a gateway can say of itself: read only, nothing is called."""

from msgspec import Struct

from tiergate.assembly import Assembly
from tiergate.health import CandidateHealth
from tiergate.redis_link import StoreState
from tiergate.requestlog import RequestLog, RequestLogState
from tiergate.resolve import AUTO
from tiergate.retry import BudgetState
from tiergate.sessions import SessionsState
from tiergate.store import ConfigurationState
from tiergate.tiers import TIERS


class Status(Struct, frozen=True):
    """What a gateway can say of itself: for health pages and for people.

    `needs_restart` names the tables whose change has no effect before one; `stores` are the Redis
    that it uses; `request_log` is None where none is kept.
    """

    ready: bool
    configuration: ConfigurationState
    needs_restart: tuple[str, ...]
    candidates: tuple[CandidateHealth, ...]
    sessions: SessionsState
    stores: tuple[StoreState, ...]
    retry_budget: BudgetState
    request_log: RequestLogState | None = None


def status_of(parts: Assembly, log: RequestLog | None = None) -> Status:
    """Whether requests can be served, from which configuration, and what is amiss."""
    snapshot = parts.store.snapshot
    candidates = dict.fromkeys(snapshot.candidates()) if snapshot is not None else {}
    return Status(
        ready=snapshot is not None,
        configuration=parts.configuration,
        needs_restart=parts.needs_restart + (("request_log",) if _has_moved(parts, log) else ()),
        candidates=tuple(parts.health.of(candidates)),
        sessions=parts.sessions.state(),
        stores=tuple(link.state for link in parts.links),
        retry_budget=parts.tools.budget.state(parts.tools.clock()),
        request_log=log.state if log is not None else None,
    )


def _has_moved(parts: Assembly, log: RequestLog | None) -> bool:
    """Whether a reload asks for another request log than the one there is."""
    wanted = parts.config.request_log
    return wanted != log.settings if log is not None else wanted.url != ""


def models_of(parts: Assembly) -> dict[str, str]:
    """What a client may name as `model`, and whose it is: tiers, `auto`, aliases, models."""
    snapshot = parts.store.snapshot
    if snapshot is None or not snapshot.models:
        return {}
    ours = dict.fromkeys([*TIERS, AUTO, *parts.config.routing.aliases], "tiergate")
    offers = {
        name: next(route.reach.candidates()).provider for name, route in snapshot.models.items()
    }
    return ours | {name: owner for name, owner in offers.items() if name not in ours}
