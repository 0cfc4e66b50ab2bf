"""What the runner says: every line headed by the time and the mode, and a status line that overwrites itself."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from delta_arb.errors import ParamsError

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
