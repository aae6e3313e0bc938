"""Everything that callers and operators do, over and over, each checked as it is done.

A task does one thing once and raises if the answer is wrong. Many run at once, each in a thread of
its own, for as long as the soak lasts. What a task may be refused is said where it is done.

Rules of this file: vectors whose keys begin with ``a`` are put once and never changed, so that
whatever is asked of them has one right answer at any time.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from itertools import count
from typing import Any

import grpc
import numpy as np

from durability.ledger import Operation
from durability.patient_writers import Reader, Stub, Writer
from durability.test_kill import BUCKET, DIMENSION, INDEX
from vectorbucket import Client
from vectorbucket.errors import VectorIndexOperationConflict

STABLE = Operation(tuple(f"a{number:03d}" for number in range(500)), 1)
"""The vectors of INDEX that are never changed."""

STABLE_ROWS = STABLE.rows(DIMENSION)

ASIDE = "aside"
"""An index that is loaded and unloaded; it holds STABLE and nothing else."""

_PAUSE_S = 0.1
"""Between a task's turns: the machine is to be busy, not drowned."""

_RARELY = 40
"""Every so many turns the operator makes a backup."""

_ACCOUNT = "1234567890"

Task = Callable[[int], None]
"""Does something for the nth time."""


def populate(client: Client) -> None:
    """Make the bucket and the indexes that stay, and put what is never changed."""
    client.put_vector_bucket(BUCKET)
    for name in (INDEX, ASIDE):
        client.put_vector_index(BUCKET, name, dimension=DIMENSION, distance_metric="euclidean")
        client.put_vectors(
            BUCKET, name, keys=STABLE.keys, data=STABLE_ROWS, metadata=STABLE.metadata()
        )


class Tasks:
    """What is done, by name."""

    def __init__(self, client: Client, rest_target: str) -> None:
        self._client = client
        self._rest = http.client.HTTPConnection(rest_target, timeout=60)
        self._backups = count()
        self.asked_count = 0
        """Vectors that were looked for by themselves in the graph, which is approximate."""
        self.missed_count = 0
        """How many of them were not the first that was found."""

    def by_name(self) -> Mapping[str, Task]:
        """Return all of them."""
        return {
            "query": self.query,
            "query filtered": self.query_filtered,
            "scan": self.scan,
            "make and drop": self.make_and_drop,
            "load and unload": self.load_and_unload,
            "operate": self.operate,
            "rest": self.by_rest,
        }

    def query(self, turn: int) -> None:
        """Find ten vectors by themselves."""
        chosen = np.random.default_rng(turn).choice(len(STABLE.keys), size=10, replace=False)
        found = self._client.query_vectors_batch(BUCKET, INDEX, STABLE_ROWS[chosen], top_k=3)
        assert all(len(hits) == 3 for hits in found)
        self.asked_count += len(chosen)
        self.missed_count += sum(
            hits[0].key != STABLE.keys[one] for hits, one in zip(found, chosen, strict=True)
        )

    def query_filtered(self, turn: int) -> None:
        """Find a vector by its metadata, and as many as match."""
        position = turn % len(STABLE.keys)
        key, row = STABLE.keys[position], STABLE_ROWS[position]
        (hit,) = self._client.query_vectors(BUCKET, INDEX, row, top_k=5, filter={"key": key})
        assert hit.key == key
        wanted = {"version": {"$eq": 1}}
        hits = self._client.query_vectors(BUCKET, INDEX, row, top_k=20, filter=wanted)
        assert hits[0].key == key
        assert len(hits) == 20
        assert all(one.key in STABLE.keys for one in hits)

    def scan(self, _: int) -> None:
        """List everything; no key comes twice, and no stable one is missing."""
        keys = [one.key for one in self._client.scan_vectors(BUCKET, INDEX)]
        assert len(keys) == len(set(keys))
        assert set(STABLE.keys) <= set(keys)

    def make_and_drop(self, turn: int) -> None:
        """Make an index of a name that was used before, use it, and delete it."""
        name, first = "passing", turn % 100
        self._client.put_vector_index(BUCKET, name, dimension=DIMENSION, distance_metric="cosine")
        keys, rows = STABLE.keys[first : first + 300], STABLE_ROWS[first : first + 300]
        self._client.put_vectors(BUCKET, name, keys=keys, data=rows)
        (hit,) = self._client.query_vectors(BUCKET, name, rows[7], top_k=1)
        assert hit.key == keys[7]
        assert self._client.get_vector_index(BUCKET, name).vector_count == len(keys)
        self._client.delete_vector_index(BUCKET, name)

    def load_and_unload(self, turn: int) -> None:
        """Let an index leave memory, and ask it, which brings it back."""
        # Refused while it is in use: by the thread that puts it into its graph, say.
        with suppress(VectorIndexOperationConflict):
            self._client.unload_vector_index(BUCKET, ASIDE)
        if turn % 2:
            self._client.load_vector_index(BUCKET, ASIDE)
        position = turn % len(STABLE.keys)
        (hit,) = self._client.query_vectors(BUCKET, ASIDE, STABLE_ROWS[position], top_k=1)
        assert hit.key == STABLE.keys[position]

    def operate(self, turn: int) -> None:
        """Look at the server's figures, and now and then make a backup and remove it."""
        statistics = self._client.get_server_statistics()
        assert statistics.writes_refused == ""
        assert "vectorbucket_" in self._client.get_metrics()
        if turn % _RARELY == 0:
            name = f"soak-{next(self._backups)}"
            assert self._client.put_backup(name).name == name
            self._client.delete_backup(name)

    def by_rest(self, turn: int) -> None:
        """Find and get a vector through the other door, over one connection."""
        position = turn % len(STABLE.keys)
        key, row = STABLE.keys[position], STABLE_ROWS[position]
        asked = {"indexName": ASIDE, "queryVector": {"float32": row.tolist()}, "topK": 1}
        (hit,) = self._post("queryVectors", asked)
        assert hit["key"] == key
        (got,) = self._post("getVectors", {"indexName": INDEX, "keys": [key], "returnData": True})
        assert np.array_equal(np.array(got["data"]["float32"], np.float32), row)

    def _post(self, flag: str, body: Mapping[str, object]) -> list[dict[str, Any]]:
        """Return the vectors that an operation answers with."""
        headers = {
            "Host": f"{BUCKET}-{_ACCOUNT}.vectors.local",
            "Content-Type": "application/json",
        }
        self._rest.request("POST", f"/?{flag}=", json.dumps(body), headers)
        answer = self._rest.getresponse()
        said = answer.read()
        assert answer.status == 200, said
        vectors: list[dict[str, Any]] = json.loads(said)["vectors"]
        return vectors

    def close(self) -> None:
        """Close the connection."""
        self._rest.close()


