"""How values are written."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from vectorbucket_server.rest.oss.replies import bucket_arn, json_bytes, number, time_text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_744_853_627_000, "2025-04-17T01:33:47.000Z"),
        (1_744_853_627_009, "2025-04-17T01:33:47.009Z"),
        (1_744_853_627_999, "2025-04-17T01:33:47.999Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_have_milliseconds_and_end_in_z(milliseconds: int, text: str) -> None:
    timestamp = Timestamp()
    timestamp.FromMilliseconds(milliseconds)
    assert time_text(timestamp) == text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *((1.0, "1"), (-7.0, "-7"), (0.0, "0"), (-0.0, "0"), (0.5, "0.5"), (0.1, "0.1")),
        *((2.0**53, "9007199254740992"), (2.0**54, "1.8014398509481984e+16"), (1e300, "1e+300")),
        *((5e-324, "5e-324"), (-1e-7, "-1e-7")),
    ],
)
def test_whole_numbers_are_written_without_a_fraction(value: float, written: str) -> None:
    text = json_bytes(number(value)).decode()
    assert json.loads(text) == json.loads(written) == value
    assert ("." in text) == ("." in written)


def test_float32_is_written_so_that_it_reads_back_the_same() -> None:
    numbers = np.random.default_rng(1).standard_normal(10_000).astype("<f4")
    numbers[:4] = [0.1, 3.4028235e38, 1e-45, -0.0]
    read = np.asarray(json.loads(json_bytes(numbers)), np.float32)
    assert np.array_equal(read, numbers)
    assert json_bytes(numbers[:1]) == b"[0.1]"
    assert math.copysign(1, json.loads(json_bytes(numbers[3:4]))[0]) == -1


def test_arrays_over_bytes_can_be_written() -> None:
    raw = np.asarray([1.5, 2.5], "<f4").tobytes()
    assert json_bytes({"float32": np.frombuffer(raw, "<f4")}) == b'{"float32":[1.5,2.5]}'


def test_a_bucket_has_a_name_in_the_world() -> None:
    assert bucket_arn("r", "1", "photos") == "acs:ossvector:r:1:photos"
