"""What the tests of export and import share: odd vectors, what an index holds, and child processes.

Rules of this file: it makes, reads and starts; what is right is said by the tests alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np

from vectorbucket import Client

Stored: TypeAlias = tuple[str, bytes, dict[str, Any]]
"""A vector as it is stored: key, bits, metadata."""

_MARKS = [
    "plain",
    'quo"ted',
    "new\nline",
    "tab\tand\\slash",
    "ö",
    "🜁",
    "\u2028",
    "a b",
    "{}",
    "\x7f",
]

ODD: list[tuple[str, list[float], dict[str, Any] | None]] = [
    (
        f"{mark}-{number}",
        numbers,
        metadata,
    )
    for number, (numbers, metadata) in enumerate(
        [
            ([1.0, 2.0, 3.0], None),
            ([-0.0, 1e-45, 3.4028235e38], {"text": 'x\n"y" ü \u2028', "empty": ""}),
            ([0.1, 1 / 3, -1e-5], {"yes": True, "no": False, "list": [], "texts": ["a", "ö"]}),
            ([1e20, 1e-20, 16777217], {"n": 7, "f": 0.1, "big": 2**53, "numbers": [1, 2.5]}),
        ]
    )
    for mark in _MARKS
]
"""Vectors of three numbers whose keys, numbers and metadata are seldom seen."""


def make_odd(client: Client, bucket: str, index_name: str, metric: str = "euclidean") -> None:
    """Make an index that holds ``ODD``."""
    client.put_vector_index(
        bucket,
        index_name,
        dimension=3,
        distance_metric=metric,
        non_filterable_metadata_keys=["text"],
        m=24,
    )
    client.put_vectors(bucket, index_name, ODD)


def make_numbered(client: Client, bucket: str, index_name: str, count: int) -> None:
    """Make an index of four numbers whose vectors are numbered, in key, numbers and metadata."""
    client.put_vector_index(bucket, index_name, dimension=4, distance_metric="euclidean")
    numbers = np.arange(count, dtype=np.float32)
    client.put_vectors(
        bucket,
        index_name,
        keys=[f"k{number:06}" for number in range(count)],
        data=np.stack([numbers, numbers, numbers, np.ones_like(numbers)], axis=1),
        metadata=[{"n": number} for number in range(count)],
    )


def stored(client: Client, bucket: str, index_name: str) -> list[Stored]:
    """Return what an index holds, by key."""
    found = client.scan_vectors(bucket, index_name, return_data=True, return_metadata=True)
    return [
        (one.key, b"" if one.data is None else one.data.tobytes(), dict(one.metadata or {}))
        for one in found
    ]


_PROGRAM = """
import importlib, os, signal, sys
from vectorbucket.cli import transfer_export, transfer_import
from vectorbucket.cli.application import app

def deadly(called, after, left):
    def run(*given):
        left.pop()
        if not left and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = called(*given)
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return run

every, place, nth, *arguments = sys.argv[1:]
transfer_export.CHUNK_VECTORS = min(int(every), transfer_export.CHUNK_VECTORS)
transfer_export.POINT_VECTORS = transfer_import.NOTE_ROWS = int(every)
if place:
    when, module, *owners, name = place.replace(" ", ".").split(".")
    owner = importlib.import_module(f"vectorbucket.cli.{module}")
    for one in owners:
        owner = getattr(owner, one)
    setattr(owner, name, deadly(getattr(owner, name), when == "after", [None] * int(nth)))
app(arguments)
"""

_MEASURING_PROGRAM = """
import json, pathlib, sys
from vectorbucket.cli import transfer_export, transfer_import
from vectorbucket.cli.application import app

every, *commands = json.loads(sys.argv[1])
transfer_export.CHUNK_VECTORS = min(every, transfer_export.CHUNK_VECTORS)
transfer_export.POINT_VECTORS = transfer_import.NOTE_ROWS = every
for command in commands:
    if app(command, standalone_mode=False):
        sys.exit(f"{command} failed")
    status = pathlib.Path("/proc/self/status").read_text()
    print(status.partition("VmHWM:")[2].split()[0])
"""


def child(
    endpoint: str,
    *arguments: str,
    every: int = 50_000,
    dies: tuple[str, int] = ("", 0),
    **more: Any,
) -> subprocess.Popen[bytes]:
    """Start a command in a process of its own.

    Args:
        endpoint: The server.
        arguments: The command line.
        every: Vectors between points from which it can be resumed.
        dies: Where it is killed, and at which call: ``before`` or ``after``, a space, and the
            dotted name of a function in the command line's package.
        more: What Popen takes.
    """
    said = [str(every), dies[0], str(dies[1]), "-e", endpoint, *arguments]
    more.setdefault("stderr", subprocess.PIPE)
    return subprocess.Popen([sys.executable, "-c", _PROGRAM, *said], **more)


def peaks_bytes(endpoint: str, *commands: list[str], every: int) -> list[int]:
    """Run commands one after the other in one process of its own.

    Args:
        endpoint: The server.
        commands: Command lines.
        every: Vectors between points from which one can be resumed.

    Returns:
        The most memory that the process has had up to the end of each command.
    """
    said = json.dumps([every, *(["-e", endpoint, *command] for command in commands)])
    ran = subprocess.run(
        [sys.executable, "-c", _MEASURING_PROGRAM, said], capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return [int(line) * 1024 for line in ran.stdout.split()]


def lines_of(vectors: Iterable[Any]) -> str:
    """Return lines of JSON."""
    return "".join(f"{json.dumps(vector)}\n" for vector in vectors)
