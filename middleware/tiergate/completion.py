"""What a provider says: a completion, a chunk of one, an error, a count of tokens.

Tolerant views of bytes that are relayed as they came; nothing here is ever encoded again. An
unknown shape is not an error: what cannot be read is None, and absent is not zero.
"""

import re
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import astuple


class Usage(Struct, frozen=True):
    """Tokens as the provider counted them; None is unknown."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None

    def updated(self, later: "Usage") -> "Usage":
        """These counts with what a later event says: it may repeat some, and lack others."""
        return Usage(*map(_newer, astuple(self), astuple(later)))


class ProviderError(Struct, frozen=True):
    """The `error` member of a provider's answer; `present` is False when there is none."""

    present: bool = False
    code: str | None = None
    message: str | None = None


class Completion(Struct, frozen=True):
    """A whole answer: `valid` when it is a JSON object with a `choices` array and no error."""

    valid: bool
    error: ProviderError
    usage: Usage | None


class Chunk(Struct, frozen=True):
    """One event of a stream.

    `finished` are the indices of the choices that end here; `token` is whether a delta carries
    anything but its role; `usage_only` an event that has usage and no choices.
    """

    finished: tuple[int, ...] = ()
    token: bool = False
    usage: Usage | None = None
    usage_only: bool = False
    error: ProviderError = ProviderError()


NO_ERROR: Final = ProviderError()


_ABSENT: Final = Raw()  # msgspec knows no `Raw | None`
_NOTHING = (b"", b"null")


class _Choice(Struct):
    index: int = 0
    finish_reason: str | None = None
    delta: dict[str, Raw] | None = None


class _Chunk(Struct):
    choices: list[_Choice] | None = None
    usage: Raw = _ABSENT
    error: Raw = _ABSENT


class _Completion(Struct):
    choices: Raw = _ABSENT
    usage: Raw = _ABSENT
    error: Raw = _ABSENT


_Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**53)]  # more is no count, and no log has room


class _CachedTokens(Struct):
    cached_tokens: _Tokens | None = None


class _WholeUsage(Struct):
    """Usage as it should be: one look sees all of it."""

    prompt_tokens: _Tokens | None = None
    completion_tokens: _Tokens | None = None
    prompt_tokens_details: _CachedTokens | None = None


class _Usage(Struct):
    """Usage of which a member may be anything: the others count all the same."""

    prompt_tokens: Raw = _ABSENT
    completion_tokens: Raw = _ABSENT
    prompt_tokens_details: Raw = _ABSENT


class _Details(Struct):
    cached_tokens: Raw = _ABSENT


class _Error(Struct):
    code: Any = None
    message: Any = None


class _ErrorEnvelope(Struct):
    error: Raw = _ABSENT


_chunk = msgspec.json.Decoder(_Chunk)
_completion = msgspec.json.Decoder(_Completion)
_usage = msgspec.json.Decoder(_Usage)
_whole_usage = msgspec.json.Decoder(_WholeUsage)
_details = msgspec.json.Decoder(_Details)
_tokens = msgspec.json.Decoder(_Tokens)
_error = msgspec.json.Decoder(_Error)
_envelope = msgspec.json.Decoder(_ErrorEnvelope)

_any = msgspec.json.Decoder(Raw)

_EMPTY = (b"null", b'""', b"[]", b"{}")
_OPAQUE = Chunk()
_TOKEN = Chunk(token=True)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# A server that cuts its text anywhere escapes half a surrogate pair in one chunk and half in the
# next: clients join them again, msgspec refuses both.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")

T = TypeVar("T")


def read_completion(body: bytes) -> Completion:
    """Judge the body of a 200 to a request that is no stream."""
    try:
        seen = _view(_completion, body)
    except _UNREADABLE:
        return Completion(valid=False, error=NO_ERROR, usage=None)
    error = _read_error(seen.error)
    valid = _is_array(seen.choices) and not error.present
    return Completion(valid=valid, error=error, usage=_read_usage(seen.usage))


def read_chunk(data: bytes) -> Chunk | None:
    """Look into one event's data: None when it is not JSON, a bare `Chunk` when it is no chunk."""
    try:
        seen = _view(_chunk, data)
    except msgspec.ValidationError:
        return _OPAQUE if _is_json(data) else None
    except _UNREADABLE:
        return None
    choices = seen.choices or ()
    finished, token = [], False
    for choice in choices:
        if choice.finish_reason:
            finished.append(choice.index)
        token = token or _carries_token(choice.delta)
    if seen.usage is _ABSENT and seen.error is _ABSENT and not finished:  # as nearly all
        return _TOKEN if token else _OPAQUE
    usage = None if seen.usage is _ABSENT else _read_usage(seen.usage)
    return Chunk(
        finished=tuple(finished),
        token=token,
        usage=usage,
        usage_only=usage is not None and not choices,
        error=NO_ERROR if seen.error is _ABSENT else _read_error(seen.error),
    )


def read_error(body: bytes) -> ProviderError:
    """The error in an answer's body: absent when that is not an object with an `error`."""
    try:
        return _read_error(_view(_envelope, body).error)
    except _UNREADABLE:
        return NO_ERROR


def _is_array(raw: Raw) -> bool:
    return memoryview(raw)[:1].tobytes() == b"["  # bytes(raw) would copy all of it


def _is_json(data: bytes) -> bool:
    try:
        _view(_any, data)
    except _UNREADABLE:
        return False
    return True


def _view(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Decode for reading only: half a surrogate pair is taken for an unknown character."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        mended = _SURROGATE.sub(rb"\\ufffd", data)
        if mended == data:
            raise
        return decoder.decode(mended)


def _carries_token(delta: dict[str, Raw] | None) -> bool:
    if delta:
        for name, value in delta.items():
            if name != "role" and bytes(value) not in _EMPTY:
                return True
    return False


def _read_usage(raw: Raw) -> Usage | None:
    if bytes(raw) in _NOTHING:
        return None
    try:
        whole = _whole_usage.decode(raw)
    except msgspec.ValidationError:
        return _legible_usage(raw)
    details = whole.prompt_tokens_details
    return Usage(
        prompt_tokens=whole.prompt_tokens,
        completion_tokens=whole.completion_tokens,
        cached_tokens=details.cached_tokens if details is not None else None,
    )


def _legible_usage(raw: Raw) -> Usage | None:
    """What can be read of a usage that is not as it should be; None when it is no object."""
    try:
        seen = _usage.decode(raw)
    except msgspec.ValidationError:
        return None
    return Usage(
        prompt_tokens=_count(seen.prompt_tokens),
        completion_tokens=_count(seen.completion_tokens),
        cached_tokens=_cached(seen.prompt_tokens_details),
    )


def _cached(details: Raw) -> int | None:
    try:
        return _count(_details.decode(details).cached_tokens)
    except _UNREADABLE:
        return None


def _count(raw: Raw) -> int | None:
    """A member that is no count is unknown; the others are not."""
    try:
        return _tokens.decode(raw)
    except _UNREADABLE:
        return None


def _newer(known: int | None, said: int | None) -> int | None:
    return known if said is None else said


def _read_error(raw: Raw) -> ProviderError:
    """Providers put an object there, sometimes a bare text; null is no error."""
    if bytes(raw) in _NOTHING:
        return NO_ERROR
    try:
        seen = _error.decode(raw)
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return ProviderError(present=True)
    return ProviderError(
        present=True,
        code=seen.code if isinstance(seen.code, str) else None,
        message=seen.message if isinstance(seen.message, str) else None,
    )
