"""How signals end a command. Ctrl-C before one has begun ends it in one line instead of a traceback, from the first line of
this package on; so this loads nothing."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

ENDING = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT


class Stopped(KeyboardInterrupt):
    """A signal asked for the end; a KeyboardInterrupt because asyncio passes on only that and SystemExit."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def heeded(signals: Sequence[int]) -> list[int]:
    """Those of them that end a command: not SIGHUP where it was told to work on when its terminal closes (nohup)."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [each for each in signals if not (ignored and each == signal.SIGHUP)]


def code_of(stop: KeyboardInterrupt) -> int:
    """The exit code of a command that was stopped by it."""
    return 128 + getattr(stop, "signum", signal.SIGINT)


@contextmanager
def tidied_up() -> Iterator[None]:
    """The first signal that asks for the end is raised as `Stopped`; later ones do not disturb what tidies up after it."""

    def stop(signum: int, _: object) -> None:
        let_be()
        raise Stopped(signum)

    before = {each: signal.signal(each, stop) for each in heeded(ENDING)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def let_be() -> None:
    """No signal that asks for the end disturbs what follows."""
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)


def is_command(words: Sequence[str]) -> bool:
    """Whether Python was called with these words as `delta-arb` or `python -m delta_arb...`, not by a program that imports us."""
    if "-m" in words:
        return "".join(words[words.index("-m") + 1 :][:1]).partition(".")[0] == "delta_arb"
    return os.path.basename("".join(words[1:2])) == "delta-arb"


def take() -> None:
    """Until `begun`, Ctrl-C ends a process that is one of our commands at once."""
    if is_command(sys.orig_argv) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _ended)


def begun() -> None:
    """From here on Ctrl-C is a KeyboardInterrupt again, unless somebody else took it."""
    if signal.getsignal(signal.SIGINT) is _ended:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _ended(*_: object) -> None:
    """Modules that are loaded by half can raise anything, so nothing is left to them."""
    os.write(2, b"stopped: nothing was begun\n")
    if "--json" in sys.argv:
        os.write(1, b'{"status": "stopped", "reason": "nothing was begun"}\n')
    os._exit(code_of(KeyboardInterrupt()))
