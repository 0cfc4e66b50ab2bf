"""What a person is told: lines on the console, headed by time and mode, and alerts, which apprise sends to his phone.

The trading puts a line into a queue and goes on; a thread delivers it. What cannot be delivered is shown on the console,
and never stops anything. The same kind rings again only after a while; until then it is counted. The addresses are
secrets, so they are in no message and in no journal.
"""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, NamedTuple

from delta_arb.errors import ParamsError
from delta_arb.live.config import AlertSettings

HALT, NAKED, GONE, VENUE, LOSS = (
    "halted", "naked leg", "runner does not answer", "venue does not answer", "loss of the day",
)  # fmt: skip
ACCOUNT = "limit of the account"
PARAMETERS, REFUSED, SUMMARY, TEST = "parameters", "refused start", "summary", "test"
OF_GUARDS = {"loss of the day": LOSS, "parameters": PARAMETERS}  # those that ring whenever they act
WHILE_OPEN = {"blind": VENUE, "terms": VENUE, "disk": VENUE}  # and those that ring while a pair is open
LATEST_S = 15.0  # for all addresses to take one message
WAITING = 100  # messages that wait; more are counted, not kept


class Alert(NamedTuple):
    """One message: what kind it is, and what happened."""

    kind: str
    text: str


def client(addresses: Sequence[str]) -> Any:
    """An apprise object of these addresses.

    Raises:
        ParamsError: apprise is not installed, or one of the addresses is none; the address is not shown.
    """
    try:
        import apprise
    except ImportError:
        raise ParamsError("alerts need apprise: pip install apprise") from None
    made = apprise.Apprise()
    for number, address in enumerate(addresses, 1):
        if not made.add(address):
            raise ParamsError(f"address {number} of the alerts is none that apprise knows (it is secret, so not shown)")
    return made


class Alerts:
    """The queue, and who delivers it. Without addresses everything is accepted and nothing sent.

    Args:
        name: of the pair, which heads each message.
        say: hears of what could not be delivered.
        sent: is given each alert that was, for the journal.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        settings: AlertSettings,
        name: str,
        say: Callable[[str], None],
        sent: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._client = client(addresses) if addresses else None
        self._settings, self._name, self._say, self._sent = settings, name, say, sent
        self._queue: asyncio.Queue[Alert] = asyncio.Queue(WAITING)
        self._rang_s: dict[str, float] = {}
        self._held_back: dict[str, int] = {}
        self._alone_s = 0.0  # since when the legs differ; 0 while they do not

    def ring(self, kind: str, text: str) -> None:
        """Something happened; returns at once, whatever becomes of it."""
        now_s = time.monotonic()
        if self._client is None or now_s - self._rang_s.get(kind, -self._settings.repeat_s) < self._settings.repeat_s:
            self._held_back[kind] = self._held_back.get(kind, 0) + 1
            return
        again = self._held_back.pop(kind, 0)
        try:
            self._queue.put_nowait(Alert(kind, f"{text} (and {again} more of these)" if again else text))
            self._rang_s[kind] = now_s
        except asyncio.QueueFull:
            self._held_back[kind] = again + 1

    def alone(self, usdt: float, line: str) -> None:
        """How much of one leg stands without the other now; rings when that lasts."""
        if usdt == 0.0:
            self._alone_s = 0.0
            return
        now_s = time.monotonic()
        self._alone_s = self._alone_s or now_s
        if now_s - self._alone_s >= self._settings.naked_s:
            self.ring(NAKED, f"{usdt:.2f} USDT of one leg without the other for {now_s - self._alone_s:.0f} s: {line}")

    @property
    def alone_s(self) -> float:
        """For how long one leg has stood without the other; 0.0 while none does."""
        return time.monotonic() - self._alone_s if self._alone_s else 0.0

    def guard(self, name: str, reason: str, *, is_open: bool) -> None:
        """A guard began to act."""
        if kind := OF_GUARDS.get(name) or (WHILE_OPEN.get(name) if is_open else None):
            self.ring(kind, reason)

    async def run(self) -> None:
        """Deliver for ever."""
        while True:
            await self._deliver(await self._queue.get())

    async def drain(self) -> None:
        """Deliver what waits, before the end, as far as that goes within a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * LATEST_S):
                while not self._queue.empty():
                    await self._deliver(self._queue.get_nowait())

    async def _deliver(self, alert: Alert) -> bool:
        """Whether every address took it."""
        title = f"delta_arb {self._name}: {alert.kind}"
        try:
            async with asyncio.timeout(LATEST_S):
                took = await asyncio.to_thread(self._client.notify, title=title, body=alert.text)
        except Exception as error:  # noqa: BLE001 - whatever a service's client raises: the trading goes on
            took, why = False, type(error).__name__  # its text may hold the address
        else:
            why = "a service refused it, or none was reached"
        if took:
            self._sent(f"{alert.kind}: {alert.text}")
        else:
            self._say(f"alert NOT delivered ({why}): {alert.kind}: {alert.text}")
        return took

    async def test(self) -> bool:
        """Send one message to every address."""
        if self._client is None:
            raise ParamsError(
                "no addresses for alerts: set DELTA_ARB_ALERTS, or write [alerts] urls = [...] into the keys_file"
            )
        return await self._deliver(Alert(TEST, "if you read this, alerts arrive"))


