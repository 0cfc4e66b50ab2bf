"""The pages in a real browser, at the width of a desk and of a phone: every chart drawn, no error, no sideways scroll.

The pages are those of the committed notebooks, moved away from where they were written.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from delta_arb.report import pages

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ("01_spread_analysis", "02_optimization", "03_backtest_report")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--dump-dom", "--virtual-time-budget=30000",
)  # fmt: skip
# Before everything else: keeps what goes wrong. Behind it: says what is seen, once the charts are drawn.
WATCH = "<script>window.wrong = []; onerror = m => { wrong.push(m); }; console.error = (...m) => { wrong.push(m.join(' ')); };</script>"
TELL = """<script>
const told = setInterval(() => {
  const charts = [...document.querySelectorAll('.chart')], root = document.documentElement;
  if (charts.length && !root.dataset.drawn && !wrong.length) return;
  clearInterval(told);
  const marks = chart => chart.querySelectorAll('.trace, .hm image, .points path, .barlayer path').length;
  const seen = { charts: charts.length, drawn: charts.filter(c => c.data?.length && marks(c)).length,
    width: root.scrollWidth, window: innerWidth, wrong, pictures: [...document.images].filter(i => !i.naturalWidth).length };
  parent.postMessage(JSON.stringify(seen), '*');
}, 100);
</script>"""

FRAME = """<body><script>onmessage = e => {{ document.body.innerHTML = '<pre id="seen">' + e.data + '</pre>'; }};</script>
<iframe src="{page}" width="{width}" height="900" style="border:0"></iframe></body>"""

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"the pages were not looked at: none of {', '.join(BROWSERS)} is here; install one of them"
)


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
        text = page.read_text(encoding="utf-8").replace("<head>", f"<head>{WATCH}", 1)
        (alone / page.name).write_text(text.replace("</body>", f"{TELL}</body>"), encoding="utf-8")
    shutil.rmtree(written)
    return alone


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_moved_page_draws_every_chart_without_an_error_and_without_sideways_scroll(moved, tmp_path, name, width):
    # A window is never narrower than 500 points; a frame is.
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=width, page=f"file://{moved}/{name}.html"), encoding="utf-8")
    command = [BROWSER, *FLAGS, f"--window-size={width + 40},900", f"--user-data-dir={tmp_path}", f"file://{frame}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    told = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout)
    assert told, done.stderr[-2000:]
    seen = json.loads(told[1])
    assert seen["wrong"] == [] and seen["pictures"] == 0
    assert seen["charts"] == seen["drawn"] > 0
    assert seen["window"] == width and seen["width"] <= width
