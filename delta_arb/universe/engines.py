"""Who does the jobs: this process, a pool of processes (concurrent.futures), or a Dask cluster (the extra `cluster`).

loky's pool breaks as a whole when a worker is killed, as that of concurrent.futures does, and also does not say which
job it had: so the standard library's is enough, and the few lines here find out which job it was.
"""

import os
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process

from delta_arb.errors import ParamsError, RunError
from delta_arb.universe.jobs import Engine, JobOutcome, KeptJob, code, perform

LOCAL = "local"
TRIM = "MALLOC_TRIM_THRESHOLD_"  # as Dask sets it, every freed array goes back to the system: a quarter more time
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")  # a worker is one core; sums in one order


def engine(workers: int, cluster: str) -> Engine:
    """The engine of these options; workers 0: one a core.

    Raises:
        ParamsError: fewer than one worker, or an address that is none.
    """
    if workers < 0:
        raise ParamsError(f"--workers is 0 (one a core) or more, was {workers}")
    if cluster and cluster != LOCAL and "://" not in cluster:
        raise ParamsError(f"--cluster is local, or a scheduler like tcp://10.0.0.1:8786, was {cluster}")
    workers = workers or os.cpu_count() or 1
    if cluster:
        return DaskCluster(cluster, workers)
    return Pool(workers) if workers > 1 else Serial()


def single_threaded() -> None:
    """One thread a process, said before numpy is loaded."""
    for name in ONE_THREAD:
        os.environ[name] = "1"


def _begin_worker() -> None:
    """One thread for the work, and one that ends it with the process that asked: a worker of a pool waits for ever else."""
    single_threaded()
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
class Serial:
    """One job after the other, in this process."""

    def check(self, memory: int) -> None:
        _check(1, memory, machine_memory())

    def outcomes(self, jobs: Sequence[KeptJob]) -> Iterator[JobOutcome]:
        for job in jobs:
            yield JobOutcome(job, perform(job, code()))


@dataclass(frozen=True, slots=True)
class Pool:
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
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin_worker) as pool:
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
    return [], []


@dataclass(frozen=True, slots=True)
class DaskCluster:
    """A Dask cluster: `local`, or the address of a scheduler, whose workers see the same folders."""

    address: str
    workers: int

    def check(self, memory: int) -> None:
        if self.address == LOCAL:
            _check(self.workers, memory, machine_memory())
            return
        with self._client() as client:
            for name, worker in client.scheduler_info(n_workers=-1)["workers"].items():
                if worker["memory_limit"] and worker["nthreads"] * memory > worker["memory_limit"]:
                    raise ParamsError(
                        f"the worker {name} has {worker['memory_limit'] / 1e9:.1f} GB for {worker['nthreads']} jobs at "
                        f"once of {memory / 1e9:.1f} GB each; give it more, or fewer threads"
                    )

    def outcomes(self, jobs: Sequence[KeptJob]) -> Iterator[JobOutcome]:
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        with self._client() as client:
            _refuse_others(client)
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

    @contextmanager
    def _client(self):
        try:
            import dask
            from distributed import Client, LocalCluster
        except ImportError:
            raise ParamsError('--cluster needs Dask: pip install "delta-arb[cluster]"') from None
        if self.address != LOCAL:
            try:
                client = Client(self.address, timeout="10s", set_as_default=False)
            except (OSError, ValueError) as error:
                raise ParamsError(f"no scheduler at {self.address} ({type(error).__name__}); is it running?") from None
            with client:
                yield client
            return
        env = {k: v for k, v in dask.config.get("distributed.nanny.pre-spawn-environ").items() if k != TRIM}
        env |= dict.fromkeys(ONE_THREAD, 1)
        said = {"distributed.nanny.pre-spawn-environ": env, "distributed.scheduler.allowed-failures": 1}
        shape = {"n_workers": self.workers, "threads_per_worker": 1, "dashboard_address": None}
        with (
            dask.config.set(said),
            LocalCluster(**shape, memory_limit=0) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield client


def _refuse_others(client) -> None:
    """Refuse workers that run other sources of this package: Dask compares no versions but its own."""
    for name, theirs in client.run(code, on_error="return").items():
        if theirs != code():
            what = theirs[:12] if isinstance(theirs, str) else f"none that answers: {theirs!r}"
            raise RunError(
                f"the worker {name} runs other sources of delta_arb ({what}) than this ({code()[:12]}); update it"
            )
