"""The monitor in a real browser, at the width of a desk and of a phone: chart drawn, no error, buttons with the token only."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from chromium import BROWSER, BROWSERS, opened
from test_live_command import reports, wave  # noqa: F401 - fixtures
from test_monitor import NAME, TOKEN, monitor, replayed  # noqa: F401 - a fixture

from delta_arb.monitor.runners import Runners
from delta_arb.monitor.server import MonitorServer, started

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"the monitor was not looked at: none of {', '.join(BROWSERS)} is here; install one of them"
)
SHOWN = "document.documentElement?.dataset.shown === '1' && document.querySelectorAll('.chart path').length === 4"
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
def test_the_page_draws_its_chart_without_an_error_and_without_sideways_scroll(replayed, tmp_path, width):  # noqa: F811
    async def play():
        async with monitor(replayed) as (url, _), opened(url, tmp_path / "browser", width) as page:
            await page.until(SHOWN)
            assert min(await page.value(DRAWN)) > 20  # edge, cost, entry and exit
            assert await page.value("document.documentElement.scrollWidth") <= width
            assert (
                await page.value("document.querySelectorAll('.orders tr').length") == 31
            )  # head, and the newest thirty
            assert await page.value("document.querySelector('.buttons').hidden")  # no token, no button
            assert await page.faults() == []
            assert page.wrong == []

    asyncio.run(play())


def test_the_buttons_obey_only_the_token(replayed, tmp_path):  # noqa: F811
    with closing(sqlite3.connect(replayed / "SYN_USDT-mexc-gate" / "live" / "journal.sqlite")) as db, db:
        db.execute(
            "UPDATE runs SET ended = NULL, outcome = NULL"
        )  # as a killed runner leaves it: the buttons are there

    async def play():
        async with monitor(replayed, TOKEN) as (url, _), opened(url, tmp_path / "browser", 1400) as page:
            await page.until(SHOWN)
            assert await page.value(SEND % ("wrong" * 4, NAME)) == "wrong token"
            assert "no runner is up" in await page.value(SEND % (TOKEN, NAME))

    asyncio.run(play())


def test_the_page_comes_back_after_the_monitor_was_restarted(replayed, tmp_path):  # noqa: F811
    async def play():
        first, port = await started(MonitorServer(Runners(replayed), ""), 0)
        async with opened(f"http://127.0.0.1:{port}", tmp_path / "browser", 1400) as page:
            await page.until(SHOWN)
            await first.cleanup()
            await page.value("delete document.documentElement.dataset.shown")
            second, _ = await started(MonitorServer(Runners(replayed), ""), port)
            await page.until(SHOWN)
            await second.cleanup()

    asyncio.run(play())
