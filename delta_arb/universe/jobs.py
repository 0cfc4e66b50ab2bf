"""Jobs whose results are kept: a function of this package, what it is told, the digest of what it reads -> one file.

    <folder>/<digest>.json      digest of code, function, parameters and data

A finished job is never done again, on whatever engine: this process, a pool of processes (concurrent.futures), or a Dask
cluster (the extra `cluster`). A file that was torn or changed counts as not there. Imports nothing heavy: every worker
reads this first. loky's pool breaks as a whole when a worker is killed, as that of concurrent.futures does, and also does
not say which job it had: so the standard library's is enough, and the few lines here find out which job it was.
"""

import hashlib
import json
import logging
import os
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from multiprocessing import active_children, forkserver, get_context, parent_process, resource_tracker
from pathlib import Path
from typing import Any, Protocol

from delta_arb.errors import ParamsError, RunError
from delta_arb.params import write_atomic
from delta_arb.places import PACKAGE

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KeptJob:
    """One piece of work.

    Args:
        name: what is said of it, like the pair.
        function: `delta_arb.module:function`, of one mapping; it returns what JSON can say.
        parameters: what it is handed, as JSON can say it.
        data: digest of what it reads.
        where: what it is handed besides and what changes no result, like folders.
        memory: bytes that it takes at most, estimated.
    """

    name: str
    function: str
    parameters: Mapping[str, Any]
    data: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)
    memory: int = 0

    @property
    def digest(self) -> str:
        said = json.dumps([code(), self.function, self.parameters, self.data], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """A job with its result as text, or with what went wrong."""

    job: KeptJob
    text: str = ""
    error: str = ""


class Engine(Protocol):
    """What does jobs: in this process, in a pool of processes, on a cluster."""

    def check(self, memory: int) -> None:
        """Refuse jobs of so many bytes each that do not fit beside each other (ParamsError)."""

    def outcomes(self, jobs: Sequence[KeptJob]) -> Iterator[JobOutcome]:
        """The outcome of every job, as they come."""

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *error: object) -> None:
        """End what was started."""


@cache
def code() -> str:
    """Digest of this package's sources: what was computed by others is not ours."""
    found = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        found.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def perform(job: KeptJob, expected: str) -> str:
    """The result of a job as text; on a worker of another version of this package, a refusal."""
    if code() != expected:
        raise RunError(
            f"a worker runs delta_arb of other sources ({code()[:12]}) than this ({expected[:12]}); update it"
        )
    module, _, name = job.function.partition(":")
    result = getattr(import_module(module), name)({**job.parameters, **job.where})
    return json.dumps(result, sort_keys=True, allow_nan=False)


def run(
    jobs: Sequence[KeptJob], folder: Path, engine: Engine, done: Callable[[str], None] = lambda _: None
) -> list[Result]:
    """The result of every job, in their order; those that are on disk are read, the others are done and kept.

    Args:
        done: called after each job with its name, kept ones included.

    Raises:
        ParamsError: more memory than there is.
        RunError: jobs that cannot be done, or a cluster that is gone; what is finished stays.
    """
    results = {job.digest: kept(folder, job) for job in jobs}
    left = [job for job in jobs if results[job.digest] is None]
    left.sort(key=lambda job: -job.memory)  # the longest first: none is begun last that all wait for
    for job in jobs:
        if results[job.digest] is not None:
            done(job.name)
    failed = []
    if left:
        engine.check(max(job.memory for job in left))
        for outcome in engine.outcomes(left):
            if outcome.error:
                failed.append(f"{outcome.job.name}: {outcome.error}")
            else:
                results[outcome.job.digest] = _keep(folder, outcome)
            done(outcome.job.name)
    if failed:
        raise RunError(f"{len(failed)} of {len(jobs)} jobs failed, the others are kept: {'; '.join(failed)}")
    return [results[job.digest] for job in jobs]


