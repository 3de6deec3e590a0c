"""An outcome as the reply that a client gets: status, headers, body. Pure."""

from tiergate.attempt import Delivered
from tiergate.config import Headers
from tiergate.errors import Answerable
from tiergate.exchange import Exchange
from tiergate.reply import Reply, Stream
from tiergate.response_headers import (
    JSON,
    RETRIED_BY_CLIENTS,
    STREAM,
    error_headers,
    last_word,
    our_headers,
)


def refusal(exchange: Exchange, error: Answerable, settings: Headers, latency: float) -> Reply:
    """The answer to a request that ends with an error of ours; `latency` in seconds."""
    headers = our_headers(exchange, settings, latency=latency, opened=False)
    return Reply(error.status, headers + error_headers(error, settings), error.body())


def presented(exchange: Exchange, delivered: Delivered, settings: Headers, latency: float) -> Reply:
    """The answer that a provider gave."""
    opened = delivered.relay is not None
    headers = our_headers(exchange, settings, latency=latency, opened=opened)
    passed = delivered.endpoint.answer_headers(delivered.headers)
    if opened:
        headers += STREAM
        passed = [pair for pair in passed if pair[0] != b"content-type"]
    elif b"content-type" not in dict(passed):
        headers.append(JSON)
    if delivered.status in RETRIED_BY_CLIENTS:
        headers += last_word(settings)
    return Reply(delivered.status, headers + passed, delivered.body, delivered.relay)


def begun(exchange: Exchange, stream: Stream, settings: Headers, latency: float) -> Reply:
    """A stream that begins before anybody has answered: it tells what was decided, no more."""
    headers = our_headers(exchange, settings, latency=latency, opened=True, decided_only=True)
    return Reply(200, [*headers, *STREAM], stream=stream)
