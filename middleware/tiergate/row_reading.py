"""What a row of the request log tells a trial beside its columns, in older and in newer rows.

A row of before the chances were kept has neither `requested_reason` nor `reach`.
"""

from typing import Final

from tiergate.errors import InvalidRequest, ModelNotFound, TierNotAllowed, TierNotConfigured
from tiergate.log_row import RequestRow
from tiergate.tiers import Tier

_ROUTINGS: Final = frozenset({ModelNotFound.code, TierNotAllowed.code, TierNotConfigured.code})


def reason_of(row: RequestRow) -> str | None:
    """Why it asked for its tier; a row of before this was kept may say only that it had a session,
    and then asked for it itself."""
    said = row.requested_reason or row.reason
    return "explicit" if said == "session" else said


def is_of_routing(row: RequestRow) -> bool:
    """Whether routing has led it to somebody, or refused it: anything else no configuration undoes.

    A policy that leaves nobody refuses, too.
    """
    if row.reach is not None or row.error_code in _ROUTINGS:
        return True
    if row.requested_reason is None:
        return row.reason is not None
    return row.policy is not None and row.error_code == InvalidRequest.code


def tier_before(row: RequestRow) -> Tier | None:
    """The tier that it got; None where it was refused."""
    was_led = row.reach is not None or (row.requested_reason is None and row.reason is not None)
    return row.tier if was_led and row.error_code != TierNotConfigured.code else None


def has_bound(row: RequestRow) -> bool:
    """Whether its conversation was held to who served it: it succeeded, or its client left later
    than it might have."""
    left = row.outcome == "client_disconnected" and row.status is not None and row.status < 400
    return row.outcome == "ok" or left


def bound_tier(row: RequestRow) -> Tier | None:
    """The tier that its conversation was raised to, if it was: not by a session, which it only had,
    nor by a higher tier that stood in for its own."""
    placed = row.reason == "auto" and row.policy_binds  # by its policy
    return row.tier if has_bound(row) and (placed or row.tier == row.requested_tier) else None


def code_of(row: RequestRow) -> str:
    """Why it was refused, in one word; of one whose client left before, that it did."""
    return row.error_code or row.outcome
