"""Kernels that are copies of this process: what all notebooks load is loaded once, and each has a namespace of its own.

Started in the ordinary way a kernel spends two seconds on what the kernel before it had loaded as well. The copies are made
before the first notebook starts, and wait; those that no notebook takes end with the run.
"""

import asyncio
import contextlib
import gc
import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from delta_arb import places

KERNEL = "ipykernel.kernelapp"
# What our notebooks import, and what the functions that they call import when first called: all that the choice needs, which
# alone runs where it is refused.
LIBRARIES = (
    "delta_arb.optimize.carry_walk_forward", "delta_arb.optimize.by_hand", "delta_arb.optimize.champion",
    "delta_arb.optimize.directions", "delta_arb.optimize.export", "delta_arb.optimize.roles", "delta_arb.report.bottom_line",
    "delta_arb.report.choice_tables", "delta_arb.report.money_tables", "delta_arb.report.plots", "delta_arb.report.resting",
    "delta_arb.report.robustness", "delta_arb.report.sensitivity", "delta_arb.report.spread_tables",
    "delta_arb.report.tearsheet", "delta_arb.report.trade_tables", "delta_arb.report.what_if",
    "delta_arb.stats.mean_reversion", "matplotlib.backends.backend_agg", "matplotlib.dates", "matplotlib.figure", "numba",
    "PIL.PngImagePlugin",
)  # fmt: skip


class Copy:
    """A copy of this process that waits to become a kernel; of a subprocess.Popen it has what jupyter_client asks for."""

    stdin = stdout = stderr = None

    def __init__(self) -> None:
        fork = multiprocessing.get_context("fork")
        waiting, self._start = fork.Pipe(duplex=False)
        self._process = fork.Process(target=_wait, args=(waiting,))
        self._process.start()
        waiting.close()
        self.pid = self._process.pid

    def become_kernel(self, command: Sequence[str], folder: str | Path, environment: dict, log: str) -> None:
        """Run what the command line of an ordinary kernel says, in this folder and with these variables."""
        with contextlib.suppress(BrokenPipeError):  # it has died meanwhile: whoever waits for the kernel sees that
            self._start.send((list(command), os.fspath(folder), environment, log))

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self.poll()

    def send_signal(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signum)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def dismiss(self) -> None:
        """One that waits ends; one that is a kernel goes on."""
        self._start.close()


@contextlib.contextmanager
def copies(count: int, notebooks: Path) -> Iterator[list[Copy]]:
    """So many copies for the notebooks of a folder, none but on Linux; whoever starts a kernel takes one out of the list."""
    if sys.platform != "linux":  # elsewhere system libraries do not survive being copied
        yield []
        return
    sys.modules.setdefault("debugpy", None)  # a debugger, which each kernel would load; ipykernel does without
    with to_stay():
        importlib.import_module(KERNEL)
        if notebooks == places.notebooks().resolve():
            load()
    made = [Copy() for _ in range(count)]
    try:
        yield list(made)
    finally:
        for copy in made:
            copy.dismiss()


@contextlib.contextmanager
def to_stay() -> Iterator[None]:
    """What is loaded meanwhile is no garbage, now or in a copy: looking for some among it takes a fifth of the loading."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def load() -> None:
    """What our notebooks import, and the compiled functions."""
    from delta_arb.optimize import first_calls

    for name in LIBRARIES:
        importlib.import_module(name)
    first_calls.research()


def _wait(pipe) -> None:
    """In the copy: nothing of the run is its own, neither files (the lock of the pair) nor signals from the terminal."""
    os.setsid()
    for signum in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.closerange(3, pipe.fileno())
    os.closerange(pipe.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    try:
        command, folder, environment, log = pipe.recv()
    except EOFError:  # no notebook needed it
        return
    _be_kernel(command, folder, environment, log)


def _be_kernel(command: list[str], folder: str, environment: dict, log: str) -> None:
    import numpy as np
    from ipykernel.kernelapp import IPKernelApp

    with open(log, "a", encoding="utf-8") as said:
        for descriptor in (1, 2):
            os.dup2(said.fileno(), descriptor)
    asyncio.set_event_loop(asyncio.new_event_loop())  # that of a run before this one goes on in the process copied
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if "matplotlib" in sys.modules:  # which looked for the figures' place when it was loaded
        sys.modules["matplotlib"].rcParams["backend"] = "module://matplotlib_inline.backend_inline"
    np.random.seed()  # noqa: NPY002 - whoever draws from the global one gets other numbers in each notebook
    at = command.index("-f")
    sys.argv = command[at - 1 :]
    IPKernelApp.launch_instance([*command[at:], f"--IPKernelApp.parent_handle={os.getppid()}"])


def kernel_manager(log: TextIO, ready: list[Copy]) -> type:
    """Kernels of this very interpreter, whatever the user has registered as python3: a copy that is ready, else a new one.

    What a kernel says past its notebook (a crash, noise on shutting down) goes to `log`, not between our own lines.
    """
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class Kernels(AsyncKernelManager):
        kernel_spec = KernelSpec(**get_kernel_dict())
        shutdown_wait_time = 2.0

        async def start_kernel(self, **options):
            return await super().start_kernel(**options, stdout=log, stderr=log)

        async def _async_launch_kernel(self, kernel_cmd, **options):
            if not ready:
                await super()._async_launch_kernel(kernel_cmd, **options)
                return
            process = ready.pop(0)
            process.become_kernel(kernel_cmd, options.get("cwd") or os.getcwd(), options["env"], log.name)
            self.provisioner.process, self.provisioner.pid, self.provisioner.pgid = process, process.pid, process.pid

    return Kernels
