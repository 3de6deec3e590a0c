"""What a request costs before it is made: its tokens, estimated from its bytes.

Never exact: whoever counts is the provider. What is made of it is `demand`'s and `explanation`'s.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from tiergate.attachments import Attachments
from tiergate.completion import Usage

BYTES_PER_TOKEN: Final = 4
"""Of English text, as arbstr's `/v1/cost` counts; code and other languages have more tokens."""

ASSUMED_OUTPUT_TOKENS: Final = 256
"""For a request that limits its answer by nothing; arbstr's number."""

MOST_OUTPUT_TOKENS: Final = 2**31
"""Of an estimate: no model writes so many, and a cost must stay a number."""

ATTACHMENT_TOKENS: Final = 1000
"""For an image, a sound or a file: its bytes tell nothing. Images cost 85 to 1,500."""

_PROMPT: Final = ("messages", "tools", "functions")
_LIMITS: Final = ("max_completion_tokens", "max_tokens")


class Estimate(Struct, frozen=True):
    """Tokens of a request before it is made: its prompt's bytes by four, and what it allows its
    answers. `output_assumed` says that it allows them anything, so that a usual length stands.
    """

    input_tokens: int
    output_tokens: int
    output_assumed: bool

    @property
    def usage(self) -> Usage:
        """As if a provider had counted so."""
        return Usage(prompt_tokens=self.input_tokens, completion_tokens=self.output_tokens)


def estimate_of(members: Mapping[str, Raw], choices: int, attachments: Attachments) -> Estimate:
    """The estimate of a request by its members; `choices` is how many answers it wants."""
    size = sum(len(memoryview(members[name])) for name in _PROMPT if name in members)
    prompt = (size - attachments.encoded_bytes) // BYTES_PER_TOKEN
    allowed = next((n for n in (_count(members.get(name)) for name in _LIMITS) if n), None)
    return Estimate(
        input_tokens=max(1, prompt + attachments.count * ATTACHMENT_TOKENS),
        output_tokens=min(choices * (allowed or ASSUMED_OUTPUT_TOKENS), MOST_OUTPUT_TOKENS),
        output_assumed=allowed is None,
    )


def _count(raw: Raw | None) -> int | None:
    """A number of tokens, where it is one; what is not is the provider's to refuse."""
    try:
        return None if raw is None else max(0, msgspec.json.decode(raw, type=int))
    except msgspec.ValidationError:
        return None