def kept(folder: Path, job: KeptJob) -> Result | None:
    """The result on disk; None where there is none, or one that is not as it was written."""
    try:
        said = json.loads((folder / f"{job.digest}.json").read_bytes())
        whole = said["sha256"] == _sha256(said["result"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return json.loads(said["result"]) if whole else None


def _keep(folder: Path, outcome: JobOutcome) -> Result:
    said = {"name": outcome.job.name, "sha256": _sha256(outcome.text), "result": outcome.text}
    write_atomic(folder / f"{outcome.job.digest}.json", json.dumps(said))
    return json.loads(outcome.text)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(results: Sequence[Result]) -> str:
    """One digest of many results: the same whatever did them."""
    return _sha256(json.dumps(results, sort_keys=True))


LOCAL = "local"
# Workers are copies of a process that has loaded what they need; elsewhere system libraries do not survive being copied.
STARTED, LOADED = "forkserver" if sys.platform == "linux" else "spawn", "delta_arb.universe.loaded"
TRIM = "MALLOC_TRIM_THRESHOLD_"  # as Dask sets it, every freed array goes back to the system: a quarter more time
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")  # a worker is one core; sums in one order


def engine(workers: int, cluster: str) -> Engine:
    """The engine of these options; workers 0: one a core. Those of this machine begin to load what they need now.

    Raises:
        ParamsError: fewer than one worker, or an address that is none.
    """
    if workers < 0:
        raise ParamsError(f"--workers is 0 (one a core) or more, was {workers}")
    if cluster and cluster != LOCAL and not re.fullmatch(r"\w+://\S+:\d+", cluster):
        raise ParamsError(f"--cluster is local, or a scheduler like tcp://10.0.0.1:8786, was {cluster}")
    workers = workers or os.cpu_count() or 1
    if not cluster and workers == 1:
        return Serial()
    if STARTED == "forkserver" and cluster in ("", LOCAL):
        forkserver.set_forkserver_preload([LOADED, *["distributed"] * bool(cluster)])
        resource_tracker.ensure_running()  # which lets Ctrl-C through again, and is started by the next but one line else
        signal.pthread_sigmask(
            signal.SIG_BLOCK, {signal.SIGINT}
        )  # it is said to all; the one who asked ends the others
        forkserver.ensure_running()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    return DaskCluster(cluster, workers) if cluster else Pool(workers)


def single_threaded() -> None:
    """One thread a process, said before numpy is loaded."""
    for name in ONE_THREAD:
        os.environ[name] = "1"


def _begin_worker() -> None:
    """One thread for the work, and one that ends it with the process that asked: a worker of a pool waits for ever else.

    Ctrl-C is said to all; the one who asked ends the others.
    """
    single_threaded()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()


def machine_memory() -> int:
    """Bytes of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _check(workers: int, memory: int, have: int) -> None:
    if workers * memory > have:
        fit = max(have // max(memory, 1), 1)
        raise ParamsError(
            f"{workers} workers of {memory / 1e9:.1f} GB each do not fit into {have / 1e9:.1f} GB; give --workers {fit}"
            + ("" if have >= memory else ", or a shorter range (--since)")
        )


@dataclass(frozen=True, slots=True)
class Serial(Engine):
    """One job after the other, in this process."""

    def check(self, memory: int) -> None:
        _check(1, memory, machine_memory())

    def outcomes(self, jobs: Sequence[KeptJob]) -> Iterator[JobOutcome]:
        for job in jobs:
            yield JobOutcome(job, perform(job, code()))


@dataclass(frozen=True, slots=True)
class Pool(Engine):
    """Processes of this machine. A worker that is killed costs the jobs that were running a second try, each alone."""

    workers: int

    def check(self, memory: int) -> None:
        _check(self.workers, memory, machine_memory())

    def outcomes(self, jobs: Sequence[KeptJob]) -> Iterator[JobOutcome]:
        left, suspects = list(jobs), []
        while left:
            left, running = yield from _until_a_worker_dies(left, self.workers)
            suspects += running
        for job in suspects:
            _, again = yield from _until_a_worker_dies([job], 1)
            if again:
                yield JobOutcome(
                    job, error="its worker died twice, the second time with this job alone (out of memory?)"
                )


def _until_a_worker_dies(
    jobs: Sequence[KeptJob], workers: int
) -> Generator[JobOutcome, None, tuple[list[KeptJob], list[KeptJob]]]:
    """Yields what is finished; returns the jobs that were not begun and those that ran when a worker died."""
    waiting, running = deque(jobs), {}
    with ProcessPoolExecutor(workers, mp_context=get_context(STARTED), initializer=_begin_worker) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    running[pool.submit(perform, waiting[0], code())] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    outcome = JobOutcome(running[future], future.result())
                    del running[future]
                    yield outcome
        except BrokenProcessPool:
            return list(waiting), list(running.values())
        except KeyboardInterrupt:  # what runs would be waited for
            for worker in active_children():
                worker.terminate()
            raise
    return [], []


@dataclass(eq=False)
class DaskCluster(Engine):
    """A Dask cluster: `local`, or the address of a scheduler, whose workers see the same folders."""

    address: str
    workers: int
    opened: ExitStack = field(default_factory=ExitStack)

    def __exit__(self, *error: object) -> None:
        self.opened.__exit__(*error)

    def check(self, memory: int) -> None:
        if self.address == LOCAL:
            _check(self.workers, memory, machine_memory())
            return
        for name, worker in self._client.scheduler_info(n_workers=-1)["workers"].items():
            if worker["memory_limit"] and worker["nthreads"] * memory > worker["memory_limit"]:
                raise ParamsError(
                    f"the worker {name} has {worker['memory_limit'] / 1e9:.1f} GB for {worker['nthreads']} jobs at "
                    f"once of {memory / 1e9:.1f} GB each; give it more, or fewer threads"
                )

    def outcomes(self, jobs: Sequence[KeptJob]) -> Iterator[JobOutcome]:
        client = self._client
        _refuse_others(client)
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        futures = {client.submit(perform, job, code(), key=job.digest, pure=False): job for job in jobs}
        for finished, future in enumerate(as_completed(futures, loop=client.loop)):
            if future.status in ("cancelled", "lost"):
                raise RunError(
                    f"the scheduler is gone; {finished} of {len(jobs)} jobs are done and kept, call again for the others"
                )
            try:
                yield JobOutcome(futures[future], future.result())
            except KilledWorker:
                yield JobOutcome(futures[future], error="its workers died again and again (out of memory?)")

    @cached_property
    def _client(self):
        """Opened when there is something to do, and once for all of it."""
        try:
            import dask
            from distributed import Client, LocalCluster
        except ImportError:
            raise ParamsError('--cluster needs Dask: pip install "delta-arb[cluster]"') from None
        if self.address != LOCAL:
            try:
                return self.opened.enter_context(Client(self.address, timeout="10s", set_as_default=False))
            except (OSError, ValueError) as error:
                raise ParamsError(f"no scheduler at {self.address} ({type(error).__name__}); is it running?") from None
        env = {k: v for k, v in dask.config.get("distributed.nanny.pre-spawn-environ").items() if k != TRIM}
        said = {
            "distributed.nanny.pre-spawn-environ": env | dict.fromkeys(ONE_THREAD, 1),
            "distributed.scheduler.allowed-failures": 1,
            "distributed.worker.multiprocessing-method": STARTED,
            "distributed.worker.profile.enabled": False,  # looks at what runs a hundred times a second
        }
        self.opened.enter_context(dask.config.set(said))
        # At its end a worker whose heartbeat finds no scheduler any more logs a traceback: outcomes say what went wrong.
        quiet = {"silence_logs": logging.CRITICAL, "dashboard_address": None}
        shape = {"n_workers": self.workers, "threads_per_worker": 1} | quiet
        cluster = self.opened.enter_context(LocalCluster(**shape, memory_limit=0))
        return self.opened.enter_context(Client(cluster, set_as_default=False))


def _refuse_others(client) -> None:
    """Refuse workers that run other sources of this package: Dask compares no versions but its own."""
    for name, theirs in client.run(code, on_error="return").items():
        if theirs != code():
            what = theirs[:12] if isinstance(theirs, str) else f"none that answers: {theirs!r}"
            raise RunError(
                f"the worker {name} runs other sources of delta_arb ({what}) than this ({code()[:12]}); update it"
            )
