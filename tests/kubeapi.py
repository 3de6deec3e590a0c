"""A fake API server over TLS that knows ConfigMaps, and the account that a pod has with it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from e2e.support import serving

from tiergate_sidecar.make_certs import make_certs

SILENT = object()
"""Stands for an answer that does not come."""


class FakeApi:
    """`maps` gives by (namespace, name) a text, None, or else (status, body); `asked` is a list of
    what was asked, with which token. Of everything that is not there it says 404."""

    def __init__(self, folder: Path, maps: dict[tuple[str, str], Any]) -> None:
        self.maps = maps
        self.asked: list[tuple[str, str]] = []
        self.account = folder / "account"
        self.account.mkdir()
        self._certificates = folder / "api"
        self.url = ""
        self.renew()
        self.rotate("one")

    def renew(self) -> None:
        """A new authority and certificate, which it serves from the next start on."""
        self._certificates.mkdir(exist_ok=True)
        (self._certificates / "ca.crt").unlink(missing_ok=True)  # or the old one would stay trusted
        make_certs(self._certificates, ["127.0.0.1"], datetime.now(UTC))
        (self.account / "ca.crt").write_bytes((self._certificates / "ca.crt").read_bytes())

    def rotate(self, token: str) -> None:
        (self.account / "token").write_text(f"{token}\n")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeApi"]:
        files = {"ssl_certfile": "tls.crt", "ssl_keyfile": "tls.key"}
        settings = {key: self._certificates / name for key, name in files.items()}
        async with serving(self._answer, lifespan="off", interface="asgi3", **settings) as url:
            self.url = url.replace("http:", "https:")
            yield self

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        self.asked.append((scope["path"], headers[b"authorization"].decode()))
        *_, namespace, kind, name = scope["path"].split("/")
        assert (scope["method"], kind) == ("GET", "configmaps")
        said = self.maps.get((namespace, name), (404, b"{}"))
        if said is SILENT:
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        if isinstance(said, tuple):
            status, body = said
        else:
            data = {} if said is None else {"data": {"tiergate.toml": said}}
            status, body = 200, json.dumps({"kind": "ConfigMap", **data}).encode()
        location = [(b"location", b"/elsewhere")] if status in range(300, 400) else []
        await send({"type": "http.response.start", "status": status, "headers": location})
        await send({"type": "http.response.body", "body": body})
