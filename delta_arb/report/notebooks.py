"""Notebooks executed in kernels of this very interpreter, which die with the run, and the ways in which a run may end."""

import contextlib
import logging
import math
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from delta_arb.errors import RunError
from delta_arb.interrupt import Stopped
from delta_arb.report.kernels import Copy, kernel_manager, to_stay

STARTS = 3  # of a kernel that dies before it answers
SAVED_ONCE = "delta_arb"  # our engine's name at papermill
DIED_EARLY = "Kernel died before replying"  # jupyter_client's words


def execute(notebook: Path, folder: Path, values: Mapping[str, object], time_limit_s: float, ready: list[Copy]) -> None:
    """Run a notebook with these parameters into `folder`; what its kernel says past it goes to a log beside it.

    Raises:
        RunError: a cell ended the notebook before its last one, without an error (papermill counts that as success).
    """
    # Importing papermill loads a client of S3, and builds grammars for checks of addresses and durations that no notebook
    # schema asks for: most of the import's time. It does without these packages.
    for name in ("boto3", "rfc3987_syntax", "isoduration"):
        sys.modules.setdefault(name, None)
    with to_stay():
        import papermill
        from papermill.engines import papermill_engines

    papermill_engines.register(SAVED_ONCE, _saved_once())

    # It warns of parameters whose line has a second = (in a comment, too) as unknown; `job` read and checked them.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    with open(folder / f"{notebook.stem}.log", "w", encoding="utf-8") as log:

        def run() -> Any:
            return papermill.execute_notebook(
                notebook,
                folder / notebook.name,
                dict(values),
                kernel_name="python3",
                engine_name=SAVED_ONCE,
                cwd=notebook.parent,
                progress_bar={"desc": notebook.stem, "unit": "cell", "leave": False} if sys.stderr.isatty() else False,
                start_timeout=60,
                execution_timeout=math.ceil(time_limit_s),
                kernel_manager_class=kernel_manager(log, ready),
            )

        executed = _started(run)
    _check_ended(executed.cells)


def _started(run: Callable[[], Any]) -> Any:
    """Run, and run again where the kernel died before it answered: no cell had run then.

    Its ports are chosen free and bound a moment later; another program of the machine may take one in between.
    """
    for _ in range(STARTS - 1):
        try:
            return run()
        except RuntimeError as error:
            if DIED_EARLY not in str(error):
                raise
    return run()


def _check_ended(cells: Sequence) -> None:
    """`sys.exit(0)` in a cell leaves the cells after it unrun, and no error."""
    left = [at for at, cell in enumerate(cells, 1) if cell.metadata["papermill"]["status"] != "completed"]
    if left:
        raise RunError(
            f"cell {left[0]} of {len(cells)} ended the notebook before its last one; every cell must run, let it raise instead"
        )


def _saved_once() -> type:
    """papermill's engine without a save before and after every cell: papermill saves what ended, this what did not."""
    from papermill.engines import NBClientEngine
    from papermill.iorw import write_ipynb

    class SavedOnce(NBClientEngine):
        @classmethod
        def execute_notebook(cls, nb, kernel_name, output_path=None, **options):
            try:
                return super().execute_notebook(nb, kernel_name, **options)
            except BaseException:  # also Ctrl-C or the time limit: what ran until then is kept to be read
                write_ipynb(nb, output_path)
                raise

    return SavedOnce


@contextlib.contextmanager
def interruptible(time_limit_s: float) -> Iterator[None]:
    """SIGINT, SIGTERM and the time limit end the block by `Stopped`, once; what tidies up after it is left alone."""

    def stop(signum: int, _frame: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        logging.disable(logging.ERROR)  # asyncio and papermill would tell at length that their kernel has died
        end(descendants(os.getpid()))  # kernels and their workers; asked politely, a busy kernel takes its time
        raise Stopped(signum)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = [signal.signal(each, stop) for each in signals]
    signal.setitimer(signal.ITIMER_REAL, time_limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Between the first published byte and the record of it no signal gets through; it waits."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def workplace() -> Iterator[None]:
    """What kernels find, and where they write: this package importable, no user profile, nothing left behind."""
    with tempfile.TemporaryDirectory(prefix="delta_arb-", ignore_cleanup_errors=True) as folder:
        changes = {
            "PYTHONPATH": python_path(),
            "IPYTHONDIR": f"{folder}/ipython",
            "JUPYTER_RUNTIME_DIR": f"{folder}/runtime",
        }
        before = {name: os.environ.get(name) for name in changes}
        os.environ.update(changes)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def python_path() -> str:
    """PYTHONPATH for a process that must find this package, installed or not."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))


def descendants(pid: int) -> list:
    """The processes that a process has started, and those that they have."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def end(processes: list) -> None:
    """Kill those that are still there."""
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
