"""The three tiers and their order. Nothing else."""

from typing import Final, Literal, TypeGuard

Tier = Literal["simple", "moderate", "complex"]

TIERS: Final[tuple[Tier, ...]] = ("simple", "moderate", "complex")
"""Lowest first."""

RANK: Final[dict[Tier, int]] = {tier: rank for rank, tier in enumerate(TIERS)}


def is_tier(name: str | None) -> TypeGuard[Tier]:
    return name in RANK
