"""Jobs whose results are kept: a function of this package, what it is told, the digest of what it reads -> one file.

    <folder>/<digest>.json      digest of code, function, parameters and data

A finished job is never done again, on whatever engine; a file that was torn or changed counts as not there. Imports
nothing heavy: every worker reads this first.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from delta_arb.errors import RunError
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
