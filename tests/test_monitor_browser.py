"""The monitor in a real browser, at the width of a desk and of a phone: chart drawn, no error, buttons with the token only."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from chromium import SCROLLED, faults, needs_browser, opened
from test_live_command import reports, wave  # noqa: F401 - fixtures
from test_monitor import NAME, TOKEN, monitor, replayed  # noqa: F401 - a fixture

from delta_arb.live.monitoring import listening
from delta_arb.monitor.runners import Runners
from delta_arb.monitor.server import MonitorServer

pytestmark = needs_browser
SHOWN = "html[data-shown='1']:has(.chart path ~ path ~ path ~ path)"
DRAWN = "[...document.querySelectorAll('.chart path')].map(path => path.getAttribute('d').length)"
SEND = """(async () => {
  document.querySelector('#confirm').close();
  [...document.querySelectorAll('.buttons button')].find(button => button.textContent === 'stop').click();
  const form = document.querySelector('#confirm form');
  Object.entries({token: '%s', by: 'anna', why: 'a drill', confirmation: 'stop %s'}).forEach(([n, v]) => { form.elements[n].value = v; });
  form.requestSubmit();
  const answer = form.querySelector('.answer');
  while (!answer.textContent) await new Promise(done => setTimeout(done, 20));
  return answer.textContent;
})()"""


@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_draws_its_chart_without_an_error_and_without_sideways_scroll(replayed, width):  # noqa: F811
    async def play():
        async with monitor(replayed) as (url, _), opened(url, width) as (page, wrong):
            await page.wait_for_selector(SHOWN, state="attached")
            assert min(await page.evaluate(DRAWN)) > 20  # edge, cost, entry and exit
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            assert await page.evaluate(SCROLLED) == ([True, True] if width == 390 else [])  # orders, pairs
            assert (
                await page.evaluate("document.querySelectorAll('.orders tr').length") == 31
            )  # head, and the newest thirty
            assert await page.evaluate("document.querySelector('.buttons').hidden")  # no token, no button
            assert await faults(page) == []
            assert wrong == []

    asyncio.run(play())


def test_the_buttons_obey_only_the_token(replayed):  # noqa: F811
    with closing(sqlite3.connect(replayed / "SYN_USDT-mexc-gate" / "live" / "journal.sqlite")) as db, db:
        db.execute(
            "UPDATE runs SET ended = NULL, outcome = NULL"
        )  # as a killed runner leaves it: the buttons are there

    async def play():
        async with monitor(replayed, TOKEN) as (url, _), opened(url, 1400) as (page, _):
            await page.wait_for_selector(SHOWN, state="attached")
            assert await page.evaluate(SEND % ("wrong" * 4, NAME)) == "wrong token"
            assert "no runner is up" in await page.evaluate(SEND % (TOKEN, NAME))

    asyncio.run(play())


def test_the_page_comes_back_after_the_monitor_was_restarted(replayed):  # noqa: F811
    async def play():
        first, port = await listening(MonitorServer(Runners(replayed), "").application(), 0, "--port")
        async with opened(f"http://127.0.0.1:{port}", 1400) as (page, _):
            await page.wait_for_selector(SHOWN, state="attached")
            await first.cleanup()
            await page.evaluate("delete document.documentElement.dataset.shown")
            second, _ = await listening(MonitorServer(Runners(replayed), "").application(), port, "--port")
            await page.wait_for_selector(SHOWN, state="attached")
            await second.cleanup()

    asyncio.run(play())
