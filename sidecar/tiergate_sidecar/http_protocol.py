"""What of a connection's bytes reaches an app or its client, where uvicorn's HTTP/1.1 does harm.

A trailer is not a header, an upgrade that nobody makes here does not cost the body, and what nobody
reads does not stay. How much may come in, and how slowly, is `listener`'s.
"""

import asyncio
from typing import cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class HttpProtocol(HttpToolsProtocol):
    """One connection of a client."""

    unread_seconds = 10.0
    """After which a closed connection whose client has read nothing more is cut. Closing waits
    until all is sent: of clients that have stopped reading each would keep its part for ever."""

    _left = 0
    _timer: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._timer.cancel()

    def _look(self) -> None:
        left = self.transport.get_write_buffer_size() if self.transport.is_closing() else 0
        if left and left == self._left:
            self.transport.abort()
            return
        self._left = left
        self._timer = self.loop.call_later(self.unread_seconds, self._look)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")

    def on_headers_complete(self) -> None:
        if not self._asks_for_upgrade():  # else `_feed` hears of it, and the head comes once more
            super().on_headers_complete()
            self.headers = []  # for the trailers: uvicorn would add them to the request's headers

    def on_message_complete(self) -> None:
        if not self._asks_for_upgrade():
            super().on_message_complete()

    def _feed(self, data: bytes) -> None:
        """Parse; an upgrade is not made, as RFC 9110 section 7.8 allows: what asks for it is read
        as it is without.

        The parser takes whatever follows such a head for another protocol, even the body that the
        head tells of; and Java's own client asks for `h2c` with every request.
        """
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as pause:
                data = self._head_without_upgrade() + data[pause.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn

    def _asks_for_upgrade(self) -> bool:
        """`CONNECT` always does; it has no path, and is refused for that."""
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def _head_without_upgrade(self) -> bytes:
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines, dropped = [b"%b %b HTTP/%b" % (method, self.url, version)], False
        for name, value in self.headers:
            if name == b"connection":
                tokens = value.split(b",")
                kept = [token for token in tokens if token.strip().lower() != b"upgrade"]
                dropped, value = dropped or kept != tokens, b",".join(kept)
            lines.append(b"%b: %b" % (name, value))
        if not dropped:  # the parser minds `Proxy-Connection` too: it would ask again, and again
            raise httptools.HttpParserError("an upgrade that Connection does not ask for")
        return b"\r\n".join([*lines, b"", b""])
