"""Log lines: their form, their fields, and what never stands in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import numpy as np
import pytest

from vectorbucket_server.model import BucketLogging
from vectorbucket_server.observability.logs import (
    CALL_FIELDS,
    SILENT_WHEN_EMPTY,
    CallRecord,
    LogFormat,
    LogLevel,
    call_fields,
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
        message="bucket 'x' does not exist",
        latency_ms=1.5,
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
