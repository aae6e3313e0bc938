"""The flags of ``export`` and ``import``, and both as processes: killed, piped, measured."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.cli.conftest import Run
from client.cli.transfers import ODD, child, make_numbered, make_odd, peaks_bytes, stored
from long_runs import Rounds
from rooms import WITHIN_S
from vectorbucket import Client
from vectorbucket_server.app import running_server
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.settings import Settings

MIB = 1024 * 1024

PEAK_BYTES_MAX = 400 * MIB
"""What a process may take, most of it for its libraries. Source: 1,000,000 vectors of 32 numbers
were exported as JSON lines with a peak of 130 MiB and as Parquet with one of 241, and imported with
one of 122; 50,000 with 128, 208 and 122."""


@pytest.fixture(name="embedded_address", scope="module")
def fixture_embedded_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server over the embedded engine."""
    folder = tmp_path_factory.mktemp("embedded")
    settings = Settings(
        engine="embedded",
        data_dir=folder / "data",
        grpc_address="127.0.0.1:0",
        bucket_log_dir=folder / "bucket-logs",
    )
    with running_server(settings, log=make_logger("json", "error", io.StringIO())) as server:
        yield server.address


def place(bucket: str, index_name: str, file: Path | str) -> list[str]:
    return ["--bucket", bucket, "--index-name", index_name, "--file", str(file)]


