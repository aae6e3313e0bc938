"""Bucket logging: one line of JSON for each request on a bucket, in files for the bucket's owner.

A line is made on the thread of the call and put into a queue; one thread takes what is there and
writes it to files (log_files.py) in folders named after the targets (log_folders.py).

Rules of this file: ``note`` never waits: what finds the queue full is lost; so is what cannot be
written. Losses are counted: the operator is told when they begin and when they end, and a line of
the same place says how many are missing about there. No vector, no metadata and no credential
is ever in a line.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import msgspec

from vectorbucket_server.model import BucketLogging
from vectorbucket_server.observability.log_files import LinesLost, LogFiles, Place
from vectorbucket_server.observability.logs import CallRecord

QUEUE_LINES_MAX = 16_384
"""Lines that wait to be written; at some 400 bytes, less than 10 MB."""

TEXT_CHARACTERS_MAX = 256
"""Longest text of a line: a name that was refused for its length is cut."""

LOOK_AGAIN_S = 1.0
"""How often the writer looks whether the time of its files is over, while it has some open."""

CLOSE_S = 5.0
"""How long closing waits for lines to be written; a disk that hangs must not keep a server."""


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a request: the fields of a line, in their order."""

    time: str
    """When the request ended: RFC 3339, UTC, with milliseconds."""
    request_id: str
    principal: str
    """The name of the caller's credential; empty if he was not known."""
    remote_address: str
    """HOST:PORT from where the call came; of a REST request, as far as the translator says it."""
    method: str
    """The RPC's name, as ``QueryVectors``."""
    bucket: str
    index_name: str
    batch_count: int
    rejected_batch_count: int
    vector_count: int
    query_count: int
    request_bytes: int
    code: str
    """The gRPC status code, as ``NOT_FOUND``."""
    reason: str
    """The OSS code of the error; empty if it went well."""
    latency_ms: float


