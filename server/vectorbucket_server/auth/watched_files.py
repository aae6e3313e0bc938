"""Files that may change while a server runs: what is made of them, in force until a change is good.

Rules of this file: nothing is known here of what stands in a file; a change that cannot be used
leaves in force what was, and is told once; nobody waits for somebody else's look at the disk.
"""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

FILE_BYTES_MAX = 1024 * 1024
"""The largest file that is read: thousands of credentials, hundreds of authorities."""

LOOK_AGAIN_S = 1.0
"""Seconds for which files are taken to be as they were."""

Stamp: TypeAlias = tuple[int, ...]

Content = TypeVar("Content")
Value = TypeVar("Value")
Fault = TypeVar("Fault", bound=Exception)


class UnusableFile(ValueError):
    """A file cannot be read; the message says why, and goes on from the name of the file."""


def stamp_of(path: Path) -> Stamp:
    """Return what is different once a file was written, or another put in its place.

    Raises:
        UnusableFile: There is no file.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(error) from None
    if not stat.S_ISREG(found.st_mode):
        # To open a pipe could take for ever.
        raise UnusableFile("is no file")
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def content_of(path: Path) -> bytes:
    """Return what stands in a file.

    Raises:
        UnusableFile: There is no file, or it cannot be read, or it is too long.
    """
    stamp_of(path)
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _unreadable(error) from None
    if len(content) > FILE_BYTES_MAX:
        raise UnusableFile(f"has over {FILE_BYTES_MAX} bytes")
    return content


def _unreadable(error: OSError) -> UnusableFile:
    return UnusableFile(f"cannot be read: {error.strerror or error}")


class Watched(Generic[Content, Value]):
    """What was made of the last good content of files; any thread may ask for it."""

    def __init__(
        self,
        *,
        stamp: Callable[[], object],
        read: Callable[[], Content],
        make: Callable[[Content, Value | None], Value],
        fault: type[Fault],
        on_failure: Callable[[Fault], object],
        clock: Callable[[], float] = time.monotonic,
        look_again_s: float = LOOK_AGAIN_S,
    ) -> None:
        """Read the files, and make of them what is in force first.

        Args:
            stamp: Returns what is different once one of the files was written or replaced.
            read: Returns what stands in them; equal contents are the same.
            make: Makes of a content that is another one what is to be in force, and is given what
                was before: None at first.
            fault: What these three raise when the files cannot be used.
            on_failure: Told once of each change after which they cannot be, on the thread of
                whoever asked.
            clock: Seconds from any beginning.
            look_again_s: For how long the files are taken to be as they were. Shorter is quicker to
                notice, and looks at the disk more often.

        Raises:
            Fault: The files cannot be used.
        """
        self._stamp, self._read, self._make = stamp, read, make
        self._fault: type[Exception] = fault
        self._on_failure: Callable[[Any], object] = on_failure
        self._clock = clock
        self._look_again_s = look_again_s
        self._looking = threading.Lock()
        self._seen = stamp()
        self._settled = False
        self._failed: tuple[object, str] | None = None
        self._content = read()
        self._value = make(self._content, None)
        self._look_at_s = clock() + look_again_s

    def current(self) -> Value:
        """Return what is in force, after a look at the files if the last was a while ago.

        Nobody waits for somebody else's look.
        """
        if self._clock() >= self._look_at_s and self._looking.acquire(blocking=False):
            try:
                self._look_at_s = self._clock() + self._look_again_s
                self._look()
            finally:
                self._looking.release()
        return self._value

    def _look(self) -> None:
        """Read the files again if they are, or were at the last look, others than before.

        Two writes within one tick of the file system's clock look alike, so that a change is read
        once more at the next look, when the tick is over. What could not be read is settled never.
        """
        seen: object = None
        try:
            seen = self._stamp()
            same, self._seen = seen == self._seen, seen
            if same and self._settled:
                return
            self._settled = False
            content = self._read()
            self._settled = same
            if content != self._content:
                self._value = self._make(content, self._value)
                self._content = content
            self._failed = None
        except self._fault as error:
            self._settled = self._settled and seen is not None
            if self._failed != (seen, str(error)):
                self._failed = (seen, str(error))
                self._on_failure(error)