def until_daily_s(at: str, now: datetime | None = None) -> float:
    """Seconds until the next `at` (HH:MM, UTC)."""
    now = now or datetime.now(UTC)
    hour, minute = map(int, at.split(":"))
    due = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return ((due if due > now else due + timedelta(days=1)) - now).total_seconds()


LOG_BYTES, LOG_FILES = 10_000_000, 5


class Console:
    """Call it with a line. Lines go to standard output, or to standard error where that is kept for JSON.

    Where they cannot be written (a log on a full disk, a closed pipe) they are lost, and the trading goes on.

    Args:
        file: takes every line as well, with the day; a new one is begun at LOG_BYTES, and LOG_FILES older ones are kept.
    """

    def __init__(self, mode: str, quiet_stdout: bool, *, stamped: bool = True, file: Path | None = None) -> None:
        self.mode = mode
        self._out = sys.stderr if quiet_stdout else sys.stdout
        self._stamped = stamped
        self._status_shown = False
        self._file = _rotating(file) if file else None

    def __call__(self, text: str) -> None:
        clear, self._status_shown = "\r\033[K" * self._status_shown, False
        stamp = f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3] + " " if self._stamped else ""
        self._print(clear + "\n".join(f"[{self.mode}] {stamp}{line}" for line in text.splitlines()) + "\n")
        if self._file:
            for line in text.splitlines():
                self._file.emit(
                    logging.makeLogRecord({"msg": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + f" {line}"})
                )

    def status(self, text: str) -> None:
        if self._out.isatty():
            self._print(f"\r\033[K[{self.mode}] {text}")
            self._status_shown = True

    def _print(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._out.write(text)
            self._out.flush()


def _rotating(file: Path) -> RotatingFileHandler:
    """ParamsError where it cannot be written; what cannot later is lost, and the trading goes on."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8")
    except OSError as error:
        raise ParamsError(f"--log {file}: cannot be written ({error.strerror}); name another file") from None
    handler.handleError = lambda record: None
    return handler


@contextlib.contextmanager
def heard(voice: Console) -> Iterator[None]:
    """What our modules and the libraries below log meanwhile, from warnings up, in the same voice."""
    handler = _Heard(voice)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


class _Heard(logging.Handler):
    def __init__(self, voice: Console) -> None:
        super().__init__(logging.WARNING)
        self._voice = voice

    def emit(self, record: logging.LogRecord) -> None:
        self._voice(f"{record.levelname.lower()}: {self.format(record)}")  # with the traceback, where there is one
