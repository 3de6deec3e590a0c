"""`wrk`, as Debian ships it: how many requests a second somebody can take."""

import asyncio
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
{headers}
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
"""


async def throughput(
    port: int, body: bytes, headers: Mapping[str, str], connections: int, seconds: int
) -> float:
    """Requests per second, in closed loop. Raises when any was not answered with 200."""
    with tempfile.TemporaryDirectory(prefix="bench-wrk-") as name:
        folder = Path(name)
        (folder / "body").write_bytes(body)
        fields = "\n".join(f'wrk.headers["{key}"] = "{value}"' for key, value in headers.items())
        script = folder / "post.lua"
        script.write_text(SCRIPT.format(headers=fields, body=folder / "body"))
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        how = ("-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script))
        process = await asyncio.create_subprocess_exec(
            "wrk", *how, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said = (await process.communicate())[0].decode()
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if rate is None or "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"wrk: {said}")
    return float(rate[1])
