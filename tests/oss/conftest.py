"""The engines that the cloud's own SDK is set before.

Rules of this file: what is shared by the tests of this folder and needs pytest's fixtures.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from milvus_server import MilvusServer, temporary_database
from oss.live_rest import Flags, milvus_flags

MILVUS = "milvus"


@pytest.fixture(
    name="engine",
    scope="module",
    params=["embedded", pytest.param(MILVUS, marks=pytest.mark.milvus)],
)
def fixture_engine(request: pytest.FixtureRequest) -> Iterator[Flags]:
    """Yield how a server is told which engine it works with, each in turn; it is empty at first."""
    if request.param != MILVUS:
        yield ("--engine", request.param)
        return
    milvus: MilvusServer = request.getfixturevalue("milvus_server")
    with temporary_database(milvus.uri) as name:
        yield milvus_flags(milvus.uri, name)
