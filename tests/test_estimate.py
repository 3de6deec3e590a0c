"""The tokens of a request before it is made: by bytes, and never a reason to fail."""

import pytest
from msgspec import Raw

from tiergate.attachments import Attachments
from tiergate.completion import Usage
from tiergate.estimate import ATTACHMENT_TOKENS, Estimate, estimate_of

NONE = Attachments()


def estimated(choices: int = 1, attachments: Attachments = NONE, **members: bytes) -> Estimate:
    raw = {name: Raw(value) for name, value in members.items()}
    return estimate_of(raw, choices, attachments)


def test_the_prompt_is_messages_tools_and_functions_four_bytes_a_token():
    made = estimated(messages=b"x" * 400, tools=b"y" * 40, functions=b"z" * 4, user=b"w" * 4000)
    assert made.input_tokens == 111
    assert estimated().input_tokens == 1


def test_an_attachment_counts_for_its_kind_and_not_for_its_length():
    made = estimated(messages=b"x" * 10_400, attachments=Attachments(2, ("vision",), 10_000))
    assert made.input_tokens == 100 + 2 * ATTACHMENT_TOKENS


@pytest.mark.parametrize(
    ("members", "choices", "tokens", "assumed"),
    [
        ({}, 1, 256, True),
        ({}, 3, 768, True),
        ({"max_tokens": b"7"}, 2, 14, False),
        ({"max_tokens": b"7", "max_completion_tokens": b"9"}, 1, 9, False),
        ({"max_tokens": b"7", "max_completion_tokens": b"null"}, 1, 7, False),
        ({"max_tokens": b"0"}, 1, 256, True),
        ({"max_tokens": b"-1"}, 1, 256, True),
        ({"max_tokens": b'"7"'}, 1, 256, True),
        ({"max_tokens": b"1e9999"}, 1, 256, True),
        ({"max_tokens": b"9" * 4000}, 1, 2**31, False),
    ],
)
def test_the_answer_is_what_the_request_allows_else_a_usual_length(
    members, choices, tokens, assumed
):
    made = estimated(choices, **members)
    assert (made.output_tokens, made.output_assumed) == (tokens, assumed)


def test_an_estimate_is_priced_as_a_usage():
    assert Estimate(10, 20, True).usage == Usage(10, 20)
