"""The body of a request to the webhook, within its limits, and how a bad one is answered.

Everybody in the cluster reaches the webhook's port: nothing here trusts the caller. What a body
says is `review`'s.
"""

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

LARGEST_BODY: Final = 4 << 20
"""Bytes, unpacked. What etcd stores of a pod is 1.5 MiB at most; as JSON it may be twice that."""
ALL_BODIES: Final = 16 << 20
"""Bytes of all requests at a time; a usual one has 10 kB. Decoded, the worst JSON takes 15 times as
much, and the shipped pod has 256 MiB."""

_GZIP: Final = 16 + zlib.MAX_WBITS  # zlib's word for: gzip's header and checksum


class BadRequest(Exception):
    """A request that is no question: the HTTP status, an id, a sentence, whether we hang up."""

    def __init__(self, status: int, reason: str, message: str, *, close: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.close = close


def answered(error: BadRequest) -> Response:
    """A Status of Kubernetes: its message is what the API server tells people."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": error.status,
        "message": f"tiergate: {error}",
    }
    response = Response(
        msgspec.json.encode(body), status_code=error.status, media_type="application/json"
    )
    if error.close:
        response.headers["connection"] = "close"
    return response


class Bodies:
    """Reads bodies of at most `largest` bytes each, and `most` of all that are held at a time."""

    def __init__(self, largest: int = LARGEST_BODY, most: int = ALL_BODIES) -> None:
        self._largest = largest
        self._most = most
        self.held = 0

    @asynccontextmanager
    async def of(self, request: Request) -> AsyncIterator[bytes]:
        """The body, unpacked, counted until the scope is left.

        Raises `BadRequest`, and Starlette's `ClientDisconnect`. The time is the caller's to limit.
        """
        packed = _packed(request)
        body = bytearray()
        unpacked = b""
        try:
            await self._receive(request, body)
            if packed:
                unpacked = self._unpacked(bytes(body))
                self.held += len(unpacked)  # a thousand times what has come, perhaps
                if self.held > self._most:
                    raise _overloaded()
            yield unpacked if packed else bytes(body)
        finally:
            self.held -= len(body) + len(unpacked)

    async def _receive(self, request: Request, body: bytearray) -> None:
        """What is too much is read to its end and let go of: who still sends hears no answer."""
        error: BadRequest | None = None
        async for piece in request.stream():
            if error is not None:
                continue
            if len(body) + len(piece) > self._largest:
                error = self._too_large()
            elif self.held + len(piece) > self._most:
                error = _overloaded()
            else:
                body += piece
                self.held += len(piece)
        if error is not None:
            raise error

    def _unpacked(self, packed: bytes) -> bytes:
        unpacking = zlib.decompressobj(_GZIP)
        try:
            body = unpacking.decompress(packed, self._largest + 1)
        except zlib.error as error:
            raise BadRequest(400, "malformed", f"Not gzip: {error}") from None
        if len(body) > self._largest:
            raise self._too_large()
        if not unpacking.eof or unpacking.unused_data:
            raise BadRequest(400, "malformed", "Not one whole gzip stream.")
        return body

    def _too_large(self) -> BadRequest:
        return BadRequest(413, "too_large", f"Longer than {self._largest} bytes.")


def _overloaded() -> BadRequest:
    return BadRequest(503, "overloaded", "Too much at a time; try again.")


def _packed(request: Request) -> bool:
    """Whether it comes as gzip; raises `BadRequest` for what is not JSON, or packed otherwise."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise BadRequest(415, "content_type", "Send application/json.")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise BadRequest(415, "content_type", "Send it plain, or with gzip.")
    return encoding == "gzip"
