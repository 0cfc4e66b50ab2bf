"""What the runner says: every line headed by the time and the mode, and a status line that overwrites itself."""

import logging
import sys
from datetime import UTC, datetime


class Voice:
    """Call it with a line. Lines go to standard output, or to standard error where that is kept for JSON."""

    def __init__(self, mode: str, quiet_stdout: bool, *, stamped: bool = True) -> None:
        self.mode = mode
        self._out = sys.stderr if quiet_stdout else sys.stdout
        self._stamped = stamped
        self._status_shown = False

    def __call__(self, text: str) -> None:
        if self._status_shown:
            print("\r\033[K", end="", file=self._out)
            self._status_shown = False
        stamp = f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3] + " " if self._stamped else ""
        for line in text.splitlines():
            print(f"[{self.mode}] {stamp}{line}", file=self._out, flush=True)

    def status(self, text: str) -> None:
        if self._out.isatty():
            print(f"\r\033[K[{self.mode}] {text}", end="", file=self._out, flush=True)
            self._status_shown = True


class Heard(logging.Handler):
    """What our modules and the libraries below log, from warnings up, in the same voice."""

    def __init__(self, voice: Voice) -> None:
        super().__init__(logging.WARNING)
        self._voice = voice

    def emit(self, record: logging.LogRecord) -> None:
        self._voice(f"{record.levelname.lower()}: {record.getMessage()}")
