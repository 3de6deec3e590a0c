"""A result is plain numbers and words: JSON and back, without a word of the requests it is of."""

import msgspec
from records import record

from tiergate import WhatIfResult
from tiergate.candidates import Candidate
from tiergate.log_row import row_of
from tiergate.tally import Tally


def test_a_result_goes_through_json_unchanged():
    tally = Tally()
    row = row_of(record(tier="simple", conversation="secret", client_id="theirs"))
    for before in ("simple", None):
        tally.seen(row, before)
        tally.refused(before, "model_not_found")
    tally.drawn(row, "simple", "complex", ((Candidate("p", "m", 1, 1.0, 2.0), 1.0),))
    result = tally.result(1e-9, ["a remark"])
    said = msgspec.json.encode(result)
    assert msgspec.json.decode(said, type=WhatIfResult) == result
    assert b"secret" not in said
    assert b"theirs" not in said
