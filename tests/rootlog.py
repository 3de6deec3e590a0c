"""The process's log is one for all: who configures it in a test puts it back."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept() -> Iterator[None]:
    """pytest's own handlers are among those that come back."""
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn")
    errors = logging.getLogger("uvicorn.error")
    before = root.handlers[:], root.level, uvicorn.level, errors.filters[:]
    try:
        yield
    finally:
        root.handlers[:], level, uvicorn_level, errors.filters[:] = before
        root.setLevel(level)
        uvicorn.setLevel(uvicorn_level)
