"""Where the project's own files are: in a checkout at its top level, in an installed package inside it.

Results go to `reports/` of the checkout; of an installed package, to `reports/` of the folder one works in.
DELTA_ARB_ROOT names another checkout. And who works in a folder.
"""

import contextlib
import errno
import fcntl
import json
import os
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from delta_arb.errors import ParamsError, RunError

PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """The project's folder; of an installed package the working one."""
    return _project() or Path.cwd()


def notebooks() -> Path:
    """Folder of the notebooks."""
    return _bundled("notebooks")


def sample() -> Path:
    """Folder of the bundled synthetic quotes."""
    return _bundled("data/sample")


def reports(given: Path | None = None) -> Path:
    """Where results are, unless another folder was given; raises ParamsError where none can be."""
    found = given or root() / "reports"
    folder_at(found, "--reports")
    return found


def to_write(folder: Path, option: str) -> Path:
    """The same, before any work for it; raises ParamsError naming the option where it cannot be made or written."""
    there = folder_at(folder, option)
    try:
        if there == folder.absolute() and not os.access(there, os.W_OK | os.X_OK):
            number = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(number, os.strerror(number))
        if there != folder.absolute():
            tempfile.TemporaryDirectory(dir=there).cleanup()
    except OSError as error:
        raise ParamsError(f"{option} {folder}: {error.strerror}; name a folder that this user may write") from None
    return folder


def folder_at(folder: Path, option: str) -> Path:
    """What is there of a folder, itself or the next above it; raises ParamsError where that is a file."""
    found = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not found.is_dir():
        above = "" if found == folder.absolute() else f"{found} "
        raise ParamsError(f"{option} {folder}{':' if above else ''} {above}is a file, not a folder; name a folder")
    return found


def _project() -> Path | None:
    if named := os.environ.get("DELTA_ARB_ROOT"):
        return Path(named)
    return PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").exists() else None


def _bundled(name: str) -> Path:
    """Of the project, or as it travels inside the package (see `package-dir` in pyproject.toml)."""
    return (_project() or PACKAGE) / name


def placed(path: str) -> str:
    """A path as all commands and notebooks mean it: relative to the working folder, and to the project's in the folder of
    its notebooks, where Jupyter starts them."""
    in_notebooks = not os.path.isabs(path) and Path.cwd() == notebooks()
    return str(root() / path) if path and in_notebooks else path


def parsed(path: Path, parse: Callable[[str], Any] = tomllib.loads, kind: str = "TOML") -> Any:
    """What a file says; raises ParamsError where it is not there or not of its kind, quoting nothing: some hold keys."""
    try:
        return parse(path.read_text("utf-8"))
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        where = f" ({error})" if isinstance(error, tomllib.TOMLDecodeError | json.JSONDecodeError) else ""
        raise ParamsError(f"{path}: not {kind}{where}") from None


def copies() -> Path:
    """Where copies of what lies behind URLs are kept; may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "delta_arb" / "copies"


@contextlib.contextmanager
def locked(folder: Path, what: str, option: str) -> Iterator[int]:
    """Only one process works in a folder; the lock is free again when its holder ends, however, and gone if it can.

    Raises:
        RunError: another one does, on `what`; `option` names another folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder / ".lock", what, option) as file:
        try:
            yield file.fileno()
        finally:
            (folder / ".lock").unlink(missing_ok=True)


def _lock(path: Path, what: str, option: str) -> TextIO:
    """The file at this path, locked, and saying by whom."""
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - the caller's
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with file:
            file.seek(0)
            holder = file.read().strip() or "another process"
        raise RunError(
            f"{what} is being worked on by {holder}; wait for it, stop it, or give another {option}"
        ) from None
    if os.fstat(file.fileno()).st_nlink == 0:  # its last holder took it away since it was opened
        file.close()
        return _lock(path, what, option)
    file.truncate(0)
    file.write(f"process {os.getpid()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
    file.flush()
    return file
