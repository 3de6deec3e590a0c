"""What the process asks of its memory: of Python's collector, and of the C library's malloc.

For a process of our own; in a host app both are the host's.
"""

import ctypes
import gc
from typing import Final

GARBAGE_OBJECTS: Final = 10_000
"""After so many new objects that hold others the collector looks at them: about 0.3 ms. At Python's
700 it takes a tenth of the CPU of every request, and finds nothing: no request leaves a cycle."""

KEPT_BYTES: Final = 32 << 20
"""Freed memory that stays ours. Each body of a megabyte would else be given back to the system and
asked for again, page by page: with this a 1 MB prompt costs 1.37 of the bare forwarder's CPU, and
1.67 without. glibc's own limit for such blocks."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's names for them, malloc.h


def settle() -> None:
    """For when all is started: what is there by now stays, and need not be looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS, 20, 20)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", max)  # glibc's alone; elsewhere nothing is set
    mallopt(_MMAP_THRESHOLD, KEPT_BYTES)
    mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
