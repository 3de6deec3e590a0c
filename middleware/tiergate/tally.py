"""The sums of a trial: costs, tokens, tiers, and how far chance may take them from the expected.

Who goes where is decided in `what_if`; what is told of it is a value of `what_if_result`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from math import sqrt
from typing import Any, Final

from msgspec import Struct

from tiergate.candidates import Candidate
from tiergate.completion import Usage
from tiergate.log_row import RequestRow
from tiergate.row_reading import code_of
from tiergate.tiers import TIERS, Tier
from tiergate.what_if_result import CostRange, ModelLoad, TierMove, Unknowns, WhatIfResult

MOST_LOADS: Final = 1000
"""Pairs of provider and model that are told apart; beyond it they are one. What a log names may be
anybody's, and no page has room for more."""

REFUSED: Final = "refused"
"""Among the tiers: none."""

_OTHERS: Final = ("others", "others")
_SIGMAS: Final = 2.0  # to either side: 95 % of what may be drawn

_ASSUMED: Final = (
    "Whoever is asked instead of another is taken to count the same tokens: tokenizers differ, and "
    "so do the lengths of answers.",
    "Who is drawn anew is taken to be available and to answer: no failure, no failover, no "
    "escalation.",
    "Callers are taken to ask the same again. Each conversation that is drawn anew draws once for "
    "its tier, and its provider is not preferred when it rises.",
)
_TOLD: Final = {
    "without_tokens": "{n} requests without a count of tokens: they cost nothing on either side.",
    "without_price": "{n} requests would go where a price is not known: of the cost before "
    "$ {cost_without_price:.6f} has no counterpart after.",
    "newly_priced": "{n} requests had no known cost before: $ {cost_newly_priced:.6f} of the cost "
    "after is theirs.",
    "without_signals": "{n} requests would be classified, and were not measured: they keep their "
    'tier. [classifier] measure = "all" measures everything from now on.',
    "without_needs": "{n} requests of unknown needs: taken to be text of the tokens counted.",
    "without_chances": "{n} requests from before the log kept chances: drawn anew, whatever has "
    "changed.",
    "policies_gone": "{n} requests that a keyword's policy preferred models for, which is no more.",
    "conversations_forgotten": "{n} conversations were more than are kept: what is theirs later "
    "begins anew.",
}

Chances = tuple[tuple[Candidate, float], ...]
"""Who may be asked first, and how likely."""


class Draw(Struct):
    """What one draw decides: the chances, and the cost so far at each of its candidates."""

    digest: str
    chances: Chances
    costs: list[float]

    def add(self, costs: list[float]) -> None:
        self.costs = [held + new for held, new in zip(self.costs, costs, strict=True)]

    @property
    def variance(self) -> float:
        mean = sum(p * cost for (_, p), cost in zip(self.chances, self.costs, strict=True))
        return sum(
            p * (cost - mean) ** 2 for (_, p), cost in zip(self.chances, self.costs, strict=True)
        )


