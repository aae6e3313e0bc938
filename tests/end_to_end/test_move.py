"""An index moves from a server with the embedded engine to one on Milvus, and back.

Everything is real: the servers are processes of their own, and so are the commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench_server import start_server
from client.cli.transfers import ODD, child, stored
from milvus_server import MilvusServer, temporary_database
from oss.live_rest import milvus_flags
from vectorbucket import Client

_LENGTH_MAX = 1e15
"""Milvus measures in float32: the lengths of longer vectors square to infinity."""

MOVABLE = [
    (key, data if max(map(abs, data)) < _LENGTH_MAX else [-0.0, 1e-45, 16777217.0], metadata)
    for key, data, metadata in ODD
]
"""Vectors of three numbers that are seldom seen, and that Milvus can measure."""


@pytest.fixture(name="targets", scope="module")
def fixture_targets(
    milvus_server: MilvusServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """Where a server with the embedded engine listens, and one on Milvus."""
    folder = tmp_path_factory.mktemp("move")
    with (
        temporary_database(milvus_server.uri) as database,
        start_server(folder / "embedded") as embedded,
        start_server(folder / "milvus", *milvus_flags(milvus_server.uri, database)) as milvus,
    ):
        yield embedded.target, milvus.target


def run(target: str, *arguments: str) -> None:
    """Run a command to its end."""
    with child(target, *arguments) as process:
        said = process.communicate()[1]
    assert process.returncode == 0, said.decode()


@pytest.mark.parametrize(
    ("metric", "kind"), [("euclidean", "jsonl"), ("cosine", "parquet")], ids=lambda one: one
)
def test_index_moves_to_milvus_and_back_bit_for_bit(
    targets: tuple[str, str], tmp_path: Path, metric: str, kind: str
) -> None:
    old, new = targets
    there, back = tmp_path / f"there.{kind}", tmp_path / f"back.{kind}"
    with Client(old) as embedded, Client(new) as milvus:
        for client in (embedded, milvus):
            client.put_vector_bucket(metric)
        embedded.put_vector_index(
            metric,
            "odd",
            dimension=3,
            distance_metric=metric,
            non_filterable_metadata_keys=["text"],
            m=24,
        )
        embedded.put_vectors(metric, "odd", MOVABLE)
        was = stored(embedded, metric, "odd")
        assert len(was) == len(ODD)

        run(old, "export", *place(metric, "odd", there))
        run(new, "import", *place(metric, "odd", there), "--create")
        assert stored(milvus, metric, "odd") == was

        run(new, "export", *place(metric, "odd", back))
        run(old, "import", *place(metric, "again", back), "--create")
        assert stored(embedded, metric, "again") == was

        made, moved, again = (
            client.get_vector_index(metric, name)
            for client, name in ((embedded, "odd"), (milvus, "odd"), (embedded, "again"))
        )
    for name in ("dimension", "distance_metric", "non_filterable_metadata_keys", "m"):
        assert getattr(made, name) == getattr(moved, name) == getattr(again, name)


def place(bucket: str, index_name: str, file: Path) -> list[str]:
    """Return the flags that name an index and a file."""
    return ["--bucket", bucket, "--index-name", index_name, "--file", str(file)]
