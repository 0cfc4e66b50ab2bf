"""A real Chromium, told what to do over its DevTools protocol: what a page logs, holds and looks like at a width."""

import asyncio
import base64
import gzip
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
)  # fmt: skip
START_S = 30.0
AXE = Path(__file__).with_name("axe-4.14.1.min.js.gz")  # of the npm package axe-core, MPL 2.0
GRAVE = """axe.run().then(found => found.violations.filter(v => ['serious', 'critical'].includes(v.impact))
  .map(v => [v.id, ...v.nodes.map(node => node.target.join(' '))]))"""


class Page:
    """One page; `wrong` collects its console errors, exceptions and refused requests."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.wrong: list[str] = []
        self._socket, self._ids = socket, count(1)
        self._waiting: dict[int, asyncio.Future] = {}
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                self._waiting.pop(said["id"]).set_result(said)
            elif said["method"] == "Runtime.exceptionThrown":
                self.wrong.append(str(said["params"]["exceptionDetails"]))
            elif said["method"] == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.wrong.append(said["params"]["entry"]["text"])
            elif said["method"] == "Runtime.consoleAPICalled" and said["params"]["type"] == "error":
                self.wrong.append(str(said["params"]["args"]))

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        said = await asyncio.wait_for(self._waiting[number], START_S)
        assert "error" not in said, said
        return said["result"]

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression is, a promise awaited."""
        said = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    async def until(self, expression: str, seconds: float = 15.0) -> None:
        async with asyncio.timeout(seconds):
            while not await self.value(expression):  # noqa: ASYNC110 - a page cannot set an event of ours
                await asyncio.sleep(0.05)

    async def width(self, pixels: int, height: int = 900) -> None:
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=pixels, height=height, deviceScaleFactor=1, mobile=False
        )

    async def faults(self) -> list[list[str]]:
        """Serious and critical faults of accessibility: the rule, and where it is broken."""
        await self.value(gzip.decompress(AXE.read_bytes()).decode() + ";0")
        return await self.value(GRAVE)

    async def picture(self, file: Path) -> None:
        """All of the page as a PNG."""
        said = await self.send("Page.captureScreenshot", captureBeyondViewport=True)
        await asyncio.to_thread(file.write_bytes, base64.b64decode(said["data"]))


@asynccontextmanager
async def opened(url: str, folder: Path, pixels: int) -> AsyncIterator[Page]:
    """The page at this address, `pixels` wide; the browser keeps what it keeps in `folder`, and ends with this."""
    browser = await asyncio.create_subprocess_exec(
        BROWSER, *FLAGS, f"--user-data-dir={folder}", "about:blank", stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(START_S):
            while not (found := re.search(rb"ws://([\d.]+:\d+)/", await browser.stderr.readline())):
                pass
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://{found[1].decode()}/json") as answer:
                target = next(each for each in await answer.json() if each["type"] == "page")
            async with http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=1 << 26) as socket:
                page = Page(socket)
                for method in ("Runtime.enable", "Log.enable", "Page.enable"):
                    await page.send(method)
                await page.width(pixels)
                await page.send("Page.navigate", url=url)
                yield page
    finally:
        browser.kill()
        await browser.wait()