class Tally:
    """Sums over requests. Each is `seen` once, and then `kept`, `drawn` or `refused` once."""

    def __init__(self) -> None:
        self.unknown: Counter[str] = Counter()
        self._since: int | None = None
        self._until: int | None = None
        self._requests = self._kept = self._drawn = 0
        self._before = self._after = 0.0
        self._lost = self._gained = 0.0
        self._moves: Counter[tuple[Tier | None, Tier | None]] = Counter()
        self._refused_before: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._loads: dict[tuple[str, str], _Sums] = {}

    def seen(self, row: RequestRow, before: Tier | None) -> None:
        """The request as it was; `before` is the tier that it got, None of one that was refused."""
        self._requests += 1
        self._since = row.at if self._since is None else min(self._since, row.at)
        self._until = row.at if self._until is None else max(self._until, row.at)
        self._before += row.cost or 0.0
        if before is None:
            self._refused_before[code_of(row)] += 1
        if row.provider is not None and row.model is not None:
            sums = self._load(row.provider, row.model)
            sums.requests_before += 1
            sums.tokens_before += _tokens(row)
            sums.cost_before += row.cost or 0.0

    def refused(self, before: Tier | None, code: str) -> None:
        """It would be refused."""
        self._moves[before, None] += 1
        self._refused[code] += 1

    def kept(self, row: RequestRow, before: Tier | None, candidate: Candidate | None) -> None:
        """It stays with `candidate`, None where nobody was asked."""
        self._kept += 1
        self._moves[before, row.tier] += 1
        if candidate is None:
            return
        cost = self._priced(row, [(candidate, 1.0)])
        sums = self._load(candidate.provider, candidate.model)
        sums.requests_after += 1
        sums.tokens_after += _tokens(row)
        if cost is not None:
            sums.cost_after += cost[0]

    def drawn(
        self, row: RequestRow, before: Tier | None, after: Tier, chances: Chances
    ) -> list[float] | None:
        """It counts by its chances; gives its cost at each of them, None where that is unknown."""
        self._drawn += 1
        self._moves[before, after] += 1
        costs, tokens = self._priced(row, chances), _tokens(row)
        for index, (candidate, share) in enumerate(chances):
            sums = self._load(candidate.provider, candidate.model)
            sums.requests_after += share
            sums.tokens_after += share * tokens
            if costs is not None:
                sums.cost_after += share * costs[index]
        return costs

    def result(self, variance: float, remarks: Iterable[str]) -> WhatIfResult:
        """All of it; `variance` is of the expected cost, in dollars squared."""
        spread = _SIGMAS * sqrt(variance)
        unknown = Unknowns(
            cost_without_price=self._lost, cost_newly_priced=self._gained, **self.unknown
        )
        moves = sorted(self._moves.items(), key=lambda each: -each[1])
        return WhatIfResult(
            since=self._since,
            until=self._until,
            requests=self._requests,
            kept=self._kept,
            drawn=self._drawn,
            tiers_before=self._tiers(0),
            tiers_after=self._tiers(1),
            moves=tuple(TierMove(*pair, count) for pair, count in moves),
            loads=self._all_loads(),
            cost=CostRange(
                before=self._before,
                after=self._after,
                low=max(0.0, self._after - spread),
                high=self._after + spread,
            ),
            refused_before=dict(self._refused_before),
            refused=dict(self._refused),
            unknown=unknown,
            notes=(*_told(unknown), *remarks, *_ASSUMED),
        )

    def _priced(
        self, row: RequestRow, chances: Chances | list[tuple[Candidate, float]]
    ) -> list[float] | None:
        """The cost at each, which is added to what is expected; None where one is unknown."""
        usage = Usage(row.input_tokens, row.output_tokens, row.cached_tokens)
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            self.unknown["without_tokens"] += 1
            return None
        costs = [cost for each, _ in chances if (cost := each.cost(usage)) is not None]
        if len(costs) < len(chances):
            self.unknown["without_price"] += 1
            self._lost += row.cost or 0.0
            return None
        expected = sum(share * cost for (_, share), cost in zip(chances, costs, strict=True))
        self._after += expected
        if row.cost is None:
            self.unknown["newly_priced"] += 1
            self._gained += expected
        return costs

    def _load(self, provider: str, model: str) -> "_Sums":
        key = (provider, model)
        if key not in self._loads and len(self._loads) >= MOST_LOADS:
            key = _OTHERS
        return self._loads.setdefault(key, _Sums())

    def _tiers(self, side: int) -> dict[str, int]:
        counts = dict.fromkeys((*TIERS, REFUSED), 0)
        for pair, count in self._moves.items():
            counts[pair[side] or REFUSED] += count
        return counts

    def _all_loads(self) -> tuple[ModelLoad, ...]:
        loads = [ModelLoad(*name, **sums.told()) for name, sums in self._loads.items()]
        loads.sort(key=lambda each: (-max(each.cost_before, each.cost_after), each.model))
        return tuple(loads)


class _Sums:
    """A load while it grows."""

    def __init__(self) -> None:
        self.requests_before = self.tokens_before = 0
        self.requests_after = self.tokens_after = 0.0
        self.cost_before = self.cost_after = 0.0

    def told(self) -> dict[str, Any]:
        return vars(self)


def _tokens(row: RequestRow) -> int:
    return (row.input_tokens or 0) + (row.output_tokens or 0)


def _told(unknown: Unknowns) -> Iterator[str]:
    values = {name: getattr(unknown, name) for name in unknown.__struct_fields__}
    for name, text in _TOLD.items():
        if values[name]:
            yield text.format(n=values[name], **values)
