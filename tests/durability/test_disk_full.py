"""A real server whose disk fills up or fails while writes are in flight, and comes back.

Writes are refused with an error that says why, reads go on and are right, and writes are taken
again without a restart. Then the server is killed, and started again: everything acknowledged is
there, whole, and of what was not, all or nothing.

A disk that fills is a small tmpfs. Where no mount namespace is to be had, the test says so, and the
failing disk, a limit to the size of files, stands for both.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from bench_server import ServerProcess
from durability.bad_disks import Disk, SmallDisk, failing_writes, small_disk
from durability.ledger import Ledger, Operation, part_of
from durability.patient_writers import Crowd, Eraser, Reader, StreamWriter, Writer
from durability.test_kill import BUCKET, DIMENSION, INDEX, messages
from engines.subject import content_of
from long_runs import Rounds
from vectorbucket import Client, RetryPolicy
from vectorbucket.errors import ServiceUnavailable
from vectorbucket.v1 import vector_service_pb2, vector_service_pb2_grpc
from vectorbucket_server.model import Vector

MIB = 1 << 20
DISK_BYTES = 96 * MIB
FREE_BYTES_MIN = 16 * MIB

STABLE = Operation(tuple(f"a{number:03d}" for number in range(100)), 1)
"""Vectors that are put first and never changed."""

PAUSE_S = 0.05
"""Between two batches of a writer, so that the test is not about a machine that is drowned."""

IMPATIENT = RetryPolicy(attempts_max=1)


def populate(server: ServerProcess) -> None:
    """Make the index, and put STABLE."""
    with Client(server.target) as client:
        client.put_vector_bucket(BUCKET)
        client.put_vector_index(BUCKET, INDEX, dimension=DIMENSION, distance_metric="euclidean")
    with grpc.insecure_channel(server.target) as channel:
        stub = vector_service_pb2_grpc.VectorServiceStub(channel)  # type: ignore[no-untyped-call]
        stub.PutVectorsBatch(
            vector_service_pb2.PutVectorsBatchRequest(
                bucket=BUCKET, index_name=INDEX, vectors=messages(STABLE)
            )
        )


def make_writers() -> list[Writer]:
    """Return one who streams, one who puts, and one who also deletes."""
    return [
        StreamWriter(61, "s", pause_s=PAUSE_S),
        Writer(62, "u", pause_s=PAUSE_S),
        Writer(63, "v", batch_max=40, delete_share=0.5, pause_s=PAUSE_S),
    ]


def check(server: ServerProcess, writers: Sequence[Writer], eraser: Eraser) -> None:
    """Compare what a server has with what was acknowledged."""
    with Client(server.target) as client:
        scanned = client.scan_vectors(BUCKET, INDEX, return_data=True, return_metadata=True)
        content = content_of([Vector(one.key, one.data, one.metadata) for one in scanned])
        count = client.get_vector_index(BUCKET, INDEX).vector_count
    assert len(content) == count
    ledgers = {one.prefix: one.ledger for one in (*writers, eraser)}
    ledgers["a"] = Ledger(DIMENSION, STABLE.applied_to({}))
    for prefix, ledger in ledgers.items():
        ledger.settle(part_of(content, prefix))
    assert count == sum(len(ledger.settled) for ledger in ledgers.values())


@contextmanager
def crowd_at(server: ServerProcess, writers: Sequence[Writer], eraser: Eraser) -> Iterator[Crowd]:
    """Let writers and a reader work on a server; kill it, with all of them at work."""
    with Crowd(server.target, writers, Reader(STABLE.keys), eraser) as crowd:
        crowd.wait_for_writes()
        crowd.wait_until_filled()
        yield crowd
        crowd.wait_for_writes()
        with crowd.unheard():
            server.kill()


def told(writers: Sequence[Writer]) -> set[str]:
    """Return what writers were told, each kind once, and forget it."""
    texts = set()
    for writer in writers:
        for error in writer.refusals:
            assert error.code() is grpc.StatusCode.UNAVAILABLE, error
            texts.add(re.sub(r"\d{6,}", "N", error.details() or ""))
        writer.refusals.clear()
    return texts


def refusal_of(server: ServerProcess) -> str:
    """Return why writes are refused, as an operator is told."""
    with Client(server.target) as client:
        return client.get_server_statistics().writes_refused


@pytest.fixture(name="disk")
def fixture_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Disk]:
    """Yield a disk, which can be filled if that is to be had."""
    found = small_disk(tmp_path / "small", DISK_BYTES)
    if isinstance(found, str):
        assert not (sys.platform == "linux" and os.geteuid() == 0), found
        with capsys.disabled():
            print(f"\nno disk that fills: {found}; one that fails stands for it")  # noqa: T201
        yield Disk(tmp_path / "disk")
        return
    with found as disk:
        yield disk


def test_writes_are_refused_and_go_on_while_the_disk_does_what_disks_do(
    disk: Disk, rounds: Rounds
) -> None:
    free_bytes_min = FREE_BYTES_MIN if isinstance(disk, SmallDisk) else 0
    server = disk.start(f"disk_free_bytes_min={free_bytes_min}")
    populate(server)
    writers, eraser = make_writers(), Eraser(64, "l")
    with crowd_at(server, writers, eraser) as crowd:
        for _ in range(rounds(1, 8)):
            if isinstance(disk, SmallDisk):
                end_puts_in_time(disk, server, crowd)
                fill_to_the_brim(disk, server, crowd)
            let_writes_fail(server, crowd)
    said = disk.log.read_text("utf-8")
    times = rounds(1, 8) * (2 if isinstance(disk, SmallDisk) else 1)
    assert said.count('"background work goes on"') == times
    # The killed server's disk is as it left it; what it had not acknowledged may be there or not.
    with disk.start("disk_free_bytes_min=0") as server:
        check(server, writers, eraser)


def end_puts_in_time(disk: SmallDisk, server: ServerProcess, crowd: Crowd) -> None:
    """Leave less room than puts may use; nothing fails but those, which are told why."""
    disk.fill(free_bytes=FREE_BYTES_MIN // 2)
    crowd.wait_for_refusals(crowd.writers)
    (text,) = told(crowd.writers)
    assert text == (
        f"puts are refused: the disk that holds {disk.data_dir} has N bytes left, less than "
        "disk_free_bytes_min, N; they go on by themselves when there is room again: make some, "
        "delete vectors or indexes, or use a larger disk"
    )
    assert refusal_of(server).startswith("puts are refused: the disk")
    with Client(server.target, retry=IMPATIENT) as client:
        client.delete_vectors(BUCKET, INDEX, ["never there"])
        with pytest.raises(ServiceUnavailable, match="disk_free_bytes_min") as refused:
            client.put_vector_index(BUCKET, "another", dimension=4, distance_metric="cosine")
        assert refused.value.retry_after_s == 5
        with pytest.raises(ServiceUnavailable, match="disk_free_bytes_min"):
            client.put_vector_bucket("another")
    crowd.wait_for_reads()
    disk.relieve()
    crowd.wait_for_writes()
    assert refusal_of(server) == ""
    crowd.forgive()


def fill_to_the_brim(disk: SmallDisk, server: ServerProcess, crowd: Crowd) -> None:
    """Leave no room at all; the store itself fails, and gets over it."""
    disk.fill(free_bytes=0)
    crowd.wait_for_refusals(crowd.writers)
    # Deletes are taken as long as the store can write them: to its last byte.
    assert "No space left on device" in crowd.erase_until_refused()
    assert re.match("writes are refused: .* is full: make room; ", refusal_of(server))
    crowd.wait_for_reads()
    disk.relieve()
    crowd.wait_for_writes()
    crowd.wait_until_erased()
    assert refusal_of(server) == ""
    crowd.forgive()


def let_writes_fail(server: ServerProcess, crowd: Crowd) -> None:
    """Let the disk fail for a while; the store is opened anew when it works again."""
    with failing_writes(server, 50_000):
        crowd.wait_for_refusals(crowd.writers)
        assert any("File too large" in text for text in told(crowd.writers))
        assert "File too large" in crowd.erase_until_refused()
        assert re.match("writes are refused: .* fails: look after", refusal_of(server))
        crowd.wait_for_reads()
    crowd.wait_for_writes()
    crowd.wait_until_erased()
    assert refusal_of(server) == ""
    crowd.forgive()
