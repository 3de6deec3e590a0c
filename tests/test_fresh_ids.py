"""Ids of requests are random UUIDs, as everybody's are."""

import uuid
from collections import Counter

from tiergate.fresh_ids import fresh_id


def test_an_id_is_a_random_uuid_in_its_usual_spelling():
    made = [fresh_id() for _ in range(2000)]
    assert len(set(made)) == 2000
    for each in made:
        parsed = uuid.UUID(each)
        assert (str(parsed), parsed.version, parsed.variant) == (each, 4, uuid.RFC_4122)


def test_every_bit_that_may_be_random_is():
    bits = Counter(
        place for _ in range(500) for place in range(128) if uuid.UUID(fresh_id()).int >> place & 1
    )
    fixed = {76, 77, 78, 79, 62, 63}  # the version and the variant
    assert all(100 < bits[place] < 400 for place in range(128) if place not in fixed)
