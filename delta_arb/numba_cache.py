"""Python functions as machine code (numba), kept on disk between processes, and the values that they are handed."""

import dataclasses
import functools
import gc
import hashlib
import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import get_args, get_type_hints

import numpy as np

WHEEL = "machine_code"  # the folder of the package that a wheel brings along, see setup.py
ANY_PROCESSOR = ("generic", "")  # its name and features at numba


@functools.cache
def compiled(kernel):
    """A kernel as machine code; what it reaches of this package becomes part of its callers.

    numba's own cache looks only at the file of the function itself and would serve an old machine after an edit of
    decide.py; so the cache folder carries the hash of every source that is compiled in, and of the constants named there.
    """
    import numba

    functions = [f for f in reached(kernel) if f is not uncounted]
    _teach_uncounted()
    for function in functions:
        _register(function)
    digest = hashlib.sha256(_sources([kernel, *functions])).hexdigest()[:12]
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache_folder() / f"kernel-{digest}")
    try:
        made = numba.njit(cache=True, nogil=True)(kernel)
    finally:
        numba.config.CACHE_DIR = before
    made.compile = _lightly(made.compile)
    _brought_along(made._cache, digest)
    return made


def _brought_along(cache, digest: str) -> None:
    """Where nothing was compiled here, take what a wheel brings: machine code of these very sources, for this numba and
    this Python (numba compares both) and any processor of the kind; as fast, within the noise of runs.

    numba tells an edited source by the time of its file, which an installation changes; the digest is the better witness.
    """
    from numba.core.caching import IndexDataCacheFile

    own, cache._cache_file._source_stamp = cache._load_overload, digest
    folder = Path(__file__).parent / WHEEL / f"kernel-{digest}"
    shipped = IndexDataCacheFile(str(folder), cache._impl.filename_base, digest)

    def load(signature, target):
        found = own(signature, target)
        if found is None and folder.exists():
            _, (kind, *_), code = cache._index_key(signature, target.codegen())
            data = shipped.load((signature, (kind, *ANY_PROCESSOR), code))
            found = data and cache._impl.rebuild(target, data)
        return found

    cache._load_overload = load


def _sources(functions) -> bytes:
    """The files of functions, this one, which says how they are compiled, and of any file the numbers that they name and the
    fields of the tuples that their files name, which machine code knows by their places."""
    files = sorted({Path(f.__code__.co_filename) for f in functions} | {Path(__file__)})
    named = {(name, f.__globals__.get(name)) for f in functions for name in f.__code__.co_names if _is_number(f, name)}
    tuples = {(name, of._fields) for f in functions for name, of in f.__globals__.items() if hasattr(of, "_fields")}
    return b"".join(file.read_bytes() for file in files) + repr((sorted(named), sorted(tuples))).encode()


def _is_number(function, name: str) -> bool:
    return isinstance(function.__globals__.get(name), (int, float))


