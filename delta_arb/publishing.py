"""Parameters of many machines behind one URL, so that a runner elsewhere reads what any of them published last.

    s3://bucket/params/LUNC_USDT-mexc-gate/params/<sha256>.json     every export; written once (If-None-Match)
    s3://bucket/params/LUNC_USDT-mexc-gate/latest.json              which of them is the newest; replaced by If-Match

The pointer is written last and only over the one that was read, so a reader finds a whole file and no export takes the
place of a newer one. Nothing is copied, renamed or listed.
"""

import contextlib
import json
import re
import threading
import time
from datetime import datetime
from pathlib import Path

from delta_arb.errors import ParamsError
from delta_arb.object_store import MissingObjectError, ObjectStore, StoreError, is_url
from delta_arb.params import LARGEST, Params, load, parse, serialised

POINTER = "latest.json"
LOOK_S = 2.0  # between two looks of a runner


def pointer(url: str, name: str) -> str:
    """Where the newest parameters of a pair are told, below the URL that all pairs share."""
    return f"{url.rstrip('/')}/{name}/{POINTER}"


def require_place(url: str, name: str) -> None:
    """Refuse a URL behind which nothing can be published: no such bucket, no access, no answer (StoreError)."""
    with contextlib.suppress(MissingObjectError):  # nothing is published yet
        ObjectStore(f"{url.rstrip('/')}/{name}").read(POINTER)


def publish_at(params: Params, url: str) -> bool:
    """Make an export the newest of its pair behind a URL; False where one that was created later is there already.

    Raises:
        StoreError: no answer, or refused; what was in force stays.
        ParamsError: the pointer that is there is damaged.
    """
    store = ObjectStore(f"{url.rstrip('/')}/{params.name}")
    store.create(
        _file(params.sha256), serialised(params).encode()
    )  # where it is there it is the same: its name says so
    told = json.dumps({"created": params.created.isoformat(), "sha256": params.sha256}).encode()
    while True:
        try:
            content, etag = store.read(POINTER)
        except MissingObjectError:
            written = store.create(POINTER, told)
        else:
            created, sha256 = _pointed(content, store.url)
            if (created, sha256) >= (params.created, params.sha256):
                return sha256 == params.sha256
            written = store.replace(POINTER, told, etag)
        if written:
            return True


def newest(place: Path | str) -> Params:
    """The parameters of a file, or of the pointer at a URL.

    Raises:
        ParamsError: none, damaged, of another schema; StoreError: no answer.
    """
    if not is_url(place):
        return load(Path(place))
    found = _read(ObjectStore(_folder(place)), "")
    if isinstance(found, ParamsError):
        raise found
    return found[0]


class PublishedParameters:
    """What a runner knows of the pointer at a URL. A thread looks, so that no loop waits for a network; `trouble` says
    why the last look brought nothing, in which case what is known stays.
    """

    def __init__(self, url: str) -> None:
        self.trouble = ""
        self._store = ObjectStore(_folder(url))
        self._found: tuple[Params, str] | ParamsError | None = None
        self._taken: Params | None = None
        self._looking: threading.Thread | None = None
        self._due_s = 0.0

    def stamp(self) -> str:
        """Changes with the parameters; raises what `newest` raises. Only the first call waits for an answer."""
        if self._looking is None or (time.monotonic() >= self._due_s and not self._looking.is_alive()):
            self._due_s = time.monotonic() + LOOK_S
            self._looking = threading.Thread(target=self._look, daemon=True)
            self._looking.start()
        if not (self._found or self.trouble):
            self._looking.join()
        found = self._found or ParamsError(self.trouble)
        if isinstance(found, ParamsError):
            raise found
        self._taken = found[0]
        return found[1]

    def load(self) -> Params | None:
        """The parameters of the last stamp."""
        return self._taken

    def _look(self) -> None:
        known = self._found[1] if isinstance(self._found, tuple) else ""
        try:
            self._found = _read(self._store, known) or self._found
            self.trouble = ""
        except StoreError as error:
            self.trouble = str(error)


def _read(store: ObjectStore, known: str) -> tuple[Params, str] | ParamsError | None:
    """The newest parameters with the pointer's ETag, or why it is none; None where the pointer is the one that is known."""
    try:
        changed = store.changed(POINTER, known)
        if changed is None:
            return None
        _, sha256 = _pointed(changed[0], store.url)
        content, _ = store.read(_file(sha256))
        params = parse(content, f"{store.url}/{_file(sha256)}")
        if params.sha256 != sha256:
            raise ParamsError(f"{store.url}/{POINTER}: names {sha256}, found {params.sha256}; run the pipeline again")
        return params, changed[1]
    except MissingObjectError as error:
        return ParamsError(f"{error}; run the pipeline for this pair first, with --params-url")
    except ParamsError as error:
        return error


def _pointed(content: bytes, url: str) -> tuple[datetime, str]:
    """When what is in force was created, and its digest."""
    try:
        said = json.loads(content[:LARGEST])
        created, sha256 = datetime.fromisoformat(said["created"]), said["sha256"]
        if created.tzinfo is None or not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ValueError("no digest, or a time without zone")
    except (ValueError, KeyError, TypeError) as error:
        raise ParamsError(f"{url}/{POINTER}: damaged ({type(error).__name__}); delete it and publish again") from error
    return created, sha256


def _file(sha256: str) -> str:
    return f"params/{sha256}.json"


def _folder(url: str | Path) -> str:
    return str(url).removesuffix(f"/{POINTER}")
