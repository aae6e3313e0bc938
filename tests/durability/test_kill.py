"""A real server, killed with SIGKILL at random moments of a streaming put, and started again.

Two writers work when the blow falls: one streams batches of puts, with a few unanswered at any
time; the other puts and deletes by unary calls. They use the bare stubs, so that no client makes
good what the server loses. After each start everything acknowledged is there byte for byte, and of
every other batch all or nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

import grpc
import numpy as np
import pytest

from bench_server import ROOT, ServerProcess, StartServer
from durability.ledger import Ledger, Operation, part_of, random_operations, self_queries
from engines.subject import content_of
from long_runs import Rounds
from oracles import Dataset, draw_dataset, load_dataset
from vectorbucket import Client
from vectorbucket.v1 import vector_pb2, vector_service_pb2, vector_service_pb2_grpc
from vectorbucket_server.model import Vector

BUCKET = "killed"
INDEX = "vectors"
DIMENSION = 32
UNANSWERED_MAX = 6
GRAPH_ROWS_MIN = 50
"""As ``start_restless`` has it."""

SAMPLE = ROOT / "scripts" / "demo_data" / "debian-packages-2k.npz"


def messages(operation: Operation) -> Iterator[vector_pb2.Vector]:
    """Yield the vectors of a put as messages."""
    for key, row, metadata in zip(
        operation.keys, operation.rows(DIMENSION), operation.metadata(), strict=True
    ):
        vector = vector_pb2.Vector(key=key)
        vector.data.float32_le = row.tobytes()
        for name, value in metadata.items():
            field = vector.metadata[name]
            if isinstance(value, bool):
                field.bool_value = value
            elif isinstance(value, str):
                field.string_value = value
            elif isinstance(value, float):
                field.number_value = value
            else:
                field.list_value.SetInParent()
                for element in value:
                    if isinstance(element, str):
                        field.list_value.values.add(string_value=element)
                    else:
                        field.list_value.values.add(number_value=element)
        yield vector


class StreamWriter:
    """Streams batches of puts for ever, a few of them unanswered."""

    def __init__(self, seed: int, ledger: Ledger) -> None:
        self._operations = random_operations(seed, "s", keys=4_000, batch_max=300, delete_share=0.0)
        self._ledger = ledger
        self._seed = seed
        self._room = threading.Semaphore(UNANSWERED_MAX)
        self._ended = threading.Event()

    def run(self, stub: vector_service_pb2_grpc.VectorServiceStub) -> None:
        """Write until the server is gone."""
        try:
            for answer in stub.PutVectors(self._requests()):
                assert not answer.HasField("error"), answer.error
                self._ledger.answered()
                self._room.release()
        finally:
            self._ended.set()
            self._room.release()

    def _requests(self) -> Iterator[vector_service_pb2.PutVectorsRequest]:
        for number, operation in enumerate(self._operations, start=1):
            self._room.acquire()
            if self._ended.is_set():
                return
            self._ledger.begun(operation)
            yield vector_service_pb2.PutVectorsRequest(
                bucket=BUCKET,
                index_name=INDEX,
                stream_id=f"round-{self._seed}",
                batch_number=number,
                vectors=messages(operation),
            )


class UnaryWriter:
    """Puts and deletes one batch after the other."""

    def __init__(self, seed: int, ledger: Ledger) -> None:
        self._operations = random_operations(seed, "u", keys=300, batch_max=40, delete_share=0.4)
        self._ledger = ledger

    def run(self, stub: vector_service_pb2_grpc.VectorServiceStub) -> None:
        """Write until the server is gone."""
        for operation in self._operations:
            self._ledger.begun(operation)
            if operation.deletes:
                stub.DeleteVectors(
                    vector_service_pb2.DeleteVectorsRequest(
                        bucket=BUCKET, index_name=INDEX, keys=operation.keys
                    )
                )
            else:
                stub.PutVectorsBatch(
                    vector_service_pb2.PutVectorsBatchRequest(
                        bucket=BUCKET, index_name=INDEX, vectors=messages(operation)
                    )
                )
            self._ledger.answered()


def write_until_killed(
    server: ServerProcess, streamed: Ledger, called: Ledger, seed: int, rng: np.random.Generator
) -> None:
    """Let both writers work, and kill the server at some moment of it."""
    enough = streamed.acknowledged + int(rng.integers(1, 25))
    moment = threading.Event()
    with grpc.insecure_channel(server.target) as channel:
        stub = vector_service_pb2_grpc.VectorServiceStub(channel)  # type: ignore[no-untyped-call]

        def write(run: Callable[[vector_service_pb2_grpc.VectorServiceStub], None]) -> None:
            with pytest.raises(grpc.RpcError) as gone:
                run(stub)
            assert gone.value.code() is grpc.StatusCode.UNAVAILABLE

        with ThreadPoolExecutor(2) as pool:
            writers = [
                pool.submit(write, StreamWriter(seed, streamed).run),
                pool.submit(write, UnaryWriter(seed, called).run),
            ]
            while streamed.acknowledged < enough and not any(one.done() for one in writers):
                moment.wait(0.001)
            # Anywhere in what a batch takes: it is the moment that is random, nothing waits for it.
            moment.wait(float(rng.uniform(0, 0.02)))
            server.kill()
            for writer in writers:
                writer.result()
    assert called.under_way, "the blow fell when nothing was under way"


def check(client: Client, streamed: Ledger, called: Ledger, seed: int) -> None:
    """Check what a restarted server has, by every kind of read."""
    scanned = client.scan_vectors(BUCKET, INDEX, return_data=True, return_metadata=True)
    content = content_of([Vector(one.key, one.data, one.metadata) for one in scanned])
    streamed.settle(part_of(content, "s"))
    called.settle(part_of(content, "u"))
    count = len(streamed.settled) + len(called.settled)
    assert len(content) == count
    assert client.get_vector_index(BUCKET, INDEX).vector_count == count
    for ledger in (streamed, called):
        if not ledger.settled:
            continue
        keys, queries = self_queries(ledger.settled, DIMENSION, 50, seed)
        found = client.query_vectors_batch(BUCKET, INDEX, queries, top_k=1)
        assert [hits[0].key for hits in found] == keys
        got = client.get_vectors(BUCKET, INDEX, keys, return_data=True)
        assert [one.data.tobytes() for one in got if one.data is not None] == [
            row.tobytes() for row in queries
        ]


def test_killed_server_has_all_that_it_acknowledged_and_nothing_by_half(
    start_restless: StartServer, tmp_path: Path, rounds: Rounds
) -> None:
    start, rng = start_restless, np.random.default_rng(50)
    streamed, called = Ledger(DIMENSION), Ledger(DIMENSION)
    data_dir = tmp_path / "data"
    server = start(data_dir)
    with Client(server.target) as client:
        client.put_vector_bucket(BUCKET)
        client.put_vector_index(BUCKET, INDEX, dimension=DIMENSION, distance_metric="euclidean")
    for seed in range(rounds(3, 30)):
        write_until_killed(server, streamed, called, seed, rng)
        server = start(data_dir)
        with Client(server.target) as client:
            check(client, streamed, called, seed)
            # So that the next blow meets a graph that was saved, and is being changed.
            wait_until_saved(client, data_dir)
    assert server.stop() == 0
    assert saved_in(data_dir), "no graph was ever saved"
    log = (tmp_path / "server.log").read_text("utf-8")
    assert "background work failed" not in log, "a blow left a checkpoint that is named and is bad"
    assert streamed.acknowledged > 3
    assert called.acknowledged > 3


def found_themselves(client: Client, dataset: Dataset) -> float:
    """Return which share of the vectors is its own nearest, twins counting as one."""
    hits = [
        found
        for start in range(0, len(dataset.keys), 1_000)
        for found in client.query_vectors_batch(
            BUCKET, INDEX, dataset.data[start : start + 1_000], top_k=1
        )
    ]
    place = {key: position for position, key in enumerate(dataset.keys)}
    same = [
        np.array_equal(dataset.data[place[found[0].key]], row)
        for found, row in zip(hits, dataset.data, strict=True)
    ]
    return sum(same) / len(same)


def wait_until_indexed(client: Client) -> None:
    """Return when nothing is pending."""
    pause = threading.Event()
    while client.get_vector_index(BUCKET, INDEX).pending_vector_count:
        pause.wait(0.02)


def saved_in(data_dir: Path) -> list[str]:
    """Return the directories of checkpoints."""
    # Path.glob would fail if a directory went while it looked.
    return glob("generations/*/*/checkpoint-*", root_dir=data_dir)  # noqa: PTH207


def wait_until_saved(client: Client, data_dir: Path) -> None:
    """Return when nothing is pending, and a checkpoint was begun if there is a graph."""
    wait_until_indexed(client)
    pause = threading.Event()
    if (client.get_vector_index(BUCKET, INDEX).vector_count or 0) >= GRAPH_ROWS_MIN:
        while not saved_in(data_dir):
            pause.wait(0.02)


@pytest.mark.parametrize("of", ["sample", "mixture"])
def test_every_vector_finds_itself_after_a_kill(
    of: str, start: StartServer, tmp_path: Path, rounds: Rounds
) -> None:
    dataset = (
        load_dataset(SAMPLE)
        if of == "sample"
        else draw_dataset(rounds(4_000, 20_000), 64, seed=51, queries=1)
    )
    data_dir = tmp_path / "data"
    server = start(data_dir)
    with Client(server.target) as client:
        client.put_vector_bucket(BUCKET)
        client.put_vector_index(
            BUCKET, INDEX, dimension=dataset.dimension, distance_metric="cosine"
        )
        client.put_vectors(
            BUCKET, INDEX, keys=dataset.keys, data=dataset.data, metadata=dataset.metadata
        )
    server.kill()
    with start(data_dir) as server, Client(server.target) as client:
        least = 1.0 if of == "sample" else 0.999
        # First while the indexer is at work, then from the graph alone.
        assert found_themselves(client, dataset) >= least
        wait_until_indexed(client)
        assert found_themselves(client, dataset) >= least


def test_running_server_keeps_its_directory_and_a_killed_one_lets_go_of_it(
    start: StartServer, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    first = start(data_dir)
    with pytest.raises(RuntimeError, match="in use by another process"):
        start(data_dir)
    first.kill()
    assert start(data_dir).stop() == 0
