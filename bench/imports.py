"""What `import tiergate` costs beside the two libraries that it cannot do without.

CPU of the import alone, in fresh interpreters, without that of the interpreter's own start.
"""

import asyncio
import json
import statistics
import sys

from machine import pinned, processors
from subject import environment
from table import Row, at_most, columns

ROUNDS = 15
UNWANTED = (
    "sqlalchemy",
    "opentelemetry.sdk",
    "opentelemetry.exporter",
    "redis",
    "psycopg",
    "prometheus_client",
    "uvicorn",
    "starlette.applications",
    "yaml",
    "watchfiles",
)
"""Prefixes of modules that only somebody who uses them pays for."""

ASK = """
import json, sys, time
begun = time.process_time()
import {modules}
spent = time.process_time() - begun
print(json.dumps([spent, sorted(sys.modules)]))
"""
FLOOR, OURS = "aiohttp, msgspec", "tiergate"


async def once(modules: str) -> tuple[float, list[str]]:
    """Seconds of CPU, and the names of all modules loaded after it."""
    command = (sys.executable, "-c", ASK.format(modules=modules))
    process = await asyncio.create_subprocess_exec(
        *command, env=environment(), stdout=asyncio.subprocess.PIPE
    )
    spent, loaded = json.loads((await process.communicate())[0])
    return spent, loaded


async def run(rounds: int) -> list[Row]:
    ours, _ = processors()
    took: dict[str, list[float]] = {FLOOR: [], OURS: []}
    loaded: list[str] = []
    with pinned(ours):
        await once(OURS)  # compiles what has been edited
        for number in range(max(rounds, ROUNDS)):
            for modules in (FLOOR, OURS) if number % 2 else (OURS, FLOOR):
                spent, names = await once(modules)
                took[modules].append(spent)
                loaded = names if modules == OURS else loaded
    medians = {modules: statistics.median(times) for modules, times in took.items()}
    print(columns([("import", "ms"), *((m, f"{s * 1e3:.0f}") for m, s in medians.items())]))
    pairs = zip(took[OURS], took[FLOOR], strict=True)
    ratio = statistics.median(one / floor for one, floor in pairs)
    found = [name for name in loaded if name.startswith(UNWANTED)]
    return [
        at_most("import tiergate ÷ import aiohttp, msgspec", 1.25, ratio),
        Row(
            "modules that only some need",
            "none",
            ", ".join(sorted({name.partition(".")[0] for name in found})) or "none",
            not found,
        ),
    ]
