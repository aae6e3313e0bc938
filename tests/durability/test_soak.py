"""A real server under everything at once, for seconds or, with ``--long``, for ten minutes.

Streams and batches of puts, overwrites, deletes, queries with and without filter, listings, gets,
an index that is made and dropped, one that leaves memory and comes back, backups, and the other
door. Nothing fails, every answer is right, and at the end every vector is there, bit for bit, also
after a restart.

Method: memory is what the process has for itself (RssAnon): mapped files are the page cache's. A
line is fitted to the samples after the first third; how much it rises over the time that it spans
is bounded, and so are descriptors and threads.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bench_server import ServerProcess, StartServer, anonymous_bytes
from durability.conftest import RESTLESS, servers
from durability.ledger import Ledger, part_of, self_queries
from durability.patient_writers import StreamWriter, Writer
from durability.soak_crowd import ASIDE, STABLE, STABLE_ROWS, SoakCrowd, populate
from durability.test_kill import BUCKET, DIMENSION, INDEX
from engines.subject import content_of
from long_runs import Rounds
from oracles import Float32Array
from rooms import eventually
from vectorbucket import Client
from vectorbucket_server.model import Vector

MIB = 1 << 20

PAUSE_S = 0.2
"""Between two batches of a writer: the graph is to keep up with them. Where it cannot, memory grows
up to what may wait for it (``pending_bytes_max``), which is not what is looked for here."""

STEADY = ("block_cache_bytes=8388608", "write_buffer_bytes=8388608", "turn_target_s=0.05")
"""Options of a store whose own memory is full before the first third is over, so that it does not
look like something that grows, and of an indexer that keeps up beside queries."""

SERVER_RISE_BYTES_MAX = 24 * MIB
TRANSLATOR_RISE_BYTES_MAX = 4 * MIB
"""Most that the line through memory may rise. A rebuild makes a graph twice for a while, and the
allocator keeps what it had: in ten minutes that is noise of so much."""

FILES_RISE_MAX = 40
"""The same of open descriptors: generations that come and go have some each, tables of the store
one each."""

THREADS_RISE_MAX = 3

FILES_MAX = 400
THREADS_MAX = 120
"""Most descriptors and threads at any moment."""

WARM_UP_S = 60
"""A soak that is shorter says nothing of what rises."""

FOUND_SHARE_MIN = 0.97
"""A graph is approximate: of random rows in 32 dimensions it misses one in some hundreds."""

SAMPLES_MIN = 6


@pytest.fixture(name="start_soak")
def fixture_start_soak(tmp_path: Path) -> Iterator[StartServer]:
    """Yield how to start a server with both doors and much to do behind."""
    options = (part for option in (*RESTLESS, *STEADY) for part in ("--embedded", option))
    folders = (
        "--backup-dir",
        str(tmp_path / "backups"),
        "--bucket-log-dir",
        str(tmp_path / "logs"),
    )
    yield from servers("--rest-address", "127.0.0.1:0", *folders, *options)


@dataclass(frozen=True, slots=True)
class Sample:
    """What two processes take at one moment."""

    second: float
    server_bytes: int
    translator_bytes: int
    file_count: int
    """Open descriptors of the server."""
    thread_count: int


class Observed:
    """The processes of a server, looked at from outside."""

    def __init__(self, server: ServerProcess) -> None:
        self._pid, self._translator = server.pid, translator_of(server.pid)
        self._began_s = time.monotonic()
        self.samples: list[Sample] = []

    def look(self) -> None:
        """Take a sample."""
        process = Path(f"/proc/{self._pid}")
        threads = re.search(r"Threads:\s+(\d+)", (process / "status").read_text("utf-8"))
        assert threads is not None
        self.samples.append(
            Sample(
                time.monotonic() - self._began_s,
                anonymous_bytes(self._pid),
                anonymous_bytes(self._translator),
                sum(1 for _ in (process / "fd").iterdir()),
                int(threads[1]),
            )
        )

    def rise(self, what: str) -> float:
        """Return how much the line through the samples rises after their first third."""
        kept = self.samples[len(self.samples) // 3 :]
        seconds = np.array([one.second for one in kept])
        values = np.array([getattr(one, what) for one in kept], np.float64)
        slope, _ = np.polyfit(seconds, values, 1)
        return float(slope * (seconds[-1] - seconds[0]))


def translator_of(pid: int) -> int:
    """Return the process id of a server's translator."""
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in listed.read_text("utf-8").split():
            if b"translate" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    raise LookupError(f"process {pid} has no translator")


@contextmanager
def soaking(server: ServerProcess, writers: list[Writer]) -> Iterator[SoakCrowd]:
    """Let everybody work on a server while the block runs."""
    crowd = SoakCrowd(server.target, server.rest_target, writers)
    try:
        yield crowd
        crowd.stop()
    finally:
        crowd.close()


