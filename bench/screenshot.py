"""Takes docs/inspector.png: the inspector of `tiergate serve --mock` after traffic with faults.

    .venv/bin/python bench/screenshot.py [FILE]

A real sidecar, a real browser (/usr/bin/chromium), about half a minute.
"""

import asyncio
import random
import re
import sys
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import async_playwright

FILE = Path(__file__).parent.parent / "docs" / "inspector.png"
SERVE = (sys.executable, "-m", "tiergate_sidecar", "serve", "--mock")
LISTENERS = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
CHROMIUM = {"executable_path": "/usr/bin/chromium", "args": ["--no-sandbox"]}
SIZE = {"width": 1440, "height": 900}

MODELS = ["auto"] * 6 + ["simple", "moderate"] * 3 + ["complex"] * 2 + ["mock-small", "unheard-of"]
FAULTS = ["slow 0.4", "503", "503 @mock-a", "slow 1.2", "malformed", "context", "400"]
REQUESTS = 140
PROMPT = "Prove that there are infinitely many primes; which step needs unique factorisation?"
PROOF = [{"role": "user", "content": PROMPT}]
FAILS_OVER = "503 always @mock-c, slow 0.9 @mock-b"
TRIES = 20
BACK_OFF_SECONDS = 0.2


async def talk(url: str) -> None:
    """Mostly good days, a few bad ones; the last request is one that was failed over."""
    draw = random.Random(4)
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:

        async def ask(**said: Any) -> httpx.Response:
            body = {
                "model": draw.choice(MODELS),
                "messages": [{"role": "user", "content": "Hello " * draw.randint(1, 60)}],
                "stream": draw.random() < 0.4,
            }
            fault = said.pop("fault", None)
            headers = {"X-Mock-Fault": fault} if fault else {}
            path = "/v1/chat/completions"
            return await client.post(path, json={**body, **said}, headers=headers)

        for _ in range(REQUESTS):
            faulty = draw.random() < 0.12
            await ask(**({"fault": draw.choice(FAULTS)} if faulty else {}))
            await asyncio.sleep(0.02 + draw.random() * 0.08)
        for _ in range(TRIES):  # until the one that fails is drawn first
            answer = await ask(model="auto", messages=PROOF, stream=False, fault=FAILS_OVER)
            if "/mock-c" in answer.headers.get("x-arbstr-retries", ""):
                break
            await asyncio.sleep(BACK_OFF_SECONDS)


async def shoot(admin: str, file: Path) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**CHROMIUM)
        page = await browser.new_page(viewport=SIZE, color_scheme="light")
        await page.goto(f"{admin}/")
        await page.locator(".row").first.click()
        await page.wait_for_selector("#detail .attempt")
        await page.wait_for_timeout(1500)  # the charts and the health of a moment later
        await page.screenshot(path=file)
        await browser.close()


async def main(file: Path) -> None:
    process = await asyncio.create_subprocess_exec(*SERVE, *LISTENERS, stdout=-1)
    assert process.stdout is not None
    try:
        said = b"".join([await process.stdout.readline() for _ in range(2)]).decode()
        clients, admin = re.findall(r"http://[^/\s]+", said)
        await talk(clients)
        await shoot(admin, file)
        print(file)
    finally:
        process.terminate()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if sys.argv[1:] else FILE))
