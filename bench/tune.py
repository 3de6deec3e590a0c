"""The classifier's weights and boundaries, found from the tuning part of `bench/evaluation`.

An ordinal logistic regression (one sum of signals, two boundaries) with a pull towards what is
believed beforehand, which decides where the tuning part has few requests. Prints what is to be put
into `tiergate/classify.py` and `tiergate/routing_config.py`; never opens the held-out part.
"""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from math import exp, sqrt
from typing import Final

from labelled import TUNING, Row, read_part
from msgspec import Struct

from tiergate.lexicon import Lexicon
from tiergate.prompt import read_prompt
from tiergate.signals import PLAIN, measure
from tiergate.tiers import RANK
from tiergate.vocabulary import FAMILIAR, word_groups
from tiergate.vocabulary_depth import DEPTH
from tiergate.vocabulary_fields import FIELDS

PRIOR: Final[Mapping[str, float]] = {
    "very_brief": -0.6,
    "brief": -0.15,
    "long": 0.4,
    "very_long": 0.3,
    "mostly_pasted": -0.05,
    "commas": 0.2,
    "semicolons": 0.2,
    "parentheses": 0.1,
    "acronyms": 0.1,
    "quotations": 0.1,
    "question": 0.15,
    "yes_or_no": 0.8,
    "exclamations": -0.25,
    "long_words": 0.15,
    "turns": 0.2,
    "structured_answer": -0.2,
    "constraint": 0.3,
    "high_effort": 0.3,
    "low_effort": -0.3,
    "short_answer": -0.25,
    "long_answer": 0.2,
    "bulk": 0.6,
    "code_blocks": 0.05,
    "tool_calls": 0.2,
    "earlier_depth": 0.4,
    "symbols": 0.2,
    "mathematics": 0.4,
    "medicine": 0.5,
    "law": 0.7,
    "systems": 0.8,
    "learned": 0.9,
    "proof": 0.8,
    "judgement": 0.5,
    "cause": 0.6,
    "lookup": -0.6,
    "chore": -0.4,
    "transform": -0.2,
    "brevity": -0.25,
    "smalltalk": -1.0,
}
"""Weights that are believed without data; of all others 0."""

FIRM: Final = {
    "exclamations",
    "bulk",
    "very_long",
    "brevity",
    "structured_answer",
    "mostly_pasted",
    "high_effort",
    "low_effort",
    "short_answer",
    "long_answer",
    "medicine",
    "mathematics",
    "learned",
    "tools",
}
"""Beliefs that a few requests shall not overrule: of some there are fewer than ten."""

PULL: Final = 300.0
"""How strong the belief is, in requests: cross-validated accuracy is flat from 10 to 160,
and more belief sends fewer complex requests to simple."""
SPREAD: Final = 0.5
"""Weights are half of the regression's, so that the scores of requests lie apart from 0 and 1."""
FIRMLY: Final = 20
FOLDS: Final = 5
SEEDS: Final = (0, 1, 2)
MOST_DANGEROUS: Final = 0.0
"""Complex requests sent to simple, at most, when a boundary is chosen. Of 190 requests none still
leaves 1.6 % possible (the rule of three), and words of strangers are further from ours."""
NAMES: Final = (*PLAIN, *(group for group in word_groups() if group != FAMILIAR))


THINNED: Final = 4
KEPT: Final = 0.65
"""The words were chosen by people who had read the tuning part: of unseen requests fewer words are
known. So every request is measured with lexicons that lack about a third of the words of depth."""


def thinned(seed: int) -> Lexicon:
    def is_kept(word: str) -> bool:
        digest = hashlib.sha256(f"{seed} {word}".encode()).digest()
        return digest[0] < KEPT * 256

    deep = {group for group, _ in (*DEPTH, *FIELDS)}
    return Lexicon(
        {
            group: tuple(filter(is_kept, words)) if group in deep else words
            for group, words in word_groups().items()
        }
    )


class Fit(Struct, frozen=True):
    """Weights by signal, and the sums from which on a request is moderate, and complex."""

    weights: dict[str, float]
    moderate: float
    complex: float

    def total(self, measured: Mapping[str, float]) -> float:
        return sum(self.weights[name] * value for name, value in measured.items())


def logistic(value: float) -> float:
    return 1 / (1 + exp(-max(-30.0, min(30.0, value))))


def solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """The solution of a positive definite system, by elimination; both are used up."""
    size = len(right)
    for i in range(size):
        pivot = matrix[i]
        for j in range(i + 1, size):
            factor = matrix[j][i] / pivot[i]
            if factor:
                row = matrix[j]
                for k in range(i, size):
                    row[k] -= factor * pivot[k]
                right[j] -= factor * right[i]
    found = [0.0] * size
    for i in reversed(range(size)):
        rest = sum(matrix[i][k] * found[k] for k in range(i + 1, size))
        found[i] = (right[i] - rest) / matrix[i][i]
    return found


