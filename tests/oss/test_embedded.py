"""The golden exchanges once more, before the engine that keeps what it is told."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from oss.dialect import Dialect, dialect_before, vector
from oss.golden import FOLDER, play
from vectorbucket_server.app import running_server
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.settings import Settings


@pytest.fixture(name="data_dir", scope="module")
def fixture_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture(name="server_address", scope="module")
def fixture_server_address(data_dir: Path) -> Iterator[str]:
    """The address of a server with the embedded engine."""
    settings = Settings(engine="embedded", data_dir=data_dir, grpc_address="127.0.0.1:0")
    with running_server(settings, log=make_logger("json", "error", io.StringIO())) as server:
        yield server.address


@pytest.mark.parametrize("file", sorted(path.name for path in FOLDER.glob("*.http")))
def test_the_embedded_engine_answers_the_same(dialect: Dialect, file: str) -> None:
    name, sdk, _ = file.split(".")
    play(dialect, name, sdk)


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    policy = (
        b'{ "Version":"1","Statement":[{"Effect":"Allow","Principal":["*"],'
        b'"Action":["oss:*"],"Resource":["acs:ossvector:*:*:*"]}]}'
    )
    logging = {"TargetBucket": "logs", "TargetPrefix": "p"}
    for start in range(2):
        settings = Settings(engine="embedded", data_dir=tmp_path, grpc_address="127.0.0.1:0")
        log = make_logger("json", "error", io.StringIO())
        with (
            running_server(settings, log=log) as server,
            dialect_before(server.address) as dialect,
        ):
            if start == 0:
                dialect.make_index(metadata={"nonFilterableMetadataKeys": ["k"]})
                dialect.put(vector("a", t="x"), vector("b", n=1.5))
                dialect.done("PUT", "policy", policy)
                said = {"BucketLoggingStatus": {"LoggingEnabled": logging}}
                dialect.done("PUT", "logging", said)
                continue
            assert dialect.done("GET", "policy").response.body == policy
            status = dialect.done("GET", "logging").body["BucketLoggingStatus"]
            assert status == {"LoggingEnabled": logging}
            index = dialect.done("POST", "getVectorIndex", {"indexName": "idx1"}).body["index"]
            assert index["metadata"] == {"nonFilterableMetadataKeys": ["k"]}
            asked = {"indexName": "idx1", "returnData": True, "returnMetadata": True}
            assert dialect.done("POST", "listVectors", asked).body["vectors"] == [
                {"key": "a", "data": {"float32": [1.0, 2.0, 3.0]}, "metadata": {"t": "x"}},
                {"key": "b", "data": {"float32": [1.0, 2.0, 3.0]}, "metadata": {"n": 1.5}},
            ]
