"""Puts over connections that break at every point, against the real server.

Method: a proxy cuts or holds the connection at a byte; afterwards the index must hold every vector
exactly once, byte for byte, and the caller must have been told exactly that. The server's engine
notes its commits, so that a batch that is applied twice is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from faulty_proxy import Fault, FaultyProxy
from long_runs import Rounds
from recording_engine import Gate, RecordingEngine
from vectorbucket import Client, PutResult, RejectedBatch, RetryPolicy, ServiceUnavailable
from vectorbucket_server.app import Server

QUICK = RetryPolicy(first_delay_s=0.005, delay_s_max=0.05, jitter=0.0)
BATCH = 3
BATCHES = 6
REJECTED = 2
"""The batch, from 0, that holds a vector of a wrong dimension."""


def vectors() -> list[Any]:
    """Return vectors for six batches of three; one of the third batch is too long."""
    rng = np.random.default_rng(3)
    made: list[Any] = [
        (f"key-{position}", rng.standard_normal(4), {"position": position, "tags": ["a", "b"]})
        for position in range(BATCH * BATCHES)
    ]
    made[REJECTED * BATCH + 1] = ("too long", [1.0] * 5)
    return made


def expected_contents() -> dict[str, bytes]:
    """Return what the index must hold after ``vectors`` were put: bytes by key."""
    rejected = range(REJECTED * BATCH, (REJECTED + 1) * BATCH)
    return {
        key: np.asarray(data, dtype=np.float32).tobytes()
        for position, (key, data, *_) in enumerate(vectors())
        if position not in rejected
    }


def contents(client: Client, index_name: str = "faces") -> dict[str, bytes]:
    """Return what an index holds: bytes by key."""
    found = list(client.scan_vectors("photos", index_name, return_data=True))
    assert client.get_vector_index("photos", index_name).vector_count == len(found)
    held = {one.key: one.data.tobytes() for one in found if one.data is not None}
    assert len(held) == len(found)
    return held


def put_through(proxy: FaultyProxy, index_name: str) -> tuple[PutResult, list[RejectedBatch]]:
    """Put the vectors through a proxy; return the result and what the callback was told."""
    told: list[RejectedBatch] = []
    with Client(proxy.address, retry=QUICK) as client:
        result = client.put_vectors(
            "photos", index_name, vectors(), batch_vectors_max=BATCH, on_rejected=told.append
        )
    return result, told


def check_put_through_faults(server: Server, index_name: str, *faults: Fault) -> int:
    """Put vectors through faulty connections and check everything; return the connections."""
    with Client(server.address) as direct:
        direct.put_vector_index("photos", index_name, dimension=4, distance_metric="euclidean")
        with FaultyProxy(server.address, *faults) as proxy:
            result, told = put_through(proxy, index_name)
        assert result.stored == (BATCHES - 1) * BATCH
        assert [batch[:2] for batch in result.rejected] == [(REJECTED * BATCH, BATCH)]
        assert result.rejected[0].error.field == "vectors[1].data"
        assert told == result.rejected
        assert contents(direct, index_name) == expected_contents()
        direct.delete_vector_index("photos", index_name)
        return len(proxy.connections)


def bytes_of_a_whole_put(server: Server) -> tuple[int, int]:
    """Return how many bytes go up and down when nothing breaks."""
    with Client(server.address) as direct:
        direct.put_vector_index("photos", "whole", dimension=4, distance_metric="euclidean")
    with FaultyProxy(server.address) as proxy:
        put_through(proxy, "whole")
    return proxy.connection(0).up_bytes, proxy.connection(0).down_bytes


@pytest.mark.parametrize("reset", [False, True], ids=["ended", "reset"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_connection_cut_at_every_point_leaves_every_vector_stored_exactly_once(
    recorded_server: Server,
    engine: RecordingEngine,
    rounds: Rounds,
    direction: str,
    reset: bool,  # noqa: FBT001 - a parameter
) -> None:
    up_bytes, down_bytes = bytes_of_a_whole_put(recorded_server)
    whole = up_bytes if direction == "up" else down_bytes
    step = whole // rounds(50, whole)
    # A reset comes between where an end comes, so that the two try twice as many points.
    points = range(step // 2 if reset else 0, whole, step)

    def check(point: int) -> int:
        fault = Fault(**{f"cut_{direction}": point}, reset=reset)
        return check_put_through_faults(recorded_server, f"cut{point}", fault)

    engine.commits.clear()
    with ThreadPoolExecutor(4) as pool:
        connections = dict(zip(points, pool.map(check, points), strict=True))
    # The last bytes are pings and the end of a stream that was answered already.
    answered = {point for point, count in connections.items() if count == 1}
    assert all(point > whole * 3 // 4 for point in answered)
    assert len(engine.commits) == (BATCHES - 1) * len(points)


def test_connection_may_break_again_and_again_as_long_as_there_is_progress(
    recorded_server: Server, engine: RecordingEngine
) -> None:
    faults = [Fault(cut_down=point, reset=point % 2 == 0) for point in range(150, 190)]
    assert check_put_through_faults(recorded_server, "again", *faults) > BATCHES // 2
    assert len(engine.commits) == BATCHES - 1


def test_stream_without_progress_is_given_up_when_its_time_is_over(
    recorded_server: Server, connect: Callable[..., Client]
) -> None:
    with FaultyProxy(recorded_server.address, *[Fault(cut_up=0)] * 10_000) as proxy:
        client = connect(proxy.address, resume_timeout_s=0.3)
        with pytest.raises(ServiceUnavailable) as caught:
            client.put_vectors("photos", "faces", vectors())
    assert caught.value.details["first_unanswered_position"] == "0"
    assert len(proxy.connections) > 1


def test_late_message_of_a_superseded_stream_is_not_applied(
    recorded_server: Server, client: Client, engine: RecordingEngine
) -> None:
    """Method: the first connection loses its tail in the proxy; it arrives after newer values."""
    up_bytes, _ = bytes_of_a_whole_put(recorded_server)
    engine.commits.clear()
    late = Fault(hold_up=up_bytes * 2 // 3)
    with FaultyProxy(recorded_server.address, late) as proxy, ThreadPoolExecutor(1) as pool:
        putting = pool.submit(put_through, proxy, "faces")
        first = proxy.connection(0)
        first.wait_for(lambda: first.half_closed)
        first.cut_client()
        result, _ = putting.result(timeout=20)
        assert result.stored == (BATCHES - 1) * BATCH
        assert contents(client) == expected_contents()

        newer = {key: np.full(4, 7.0, dtype=np.float32) for key in expected_contents()}
        client.put_vectors("photos", "faces", newer.items())
        commits = list(engine.commits)
        first.wait_for(lambda: first.ended_streams == 1)
        assert len(first.held) > 0
        first.release()
    assert contents(client) == {key: data.tobytes() for key, data in newer.items()}
    assert engine.commits == commits
    assert len(proxy.connections) == 2


def test_batch_that_a_superseded_stream_has_in_its_hands_is_not_committed(
    recorded_server: Server, client: Client, engine: RecordingEngine
) -> None:
    """Method: the server's thread stands before the commit while the client resumes elsewhere."""
    gate = Gate()
    first_time = iter([True])

    def wait_once(batch: Any) -> None:
        if batch.keys[0] == "key-9" and next(first_time, False):
            gate.pass_through()

    engine.before_put = wait_once
    with FaultyProxy(recorded_server.address) as proxy, ThreadPoolExecutor(1) as pool:
        putting = pool.submit(put_through, proxy, "faces")
        gate.wait_until_reached()
        proxy.connection(0).cut()
        result, _ = putting.result(timeout=20)
        newer = {key: np.full(4, 7.0, dtype=np.float32) for key in expected_contents()}
        client.put_vectors("photos", "faces", newer.items())
        gate.open()
        # Orderly, so that the thread that stood at the gate has ended.
        recorded_server.stop()
    assert result.stored == (BATCHES - 1) * BATCH
    assert [keys[0] for keys in engine.commits].count("key-9") == 1
    assert engine.commits[-1] == tuple(newer)
