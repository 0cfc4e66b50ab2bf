"""What was written reaches the disk soon, without anybody waiting for it: a thread syncs SQLite's log after each commit.

What a process has written survives its death at once; only a power cut needs the disk, and that takes milliseconds (6 on
the machine of the benchmark, eight times as long as both orders need to their venues). The thread also moves the log
into the database when it has grown, which SQLite would else do within some commit.
"""

import os
import sqlite3
import threading
import time
from pathlib import Path

FIRST_S = 0.003  # the orders that were committed leave first: a sync is work for the processor too
LONG = 200  # syncs, until the log is moved into the database


class Disk:
    """Syncs a database's log in a thread of its own. `failed` holds the error of the last sync; `close` waits for it."""

    def __init__(self, path: Path) -> None:
        self.failed: OSError | sqlite3.Error | None = None
        self._path = path
        self._due, self._over = threading.Event(), False
        self._thread = threading.Thread(target=self._sync, name=f"sync {path.name}", daemon=True)

    def soon(self) -> None:
        """Something was committed, so the log exists by now."""
        if not self._thread.ident:
            self._thread.start()
        self._due.set()

    def close(self) -> None:
        """Sync once more, and end."""
        if self._thread.ident:
            self._over = True
            self._due.set()
            self._thread.join()

    def _sync(self) -> None:
        try:
            log = os.open(self._path.with_name(f"{self._path.name}-wal"), os.O_RDONLY)
        except OSError as error:
            self.failed = error  # for good: what cannot be synced is not written to
            return
        db = sqlite3.connect(self._path, isolation_level=None)
        syncs, over = 0, False
        try:
            while not over:
                self._due.wait()
                self._due.clear()
                over = self._over  # read before the sync, so that one follows whatever came before `close`
                time.sleep(FIRST_S)
                try:
                    os.fsync(log)
                    syncs += 1
                    if syncs % LONG == 0:
                        db.execute("PRAGMA wal_checkpoint(PASSIVE)")  # keeps no writer waiting
                    self.failed = None
                except (OSError, sqlite3.Error) as error:
                    self.failed = error
        finally:
            db.close()
            os.close(log)
