"""The process's log: lines for people, or JSON for collectors, on stderr."""

import asyncio
import logging
from logging.handlers import MemoryHandler

import msgspec

from tiergate_sidecar.settings import Logging


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        # A lone surrogate (of an undecodable file name) has no UTF-8; the line must not be lost.
        clean = {key: text.encode("utf-8", "replace").decode() for key, text in line.items()}
        return msgspec.json.encode(clean).decode()


def hold_logs() -> None:
    """Keep what is logged until `configure_logging` knows the form it is to have."""
    held = MemoryHandler(capacity=1000, flushLevel=logging.CRITICAL + 1)
    logging.basicConfig(handlers=[held], force=True)


def configure_logging(settings: Logging) -> None:
    """Send every logger of the process, and what was held, to stderr in the chosen form."""
    handler = logging.StreamHandler()
    if settings.format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s  %(message)s"))
    for held in logging.getLogger().handlers:
        if isinstance(held, MemoryHandler):
            held.setTarget(handler)  # which it tells when it is closed by `force`
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    # They tell of their every step; what we say ourselves is shorter.
    own = "warning" if settings.level == "info" else settings.level
    for chatty in ("uvicorn", "watchfiles"):
        logging.getLogger(chatty).setLevel(own.upper())
    logging.getLogger("uvicorn.error").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """uvicorn says in one line how many requests the end of the grace has cancelled; that each of
    them then ended with a traceback is its own doing. An answer that is left unfinished is our way
    to end a reader that takes nothing; a bug of ours would come with its traceback."""
    if record.getMessage() == "ASGI callable returned without completing response.":
        return False
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
