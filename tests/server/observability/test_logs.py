"""Log lines: their form, their fields, and what never stands in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import numpy as np
import pytest

from vectorbucket.errors import MalformedJson, NoSuchBucket, VectorIndexParameterInvalid
from vectorbucket_server.model import BucketLogging
from vectorbucket_server.observability.logs import (
    CALL_FIELDS,
    SILENT_WHEN_EMPTY,
    CallRecord,
    LogFormat,
    LogLevel,
    call_fields,
    loggable,
    make_logger,
    route_standard_logging,
)


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """Yield the root logger of the standard library, and put it back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_line_is_one_object_with_level_and_time() -> None:
    stream = io.StringIO()
    make_logger("json", "info", stream).info("call", method="GetVectors", count=3)
    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert fields.pop("timestamp").endswith("Z")
    assert fields == {"event": "call", "level": "info", "method": "GetVectors", "count": 3}


def test_text_of_any_kind_stays_one_line() -> None:
    stream = io.StringIO()
    log = make_logger("json", "info", stream)
    log.info("call", message='torn\nby\r"quotes" \x00 and 🜁')
    (line,) = stream.getvalue().strip().split("\n")
    assert json.loads(line)["message"] == 'torn\nby\r"quotes" \x00 and 🜁'


def test_value_without_a_json_form_is_written_as_text() -> None:
    stream = io.StringIO()
    make_logger("json", "info", stream).info("call", odd=2j)
    assert json.loads(stream.getvalue())["odd"] == "2j"


def test_nothing_that_a_caller_chose_moves_the_cursor_of_a_terminal() -> None:
    stream = io.StringIO()
    make_logger("console", "info", stream).info("call", bucket="\x1b[2Jb", index="a\x85\u2028ü\n")
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    assert r"\x1b[2Jb" in line
    assert "ü" in line


def test_console_line_is_for_people() -> None:
    stream = io.StringIO()
    make_logger("console", "info", stream).info("call", method="GetVectors")
    assert "method=GetVectors" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "heard"),
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)],
)
def test_lines_below_the_level_are_not_written(level: LogLevel, heard: int) -> None:
    stream = io.StringIO()
    log = make_logger("json", level, stream)
    for say in (log.debug, log.info, log.warning, log.error):
        say("something")
    assert len(stream.getvalue().splitlines()) == heard


@pytest.mark.parametrize("form", ["json", "console"])
def test_traceback_tells_where_but_not_with_which_vectors(form: LogFormat) -> None:
    stream = io.StringIO()

    def fail() -> None:
        vector = np.array([123.25, 77.5])
        raise KeyError(len(vector))

    with pytest.raises(KeyError) as caught:
        fail()
    make_logger(form, "info", stream).error("call", exc_info=caught.value)
    assert "in fail" in stream.getvalue()
    assert "KeyError: 2" in stream.getvalue()
    assert "123.25" not in stream.getvalue()


def test_call_that_knows_nothing_says_only_what_every_call_says() -> None:
    record = CallRecord("ID", "ListVectorBuckets", code="OK", latency_ms=0.5)
    assert call_fields(record) == {
        "request_id": "ID",
        "method": "ListVectorBuckets",
        "request_bytes": 0,
        "code": "OK",
        "latency_ms": 0.5,
    }


def test_call_that_knows_everything_says_everything_in_order() -> None:
    record = CallRecord(
        request_id="ID",
        method="PutVectors",
        principal="writer",
        peer="ipv4:192.0.2.7:1",
        bucket="photos",
        index_name="faces",
        batch_count=3,
        rejected_batch_count=1,
        vector_count=1000,
        query_count=2,
        request_bytes=70_000,
        plan="exact_scan",
        code="NOT_FOUND",
        reason="NoSuchBucket",
        field="bucket",
        message="bucket 'x' does not exist",
        latency_ms=1.5,
        trace_id="0af7651916cd43dd8448eb211c80319c",
        message_count=3,
        logging=BucketLogging("audit"),
    )
    assert tuple(call_fields(record)) == CALL_FIELDS
    assert set(CALL_FIELDS) >= SILENT_WHEN_EMPTY


@pytest.mark.parametrize("form", ["json", "console"])
def test_lines_of_libraries_take_the_same_form(
    form: LogFormat, root_logger: logging.Logger
) -> None:
    stream = io.StringIO()
    route_standard_logging(form, "info", stream)
    logging.getLogger("grpc._server").error("Exception calling callback!")
    logging.getLogger("grpc._server").info("chatter")
    (line,) = stream.getvalue().splitlines()
    assert "Exception calling callback!" in line
    assert "grpc._server" in line
    if form == "json":
        assert json.loads(line)["level"] == "error"
    assert len(root_logger.handlers) == 1


def test_libraries_are_not_heard_below_the_servers_own_level(root_logger: logging.Logger) -> None:
    stream = io.StringIO()
    route_standard_logging("json", "error", stream)
    logging.getLogger("some.library").warning("chatter")
    assert stream.getvalue() == ""
    assert root_logger.level == logging.ERROR


# --- Words of errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field", ["vectors[3].metadata.title", "filter", "filter.a.$in", "query_vector", "queryVector"]
)
def test_words_about_vectors_metadata_and_filters_are_not_logged(field: str) -> None:
    assert loggable(VectorIndexParameterInvalid("is 8765.4", field=field)) == ""


@pytest.mark.parametrize(
    ("message", "logged"),
    [
        ("top_k is 500; it must be 1 to 100", "top_k is 500; it must be 1 to 100"),
        ("key 'x' is twice there", "key '…' is twice there"),
        ("is \"it's\" and 'that'", "is '…'"),
        ("the stream's first said 'x'", "the stream'…'"),
        ("the index's dimension is 4", "the index's dimension is 4"),
        ("is 'a\nb' long", "is '…' long"),
    ],
)
def test_what_is_quoted_of_other_fields_is_left_out(message: str, logged: str) -> None:
    assert loggable(VectorIndexParameterInvalid(message, field="top_k")) == logged
    assert loggable(MalformedJson(message)) == logged


def test_words_of_errors_that_are_about_names_are_logged_whole() -> None:
    assert loggable(NoSuchBucket("bucket 'x' does not exist")) == "bucket 'x' does not exist"
