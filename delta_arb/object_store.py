"""Objects behind a URL such as s3://bucket/folder, by obstore, which takes gs:// and az:// too.

Credentials, region and endpoint come from the environment, by the names that AWS's own tools read (AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL; AWS_ALLOW_HTTP=true for an endpoint without TLS). A URL that holds a
key is refused, and what a server answers is never repeated, since it may name one.
"""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from delta_arb.errors import ParamsError, RunError

ANSWER = timedelta(seconds=20)  # of one request
TRIES = {"max_retries": 2, "retry_timeout": timedelta(seconds=30)}
KEYS = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
ENDPOINTS = "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"
WHY = {
    "FileNotFoundError": "there is no such object",
    "PermissionDeniedError": "access is denied; check the keys in the environment and what they may do",
    "UnauthenticatedError": "the keys in the environment are not accepted",
}


class StoreError(RunError):
    """An object store did not answer, or refused; the message holds no answer of the server."""


class MissingObjectError(StoreError):
    """There is no such object."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as a listing tells it; the name is below the store's URL."""

    name: str
    size: int
    etag: str
    modified: datetime


def is_url(path: object) -> bool:
    return "://" in str(path)


def _check_environment() -> None:
    """ParamsError for keys and endpoints that obstore 0.12 takes and then panics at, naming the variable alone."""
    for name in (*KEYS, *ENDPOINTS):
        said = os.environ.get(name, "")
        if not (said.isascii() and said.isprintable()):
            raise ParamsError(f"{name} in the environment holds what no request can, like an end of line; set it anew")
        if name in ENDPOINTS and name in os.environ and not _is_address(said):
            raise ParamsError(
                f"{name} in the environment is no address like https://host:9000; set it anew, or unset it"
            )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in url
    except ValueError:  # a port above 65535, half an IPv6 address
        return False


class ObjectStore:
    """What lies below a URL. Listings are made anew each time, and nothing is copied or renamed there."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            inside = parts.username or parts.password or parts.query or parts.fragment
        except ValueError:
            inside = "a broken address"
        if inside:
            raise ParamsError("a URL is like s3://bucket/folder, without key, ? and #; keys come from the environment")
        _check_environment()
        try:
            import obstore
            from obstore.store import from_url
        except ImportError:
            raise ParamsError(f"{url} needs obstore: pip install 'delta-arb[s3]'") from None
        self.url, self._calls = url.rstrip("/"), obstore
        self._errors, self._any = obstore.exceptions, (obstore.exceptions.BaseError, OSError)
        plain = (
            os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true"
        )  # obstore 0.12 forgets it where options are given
        try:
            client = {"timeout": ANSWER, "allow_http": plain}
            self._store = from_url(self.url, client_options=client, retry_config=TRIES)
        except (*self._any, ValueError):
            raise ParamsError(
                f"{url} is no address of an object store, like s3://bucket/folder; a folder of this machine is named without ://"
            ) from None

    def listed(self, folder: str = "") -> list[StoredObject]:
        """All objects below a folder, in the order of their names."""
        pages = self._asked(folder, lambda: list(self._calls.list(self._store, folder or None)))
        return sorted((_object(row) for page in pages for row in page), key=lambda each: each.name)

    def found(self, name: str) -> StoredObject | None:
        """An object, if it is there."""
        try:
            return _object(self._asked(name, lambda: self._calls.head(self._store, name)))
        except MissingObjectError:
            return None

    def read(self, name: str, *, etag: str = "") -> tuple[bytes, str]:
        """An object's bytes and its ETag; of this ETag, where one is given.

        Raises:
            MissingObjectError: it is not there, or not with this ETag.
            StoreError: no answer.
        """
        found = self._asked(
            name, lambda: self._calls.get(self._store, name, options={"if_match": etag} if etag else None)
        )
        return self._asked(name, lambda: bytes(found.bytes())), found.meta["e_tag"] or ""

    def changed(self, name: str, etag: str) -> tuple[bytes, str] | None:
        """The same of an object that is not the one with this ETag any more; None where it still is."""
        try:
            found = self._calls.get(self._store, name, options={"if_none_match": etag} if etag else None)
        except self._errors.NotModifiedError:
            return None
        except self._any as error:
            raise self._error(name, error) from None
        return self._asked(name, lambda: bytes(found.bytes())), found.meta["e_tag"] or ""

    def create(self, name: str, content: bytes) -> bool:
        """Write what is not there yet (If-None-Match); False where somebody else did."""
        return self._put(name, content, "create")

    def replace(self, name: str, content: bytes, etag: str) -> bool:
        """Write over the object of this ETag (If-Match); False where it is another one meanwhile."""
        return self._put(name, content, {"e_tag": etag})

    def _put(self, name: str, content: bytes, mode: Any) -> bool:
        try:
            self._calls.put(self._store, name, content, mode=mode)
        except (self._errors.AlreadyExistsError, self._errors.PreconditionError):
            return False
        except self._any as error:
            raise self._error(name, error) from None
        return True

    def _asked(self, name: str, call: Any) -> Any:
        try:
            return call()
        except self._any as error:
            raise self._error(name, error) from None

    def _error(self, name: str, error: Exception) -> StoreError:
        kind = type(error).__name__
        if "NoSuchBucket" in str(error):
            return StoreError(f"{self.url}: there is no such bucket; make it first, or mend the URL")
        gone = kind in ("FileNotFoundError", "PreconditionError")
        why = WHY.get(kind, "it changed meanwhile" if gone else "no answer; check network, endpoint, region and bucket")
        return (MissingObjectError if gone else StoreError)(f"{self.url}/{name}: {why}")


def _object(row: Any) -> StoredObject:
    return StoredObject(row["path"], row["size"], row["e_tag"] or "", row["last_modified"])
