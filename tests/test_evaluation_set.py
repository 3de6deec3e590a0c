"""The labelled requests of `bench/evaluation`: well-formed, of every kind and tier, none twice.

What a tier means is said in `bench/evaluation/README.md`; whether the labels are right is for
people to judge.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from tiergate.wire import parse_request

FOLDER = Path(__file__).parent.parent / "bench" / "evaluation"
MEMBERS = {"id", "kind", "tier", "language", "adversarial", "why", "request"}
SORTS = {None, "short_and_hard", "long_and_easy", "empty_keywords"}
TIERS = ("simple", "moderate", "complex")

PARTS = ("tuning", "held_out")
FILES = sorted(FOLDER.glob("*/*.jsonl"))
ROWS = [json.loads(line) for file in FILES for line in file.read_text().splitlines()]


def last_user_message(row) -> str:
    said = [each for each in row["request"]["messages"] if each["role"] == "user"]
    return json.dumps(said[-1]["content"], ensure_ascii=False)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_each_row_of_a_kind_is_a_chat_request_with_its_label(file):
    for line in file.read_text().splitlines():
        row = json.loads(line)
        assert set(row) == MEMBERS
        assert (row["kind"], row["tier"] in TIERS) == (file.stem, True)
        assert row["id"].startswith(f"{file.stem}-{row['tier'][0]}-")
        assert row["adversarial"] in SORTS
        assert row["why"]
        assert len(row["language"]) == 2
        request = parse_request(json.dumps(row["request"]).encode())
        assert (request.model, request.tier) == (None, None)


def test_every_kind_has_requests_of_every_tier():
    counted = Counter((row["kind"], row["tier"]) for row in ROWS)
    assert len({kind for kind, _ in counted}) >= 20
    assert all(counted[file.stem, tier] >= 11 for file in FILES for tier in TIERS)
    assert len(ROWS) >= 600


def test_two_in_five_of_each_kind_and_tier_are_held_out():
    by_part = {
        part: Counter(
            (row["kind"], row["tier"])
            for file in (FOLDER / part).glob("*.jsonl")
            for row in map(json.loads, file.read_text().splitlines())
        )
        for part in PARTS
    }
    for each, held in by_part["held_out"].items():
        assert 0.3 < held / (held + by_part["tuning"][each]) < 0.5, each


def test_there_are_languages_and_traps_enough():
    languages = Counter(row["language"] for row in ROWS)
    assert len([name for name, count in languages.items() if count >= 10]) >= 8
    assert languages["en"] < 0.6 * len(ROWS)
    traps = Counter(row["adversarial"] for row in ROWS)
    assert traps.keys() == SORTS
    assert traps[None] < 0.88 * len(ROWS)


def test_no_two_requests_are_alike():
    ids = Counter(row["id"] for row in ROWS)
    asked = Counter((last_user_message(row), len(row["request"]["messages"])) for row in ROWS)
    assert ids.most_common(1)[0][1] == 1
    assert [text for text, count in asked.items() if count > 1] == []
