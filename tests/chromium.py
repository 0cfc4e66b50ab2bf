"""A real Chromium, the one that is installed here, driven by Playwright."""

import gzip
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
AXE = Path(__file__).with_name("axe-4.14.1.min.js.gz")  # of the npm package axe-core, MPL 2.0
GRAVE = """axe.run().then(found => found.violations.filter(v => ['serious', 'critical'].includes(v.impact))
  .map(v => [v.id, ...v.nodes.map(node => node.target.join(' '))]))"""

# Of each table that is wider than its place: whether it can be scrolled to its last column, and a shadow says so.
SCROLLED = """[...document.querySelectorAll('.wide')].filter(w => w.scrollWidth > w.clientWidth).map(w => {
  const said = getComputedStyle(w).backgroundAttachment.includes('local');
  w.scrollLeft = 1e6;
  const last = w.querySelector('tr').lastElementChild.getBoundingClientRect();
  return said && last.right <= w.getBoundingClientRect().right + 1;
})"""

needs_browser = pytest.mark.skipif(
    BROWSER is None, reason=f"the pages were not looked at: none of {', '.join(BROWSERS)} is here; install one of them"
)


@asynccontextmanager
async def opened(url: str, pixels: int) -> AsyncIterator[tuple[Page, list[str]]]:
    """The page at this address, `pixels` wide, and what goes wrong on it: console errors, exceptions, refused requests."""
    wrong: list[str] = []
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=BROWSER)
        page = await browser.new_page(viewport={"width": pixels, "height": 900})
        page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        await page.goto(url, wait_until="commit")  # a page that listens to events never ends to load
        yield page, wrong
        await browser.close()


async def faults(page: Page) -> list[list[str]]:
    """Serious and critical faults of accessibility: the rule, and where it is broken."""
    await page.evaluate(gzip.decompress(AXE.read_bytes()).decode())
    return await page.evaluate(GRAVE)
