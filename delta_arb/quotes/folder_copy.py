"""A data folder behind a URL (s3://bucket/data), copied to this disk as far as a range needs it.

Files of recordings and downloads are named by their day or month, so the names say what a range needs; each is fetched
once, whole, and again only where size or time of change differ. What is gone there goes here too. Everything else then
reads the copy as it reads any folder, and the checksums in the files are verified as ever.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from delta_arb.errors import DataError
from delta_arb.object_store import ObjectStore, StoredObject
from delta_arb.places import copies

AT_ONCE = 8  # requests


class FolderCopy:
    """The copy of one URL: `local` is the folder, `fetched_bytes` what was fetched so far."""

    def __init__(self, url: str) -> None:
        self._store, self.fetched_bytes = ObjectStore(url), 0
        self.url = self._store.url
        place = f"{self.url} {os.environ.get('AWS_ENDPOINT_URL', '')}"
        self.local = copies() / hashlib.sha256(place.encode()).hexdigest()[:16]

    def folders(self, folder: str) -> dict[str, list[StoredObject]]:
        """The objects below a folder by the folder they are in."""
        found: dict[str, list[StoredObject]] = {}
        for each in self._store.listed(folder):
            found.setdefault(each.name.rpartition("/")[0], []).append(each)
        return found

    def bring(
        self, folder: str, objects: Sequence[StoredObject], wanted: Callable[[list[Path]], Iterable[Path]]
    ) -> None:
        """Of a folder's objects have those that `wanted` chooses by their paths here, as they are there now."""
        there = {self.local / each.name: each for each in objects}
        (self.local / folder).mkdir(parents=True, exist_ok=True)  # it is listed there, in the range or not
        for path in (self.local / folder).glob("*.*"):
            if path not in there:
                path.unlink(missing_ok=True)
        lacking = [there[path] for path in wanted(list(there)) if not _same(path, there[path])]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            self.fetched_bytes += sum(pool.map(self._fetch, lacking))

    def forget(self, folder: str, names: Collection[str]) -> None:
        """Below a folder, only these are there any more."""
        for path in (self.local / folder).glob("*"):
            if path.is_dir() and path.name not in names:
                shutil.rmtree(path)

    def file(self, name: str) -> Path:
        """One file, as it is there now, if it is there."""
        there = self._store.found(name)
        path = self.local / name
        if there is None:
            path.unlink(missing_ok=True)
        elif not _same(path, there):
            self.fetched_bytes += self._fetch(there)
        return path

    def _fetch(self, wanted: StoredObject) -> int:
        path = self.local / wanted.name
        content, _ = self._store.read(wanted.name, etag=wanted.etag)
        if len(content) != wanted.size:
            raise DataError(
                f"{self.url}/{wanted.name}: {len(content)} bytes came, {wanted.size} were listed; try again"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.utime(part, (wanted.modified.timestamp(),) * 2)
        os.replace(part, path)
        return len(content)


def _same(path: Path, there: StoredObject) -> bool:
    try:
        here = path.stat()
    except FileNotFoundError:
        return False
    return here.st_size == there.size and abs(here.st_mtime - there.modified.timestamp()) < 0.001
