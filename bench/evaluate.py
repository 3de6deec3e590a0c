"""How well the classifier decides, against what others do: `make evaluate`.

Of the held-out part of `bench/evaluation`, which nothing is tuned by; only sums are printed, no
text and no single row. `--tuning` is the other part, `--file` labelled requests of one's own, one
JSON object a line with `id`, `tier` and `request` (and `kind`, `language` where it is known).
"""

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

from baselines import arbstr_tier, fit_lengths, length_of, length_tier
from labelled import FRESH, HELD_OUT, TUNING, Row, read_part, read_rows
from msgspec import Raw, Struct
from msgspec import json as wire
from table import columns

from tiergate.classify import Classifier
from tiergate.routing_config import ClassifierSettings
from tiergate.tiers import TIERS, Tier

COSTS: Final[dict[Tier, float]] = {"simple": 1, "moderate": 4, "complex": 20}
"""Assumed prices of a request in the three tiers, about as today's small, middle and large models
are to each other."""
TOO_SMALL: Final = 5
"""Of a language or kind with fewer requests an accuracy says nothing."""
TEXTS: Final = 100
REPEATS: Final = 5


class Result(Struct, frozen=True):
    """What became of some requests: `confusion[true][decided]` counts them."""

    confusion: dict[Tier, Counter[Tier]]

    @property
    def total(self) -> int:
        return sum(map(Counter.total, self.confusion.values()))

    @property
    def accuracy(self) -> float:
        return sum(self.confusion[tier][tier] for tier in TIERS) / self.total

    @property
    def danger(self) -> float:
        """The share of complex requests that were sent to simple."""
        hard = self.confusion["complex"]
        return hard["simple"] / max(1, hard.total())

    @property
    def cost(self) -> float:
        """Against always-complex, 1."""
        paid = sum(COSTS[to] * n for row in self.confusion.values() for to, n in row.items())
        return paid / (COSTS["complex"] * self.total)


def result(pairs: Iterable[tuple[Tier, Tier]]) -> Result:
    """Of pairs of the true tier and the decided one."""
    confusion: dict[Tier, Counter[Tier]] = {tier: Counter() for tier in TIERS}
    for true, decided in pairs:
        confusion[true][decided] += 1
    return Result(confusion)


def deciders(tuning: Sequence[Row]) -> dict[str, Callable[[Row], Tier]]:
    """By name: ours, and what it is compared with. Only length learns, from the tuning part."""
    ours = Classifier(ClassifierSettings())
    lengths = [length_of(row.request["messages"]) for row in tuning]
    boundaries = fit_lengths(lengths, [row.tier for row in tuning])
    return {
        "ours": lambda row: ours.classify(row.members).tier,
        "arbstr's formula": lambda row: arbstr_tier(row.request["messages"]),
        "length only": lambda row: length_tier(length_of(row.request["messages"]), boundaries),
        "always moderate": lambda _: "moderate",
    }


def evaluate(rows: Sequence[Row], tuning: Sequence[Row]) -> dict[str, Result]:
    return {
        name: result((row.tier, decide(row)) for row in rows)
        for name, decide in deciders(tuning).items()
    }


def by(rows: Sequence[Row], key: Callable[[Row], str]) -> list[tuple[str, int, float]]:
    """Ours, of each group: its name, how many requests, the accuracy."""
    ours = Classifier(ClassifierSettings())
    right: defaultdict[str, list[bool]] = defaultdict(list)
    for row in rows:
        right[key(row)].append(ours.classify(row.members).tier == row.tier)
    return [(name, len(each), sum(each) / len(each)) for name, each in sorted(right.items())]


def seconds(rows: Sequence[Row], size: int, *, texts: int = TEXTS) -> float:
    """Of one classification of a prompt of so many bytes: the best of a few, the median of texts
    that are put together from what the rows say.
    """
    chance = random.Random(size)
    said = [str(m["content"]) for r in rows for m in r.request["messages"] if m["role"] == "user"]
    classifier = Classifier(ClassifierSettings())
    taken = []
    for _ in range(texts):
        text = (
            "\n\n".join(chance.choices(said, k=1 + size // 10))
            .encode()[:size]
            .decode("utf-8", "ignore")
        )
        body = json.dumps({"messages": [{"role": "user", "content": text}]}, ensure_ascii=False)
        members = wire.decode(body, type=dict[str, Raw])
        taken.append(min(_once(classifier, members) for _ in range(REPEATS)))
    return sorted(taken)[texts // 2]


def _once(classifier: Classifier, members: dict[str, Raw]) -> float:
    begun = perf_counter()
    classifier.classify(members)
    return perf_counter() - begun


def report(rows: Sequence[Row], tuning: Sequence[Row]) -> str:
    found = evaluate(rows, tuning)
    percent = "{:.1%}".format
    head = ["", "accuracy", "cost of always-complex", "complex sent to simple"]
    lines = [
        [name, percent(each.accuracy), percent(each.cost), percent(each.danger)]
        for name, each in found.items()
    ]
    confusion = found["ours"].confusion
    matrix = [[true, *(str(confusion[true][to]) for to in TIERS)] for true in TIERS]
    groups: list[tuple[str, Callable[[Row], str]]] = [
        ("kind", lambda row: row.kind),
        ("language", lambda row: row.language),
        ("trap", lambda row: row.adversarial or "none"),
    ]
    parts = [
        f"{len(rows)} requests; cost assumes "
        + " : ".join(f"{COSTS[tier]:g}" for tier in TIERS)
        + " for "
        + ", ".join(TIERS),
        columns([head, *lines]),
        "ours, by row what is right, by column what was decided:",
        columns([["", *TIERS], *matrix]),
    ]
    for name, key in groups:
        shown = [
            [group, str(count), percent(share) if count >= TOO_SMALL else "too few"]
            for group, count, share in by(rows, key)
        ]
        parts.append(columns([[name, "requests", "accuracy"], *shown]))
    parts.append(
        "time of one decision: "
        + ", ".join(
            f"{seconds(tuning, size) * 1e6:.0f} µs at {size:,} bytes" for size in (1000, 100_000)
        )
    )
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tuning", action="store_true", help="the part that weights are found by")
    parser.add_argument("--fresh", action="store_true", help="the part that was written last")
    parser.add_argument("--file", type=Path, action="append", help="labelled requests of your own")
    options = parser.parse_args()
    tuning = read_part(TUNING)
    if options.file:
        rows = read_rows(options.file)
    elif options.tuning:
        rows = tuning
    else:
        rows = read_part(FRESH if options.fresh else HELD_OUT)
    print(report(rows, tuning))


if __name__ == "__main__":
    main()
