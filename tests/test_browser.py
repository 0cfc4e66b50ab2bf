"""The pages in a real browser, at the width of a desk and of a phone: every chart drawn, no error, no sideways scroll,
no serious fault of accessibility; and what a click does.

The pages are those of the committed notebooks, moved away from where they were written.
"""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from chromium import SCROLLED, faults, needs_browser, opened

from delta_arb.live.journal import Journal
from delta_arb.report import index, pages

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ("01_spread_analysis", "02_optimization", "03_backtest_report")
DRAWN = "html[data-drawn]"
# A chart that shows: data, and marks of it.
SHOWN = """[...document.querySelectorAll('.chart')].filter(chart =>
  chart.data?.length && chart.querySelectorAll('.trace, .hm image, .points path, .barlayer path').length).length"""
# Titles, legends and sliders of a chart that lie on each other, or are cut at its sides.
UNREADABLE = """[...document.querySelectorAll('.chart')].flatMap(chart => {
  const of = chart.getBoundingClientRect(), texts = '.xtitle, .x2title, .ytitle, .gtitle, .legendtext, .slider-label, .updatemenu-header';
  const seen = [...chart.querySelectorAll(texts)].map(e => [e.textContent, e.getBoundingClientRect()]).filter(([, r]) => r.width);
  const cut = seen.filter(([, r]) => r.left < of.left - 1 || r.right > of.right + 1).map(([text]) => text);
  const on = (a, b) => a.left < b.right && b.left < a.right && a.top + 1 < b.bottom && b.top + 1 < a.bottom;
  return [...cut, ...seen.flatMap(([text, a], k) => seen.slice(k + 1).filter(([, b]) => on(a, b)).map(([other]) => [text, other]))];
})"""
WIDEST = (
    "Math.max(0, ...[...document.querySelectorAll('main table')].map(t => t.offsetWidth - t.parentElement.clientWidth))"
)
CLICK = """(async () => {
  const row = [...document.querySelectorAll('tr.timed')].at(-2), opened = row.cells[0].textContent.trim();
  row.click();
  const chart = [...document.querySelectorAll('.chart')].find(c => c.layout.updatemenus?.some(m => m.type === 'dropdown'));
  while (!chart.layout.title.text.includes(opened)) await new Promise(done => setTimeout(done, 20));
  return { opened, title: chart.layout.title.text, lines: chart._fullData.map(line => [line.name, line.x.length, line.y.length]) };
})()"""
SORTED = """(() => {
  const table = document.querySelector('table.listing'), size = {s: 1, min: 60, h: 3600};
  const head = [...table.tHead.rows[0].cells].find(cell => cell.textContent === 'held');
  head.click();
  const held = [...table.tBodies[0].rows].map(row => row.cells[head.cellIndex].textContent.split(' ')).map(([n, unit]) => n * size[unit]);
  table.tHead.rows[0].cells[0].click();
  return new Set(held).size > 9 && held.every((one, k) => !k || held[k - 1] <= one);
})()"""
FILTERED = """(() => {
  const kind = document.getElementById('kind');
  kind.value = 'live session';
  kind.onchange();
  const shown = [...document.querySelectorAll('table.runs tbody tr')].filter(row => !row.hidden).length;
  kind.value = '';
  kind.onchange();
  return shown;
})()"""
COMPARED = """(() => {
  [...document.querySelectorAll('table.runs input')].slice(0, 2).forEach(box => box.click());
  const what = [...document.querySelectorAll('#compare tr')].find(row => row.cells[0].textContent === 'What');
  return [...what.cells].slice(1).map(cell => cell.textContent);
})()"""
ORDERED = """(() => {
  const when = () => [...document.querySelectorAll('table.runs tbody tr')].map(row => row.cells[1].textContent);
  const given = when(), sort = document.getElementById('sort'), turn = document.getElementById('turn');
  const choose = name => { sort.value = [...sort.options].find(o => o.textContent === name).value; sort.onchange(); };
  turn.click();
  const turned = when();
  choose('by What');
  const what = [...document.querySelectorAll('table.runs tbody tr')].map(row => row.dataset.kind);
  choose('by When (UTC)');
  const seen = sort.getBoundingClientRect().right <= innerWidth;
  return [given.join() === turned.reverse().join(), what.join(), when().join() === given.join(), seen];
})()"""

