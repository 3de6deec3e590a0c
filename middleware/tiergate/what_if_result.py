"""What a trial has to say: who went where and would go, what it cost and would, what is not known.

Values for people and pages; the sums behind them are in `tally`.
"""

from msgspec import Struct

from tiergate.tiers import Tier


class TierMove(Struct, frozen=True):
    """How many requests got the one tier and would get the other; None is refused."""

    before: Tier | None
    after: Tier | None
    requests: int


class ModelLoad(Struct, frozen=True):
    """What a model at a provider had to do, and would have: what is drawn counts by its chances.

    Before, it is who was asked last. Tokens are those in and out together, costs US dollars.
    """

    provider: str
    model: str
    requests_before: int = 0
    requests_after: float = 0.0
    tokens_before: int = 0
    tokens_after: float = 0.0
    cost_before: float = 0.0
    cost_after: float = 0.0


class CostRange(Struct, frozen=True):
    """US dollars: the log's own sum, the expected one, and two standard deviations of the draw to
    either side of it."""

    before: float
    after: float
    low: float
    high: float


class Unknowns(Struct, frozen=True):
    """How many requests lack what a trial needs; the notes of the result say what stands in for it.

    `without_tokens` were asked of somebody and nobody counted. `without_price` have a model
    afterwards whose price is not known, and had `cost_without_price` before; `newly_priced` had no
    known cost before, and have `cost_newly_priced` after. `without_signals` were never measured,
    `without_needs` neither for what they need beside text. `without_chances` are of a log that did
    not keep them. Of `policies_gone` the policy, which only preferred, is no more. Conversations
    that were forgotten were too many to be kept.
    """

    without_tokens: int = 0
    without_price: int = 0
    cost_without_price: float = 0.0
    newly_priced: int = 0
    cost_newly_priced: float = 0.0
    without_signals: int = 0
    without_needs: int = 0
    without_chances: int = 0
    policies_gone: int = 0
    conversations_forgotten: int = 0


class WhatIfResult(Struct, frozen=True, kw_only=True):
    """A log under another configuration. `since` and `until` are its first and last arrival, Unix
    time in microseconds; None without a request.

    `kept` requests have the chances that they had, and stay with whoever served them; `drawn` ones
    count by their new chances; the others are `refused`, by error code, as `refused_before` were.
    `passed_on` among them are the host's. Tiers are by name, `refused` is one of them; `moves`
    are the pairs of them that occur, the most frequent first. `loads` come by cost, the highest of
    either side first. `notes` are for people: what is assumed, and what is not known.
    """

    since: int | None
    until: int | None
    requests: int
    kept: int
    drawn: int
    tiers_before: dict[str, int]
    tiers_after: dict[str, int]
    moves: tuple[TierMove, ...]
    loads: tuple[ModelLoad, ...]
    cost: CostRange
    refused_before: dict[str, int]
    refused: dict[str, int]
    unknown: Unknowns
    notes: tuple[str, ...]
