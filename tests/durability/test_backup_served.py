"""A server that is killed while it makes a backup, and another one that serves the one before.

Both are real processes, and everything goes through the client. What the engine does at each
moment is tested in test_backup.py.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from bench_server import StartServer
from rooms import eventually, running
from vectorbucket import Client
from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.restore import restore
from vectorbucket_server.engine.embedded.verification import Verification

BUCKET, INDEX = "shop", "cups"
COUNT, DIMENSION = 400, 8


def content_of(client: Client) -> dict[str, tuple[list[float], object]]:
    """Return all vectors: their numbers and their metadata, by key."""
    listed = client.list_vectors(BUCKET, INDEX, return_data=True, return_metadata=True)
    return {one.key: (np.asarray(one.data).tolist(), one.metadata) for one in listed}


def test_backup_of_a_server_that_is_killed_at_the_next_one_serves_what_was_there(
    tmp_path: Path, start_restless: StartServer
) -> None:
    data_dir, folder = tmp_path / "data", tmp_path / "data" / "backups"
    rows = np.random.default_rng(3).standard_normal((COUNT, DIMENSION), dtype=np.float32)
    keys, metadata = [f"k{one}" for one in range(COUNT)], [{"n": one} for one in range(COUNT)]
    server = start_restless(data_dir)
    with Client(server.target) as client:
        client.put_vector_bucket(BUCKET)
        client.put_vector_index(BUCKET, INDEX, dimension=DIMENSION, distance_metric="euclidean")
        client.put_vectors(BUCKET, INDEX, keys=keys, data=rows, metadata=metadata)
        before = content_of(client)
        made = client.put_backup("first")
        client.delete_vectors(BUCKET, INDEX, keys[:100])

        def make_another() -> None:
            with suppress(ServiceUnavailable):
                client.put_backup("second")

        with running(make_another):
            eventually(lambda: any(folder.glob("second*")), "it is begun")
            server.kill()
    assert Path(made.path) == folder / "first"
    for path in folder.iterdir():
        if not path.name.endswith(".partial"):  # it may have been quicker than the blow
            look = Verification(path, EmbeddedOptions(path), lambda *_: None)
            assert list(look.findings()) == []
    restore(folder / "first", tmp_path / "new", lambda *_: None)
    with Client(start_restless(tmp_path / "new").target) as client:
        assert content_of(client) == before
        (hit,) = client.query_vectors(BUCKET, INDEX, rows[7], top_k=1)
        assert hit.key == "k7"
        assert client.list_backups() == []
