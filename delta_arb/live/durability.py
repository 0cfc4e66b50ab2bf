"""What was written reaches the disk soon, without anybody waiting for it: a thread syncs SQLite's log after each commit.

What a process has written survives its death at once; only a power cut needs the disk, and that takes milliseconds (6 on
the machine of the benchmark, eight times as long as both orders need to their venues). The thread also moves the log
into the database when it has grown, which SQLite would else do within some commit.

And there is room for it on a disk that is full: blocks beyond the end of the log are reserved, which nobody else can
take, so that a pair that is open then can still be closed. Entries are over long before (the guard on free space).
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

FIRST_S = 0.003  # the orders that were committed leave first: a sync is work for the processor too
LONG = 200  # syncs, until the log is moved into the database
RESERVE = 1 << 22  # bytes; an event takes 8 pages of 4096, so this is for more than a hundred of them
KEEP_SIZE = 1  # fallocate(2): blocks beyond the end, which stays where it is


def private(path: str | Path, flags: int) -> int:
    """Open a file that only its owner may read and write, made so where it was not."""
    file = os.open(path, flags, 0o600)
    os.fchmod(file, 0o600)
    return file


def locked(path: Path) -> TextIO:
    """The lock beside a file (made where it was not), taken for as long as it stays open; it holds this process's id.

    Raises:
        BlockingIOError: another process has it.
        OSError: one of the two cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = open(path.with_suffix(".lock"), "a+", opener=private)  # noqa: SIM115 - the caller's
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)  # for a watcher, which ends a frozen one
        os.close(private(path, os.O_RDWR | os.O_CREAT))  # SQLite gives its log the same mode
    except OSError:
        lock.close()
        raise
    return lock


def watching(journal: Path) -> TextIO:
    """The file beside a journal that its watchers hold for as long as they look after it."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    return open(journal.with_suffix(".watch"), "a+", opener=private)


def is_watched(journal: Path) -> bool:
    """Whether a watcher on this machine looks after a journal."""
    with watching(journal) as held:
        return not free(held)


def free(lock: TextIO) -> bool:
    """Whether nobody holds it; it is not kept. OSError: this file system cannot say."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(lock, fcntl.LOCK_UN)
    return True


def lost(files: Mapping[Path, int]) -> str:
    """Why one of these files (with the inode it was opened under) is not what is written to any more; "" where all are."""
    for file, inode in files.items():
        try:
            gone = file.stat().st_ino != inode
        except OSError:
            gone = True
        if gone:
            return f"{file}: deleted or replaced while in use; stop, bring the old one back, and start again"
        if not os.access(file, os.W_OK) or os.statvfs(file).f_flag & os.ST_RDONLY:
            return f"{file}: cannot be written any more; make it writable again"
    return ""


def reserve(log: int) -> OSError | None:
    """Take blocks of the disk for the next RESERVE bytes of an open file; the error where they cannot be had."""
    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if fallocate is None:
        return OSError(errno.ENOSYS, "this system reserves none")
    wanted = (ctypes.c_int(log), ctypes.c_int(KEEP_SIZE), ctypes.c_int64(0))
    if fallocate(*wanted, ctypes.c_int64(os.fstat(log).st_size + RESERVE)) == 0:
        return None
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))


Later = Callable[[Callable[[], None]], object]  # acts when nothing more urgent is to be done


def at_once(act: Callable[[], None]) -> None:
    """For whoever has no loop, and nothing more urgent."""
    act()


class Disk:
    """Syncs a database's log in a thread of its own. `failed` holds the error of the last sync, `unreserved` why there
    is no room kept for more; `close` waits for the thread.

    Args:
        later: wakes the thread; at once, it would take its turn of the interpreter just before the orders leave.
    """

    def __init__(self, path: Path, later: Later = at_once) -> None:
        self.failed: Exception | None = None
        self.unreserved: OSError | None = None
        self._path, self._log, self._later = path, path.with_name(f"{path.name}-wal"), later
        self._due, self._over, self._ended = threading.Event(), False, False
        self._thread = threading.Thread(target=self._sync, name=f"sync {path.name}", daemon=True)

    def soon(self) -> None:
        """Something was committed."""
        if not self._thread.ident:
            self._thread.start()
        elif self._ended:  # whatever ended it: what is committed now reaches the disk at no known time
            self.failed = self.failed or OSError(errno.EIO, "the thread that syncs it has ended")
        self._later(self._due.set)

    def close(self) -> None:
        """Sync once more, and end."""
        if self._thread.ident:
            self._over = True
            self._due.set()
            self._thread.join()

    def reserve(self) -> None:
        """Keep room for the log, which exists by now."""
        log = os.open(self._log, os.O_RDWR)
        try:
            self.unreserved = reserve(log)
        finally:
            os.close(log)

    def _sync(self) -> None:
        try:
            self._sync_for_ever()
        except (OSError, sqlite3.Error) as error:  # for good: what cannot be synced is not written to
            self.failed = error
        finally:
            self._ended = True

    def _sync_for_ever(self) -> None:
        log = os.open(self._log, os.O_RDWR)
        db = sqlite3.connect(self._path, isolation_level=None)
        syncs, over, kept = 0, False, os.fstat(log).st_size
        try:
            while not over:
                self._due.wait()
                self._due.clear()
                over = self._over  # read before the sync, so that one follows whatever came before `close`
                time.sleep(FIRST_S)
                try:
                    os.fsync(log)
                    self.failed = None
                except OSError as error:
                    self.failed = error
                    continue
                syncs += 1
                if syncs % LONG == 0:
                    with contextlib.suppress(sqlite3.Error):  # no room in the database: the log goes on instead
                        db.execute("PRAGMA wal_checkpoint(PASSIVE)")  # keeps no writer waiting
                if (size := os.fstat(log).st_size) - kept >= RESERVE // 4:
                    self.unreserved, kept = reserve(log), size
        finally:
            db.close()
            os.close(log)
