"""A real browser, headless, for the pages of the operators.

Leaving `inspected` asserts what holds for every page: nothing was asked of another origin, nothing
was written on the console, no script failed.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright

CHROMIUM = Path("/usr/bin/chromium")
SIZE = {"width": 1400, "height": 900}


def need_chromium() -> str:
    """The path of the browser; without one, a laptop skips the test and CI fails it."""
    if not CHROMIUM.exists():
        says = f"{CHROMIUM} is not installed: nothing here is tested without it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(says)
    return str(CHROMIUM)


@asynccontextmanager
async def inspected(
    url: str, *, expect: tuple[str, ...] = (), **context: Any
) -> AsyncIterator[Page]:
    """The page at `url`; `expect` are parts of what its console may say."""
    program = need_chromium()
    asked: list[str] = []
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            page = await (await browser.new_context(viewport=SIZE, **context)).new_page()
            page.set_default_timeout(10_000)
            page.on("request", lambda request: asked.append(request.url))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda message: complaints.append(message.text))
            await page.goto(url)
            yield page
        finally:
            await browser.close()
    origin = "/".join(url.split("/")[:3])
    assert [each for each in asked if not each.startswith((f"{origin}/", "data:"))] == []
    unexpected = [each for each in complaints if not any(part in each for part in expect)]
    assert unexpected == [], unexpected
