"""The process's log is one for all: who configures it in a test puts it back."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept() -> Iterator[None]:
    """pytest's own handlers are among those that come back."""
    root, errors = logging.getLogger(), logging.getLogger("uvicorn.error")
    levelled = [root, logging.getLogger("uvicorn"), logging.getLogger("watchfiles")]
    before = root.handlers[:], errors.filters[:]
    levels = [logger.level for logger in levelled]
    try:
        yield
    finally:
        root.handlers[:], errors.filters[:] = before
        for logger, level in zip(levelled, levels, strict=True):
            logger.setLevel(level)
