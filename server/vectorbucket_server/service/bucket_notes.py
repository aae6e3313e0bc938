"""Which calls leave a line in a bucket's own log: those on a bucket whose logging is on.

Rules of this file: it is asked at the end of every call, refused ones included, so it costs no more
than a look into what the engine remembers, and waits for nothing that is away: a call that failed
for that would keep its thread for as long again. A call of which nothing is known leaves nothing;
it never raises.
"""

from __future__ import annotations

from vectorbucket.errors import ServiceUnavailable, VectorBucketError
from vectorbucket_server.engine.base import Engine
from vectorbucket_server.observability.bucket_logs import BucketLogs
from vectorbucket_server.observability.logs import CallRecord


class BucketNotes:
    """Notes calls in the logs of their buckets; one for a server."""

    def __init__(self, engine: Engine, logs: BucketLogs) -> None:
        """Take what is asked and what is told.

        Args:
            engine: Knows which bucket is logged, and where to.
            logs: Writes the lines.
        """
        self._engine = engine
        self._logs = logs

    def __call__(self, record: CallRecord) -> None:
        """Note a call that has ended."""
        if not record.bucket:
            return
        logging = record.logging
        if logging is None:
            try:
                if record.reason == ServiceUnavailable.__name__:
                    self._engine.check()
                logging = self._engine.get_bucket(record.bucket).logging
            except VectorBucketError:
                return
        if logging is not None:
            self._logs.note(record, record.bucket, logging)
