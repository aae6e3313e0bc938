"""A query right after a put finds the vector, right after the delete not, beside a stream.

Everything is real: the server is a process of its own with default settings, the client is the
public one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bench_server import start_server
from long_runs import Rounds
from oracles import Float32Array, draw_mixture
from vectorbucket import Client, Vector

BUCKET = "fresh"
INDEX = "vectors"
DIMENSION = 32


@pytest.fixture(name="target")
def fixture_target(tmp_path: Path) -> Iterator[str]:
    """Yield where a server with an empty index listens."""
    with start_server(tmp_path / "data") as server:
        with Client(server.target) as client:
            client.put_vector_bucket(BUCKET)
            client.put_vector_index(BUCKET, INDEX, dimension=DIMENSION, distance_metric="cosine")
        yield server.target


class Stream:
    """A stream of puts that goes on until it is told to end."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._ending = threading.Event()
        self._flowing = threading.Event()
        self._sent = 0

    def run(self) -> int:
        """Put vectors without pause; return how many were stored."""
        with Client(self._target) as client:
            result = client.put_vectors(
                BUCKET, INDEX, self._vectors(), progress=lambda _: self._flowing.set()
            )
        return result.stored

    def wait_until_flowing(self) -> None:
        """Return when the first batch was acknowledged."""
        assert self._flowing.wait(60)

    def end(self) -> None:
        """Say that no vector follows."""
        self._ending.set()

    def _vectors(self) -> Iterator[Vector]:
        rows = draw_mixture(2_000, DIMENSION, seed=80)
        while not self._ending.is_set():
            # The same keys again and again: the index stays small while the stream flows.
            number = self._sent % len(rows)
            self._sent += 1
            yield Vector(f"stream{number:04d}", rows[number], {"of": "stream"})


def check_put(client: Client, key: str, row: Float32Array) -> None:
    """Check that a vector that was just put is found by every read."""
    (hit,) = client.query_vectors(BUCKET, INDEX, row, top_k=1, return_metadata=True)
    assert (hit.key, hit.metadata) == (key, {"of": key})
    assert hit.distance == pytest.approx(0.0, abs=1e-6)
    (filtered,) = client.query_vectors(BUCKET, INDEX, -row, top_k=5, filter={"of": key})
    assert filtered.key == key
    (got,) = client.get_vectors(BUCKET, INDEX, [key], return_data=True)
    assert got.data is not None
    assert got.data.tobytes() == row.tobytes()


def check_deleted(client: Client, key: str, row: Float32Array) -> None:
    """Check that a vector that was just deleted is found by no read."""
    hits = client.query_vectors(BUCKET, INDEX, row, top_k=3)
    assert key not in [hit.key for hit in hits]
    assert len(hits) == 3
    assert client.query_vectors(BUCKET, INDEX, row, top_k=3, filter={"of": key}) == []
    assert client.get_vectors(BUCKET, INDEX, [key]) == []


def test_reads_see_the_write_before_them_beside_a_running_stream(
    target: str, rounds: Rounds
) -> None:
    rows = np.random.default_rng(81).standard_normal((50, DIMENSION), np.float32)
    stream = Stream(target)
    with ThreadPoolExecutor(1) as pool, Client(target) as client:
        streaming: Future[int] = pool.submit(stream.run)
        try:
            stream.wait_until_flowing()
            for number in range(rounds(100, 1_000)):
                key, row = f"mine{number % 7}", rows[number % len(rows)]
                client.put_vectors(BUCKET, INDEX, [Vector(key, row, {"of": key})])
                check_put(client, key, row)
                client.delete_vectors(BUCKET, INDEX, [key])
                check_deleted(client, key, row)
                assert not streaming.done(), "the stream ended by itself"
        finally:
            stream.end()
        assert streaming.result() >= 2_000
        assert client.get_vector_index(BUCKET, INDEX).vector_count == 2_000
