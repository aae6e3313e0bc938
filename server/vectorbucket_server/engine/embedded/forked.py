"""Work in a forked child: a copy of this process at one moment, that does one thing and ends.

What holds the interpreter lock for long (hnswlib's save) would stop every call of the server. A
child has an interpreter of its own, and the memory as it was when it was forked, so it may take its
time. Forking takes a few milliseconds, in which this process stands still.

Rules of this file:

- The work may use memory and files. It must not use threads, locks, the store or the network: the
  threads that own those do not exist in the child.
- The child is not traced: tracers (coverage, debuggers) have locks too.
- The child holds no file or socket of its parent, and dies with it.
- Two libraries have handlers that run at a fork and end badly in a process with threads: those of
  gRPC are switched off (fork_support.py), and OpenBLAS is kept to one thread, because its handler
  waits for its other threads, which may wait for us.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_ANSWER_BYTES_MAX = 1 << 20
_FAILED = b"!"
_DONE = b"="
_LOOK_EVERY_S = 0.1
"""How often to look whether a child is still waited for."""

_NICENESS = 5
"""The child gives way to this process, which has callers."""

_prctl = getattr(ctypes.CDLL(None), "prctl", None)


class ChildFailed(Exception):
    """The child did not do its work; the message says why."""


class Child:
    """A child at work."""

    def __init__(self, work: Callable[[], bytes]) -> None:
        """Fork, and begin the work in the child.

        Args:
            work: Returns what ``wait`` is to return, at most a mebibyte; whatever it raises becomes
                ChildFailed.

        Raises:
            OSError: The system has no room for another process.
        """
        self._answer, answer = os.pipe()
        tracer, profiler = sys.gettrace(), sys.getprofile()
        sys.settrace(None)
        sys.setprofile(None)
        try:
            self._process = os.fork()
            if not self._process:
                _work_and_end(work, answer)
        except OSError:
            os.close(self._answer)
            os.close(answer)
            raise
        finally:
            sys.settrace(tracer)
            sys.setprofile(profiler)
        os.close(answer)

    def wait(self, patience_s: float, hurried: threading.Event | None = None) -> bytes:
        """Return the answer once the child has ended.

        Args:
            patience_s: Seconds after which the child is ended by force.
            hurried: Is set when it is to be ended at once; None: that will not be.

        Raises:
            ChildFailed: The work failed, the child died, or it was ended.
        """
        received, answered = b"", select.poll()  # select knows no descriptor above 1,023
        answered.register(self._answer, select.POLLIN)
        until = time.monotonic() + patience_s
        try:
            while len(received) <= _ANSWER_BYTES_MAX:
                left_s = until - time.monotonic()
                if left_s <= 0:
                    text = f"the child did not end in {patience_s:.0f} seconds"
                    raise ChildFailed(text)  # noqa: TRY301 - to be ended like any other failure
                if hurried is not None and hurried.is_set():
                    raise ChildFailed("nobody waits for the child any more")  # noqa: TRY301
                if not answered.poll(min(left_s, _LOOK_EVERY_S) * 1_000):
                    continue
                part = os.read(self._answer, 1 << 16)
                if not part:
                    break
                received += part
        except BaseException:
            os.kill(self._process, signal.SIGKILL)
            raise
        finally:
            os.close(self._answer)
            _, status = os.waitpid(self._process, 0)
        if received[:1] == _FAILED:
            raise ChildFailed(received[1:].decode(errors="replace"))
        if received[:1] != _DONE or status:
            raise ChildFailed(f"the child ended with status {os.waitstatus_to_exitcode(status)}")
        return received[1:]


def _work_and_end(work: Callable[[], bytes], answer: int) -> None:
    """Do the work in the child, send what came of it, and never return."""
    code = 1
    try:
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.nice(_NICENESS)
        signal.set_wakeup_fd(-1)  # the parent's; a file of ours may get its number
        os.closerange(3, answer)
        os.closerange(answer + 1, os.sysconf("SC_OPEN_MAX"))
        try:
            text, result = _DONE + work(), 0
        except BaseException as error:  # noqa: BLE001 - sent to the parent, which raises it
            words = f"{type(error).__name__}: {error}".encode(errors="replace")
            text, result = _FAILED + words[: _ANSWER_BYTES_MAX // 2], 1
        while text:
            text = text[os.write(answer, text) :]
        code = result
    finally:
        # Not sys.exit: what this process has to finish at its end is not the child's to do.
        os._exit(code)
