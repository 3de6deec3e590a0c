"""What one request is to whoever routes it, as numbers and names: never a word of its text.

Measured where something depends on it, and kept in the request log, so that another configuration
can be tried on it later. Whom it leads to is `reach`'s.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Raw, Struct

from tiergate.attachments import attachments_of
from tiergate.candidates import Candidate
from tiergate.estimate import Estimate, estimate_of
from tiergate.routing_config import Feature

_LISTS: Final = ("tools", "functions")
_NOTHING: Final = re.compile(rb"null|\[\s*\]")


class _Format(Struct):
    type: str = ""


_format = msgspec.json.Decoder(_Format)
_texts = msgspec.json.Decoder(list[str])
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Profile(Struct, frozen=True):
    """The tokens that a request is estimated to take, what it needs beside text, and the signals
    that the classifier measured, by name; those are empty where it was not asked.

    `choices` is how many answers it wants: each has a context of its own.
    """

    estimate: Estimate
    features: tuple[Feature, ...] = ()
    signals: dict[str, float] = {}
    choices: Annotated[int, msgspec.Meta(ge=1)] = 1


def profile_of(
    members: Mapping[str, Raw], choices: int, signals: Mapping[str, float] | None = None
) -> Profile:
    """The profile of a request by its members; what cannot be read needs nothing."""
    attachments = attachments_of(bytes(members.get("messages", b"")))
    wanted = dict.fromkeys(attachments.features)
    if any(name in members and not _NOTHING.fullmatch(members[name]) for name in _LISTS):
        wanted["tools"] = None
    if "modalities" in members and _wants_sound(members["modalities"]):
        wanted["audio"] = None
    if "response_format" in members and _wants_schema(members["response_format"]):
        wanted["json_schema"] = None
    return Profile(
        estimate=estimate_of(members, choices, attachments),
        features=tuple(wanted),
        signals=dict(signals or {}),
        choices=choices,
    )


def misfit(candidate: Candidate, profile: Profile) -> str | None:
    """Why a candidate is not the one for it, in a few words; None where it may be.

    Both sides are partly guesses: whoever is left out by this is asked all the same when nobody
    else could be.
    """
    reasons = (lacking(candidate, profile), overflowing(candidate, profile))
    return "; ".join(filter(None, reasons)) or None


def lacking(candidate: Candidate, profile: Profile) -> str | None:
    """What it needs that the candidate is known not to have."""
    if candidate.supports is None:
        return None
    missing = [each for each in profile.features if each not in candidate.supports]
    return f"does not support {', '.join(missing)}" if missing else None


def overflowing(candidate: Candidate, profile: Profile) -> str | None:
    """That it is estimated to be too long for the candidate."""
    tokens, window = profile.estimate, candidate.context_window
    answer = 0 if tokens.output_assumed else tokens.output_tokens // profile.choices
    wanted = tokens.input_tokens + answer
    if window is None or wanted <= window:
        return None
    return f"about {wanted} tokens do not fit into {window}"


def _wants_sound(raw: Raw) -> bool:
    try:
        return "audio" in _texts.decode(raw)
    except _UNREADABLE:
        return False


def _wants_schema(raw: Raw) -> bool:
    try:
        return _format.decode(raw).type == "json_schema"
    except _UNREADABLE:
        return False
