"""A data directory, or a backup, that no server uses: opened without a change to it.

RocksDB rewrites a file of its own even when it only reads. So what it opens is a folder of links to
the files of the store, elsewhere and for the time being.

Rules of this file: nothing in the directory is written. Its lock is held, so that no server starts
on what is being read; a backup has none.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from vectorbucket.errors import Corruption, ServiceUnavailable, VectorBucketError
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import Family, corrupt
from vectorbucket_server.engine.embedded.store import Store

_LOCK = "LOCK"
_REWRITTEN = "rocksdict-config.json"
"""The file that is written whenever a store is opened."""


class Severity(Enum):
    """How bad a finding is."""

    DAMAGE = "damage"
    """Something that was stored is lost or cannot be trusted; a backup has it, perhaps."""
    REPAIRABLE = "repairable"
    """It is made again from the store: by the server when it loads the index, or by ``rebuild``."""
    LEFTOVER = "leftover"
    """It takes room and does no harm."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    severity: Severity
    place: str
    """Family, key and index, or file."""
    what: str


def words_of(error: Corruption, family: Family, key: bytes) -> str:
    """Return what an error says of a record, without where that is."""
    return error.message.removeprefix(corrupt(family, key, "").message)


@dataclass(frozen=True, slots=True)
class AtRest:
    """An open directory."""

    store: Store
    """Open for reading."""
    data_dir: Path
    view: Path
    """The folder of links."""

    def told(self, error: VectorBucketError) -> str:
        """Return what an error says, about the files as they are called in the directory."""
        return error.message.replace(str(self.view), str(self.data_dir))


@contextmanager
def opened_at_rest(data_dir: Path, options: EmbeddedOptions) -> Iterator[AtRest]:
    """Yield the store of a directory, open for reading.

    Raises:
        ServiceUnavailable: It is no data directory, a server uses it, or it cannot be opened.
        Corruption: What is in it cannot be opened.
    """
    path = data_dir / "store"
    if not path.is_dir():
        raise ServiceUnavailable(f"{data_dir} is neither a data directory nor a backup: no store/")
    with ExitStack() as held:
        held.enter_context(_held(path))
        try:
            made = tempfile.TemporaryDirectory(prefix="vectorbucket-")
            view = Path(held.enter_context(made))
            _link_all(path, view / path.name)
        except OSError as error:
            raise ServiceUnavailable(
                f"{error.filename or path} cannot be read or written: {error.strerror}"
            ) from error
        try:
            store = Store(view / path.name, options, read_only=True)
        except VectorBucketError as error:
            text = error.message.replace(str(view), str(data_dir))
            raise type(error)(text) from error
        try:
            yield AtRest(store, data_dir, view)
        finally:
            store.close()


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold the lock of a store, if it has one, as one who reads: others may do so, too.

    Raises:
        ServiceUnavailable: A server holds it.
    """
    try:
        file = (path / _LOCK).open("rb")
    except OSError:  # a backup has none; who may not read it may not read the rest
        yield
        return
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            raise ServiceUnavailable(
                f"{path} is in use by another process; one process at a time may use a data "
                "directory"
            ) from error
        yield


def _link_all(path: Path, view: Path) -> None:
    """Fill a folder with links to the files of a store."""
    view.mkdir()
    for source in path.iterdir():
        if source.name == _REWRITTEN:
            shutil.copyfile(source, view / source.name)
        elif source.name != _LOCK:
            (view / source.name).symlink_to(source.absolute())