def fit(measured: Sequence[Mapping[str, float]], ranks: Sequence[int], pull: float = PULL) -> Fit:
    """Newton's method; signals are scaled by their deviation, so that the pull is fair to all."""
    count, size = len(measured), len(NAMES)
    scales = []
    for name in NAMES:
        values = [each.get(name, 0.0) for each in measured]
        mean = sum(values) / count
        scales.append(max(1e-3, sqrt(sum((value - mean) ** 2 for value in values) / count)))
    places = {name: i for i, name in enumerate(NAMES)}
    rows = [[(places[n], v / scales[places[n]]) for n, v in each.items()] for each in measured]
    prior = [PRIOR.get(name, 0.0) * scale for name, scale in zip(NAMES, scales, strict=True)]
    pulls = [pull * (FIRMLY if name in FIRM else 1) for name in NAMES]
    prior = [value / SPREAD for value in prior]
    weights = [*prior, 1.0, -1.0]
    for _ in range(12):
        slope = [p * (w - b) for w, b, p in zip(weights, prior, pulls, strict=False)]
        slope += [0.0, 0.0]
        curve = [[0.0] * (size + 2) for _ in range(size + 2)]
        for i in range(size + 2):
            curve[i][i] = pulls[i] if i < size else 1e-6
        for row, rank in zip(rows, ranks, strict=True):
            total = sum(weights[i] * value for i, value in row)
            both = 0.0
            for step in (0, 1):
                share = logistic(total + weights[size + step])
                off, bend = share - (rank > step), share * (1 - share)
                both += bend
                slope[size + step] += off
                curve[size + step][size + step] += bend
                for i, value in row:
                    slope[i] += off * value
                    curve[i][size + step] += bend * value
                    curve[size + step][i] += bend * value
            for i, value in row:
                line = curve[i]
                bent = both * value
                for j, other in row:
                    line[j] += bent * other
        steps = solve(curve, slope)
        weights = [weight - step for weight, step in zip(weights, steps, strict=True)]
        if max(map(abs, steps)) < 1e-6:
            break
    return Fit(
        weights={name: SPREAD * weights[i] / scales[i] for i, name in enumerate(NAMES)},
        moderate=-SPREAD * weights[size],
        complex=-SPREAD * weights[size + 1],
    )


def folds(rows: Sequence[Row], seed: int) -> list[int]:
    """The fold of each row: every kind and tier is spread over all, the same row is in one."""

    def place(row: Row) -> tuple[str, str, str]:
        digest = hashlib.sha256(f"{seed} {row.id}".encode()).hexdigest()
        return row.kind, row.tier, digest

    one_each = {row.id: row for row in rows}.values()
    placed = {row.id: order % FOLDS for order, row in enumerate(sorted(one_each, key=place))}
    return [placed[row.id] for row in rows]


def out_of_fold(
    rows: Sequence[Row], measured: Sequence[Mapping[str, float]], pull: float
) -> list[tuple[float, int]]:
    """The score of each row, by weights that were found without it, and its rank; once a seed."""
    ranks = [RANK[row.tier] for row in rows]
    scored: list[tuple[float, int]] = []
    for seed in SEEDS:
        placed = folds(rows, seed)
        for fold in range(FOLDS):
            kept = [i for i, each in enumerate(placed) if each != fold]
            found = fit([measured[i] for i in kept], [ranks[i] for i in kept], pull)
            scored += [
                (logistic(found.total(measured[i])), ranks[i])
                for i, each in enumerate(placed)
                if each == fold
            ]
    return scored


def accuracy(scored: Sequence[tuple[float, int]], low: float, high: float) -> float:
    return sum((score >= low) + (score >= high) == rank for score, rank in scored) / len(scored)


def danger(scored: Sequence[tuple[float, int]], low: float) -> float:
    """The share of complex requests that would be simple."""
    hard = [score for score, rank in scored if rank == RANK["complex"]]
    return sum(score < low for score in hard) / len(hard)


def boundaries(scored: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """The boundaries with the most right among those that are safe enough, in hundredths."""
    lows = [i / 100 for i in range(5, 50) if danger(scored, i / 100) <= MOST_DANGEROUS]
    highs = [i / 100 for i in range(51, 96)]
    return max(
        ((low, high) for low in lows for high in highs),
        key=lambda pair: accuracy(scored, *pair),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pull", type=float, default=PULL)
    pull = parser.parse_args().pull
    rows = read_part(TUNING)
    rows *= THINNED
    ranks = [RANK[row.tier] for row in rows]
    lexicons = [thinned(seed) for seed in range(THINNED)]
    measured = [
        measure(
            read_prompt(row.members, most_bytes=1 << 20), row.members, lexicons[i // len(found)]
        )
        for found in [rows[: len(rows) // THINNED]]
        for i, row in enumerate(rows)
    ]
    found = fit(measured, ranks, pull)
    print("WEIGHTS")
    for name in NAMES:
        print(f'        "{name}": {round(found.weights[name], 2)},')
    fitted = logistic(found.moderate), logistic(found.complex)
    scored = out_of_fold(rows, measured, pull)
    chosen = boundaries(scored)
    for label, (low, high) in (("fitted", fitted), ("chosen", chosen)):
        print(
            f"{label} boundaries: moderate {low:.3f}, complex {high:.3f}; cross-validated "
            f"accuracy {accuracy(scored, low, high):.3f}, complex sent to simple "
            f"{danger(scored, low):.3f}"
        )


if __name__ == "__main__":
    main()
