"""A log under another configuration: who would have gone where. Pure, and nobody is asked.

A request that has the chances it had stays with whoever served it; any other counts by its new
chances. So the same configuration gives the log's own cost, whatever chance and failures have done.
The sums are `tally`'s; a configuration to be tried is made by `trial`.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Raw
from msgspec.structs import replace

from tiergate.candidates import Candidate, Reach
from tiergate.classify import Classifier, Verdict
from tiergate.config import Config
from tiergate.courses import Course, Courses, decisions
from tiergate.errors import Answerable, InvalidRequest
from tiergate.estimate import ASSUMED_OUTPUT_TOKENS, Estimate
from tiergate.exchange import Caller, Decision
from tiergate.log_row import RequestRow
from tiergate.policies import Applied, Policies
from tiergate.profile import Profile
from tiergate.reach import placed, reach_of
from tiergate.request_headers import RequestHeaders
from tiergate.resolve import NotOurs, asked_for, granted
from tiergate.routing_config import ClassifierSettings
from tiergate.row_reading import code_of, is_of_routing, reason_of, tier_before
from tiergate.snapshot import compile_snapshot
from tiergate.sources import InlineSource
from tiergate.tally import Draw, Tally
from tiergate.tiers import Tier
from tiergate.what_if_result import WhatIfResult
from tiergate.wire import ChatRequest

PASSED_ON: Final = "passed_on"
"""Among the codes of refusals: a model that the configuration leaves to the host."""

_MICROSECONDS: Final = 1_000_000
_NO_HEADERS: Final = RequestHeaders(pairs=[])
_KEYWORDS: Final = "Which keywords a request holds is not known: the log keeps no text."


class WhatIf:
    """Requests under the routing of `config`, as `trial_config` makes it. Raises `SourceError`."""

    def __init__(self, config: Config) -> None:
        self._routing = config.routing
        self._snapshot = compile_snapshot(InlineSource(config).document, config)
        self._policies = Policies(config.policies, most_bytes=config.classifier.max_prompt_bytes)
        self._classifier = _Remembering(config.classifier)
        self._served = frozenset(tier for tier, pool in self._snapshot.pools.items() if pool)
        self._courses = Courses(round(config.sessions.ttl_seconds * _MICROSECONDS))
        self._tally = Tally()
        self._remarks = (_KEYWORDS,) if any(each.keywords for each in config.policies) else ()

    def add(self, row: RequestRow) -> None:
        """The next request, in the order of their arrival."""
        before = tier_before(row)
        self._tally.seen(row, before)
        if not is_of_routing(row):
            self._tally.refused(before, code_of(row))
            return
        course = self._courses.of(row)
        try:
            self._replay(row, before, course)
            return
        except NotOurs:
            self._tally.refused(before, PASSED_ON)
        except Answerable as refusal:
            self._tally.refused(before, refusal.code)
        if course is not None:
            course.go_on(row, None, stays=False)

    def result(self) -> WhatIfResult:
        """What is to be said of those that were added; more may be added after it."""
        self._tally.unknown["without_signals"] = self._classifier.unmeasured
        self._tally.unknown["conversations_forgotten"] = self._courses.forgotten
        return self._tally.result(self._courses.all_variance(), self._remarks)

    def _replay(self, row: RequestRow, before: Tier | None, course: Course | None) -> None:
        """Lead it to somebody; raises what a client would be refused with."""
        asked, highest = self._asked(row), row.caller_max_tier
        policy = self._policy(row)
        profile, is_same = self._profile(row, asked), asked.tier == row.requested_tier
        own = placed(asked, self._snapshot, policy, profile, highest)
        led = [
            (
                decision,
                reach_of(
                    decision,
                    self._snapshot,
                    policy=policy,
                    profile=profile,
                    escalate=self._routing.escalate,
                    highest=highest,
                ),
            )
            for decision in decisions(row, own, course, self._served, is_same=is_same)
        ]
        decision, reach = next((each for each in led if each[1].digest == row.reach), led[0])
        stays = reach.digest == row.reach
        if course is not None:
            course.go_on(row, decision if own.model is None else None, stays=stays)
        if stays:
            self._tally.kept(row, before, _served_by(row, reach))
            return
        if row.reach is None and before is not None:
            self._tally.unknown["without_chances"] += 1
        chances = tuple(
            (candidate, each.share)
            for candidate, each in zip(reach.candidates(), reach.calm, strict=True)
            if each.share
        )
        after = next(tier for tier, pool in reach.stages if pool)
        costs = self._tally.drawn(row, before, after, chances)
        if costs is not None:
            self._courses.vary(course, Draw(reach.digest, chances, costs))

    def _asked(self, row: RequestRow) -> Decision:
        """What it gets by itself; raises `ModelNotFound`, `TierNotAllowed` or `NotOurs`."""
        reason, profile = reason_of(row), row.profile
        self._classifier.remember(
            profile.signals
            if profile is not None and (profile.signals or reason == "auto")
            else None,
            row.requested_tier,
        )
        request = ChatRequest(
            members={},
            tier=row.requested_tier if reason == "explicit" else None,
            model=row.requested_model,
            stream=row.streaming,
            conversation=row.conversation,
            choices=1,
            wants_usage=None,
            stream_options={},
        )
        caller = Caller(id=row.owner, tier=row.caller_tier, max_tier=row.caller_max_tier)
        decision = asked_for(
            request, _NO_HEADERS, caller, self._snapshot, self._routing, self._classifier
        )
        return granted(decision, caller)

    def _policy(self, row: RequestRow) -> Applied | None:
        """Its policy; raises `InvalidRequest` for one that was named and is no more."""
        if row.policy is None:
            return None
        try:
            return Applied(self._policies.rule(row.policy), binding=bool(row.policy_binds))
        except InvalidRequest:
            if row.policy_binds:
                raise
            self._tally.unknown["policies_gone"] += 1
            return None

    def _profile(self, row: RequestRow, asked: Decision) -> Profile | None:
        """What it needs; of one that was not measured, the tokens alone, where that matters."""
        by_price = asked.model is not None and self._snapshot.models[asked.model].by_price
        if row.profile is not None or not (by_price or self._snapshot.is_choosy):
            return row.profile
        self._tally.unknown["without_needs"] += 1
        if row.input_tokens is None:
            return None
        wanted = row.output_tokens
        return Profile(
            Estimate(
                input_tokens=row.input_tokens,
                output_tokens=ASSUMED_OUTPUT_TOKENS if wanted is None else wanted,
                output_assumed=wanted is None,
            )
        )


class _Remembering(Classifier):
    """The classifier of a configuration, over the signals of a row instead of a text."""

    def __init__(self, settings: ClassifierSettings) -> None:
        super().__init__(settings)
        self.unmeasured = 0
        self._signals: Mapping[str, float] | None = None
        self._otherwise: Tier | None = None

    def remember(self, signals: Mapping[str, float] | None, otherwise: Tier | None) -> None:
        """The next request: its signals, where there are any, else the tier that it keeps."""
        self._signals, self._otherwise = signals, otherwise

    def classify(self, members: Mapping[str, Raw]) -> Verdict:
        del members
        if self._signals is not None:
            return self.judge(self._signals)
        self.unmeasured += 1
        nothing = self.judge({})
        return replace(nothing, tier=self._otherwise or nothing.tier)


def _served_by(row: RequestRow, reach: Reach) -> Candidate | None:
    """Who was asked last; who stands in several tiers may have several prices."""
    for _, pool in sorted(reach.stages, key=lambda stage: stage[0] != row.tier):
        for each in pool:
            if each.provider == row.provider and each.model == row.model:
                return each
    return None