class _Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A line in the place of others that were lost."""

    time: str
    bucket: str
    lost_lines: int


class BucketLogs:
    """Writes the lines of all buckets of a server."""

    def __init__(
        self,
        directory: Path,
        *,
        rotate_s: float,
        bytes_max: int,
        now_s: Callable[[], float],
        new_unique: Callable[[], str],
        on_failure: Callable[[str], object],
    ) -> None:
        """Take what files are made with. Nothing is made, and no thread started, without a line.

        Args:
            directory: Where the folders of the targets are.
            rotate_s: Seconds after which a file is left for a new one.
            bytes_max: Bytes that a file does not pass, unless one line alone does.
            now_s: The clock: seconds since the Unix epoch.
            new_unique: Makes the end of a file's name: letters and digits, never twice the same.
            on_failure: Told in a sentence when lines begin to be lost and why, and when they are
                written again and how many are missing; on any thread, and never raises.
        """
        self._files = LogFiles(
            directory, rotate_s=rotate_s, bytes_max=bytes_max, now_s=now_s, new_unique=new_unique
        )
        self._now_s = now_s
        self._on_failure = on_failure
        self._changed = threading.Condition()
        self._waiting: list[tuple[Place, bytes]] = []
        self._lost: Counter[Place] = Counter()
        self._lost_lately = 0
        self._closing = False
        self._writer: threading.Thread | None = None

    def note(self, record: CallRecord, bucket: str, logging: BucketLogging) -> None:
        """Have a line written about a call that ended; returns at once, whatever the disk does.

        Args:
            record: The call, with its outcome.
            bucket: The bucket that it was about.
            logging: Where the bucket's lines go.
        """
        place = (bucket, logging)
        line = _line_of(record, bucket, self._time())
        with self._changed:
            if self._closing:
                return
            if len(self._waiting) < QUEUE_LINES_MAX:
                self._waiting.append((place, line))
                if len(self._waiting) == 1:
                    self._wake_writer()
                return
        self._lose(place, 1, f"{QUEUE_LINES_MAX} lines wait already")

    def close(self) -> None:
        """Write what waits, and end; what is noted from now on is dropped. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._writer is not None:
            self._writer.join(CLOSE_S)

    def _wake_writer(self) -> None:
        """Tell the writer that there is a line, or start it with the first one."""
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_all, name="bucket-logs", daemon=True)
            self._writer.start()
        self._changed.notify_all()

    def _write_all(self) -> None:
        """Write lines until the end: the whole life of the writer's thread."""
        while True:
            with self._changed:
                if not self._waiting and not self._closing:
                    self._changed.wait(LOOK_AGAIN_S if len(self._files) else None)
                taken, self._waiting = self._waiting, []
                closing = self._closing
            if taken:
                self._write(taken)
            self._files.leave_old()
            if closing and not taken:
                self._files.close()
                return

    def _write(self, taken: list[tuple[Place, bytes]]) -> None:
        """Write what was taken from the queue, each place's lines together and in their order."""
        by_place: dict[Place, list[bytes]] = {}
        for place, line in taken:
            by_place.setdefault(place, []).append(line)
        whole = True
        for place, lines in by_place.items():
            whole &= self._write_lines(place, lines)
        if whole and len(taken) < QUEUE_LINES_MAX // 2:
            self._no_longer_losing()

    def _write_lines(self, place: Place, lines: list[bytes]) -> bool:
        """Write lines of one place, and return whether none was lost."""
        with self._changed:
            missing = self._lost.pop(place, 0)
        gap = [_gap_line(place[0], missing, self._time())] if missing else []
        try:
            self._files.append(place, gap + lines)
        except LinesLost as lost:
            told = lost.count <= len(lines)
            self._lose(place, lost.count, str(lost.__cause__))
            if gap and not told:
                # The gap itself was not written either, so what it told of is still to be told.
                with self._changed:
                    self._lost[place] += missing - 1
                    self._lost_lately -= 1
            return False
        return True

    def _lose(self, place: Place, count: int, why: str) -> None:
        """Count lost lines, and tell the operator when the first of them is lost."""
        with self._changed:
            first = not self._lost_lately
            self._lost[place] += count
            self._lost_lately += count
        if first:
            self._on_failure(f"lines of bucket logs are being lost: {why}")

    def _no_longer_losing(self) -> None:
        """Tell the operator how many lines were lost, if any were."""
        with self._changed:
            count, self._lost_lately = self._lost_lately, 0
        if count:
            self._on_failure(f"lines of bucket logs are written again; {count} were lost")

    def _time(self) -> str:
        moment = datetime.fromtimestamp(self._now_s(), UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def _line_of(record: CallRecord, bucket: str, time: str) -> bytes:
    """Return the line about a call."""
    line = _Line(
        time=time,
        request_id=record.request_id,
        principal=record.principal[:TEXT_CHARACTERS_MAX],
        remote_address=_address_of(record.peer),
        method=record.method,
        bucket=bucket,
        index_name=record.index_name[:TEXT_CHARACTERS_MAX],
        batch_count=record.batch_count,
        rejected_batch_count=record.rejected_batch_count,
        vector_count=record.vector_count,
        query_count=record.query_count,
        request_bytes=record.request_bytes,
        code=record.code,
        reason=record.reason,
        latency_ms=record.latency_ms,
    )
    return msgspec.json.encode(line) + b"\n"


def _gap_line(bucket: str, count: int, time: str) -> bytes:
    """Return the line about lines that are missing."""
    return msgspec.json.encode(_Gap(time=time, bucket=bucket, lost_lines=count)) + b"\n"


def _address_of(peer: str) -> str:
    """Return HOST:PORT of a caller as gRPC names him: ``ipv6:%5B::1%5D:50051``."""
    kind, _, address = peer.partition(":")
    return unquote(address) if kind in {"ipv4", "ipv6"} else peer
