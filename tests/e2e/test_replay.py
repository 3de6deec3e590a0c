"""`tiergate replay` over the log of a real gateway, in SQLite and PostgreSQL, and over its lines.

The promise: its own configuration costs what the log says, to 1e-6, with failover, streams,
sessions and refusals in it; another one is told from it; and the command needs no secret of either.
"""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from e2e.process import COMMAND, environment
from e2e.support import CHAT, DONE, HELLO, completing, event, failing, recording, serving, streaming
from records import KINDS, database
from starlette.applications import Starlette

from tiergate import Gateway, TierMiddleware

CONFIG = """
[providers.p1]
base_url = "${P1}"
api_key_env = "P1_KEY"
[providers.p2]
base_url = "${P2}"
[request_log]
url = "${LOG}"
[retry]
retries = 0
[routing]
default_tier = "auto"
aliases = { "gpt-*" = "complex" }
[[tiers.simple]]
provider = "p1"
model = "small"
input_price_per_million = 0.05
output_price_per_million = 0.4
[[tiers.simple]]
provider = "p2"
model = "small"
input_price_per_million = 0.1
output_price_per_million = 0.8
[[tiers.moderate]]
provider = "p1"
model = "middle"
input_price_per_million = 1.1
output_price_per_million = 4.4
[[tiers.complex]]
provider = "p2"
model = "large"
input_price_per_million = 5.0
output_price_per_million = 25.0
"""
OTHER = CONFIG.replace('"gpt-*" = "complex"', '"gpt-*" = "simple"')
ASKED = [
    {"tier": "simple"},
    {"model": "gpt-4o", "conversation_id": "c"},
    {"tier": "simple", "conversation_id": "c"},
    {"model": "auto"},
    {"model": "small"},
    {"model": "nobody's"},
    {"tier": "simple", "stream": True},
]
STREAM = b'data: {"choices":[],"usage":{"prompt_tokens":41,"completion_tokens":11}}\n\n'


async def replay(*options: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "replay",
        *options,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    return process.returncode or 0, out.decode(), error.decode()


async def answered(call) -> None:
    """What is asked for: a stream where one is."""
    stream = streaming(event("a"), event("", "stop"), STREAM, DONE, hang=False)
    await (stream if b'"stream":true' in call.body.replace(b" ", b"") else completing())(call)


async def logged(url: str, file: Path) -> None:
    """Some requests through a gateway whose second provider fails at first."""
    async with recording(answered) as fine, recording(failing(503), failing(503), answered) as weak:
        addresses = {"P1": weak.base_url, "P2": fine.base_url, "LOG": url, "P1_KEY": "sk"}
        app = TierMiddleware(
            Starlette(), gateway=Gateway(file, environ=addresses), authorize="open"
        )
        async with serving(app) as base_url, httpx.AsyncClient(base_url=base_url) as client:
            for _ in range(3):
                for members in ASKED:
                    await client.post(CHAT, json=HELLO | members)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_same_configuration_costs_the_same_and_another_is_told_from_it(tmp_path, kind):
    file, other = tmp_path / "old.toml", tmp_path / "new.toml"
    file.write_text(CONFIG)
    other.write_text(OTHER)
    async with database(kind, tmp_path) as made:
        await logged(made.url, file)
        ((cost, rows),) = made.ask("SELECT sum(cost), count(*) FROM requests")
        asked = ["--log", made.url, "--json", "--config"]
        same, moved = await asyncio.gather(replay(*asked, str(file)), replay(*asked, str(other)))
        code, tables, warnings = await replay(*asked[:2], "--config", str(other))
    said = json.loads(same[1])
    assert float(cost) > 0
    assert said["cost"]["before"] == pytest.approx(float(cost), abs=1e-9)
    assert said["cost"]["after"] == pytest.approx(float(cost), abs=1e-6)
    assert (said["requests"], said["drawn"]) == (rows, 0) == (3 * len(ASKED), 0)
    assert said["refused"] == said["refused_before"] == {"model_not_found": 3}
    said = json.loads(moved[1])
    assert {"before": "complex", "after": "simple", "requests": 6} in said["moves"]
    assert said["cost"]["after"] < said["cost"]["before"]
    assert (same[0], moved[0], code, warnings) == (0, 0, 0, "")
    assert f"{rows} requests from 20" in tables
    assert "p w" not in tables


async def test_the_lines_of_a_pod_are_a_log(tmp_path):
    file = tmp_path / "old.toml"
    file.write_text(CONFIG)
    async with database("sqlite", tmp_path) as made:
        await logged(made.url, file)
        code = (
            "import sys; from tiergate_sidecar.replaying import LogRows; from msgspec import json\n"
            "for row in LogRows(sys.argv[1]): print(json.encode(row).decode())"
        )
        dumped = await asyncio.create_subprocess_exec(
            COMMAND[0], "-c", code, made.url, stdout=asyncio.subprocess.PIPE
        )
        lines, _ = await dumped.communicate()
        (tmp_path / "pod.log").write_bytes(lines)
        asked = ["--json", "--config", str(file), "--log"]
        by_lines, by_rows = await asyncio.gather(
            replay(*asked, str(tmp_path / "pod.log")), replay(*asked, made.url)
        )
    assert by_lines == by_rows
    assert json.loads(by_lines[1])["requests"] == 3 * len(ASKED)


async def test_a_log_that_is_not_there_is_one_line(tmp_path):
    file = tmp_path / "old.toml"
    file.write_text(CONFIG)
    for log in (f"sqlite:///{tmp_path}/none.db", "postgresql://ann:pw@127.0.0.1:1/d", "none.log"):
        code, out, error = await replay("--log", log, "--config", str(file))
        assert (code, out) == (1, "")
        assert error.startswith("Error: ")
        assert error.count("\n") == 1
        assert "pw" not in error
    assert list(tmp_path.iterdir()) == [file]
