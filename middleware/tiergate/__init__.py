"""tiergate: `/v1/chat/completions` of any ASGI app, routed by tier to many model providers.

    from tiergate import TierMiddleware
    app = TierMiddleware(app, config="tiergate.toml", authorize=who)

The names below are public; everything else may move.
"""

from typing import TYPE_CHECKING, Any

from tiergate.asgi import TierMiddleware
from tiergate.config import Config
from tiergate.crosscheck import warnings_of
from tiergate.decoding import decode_tables
from tiergate.document import SourceError
from tiergate.errors import Answerable, ConfigError, Refused, TiergateError
from tiergate.exchange import Caller, Exchange, Explanation
from tiergate.gateway import Gateway, Status
from tiergate.loading import Document, config_of, load_config, read_document
from tiergate.reply import Reply
from tiergate.tiers import TIERS, Tier

if TYPE_CHECKING:
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
    "warnings_of",
    "Exchange",
    "Explanation",
    "Reply",
    "Status",
    "TIERS",
    "Tier",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "TierResponse":  # the one name that needs Starlette's requests and responses
        from tiergate.response import TierResponse

        return TierResponse
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
