"""Values of the contract -> JSON as OSS writes it.

Rules of this file: what is written here is compact UTF-8; a time has milliseconds and ends in Z; a
number that is whole is written without a fraction, as it was most likely put.

Source: oss-vectors-api, sections 2.2, 3.3 and 3.9.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from vectorbucket.limits import INTEGER_MAX


def json_bytes(value: Any) -> bytes:
    """Return a value as JSON; arrays of float32 in the shortest form that reads back the same."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def time_text(timestamp: Timestamp) -> str:
    """Return a time as ``2025-04-17T01:33:47.000Z``."""
    milliseconds = timestamp.ToMilliseconds()
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03}Z"


def number(value: float) -> float | int:
    """Return a number as it is to be written."""
    if value.is_integer() and abs(value) <= INTEGER_MAX:
        return int(value)
    return value


def bucket_arn(region: str, account_id: str, bucket: str) -> str:
    """Return the name of a bucket that is unique in the world."""
    return f"acs:ossvector:{region}:{account_id}:{bucket}"
