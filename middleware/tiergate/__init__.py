"""tiergate: `/v1/chat/completions` of any ASGI app, routed by tier to many model providers.

    from tiergate import TierMiddleware
    app = TierMiddleware(app, config="tiergate.toml", authorize=who)

The names below are public; everything else may move.
"""

from typing import TYPE_CHECKING, Any

from tiergate.asgi import TierMiddleware
from tiergate.config import Config
from tiergate.credentials import read_secret
from tiergate.crosscheck import warnings_of
from tiergate.decoding import decode_tables
from tiergate.document import SourceError
from tiergate.endpoint import Endpoint
from tiergate.errors import Answerable, ConfigError, Refused, TiergateError
from tiergate.exchange import Caller, Exchange
from tiergate.explanation import Effort, Estimate, Explanation, Prospect
from tiergate.file_watch import FileWatch
from tiergate.gateway import Gateway
from tiergate.loading import Document, config_of, load_config, read_document
from tiergate.log_row import RequestRow, row_of
from tiergate.log_url import LogUrl, read_log_url
from tiergate.metrics import Metrics
from tiergate.record import AttemptRecord, Record
from tiergate.reply import Reply
from tiergate.reporting import Observer
from tiergate.requestlog import RequestLogState
from tiergate.snapshot import Share
from tiergate.status import Status
from tiergate.tiers import TIERS, Tier

if TYPE_CHECKING:
    from tiergate.log_schema import log_table
    from tiergate.log_sql import log_engine
    from tiergate.response import TierResponse

__version__ = "0.1.0"

__all__ = [
    "TierMiddleware",
    "TierResponse",
    "Gateway",
    "Caller",
    "Refused",
    "Config",
    "load_config",
    "Answerable",
    "ConfigError",
    "SourceError",
    "TiergateError",
    "Document",
    "read_document",
    "config_of",
    "decode_tables",
    "read_secret",
    "FileWatch",
    "Endpoint",
    "warnings_of",
    "Exchange",
    "Explanation",
    "Effort",
    "Estimate",
    "Prospect",
    "Share",
    "Reply",
    "Status",
    "Record",
    "AttemptRecord",
    "Observer",
    "RequestRow",
    "row_of",
    "RequestLogState",
    "LogUrl",
    "read_log_url",
    "log_engine",
    "log_table",
    "Metrics",
    "TIERS",
    "Tier",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "TierResponse":  # the one name that needs Starlette's requests and responses
        from tiergate.response import TierResponse

        return TierResponse
    if name in ("log_engine", "log_table"):  # SQLAlchemy, for readers of a request log
        from tiergate import log_sql

        return getattr(log_sql, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