class SoakCrowd:
    """Tasks, writers and a reader at work."""

    def __init__(self, target: str, rest_target: str, writers: list[Writer]) -> None:
        """Let them begin.

        Args:
            target: HOST:PORT of gRPC.
            rest_target: HOST:PORT of REST.
            writers: Who may not be refused.
        """
        self.turns: Counter[str] = Counter()
        self._writers = writers
        self._stopped = threading.Event()
        self._client = Client(target)
        self._channel = grpc.insecure_channel(target)
        self.tasks = Tasks(self._client, rest_target)
        self._reader = Reader(STABLE.keys[:100])
        by_name = self.tasks.by_name()
        self._pool = ThreadPoolExecutor(len(by_name) + len(writers) + 1)
        stub = Stub(self._channel)  # type: ignore[no-untyped-call]
        self._futures = [
            *(self._pool.submit(self._repeat, *one) for one in by_name.items()),
            *(self._pool.submit(one.run, stub, self._stopped) for one in writers),
            self._pool.submit(self._reader.run, stub, self._stopped),
        ]

    def _repeat(self, name: str, task: Task) -> None:
        """Do a task again and again."""
        while not self._stopped.is_set():
            task(self.turns[name])
            self.turns[name] += 1
            self._stopped.wait(_PAUSE_S)

    def check(self) -> None:
        """Raise what somebody failed with."""
        for one in self._futures:
            if one.done():
                one.result()
        for writer in self._writers:
            assert writer.refusals == []

    def stop(self) -> None:
        """Stop everybody, and raise what somebody failed with."""
        self._stopped.set()
        wait(self._futures)
        self.check()
        self.turns["read"] = self._reader.rounds
        for writer in self._writers:
            self.turns[f"write {writer.prefix}"] = writer.ledger.acknowledged
        self.close()

    def close(self) -> None:
        """Let go of everything, whoever is at work."""
        self._stopped.set()
        self._channel.close()
        self._pool.shutdown()
        self._client.close()
        self.tasks.close()
