"""Connections for tests: opened, closed, and an observer that remembers their calls.

Rules of this file: it opens and remembers; what is right is said by the tests alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from vectorbucket_server.engine.base import SilentObserver
from vectorbucket_server.engine.milvus.connection import Connection
from vectorbucket_server.engine.milvus.options import MilvusOptions

SECRET = "SECRET"  # noqa: S105 - what errors must not hold
TOKEN = f"root:{SECRET}"
FIELDS: list[dict[str, Any]] = [
    {"field_name": "key", "datatype": "VARCHAR", "max_length": 1024, "is_primary": True},
    {"field_name": "vector", "datatype": "FLOAT_VECTOR", "dim": 4},
    {"field_name": "metadata", "datatype": "JSON"},
]
EVERYTHING = 'key >= ""'
PARTITION = "p1"


class Heard(SilentObserver):
    """An observer that remembers the calls of Milvus."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def backend_called(self, call: str, outcome: str, seconds: float) -> None:
        """Remember one."""
        assert 0 <= seconds < 60
        self.calls.append((call, outcome))


@contextmanager
def opened(options: MilvusOptions, observer: Heard | None = None) -> Iterator[Connection]:
    """Yield a connection, open."""
    connection = Connection(options, observer or Heard())
    connection.open()
    with closing(connection):
        yield connection


def row(key: str, numbers: list[float] | None = None, metadata: str = "{}") -> dict[str, Any]:
    """Return a row of a collection with FIELDS."""
    data = np.array(numbers or [1, 2, 3, 4], np.float32)
    return {"key": key, "vector": data, "metadata": metadata}