TALLEST = "Math.max(...[...document.querySelectorAll('.runs th')].map(th => th.clientHeight))"

pytestmark = needs_browser


@pytest.fixture(scope="module")
def moved(tmp_path_factory) -> Path:
    """A folder with nothing but the pages."""
    written, alone = (tmp_path_factory.mktemp(name) for name in ("reports", "mailed"))
    folder = written / "SYN_USDT-mexc-gate" / "20260105T000000Z"
    folder.mkdir(parents=True)
    record = {"pair": "SYN_USDT-mexc-gate", "stamp": folder.name, "status": "ok", "trade": False, "reason": "a test"}
    for name in NOTEBOOKS:
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", folder)
        page = pages.write_page(folder / f"{name}.ipynb", pages.run_record(folder, record), written)
        assert page.stat().st_size < 3_000_000
        shutil.move(page, alone)
    shutil.rmtree(written)
    return alone


@pytest.fixture(scope="module")
def indexed(tmp_path_factory) -> Path:
    """The index of two runs of the notebooks and of one session."""
    reports = tmp_path_factory.mktemp("indexed")
    for stamp in ("20260105T000000Z", "20260106T000000Z"):
        folder = reports / "SYN_USDT-mexc-gate" / stamp
        folder.mkdir(parents=True)
        record = {"run_id": stamp, "pair": "SYN_USDT-mexc-gate", "stamp": stamp, "status": "ok", "trade": False}
        (folder / "run.json").write_text(json.dumps(record))
    with Journal(reports / "SYN_USDT-mexc-gate" / "live" / "journal.sqlite", "one") as journal:
        journal.begin_run("paper, replay", "0", {})
    return index.refresh(reports)


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_moved_page_draws_every_chart_without_an_error_and_without_sideways_scroll(moved, name, width):
    async def look():
        async with opened(f"file://{moved}/{name}.html", width) as (page, wrong):
            await page.wait_for_selector(DRAWN, state="attached", timeout=60_000)
            assert await page.evaluate(SHOWN) == await page.evaluate("document.querySelectorAll('.chart').length") > 0
            assert await page.evaluate("[...document.images].filter(image => !image.naturalWidth).length") == 0
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            assert await page.evaluate(UNREADABLE) == []
            assert width < 700 or await page.evaluate(WIDEST) <= 0  # at a desk no table is cut
            assert await faults(page) == []
            assert wrong == []

    asyncio.run(look())


@pytest.mark.parametrize("width", [1400, 390])
def test_the_index_filters_and_compares(indexed, width):
    async def look():
        async with opened(f"file://{indexed}", width) as (page, wrong):
            await page.wait_for_function(
                "document.readyState === 'complete' && document.querySelectorAll('table.runs tbody tr').length === 3"
            )
            assert await page.evaluate(FILTERED) == 1
            assert await page.evaluate(ORDERED) == [True, "research,research,live session", True, True]
            assert await page.evaluate(COMPARED) == ["live session", "research"]
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            seen = "[...document.querySelectorAll('table.runs td.num')].every(e => e.getBoundingClientRect().right <= innerWidth)"
            assert await page.evaluate(seen)  # the money too, without scrolling
            assert all(await page.evaluate(SCROLLED))
            assert await page.evaluate(TALLEST) < 120  # px: four lines, no word is cut
            assert await faults(page) == []
            assert wrong == []

    asyncio.run(look())


def test_a_click_on_a_trade_shows_its_minute_with_both_books(moved):
    async def look():
        async with opened(f"file://{moved}/03_backtest_report.html", 1400) as (page, wrong):
            await page.wait_for_selector(DRAWN, state="attached", timeout=60_000)
            assert await page.evaluate(SORTED)
            seen = await page.evaluate(CLICK)
            assert seen["opened"] in seen["title"]
            assert [name for name, *_ in seen["lines"]] == 2 * [
                "spot bid", "spot ask", "spot fill", "perp bid", "perp ask", "perp fill",
            ]  # fmt: skip
            assert all(x == y > 0 for _, x, y in seen["lines"])
            assert wrong == []

    asyncio.run(look())
