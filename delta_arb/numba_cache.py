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
UNTYPED = "TranslateByteCode FixupArgs IRProcessing DeadBranchPrune GenericRewrites ReconstructSSA"  # numba's passes, in order
TYPED = "NopythonTypeInference PreLowerStripPhis IRLegalization NativeLowering NoPythonBackend"
ANY_PROCESSOR = ("generic", "")  # its name and features at numba


@functools.cache
def compiled(kernel):
    """A kernel as machine code; what it reaches of this package becomes part of its callers.

    numba's own cache looks only at the file of the function itself and would serve an old machine after an edit of
    decide.py; so the cache folder carries the hash of every source that is compiled in, and of the constants named there.
    """
    import numba

    functions = reached(kernel)
    for function in functions:
        _register(function)
    digest = hashlib.sha256(_sources([kernel, *functions])).hexdigest()[:12]
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache_folder() / f"kernel-{digest}")
    try:
        made = numba.njit(cache=True, nogil=True, pipeline_class=_compilers()[0])(kernel)
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
    register_jitable(**built_in, pipeline_class=_compilers()[1])(function)


@functools.cache
def _compilers() -> tuple[type, type]:
    """Numba's compiler, for kernels and for functions that become part of their callers, with those of its passes that ours need.

    A kernel is optimized once instead of twice. A part is optimized in its callers and has no machine code of its own; nor does it
    count references to arrays, which its kernel holds, so that it must make none and hand none to a kernel. All that spares half
    of the time.
    """
    from numba.core import typed_passes, untyped_passes
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import Compiler
    from numba.core.compiler_machinery import PassManager
    from numba.core.runtime.context import NRTContext

    class Whole(JITCodeLibrary):
        def _optimize_final_module(self):
            passes, builder = self._codegen._module_pass_manager()
            passes.add_new_gvn_pass()
            passes.add_jump_threading_pass()
            passes.add_instruction_combine_pass()
            passes.add_simplify_cfg_pass()
            passes.run(self._final_module, builder)

    class Unfinished(JITCodeLibrary):
        def _optimize_final_module(self):
            pass

        def _finalize_final_module(self):
            self._finalize_dynamic_globals()
            self._finalized = True

        @property
        def codegen(self):
            return SimpleNamespace(set_env=lambda *_: None)  # the environment is the caller's, as it is of cached code

    class Uncounted(NRTContext):
        def _call_incref_decref(self, *_):
            pass

    class Lean(Compiler):
        library = Whole

        def __init__(self, typing, target, library, *rest):
            library = library or self.library(target.codegen(), self.library.__name__)
            super().__init__(typing, target, library, *rest)
            library.enable_object_caching()

        def define_pipelines(self):
            passes = PassManager("lean")
            for known, names in ((untyped_passes, UNTYPED), (typed_passes, TYPED)):
                for name in names.split():
                    passes.add_pass(getattr(known, name), name)
            passes.finalize()
            return [passes]

    class Part(Lean):
        library = Unfinished

        def __init__(self, *given):
            super().__init__(*given)
            self.state.targetctx.nrt = Uncounted(self.state.targetctx, True)

    return Lean, Part


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
