"""How many processes serve beside this one, and what is amiss where their sessions are not shared.

Seen from outside only: a host's server tells its workers nothing.
"""

import logging
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from tiergate.loading import environment

_log = logging.getLogger("tiergate")


def warn_of_workers(environ: Mapping[str, str] | None, arguments: Sequence[str]) -> None:
    """For a process that keeps its sessions for itself."""
    workers = worker_count(environ, arguments)
    if workers > 1:
        _log.warning(
            "%d workers keep their sessions each for itself, so that a conversation may change its"
            " model: set sessions.url to a Redis that they share",
            workers,
        )


def worker_count(environ: Mapping[str, str] | None, arguments: Sequence[str]) -> int:
    """How many processes the server of a host app was told to run, as far as that can be seen.

    `WEB_CONCURRENCY` is read by gunicorn and uvicorn, `--workers N`, `-w N` and `-wN` are how they,
    hypercorn and granian are told; gunicorn in `GUNICORN_CMD_ARGS`, too.
    """
    environ = environment(environ)
    texts = [environ.get("WEB_CONCURRENCY", "")]
    # Not as a shell would: a quote that is not closed is no error of ours.
    for said in (arguments, environ.get("GUNICORN_CMD_ARGS", "").split()):
        for argument, following in zip_longest(said, said[1:], fillvalue=""):
            name, equals, value = argument.partition("=")
            if name in ("--workers", "-w"):
                texts.append(value if equals else following)
            elif argument.startswith("-w"):
                texts.append(argument[2:])
    return max((int(text) for text in texts if text.isascii() and text.isdigit()), default=1)
