"""The inspector: one page, put together of its two files, and the policy that lets nothing else run
in it."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Final

from starlette.responses import HTMLResponse

_FILE: Final = Path(__file__).with_name("inspector.html")
_DECISIONS: Final = "inspector_decisions.js"


def inspector_page() -> HTMLResponse:
    """The page. Its script and its styles are allowed by their digests; it may talk to us alone."""
    script = _FILE.with_name(_DECISIONS).read_text(encoding="utf-8")
    html = _FILE.read_text(encoding="utf-8").replace(f"/* {_DECISIONS} */", script)
    policy = "; ".join([
        "default-src 'none'",
        f"script-src {_digests(html, 'script')}",
        f"style-src {_digests(html, 'style')}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ])  # fmt: skip
    return HTMLResponse(html, headers={"content-security-policy": policy})


def _digests(html: str, tag: str) -> str:
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    return " ".join(
        f"'sha256-{b64encode(sha256(each.encode()).digest()).decode()}'" for each in found
    )
