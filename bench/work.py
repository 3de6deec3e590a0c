"""What subjects are asked for: a prompt of a size, a whole answer or a stream, at a concurrency."""

import json
from dataclasses import dataclass

from ends import CHUNKS

SENTENCE = "The quick brown fox jumps over the lazy dog, and nobody minds at all. "
"""A prompt is made of it: text as people write it, without anything that JSON has to escape."""


@dataclass(frozen=True)
class Work:
    """`requests` is how many a round has, of a subject that is not slow; `warmth` is how much of
    the usual warming up is enough."""

    name: str
    body: bytes
    connections: int
    requests: int
    warmth: float = 1

    def of(self, share: float) -> int:
        return max(self.connections, int(self.requests * share))


def body(size: int = 1_000, *, stream: bool = False) -> bytes:
    """About so many bytes, as one JSON object."""
    prompt = (SENTENCE * (size // len(SENTENCE) + 1))[: max(1, size - 110)]
    said: dict[str, object] = {"model": "simple", "max_tokens": CHUNKS}
    if stream:
        said["stream"] = True
    return json.dumps({**said, "messages": [{"role": "user", "content": prompt}]}).encode()


SMALL, MIDDLE, LARGE = body(), body(20_000), body(1_000_000)

JSON = Work("1 kB", SMALL, 16, 4000)
ALONE = Work("1 kB, 1 connection", SMALL, 1, 2000)
CROWD = Work("1 kB, 256 connections", SMALL, 256, 4000)
LONG = Work("20 kB", MIDDLE, 16, 2000)
HUGE = Work("1 MB", LARGE, 16, 300)
STREAM = Work("50 chunks", body(stream=True), 16, 500, warmth=0.3)

PAUSE_SECONDS = 0.002
PACED = Work("50 chunks, 2 ms apart", body(stream=True), 16, 200, warmth=0.3)
"""As a model writes: each chunk is a read, a look and a write of its own, for everybody."""