def share_found(client: Client, keys: Sequence[str], queries: Float32Array) -> float:
    """Return which share of vectors is found by itself; each is, where the graph is not asked."""
    found = client.query_vectors_batch(BUCKET, INDEX, queries, top_k=1)
    missed = [one for one, hits in enumerate(found) if hits[0].key != keys[one]]
    for one in missed:
        same = {"key": {"$in": [keys[one], "none"]}}
        hits = client.query_vectors(BUCKET, INDEX, queries[one], top_k=1, filter=same)
        assert [hit.key for hit in hits] in ([keys[one]], []), "it may have no metadata"
    return 1 - len(missed) / len(keys)


def check(client: Client, writers: Sequence[Writer], seed: int) -> int:
    """Compare everything that a quiet server has with the books; return how many vectors it has."""
    scanned = client.scan_vectors(BUCKET, INDEX, return_data=True, return_metadata=True)
    content = content_of([Vector(one.key, one.data, one.metadata) for one in scanned])
    ledgers = {one.prefix: one.ledger for one in writers}
    ledgers["a"] = Ledger(DIMENSION, STABLE.applied_to({}))
    for prefix, ledger in ledgers.items():
        ledger.settle(part_of(content, prefix))
        keys, queries = self_queries(ledger.settled, DIMENSION, 100, seed)
        assert share_found(client, keys, queries) >= FOUND_SHARE_MIN
        got = client.get_vectors(BUCKET, INDEX, keys, return_data=True)
        assert [one.data.tobytes() for one in got if one.data is not None] == [
            row.tobytes() for row in queries
        ]
    total = sum(len(ledger.settled) for ledger in ledgers.values())
    listed = [one.key for one in client.list_vectors(BUCKET, INDEX)]
    assert len(listed) == len(content) == total
    assert sorted(content) == sorted(listed)
    assert client.get_vector_index(BUCKET, INDEX).vector_count == total
    assert client.get_vector_index(BUCKET, ASIDE).vector_count == len(STABLE.keys)
    aside = client.query_vectors_batch(BUCKET, ASIDE, STABLE_ROWS[:100], top_k=1)
    assert [hits[0].key for hits in aside] == list(STABLE.keys[:100])
    return total


def figures(observed: Observed, crowd: SoakCrowd, count: int) -> dict[str, object]:
    """Return what a note says of a soak."""
    kept = [*observed.samples[:: max(len(observed.samples) // 9, 1)], observed.samples[-1]]
    last = observed.samples[-1]
    return {
        "soak_s": round(last.second),
        "vectors": count,
        "turns": dict(crowd.turns),
        "found_share": 1 - crowd.tasks.missed_count / crowd.tasks.asked_count,
        "server_mib": [round(one.server_bytes / MIB) for one in kept],
        "server_rise_mib": round(observed.rise("server_bytes") / MIB, 2),
        "translator_mib": [round(one.translator_bytes / MIB) for one in kept],
        "translator_rise_mib": round(observed.rise("translator_bytes") / MIB, 2),
        "files": [one.file_count for one in kept],
        "files_rise": round(observed.rise("file_count"), 1),
        "threads": [one.thread_count for one in kept],
    }


def test_server_soaks_without_an_error_a_loss_or_a_leak(
    start_soak: StartServer,
    tmp_path: Path,
    rounds: Rounds,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = rounds(4, 600)
    writers = [
        StreamWriter(71, "s", pause_s=PAUSE_S),
        Writer(72, "u", pause_s=PAUSE_S),
        Writer(73, "v", batch_max=200, delete_share=0.5, pause_s=PAUSE_S),
    ]
    server = start_soak(tmp_path / "data")
    with Client(server.target) as client:
        populate(client)
    observed, clock = Observed(server), threading.Event()
    with soaking(server, writers) as crowd:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s or len(observed.samples) < SAMPLES_MIN:
            observed.look()
            crowd.check()
            clock.wait(0.5)
    with Client(server.target) as client:
        count = check(client, writers, 74)
        eventually(
            lambda: not client.get_vector_index(BUCKET, INDEX).pending_vector_count,
            "everything is in the graph",
        )
        assert check(client, writers, 75) == count
    said = figures(observed, crowd, count)
    with capsys.disabled():
        print(f"\n{json.dumps(said)}")  # noqa: T201 - for a note
    assert server.stop() == 0
    with start_soak(tmp_path / "data") as server, Client(server.target) as client:
        assert check(client, writers, 76) == count
    log = (tmp_path / "server.log").read_text("utf-8")
    assert "background work failed" not in log
    assert crowd.tasks.missed_count <= (1 - FOUND_SHARE_MIN) * crowd.tasks.asked_count, said
    assert all(turns > 0 for turns in crowd.turns.values()), crowd.turns
    assert max(one.thread_count for one in observed.samples) <= THREADS_MAX, said
    assert max(one.file_count for one in observed.samples) <= FILES_MAX, said
    if seconds >= WARM_UP_S:  # before, everything rises: caches fill, pools grow, graphs come
        assert observed.rise("server_bytes") < SERVER_RISE_BYTES_MAX, said
        assert observed.rise("translator_bytes") < TRANSLATOR_RISE_BYTES_MAX, said
        assert observed.rise("file_count") < FILES_RISE_MAX, said
        assert observed.rise("thread_count") < THREADS_RISE_MAX, said
