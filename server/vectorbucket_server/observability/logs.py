"""Log lines: one for each call, and those of the libraries, all in one form on one stream.

Rules of this file: the names of a call's fields stand in CallRecord and nowhere else; no vector, no
metadata and no credential is ever a field; nothing here is a global, except what the standard
library itself keeps (``route_standard_logging``).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TextIO, TypeAlias, cast

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from vectorbucket.errors import InvalidRequest, VectorBucketError
from vectorbucket_server.model import BucketLogging
from vectorbucket_server.observability.log_stream import LogStream

Log: TypeAlias = FilteringBoundLogger
"""Where lines go: ``log.info("what happened", field=value)``."""

LogFormat = Literal["json", "console"]
"""``json``: one object a line, for machines. ``console``: coloured where it can be, for people."""

LogLevel = Literal["debug", "info", "warning", "error"]
"""The least severe lines that are written."""


@dataclass(slots=True)
class CallRecord:
    """What is known of one call: the fields of its log line, in their order.

    Servicers fill in what they learn; what stayed empty is left out of the line.
    """

    request_id: str
    """24 hexadecimal digits, as the caller was told."""
    method: str
    """The RPC's name, as ``QueryVectors``."""
    principal: str = ""
    """The name of the caller's credential; empty on a server without credentials."""
    peer: str = ""
    """From where the call came, as gRPC says it: ``ipv4:127.0.0.1:50051``; or as a translator says
    it of the request that it serves."""
    bucket: str = ""
    index_name: str = ""
    message_count: int = 0
    """Messages of a put stream that were received: for metrics, no field of the log line."""
    batch_count: int = 0
    """Messages of a put stream that were answered."""
    rejected_batch_count: int = 0
    """How many of them with an error."""
    vector_count: int = 0
    """Vectors stored, deleted or returned, or hits found."""
    query_count: int = 0
    request_bytes: int = 0
    """Bytes of all request messages, as they arrived."""
    plan: str = ""
    """How the engine ran the query."""
    code: str = ""
    """The gRPC status code, as ``NOT_FOUND``."""
    reason: str = ""
    """The OSS code of the error."""
    field: str = ""
    """What of the request was wrong, as ``filter.title.$in``."""
    message: str = ""
    """The error in words, as far as they may be logged; see ``loggable``."""
    latency_ms: float = 0.0
    """From the first line of our code to the last; of a stream, its whole life."""
    trace_id: str = ""
    """The trace that the call is a part of, in 32 hexadecimal digits; empty without tracing."""
    logging: BucketLogging | None = None
    """Where the bucket's own line of the call goes, if the call itself ended the logging. No field
    of the log line."""


_NO_FIELDS = frozenset({"message_count", "logging"})

CALL_FIELDS = tuple(field.name for field in fields(CallRecord) if field.name not in _NO_FIELDS)
"""The names of a log line's fields."""

SILENT_WHEN_EMPTY = frozenset(CALL_FIELDS) - {"request_id", "method", "request_bytes", "code"}
"""Fields that are left out of a line when they are empty or zero."""


def call_fields(record: CallRecord) -> dict[str, str | int | float]:
    """Return the fields of a call's log line."""
    line = {}
    for name in CALL_FIELDS:
        value = getattr(record, name)
        if value or name not in SILENT_WHEN_EMPTY:
            line[name] = value
    return line


def loggable(error: VectorBucketError) -> str:
    """Return an error's words as far as they may be logged.

    A caller is told what he has sent wrong, and shown it. Of vectors, metadata and filters that is
    nothing for a log, which says only which field it was; of other fields, what is quoted is left
    out.
    """
    if not isinstance(error, InvalidRequest):
        return error.message
    if error.field is not None and _CONTENTS.match(error.field):
        return ""
    return _QUOTED.sub("'…'", error.message)


_CONTENTS = re.compile(r"(vectors|query_?vectors?|metadata|filter)\b", re.IGNORECASE)
"""Fields that hold what is stored, or what is looked for, and whatever is below them."""

_QUOTED = re.compile(r"['\"].*['\"]", re.DOTALL)
"""From the first quotation mark to the last: what is quoted may hold some itself."""

_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)

_STAMPING: Sequence[Processor] = (structlog.processors.add_log_level, _stamp)


def make_logger(form: LogFormat, level: LogLevel, stream: TextIO) -> Log:
    """Return a logger that writes lines of a form, at least as severe as a level, to a stream."""
    logger = structlog.wrap_logger(
        structlog.WriteLogger(cast("TextIO", LogStream(stream))),
        processors=[_json_line] if form == "json" else [*_STAMPING, *_rendering(form, stream)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    # The lazy proxy would build a logger for every line; bind() builds it once.
    bound: Log = logger.bind()
    return bound


def route_standard_logging(form: LogFormat, level: LogLevel, stream: TextIO) -> None:
    """Send what libraries log through the standard library to a stream, in the same form.

    For the server's process only: it replaces the handlers of the root logger. Libraries are heard
    from ``warning`` on, even when the server itself says more.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_STAMPING, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(form, stream),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))


def _rendering(form: LogFormat, stream: TextIO) -> list[Processor]:
    """Return the processors that turn an event into a line of text."""
    if form == "json":
        return [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_json),
        ]
    # Not the renderer's own default: it prints local variables, and those hold vectors.
    return [
        _tame,
        structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _tame(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Return an event of which no text can move a terminal's cursor, or look like another line.

    Callers choose some of them, as the name of a bucket that is refused.
    """
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = "".join(
                one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in value
            )
    return event


def _json_line(_logger: object, method: str, event: EventDict) -> str:
    """Return an event as a line, as ``_STAMPING`` and ``_rendering`` would, in one step.

    A call has a line, and a query little time: four steps took twice as long as this one.
    """
    event["level"] = method
    event = _stamp(None, method, event)
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(None, method, event)
    return msgspec.json.encode(event, enc_hook=repr).decode()


def _json(event: EventDict, *, default: Callable[[Any], Any], **_unused: object) -> str:
    """Return an event as compact JSON; what JSON has no word for, as ``default`` says."""
    return msgspec.json.encode(event, enc_hook=default).decode()