def cache_folder() -> Path:
    """Where machine code is kept: NUMBA_CACHE_DIR, else beside the package, or in the user's cache where that is read-only."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"])
    package = Path(__file__).parent
    if os.access(package, os.W_OK):
        return package / "__pycache__"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "delta_arb"


def _lightly(compiling):
    """Compile with the first level of optimization: as fast code as of the third, after three quarters of the time.

    No garbage is collected meanwhile: looking for it takes a tenth of the time.
    """
    import numba

    @functools.wraps(compiling)
    def compiles(signature):
        before, numba.config.OPT, collects = numba.config.OPT, type(numba.config.OPT)(1), gc.isenabled()
        gc.disable()
        try:
            return compiling(signature)
        finally:
            numba.config.OPT = before
            if collects:
                gc.enable()

    return compiles


def reached(kernel) -> list:
    """The functions of this package whose names a kernel mentions, and those that they mention."""
    found, queue = [], [kernel]
    while queue:
        function = queue.pop()
        for name in function.__code__.co_names:
            target = function.__globals__.get(name)
            ours = inspect.isfunction(target) and target.__module__.startswith("delta_arb.")
            if ours and target not in found:
                found.append(target)
                queue.append(target)
    return found


@functools.cache
def _register(function) -> None:
    """Tell numba, once a process, that a function may be called from compiled code, and only from there."""
    from numba.extending import register_jitable

    built_in = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    register_jitable(**built_in, pipeline_class=_part())(function)


@functools.cache
def _part() -> type:
    """Numba's compiler for functions that become part of their callers: they are optimized there, and have no machine code of
    their own, which would take a quarter of the time."""
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import Compiler

    class Unfinished(JITCodeLibrary):
        def _optimize_final_module(self):
            pass

        def _finalize_final_module(self):
            self._finalize_dynamic_globals()
            self._finalized = True

        @property
        def codegen(self):
            return SimpleNamespace(set_env=lambda *_: None)  # the environment is the caller's, as it is of cached code

    class Part(Compiler):
        def __init__(self, typing, target, library, *rest):
            super().__init__(typing, target, library or Unfinished(target.codegen(), "part"), *rest)

    return Part


def uncounted(arrays):
    """Arrays in (nested) tuples, in compiled code without their counts of references: the caller of a kernel holds them.

    Counting them at every call would cost more than what is read of them.
    """
    return arrays


@functools.cache
def _teach_uncounted() -> None:
    """Tell numba, once a process, what `uncounted` is in machine code."""
    from numba.core import cgutils, types
    from numba.extending import intrinsic, overload

    def bare(context, builder, kind, value):
        if isinstance(kind, types.BaseTuple):
            parts = [bare(context, builder, of, builder.extract_value(value, k)) for k, of in enumerate(kind)]
            return context.make_tuple(builder, kind, parts)
        if not isinstance(kind, types.Array):
            return value
        array = context.make_array(kind)(context, builder, value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()

    @intrinsic
    def stripped(_typing, arrays):
        return arrays(arrays), lambda context, builder, types_, given: bare(context, builder, types_.args[0], given[0])

    overload(uncounted)(lambda arrays: lambda arrays: stripped(arrays))


def records(values: Sequence) -> np.ndarray:
    """Named tuples or dataclasses of one kind as a structured array of all their fields, shape (n,).

    An element is a pointer to compiled code, which spares the compiler every field at every call, can be changed there,
    and has one type whether a level was written 0 or 0.0.
    """
    return np.array([_unnamed(value) for value in values], _dtype(type(values[0])))


@functools.cache
def _fields(kind: type) -> tuple[str, ...] | None:
    """The names of the fields of a named tuple or a dataclass."""
    if hasattr(kind, "_fields"):
        return kind._fields
    return tuple(f.name for f in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


def _unnamed(value):
    kind = type(value)
    if kind in (float, int, bool):  # nearly all of them
        return value
    names = vars(value) if kind is SimpleNamespace else _fields(kind)  # a namespace stands for a tuple that is changed
    if names is not None:
        return tuple([_unnamed(getattr(value, name)) for name in names])
    return [_unnamed(part) for part in value] if kind in (tuple, list) else value


@functools.cache
def _dtype(kind) -> np.dtype:
    hints = get_type_hints(kind)
    return np.dtype([(name, *_shaped(hints[name])) for name in _fields(kind)], align=True)


def _shaped(hint) -> tuple:
    """The dtype of a field; of a tuple of equals, with its length."""
    if get_args(hint):
        return (*_shaped(get_args(hint)[0]), (len(get_args(hint)),))
    return (hint if hint in (int, float, bool) else _dtype(hint),)


def read_only(value):
    """Arrays in (nested) tuples as contiguous views that nobody writes to: one type for the compiler, whoever made them."""
    if isinstance(value, tuple):
        parts = [read_only(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if not isinstance(value, np.ndarray):
        return value
    view = np.ascontiguousarray(value).view()
    view.flags.writeable = False
    return view
