"""The certificate that the webhook serves: read from mounted files, and again when they change.

A pair that cannot be used is logged and the one from before stays. Who watches the files is
`webhook_server`; who makes them is cert-manager, `make_certs`, or anybody.
"""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tiergate import ConfigError

_log = logging.getLogger("tiergate")

CERTIFICATE_FILE: Final = "tls.crt"
KEY_FILE: Final = "tls.key"
"""As a Secret of type kubernetes.io/tls calls them."""


class Certificates:
    """A certificate with its key, in PEM; `failed` hears of each pair that could not be used.

    `context` is for the listener's whole life: each connection gets what is valid when it is made,
    and is refused while there is nothing yet. TLS 1.2 at least. Raises `ConfigError` where
    cryptography is not installed.
    """

    def __init__(self, certificate: Path, key: Path, failed: Callable[[], None]) -> None:
        # An extra: whoever runs the gateway alone never needs it, and it takes 40 ms.
        try:
            from cryptography import x509
        except ImportError:
            message = "the webhook needs cryptography: pip install 'tiergate[webhook]'"
            raise ConfigError(message) from None
        self._parse = x509.load_pem_x509_certificates
        self.paths = (certificate, key)
        self.expires: float | None = None
        """The end of the certificate in Unix seconds."""
        self._failed = failed
        self._current: ssl.SSLContext | None = None
        self.context = _context()
        # Loading a new pair into a context in use is two steps, between which they do not match,
        # and a bad pair would be in it. This hands each connection a context that is whole.
        self.context.sni_callback = self._choose

    @property
    def loaded(self) -> bool:
        return self._current is not None

    async def read(self) -> None:
        """Serve the files as they are now, if they can be; never raises.

        Nothing is awaited: a mounted Secret is in memory.
        """
        try:
            self._current, self.expires = self._read(*self.paths)
        except (OSError, ValueError) as error:
            # Of an SSLError, which is an OSError, only the reason is worth a line.
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            stays = "; the one from before stays" if self.loaded else ""
            _log.error("cannot use %s with %s: %s%s", *self.paths, reason, stays)
            self._failed()
        else:
            _log.info("serving the certificate of %s", self.paths[0])

    def _read(self, certificate: Path, key: Path) -> tuple[ssl.SSLContext, float]:
        context = _context()
        context.load_cert_chain(certificate, key, password=_no_password)
        leaf = self._parse(certificate.read_bytes())[0]
        return context, leaf.not_valid_after_utc.timestamp()

    def _choose(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> int | None:
        """OpenSSL asks for every connection, whether it names a server or not."""
        if self._current is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._current
        return None


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _no_password() -> str:
    """Without it OpenSSL would ask for one on a terminal, and wait."""
    return ""