def kill(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has killed itself."""
    _, said = process.communicate(timeout=WITHIN_S)
    assert process.returncode == -signal.SIGKILL, said


def test_help_names_every_flag(run: Run) -> None:
    wide = {"COLUMNS": "200"}
    export = run("export", "--help", environment=wide).out
    for flag in ("--file", "--format", "--filter", "--no-data", "--resume", "--overwrite"):
        assert flag in export
    imported = run("import", "--help", environment=wide).out
    for flag in ("--metadata", "--create", "--dimension", "--batch-size", "--state", "--on-error"):
        assert flag in imported


def test_other_commands_do_not_wait_for_pyarrow() -> None:
    program = "import sys, vectorbucket.cli.application; sys.exit('pyarrow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


KILLED_EXPORTS = {
    "jsonl": (
        ("after transfer_target.JsonLinesTarget.write", 9, True),
        ("before transfer_export.write_record", 1, False),
        ("after transfer_export.write_record", 2, True),
    ),
    "jsonl.gz": (
        ("before transfer_export.write_record", 3, True),
        ("after transfer_target.JsonLinesTarget.write", 9, True),
    ),
    "parquet": (
        ("after transfer_target.join_parts", 1, True),
        ("before transfer_export.write_record", 3, True),
        ("after transfer_target.ParquetTarget.write", 9, True),
    ),
}
"""Where an export is killed, at which call, and whether a record of it is left then."""


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet"])
def test_export_that_was_killed_is_resumed(
    run: Run,
    client: Client,
    *,
    server_address: str,
    bucket: str,
    tmp_path: Path,
    kind: str,
    rounds: Rounds,
) -> None:
    make_numbered(client, bucket, "faces", 2_000)
    file = tmp_path / f"a.{kind}"
    asked = ["export", *place(bucket, "faces", file)]
    for place_of_death, nth, recorded in KILLED_EXPORTS[kind][: rounds(1, 3)]:
        kill(child(server_address, *asked, "--overwrite", every=200, dies=(place_of_death, nth)))
        assert not file.exists()
        assert Path(f"{file}.partial").exists()
        assert Path(f"{file}.partial.json").exists() is recorded
        assert run(*asked, "--resume", "-o", "json").json["vectorCount"] == 2_000
        run("import", *place(bucket, "again", file), "--create")
        assert stored(client, bucket, "again") == stored(client, bucket, "faces")
        assert not list(tmp_path.glob("*.partial*"))
        client.delete_vector_index(bucket, "again")
        file.unlink()


KILLED_IMPORTS = (
    ("after transfer_commands.write_record", 3),
    ("before transfer_commands.write_record", 1),
    ("before transfer_import.Import._acknowledge", 17),
)


def test_import_that_was_killed_is_resumed(
    run: Run, client: Client, *, server_address: str, bucket: str, tmp_path: Path, rounds: Rounds
) -> None:
    make_numbered(client, bucket, "faces", 2_000)
    file = tmp_path / "a.parquet"
    run("export", *place(bucket, "faces", file))
    asked = ["import", *place(bucket, "again", file), "--batch-size", "50"]
    for dies in KILLED_IMPORTS[: rounds(1, 3)]:
        client.put_vector_index(bucket, "again", dimension=4, distance_metric="euclidean")
        kill(child(server_address, *asked, every=200, dies=dies))
        assert run(*asked, "--resume", "-o", "json").json["vectorCount"] == 2_000
        assert stored(client, bucket, "again") == stored(client, bucket, "faces")
        assert not list(tmp_path.glob("*.import.json*"))
        client.delete_vector_index(bucket, "again")


def test_index_is_piped_from_server_to_server_and_moves_back_as_a_file(
    run: Run,
    client: Client,
    *,
    server_address: str,
    embedded_address: str,
    bucket: str,
    tmp_path: Path,
) -> None:
    make_odd(client, bucket, "odd", "cosine")
    index = ("--create", "--dimension", "3", "--distance-metric", "cosine")
    reading = child(server_address, "export", *place(bucket, "odd", "-"), stdout=subprocess.PIPE)
    writing = child(
        embedded_address, "import", *place(bucket, "odd", "-"), *index, stdin=reading.stdout
    )
    assert reading.stdout is not None
    reading.stdout.close()
    _, said = writing.communicate(timeout=WITHIN_S)
    assert writing.returncode == 0, said
    _, told = reading.communicate(timeout=WITHIN_S)
    assert reading.returncode == 0, told
    before = stored(client, bucket, "odd")
    assert len(before) == len(ODD)
    with Client(embedded_address) as other:
        assert stored(other, bucket, "odd") == before
    there = {"VECTORBUCKET_ENDPOINT": embedded_address}
    file = tmp_path / "odd.parquet"
    assert run("export", *place(bucket, "odd", file), environment=there).code == 0
    assert run("import", *place(bucket, "back", file), "--create").code == 0
    assert stored(client, bucket, "back") == before


def fill(client: Client, bucket: str, count: int, dimension: int) -> None:
    """Make an index with some metadata, never whole in this process either."""
    client.put_vector_bucket(bucket)
    client.put_vector_index(bucket, "faces", dimension=dimension, distance_metric="euclidean")
    chance = np.random.default_rng(count)

    def vectors() -> Iterator[tuple[str, Any, dict[str, Any]]]:
        for start in range(0, count, 250):
            rows = chance.standard_normal((250, dimension), np.float32)
            for number, row in enumerate(rows, start):
                yield f"key-{number:09}", row, {"n": number, "color": "red"}

    client.put_vectors(bucket, "faces", vectors())


@dataclass(frozen=True)
class Measured:
    """What memory is measured with."""

    sizes: tuple[int, int]
    dimension: int
    kinds: tuple[str, ...]
    every: int
    batch_size: int
    growth_bytes_max: int


SHORT = Measured((250, 4_500), 4_096, ("parquet",), 100, 20, 60 * MIB)
"""Few vectors, but long ones: to keep them would be 66 MiB more, on top of what the buffers of the
connection come to, 33 to 46 MiB on a busy machine."""

LONG = Measured((50_000, 1_000_000), 32, ("parquet", "jsonl"), 50_000, 500, 48 * MIB)


def test_memory_does_not_grow_with_the_index(
    server_address: str, embedded_address: str, tmp_path: Path, rounds: Rounds
) -> None:
    long = rounds(1, 2) > 1
    # The memory engine sorts all keys for each page; the embedded one makes a graph meanwhile.
    how, endpoint = (LONG, embedded_address) if long else (SHORT, server_address)
    with Client(endpoint) as client:
        for size in how.sizes:
            fill(client, f"measured-{size}", size, how.dimension)
        for kind in how.kinds:
            commands = [
                [*command, *place(f"measured-{size}", "faces", tmp_path / f"{size}.{kind}")]
                for size in how.sizes
                for command in (["export"], ["import", "--batch-size", str(how.batch_size)])
            ]
            peaks = peaks_bytes(endpoint, *commands, every=how.every)
            assert peaks[3] < PEAK_BYTES_MAX
            assert peaks[3] - peaks[1] < how.growth_bytes_max
        for size in how.sizes:
            assert client.get_vector_index(f"measured-{size}", "faces").vector_count == size
