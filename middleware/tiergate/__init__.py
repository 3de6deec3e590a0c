"""tiergate: `/v1/chat/completions` of any ASGI app, routed by tier to many model providers.

    from tiergate import TierMiddleware
    app = TierMiddleware(app, config="tiergate.toml", authorize=who)

The names below are public; everything else may move.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from tiergate.asgi import TierMiddleware
from tiergate.candidates import Share
from tiergate.classify import Signal, Verdict
from tiergate.config import Config
from tiergate.credentials import read_secret
from tiergate.crosscheck import warnings_of
from tiergate.decoding import decode_tables
from tiergate.document import SourceError
from tiergate.endpoint import Endpoint
from tiergate.errors import Answerable, ConfigError, Refused, TiergateError
from tiergate.estimate import Estimate
from tiergate.exchange import Caller, Exchange
from tiergate.explanation import (
    Boundaries,
    Effort,
    Explanation,
    PolicyInForce,
    Prospect,
    Weighing,
)
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
from tiergate.status import Status
from tiergate.tiers import TIERS, Tier

if TYPE_CHECKING:
    from tiergate.log_schema import log_table
    from tiergate.log_sql import log_engine
    from tiergate.response import TierResponse
    from tiergate.trial import trial_config
    from tiergate.what_if import WhatIf
    from tiergate.what_if_result import CostRange, ModelLoad, TierMove, Unknowns, WhatIfResult

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
    "PolicyInForce",
    "Boundaries",
    "Weighing",
    "Verdict",
    "Signal",
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
    "trial_config",
    "WhatIf",
    "WhatIfResult",
    "TierMove",
    "ModelLoad",
    "CostRange",
    "Unknowns",
    "Metrics",
    "TIERS",
    "Tier",
    "__version__",
]


_LATER: Final = {
    "TierResponse": "response",  # Starlette's requests and responses
    "log_engine": "log_sql",  # SQLAlchemy, for readers of a request log
    "log_table": "log_sql",
    "WhatIf": "what_if",  # for who looks back: a host app never does
    "trial_config": "trial",
    **dict.fromkeys(
        ("CostRange", "ModelLoad", "TierMove", "Unknowns", "WhatIfResult"), "what_if_result"
    ),
}
"""Public names whose modules are imported when somebody asks, for most never do."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"tiergate.{_LATER[name]}"), name)
