"""What the embedded engine takes of memory and disk: small indexes little, dropped ones nothing.

Method: a process of its own, which says what it holds, because this one's memory is everybody's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from house import ROOT

MIB = 1024 * 1024

PREPARE = """
import json, sys, time
from pathlib import Path
import numpy as np
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.model import Bucket, DistanceMetric, Index, Query, VectorBatch

folder = Path(sys.argv[1])

def anonymous_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))

def generations():
    return sorted(path.name for path in (folder / "generations").iterdir())

def wait_for(condition):
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.01)

def put(index, count, dimension):
    rows = np.random.default_rng(index.index_id).standard_normal((count, dimension))
    for first in range(0, count, 500):
        part = rows[first : first + 500].astype(np.float32)
        keys = tuple(f"k{number}" for number in range(first, first + len(part)))
        engine.put_vectors(index, VectorBatch(keys, part, ({},) * len(part)))

def make(name, dimension):
    made = Index("bucket", name, dimension, DistanceMetric.EUCLIDEAN)
    return engine.put_index(made, indexes_max=1_000)

# Links that are chosen with less care take as much memory and little time.
options = EmbeddedOptions(data_dir=folder, sync_writes=False, ef_construction=16)
engine = EmbeddedEngine(options)
engine.open()
engine.put_bucket(Bucket("bucket", "1", 1), buckets_max=1)
"""

MANY_SMALL = """
before = anonymous_bytes()
for number in range(100):
    index = make(f"i{number}", 64)
    put(index, 200, 64)
    engine.query_vectors(index, Query(np.ones((1, 64), np.float32), 3))
print(json.dumps({"bytes": anonymous_bytes() - before}))
engine.close()
"""

ONE_DROPPED = """
small = make("small", 64)
put(small, 10, 64)
before = anonymous_bytes()
index = make("large", 256)
put(index, 20_000, 256)
wait_for(lambda: not engine.index_statistics(index).pending_vector_count)
loaded, held = anonymous_bytes() - before, generations()
engine.delete_index(index)
wait_for(lambda: len(generations()) == 1)
# The files go before the last of the memory does.
wait_for(lambda: anonymous_bytes() - before < loaded / 2)
print(json.dumps({"loaded": loaded, "held": held}))
engine.close()
"""


def told_by(program: str, folder: Path) -> dict[str, int | list[str]]:
    """Return what a program prints that runs in a process of its own."""
    paths = [str(ROOT / "client"), str(ROOT / "server")]
    setting = f"import sys; sys.path[:0] = {paths!r}\n"
    ran = subprocess.run(
        [sys.executable, "-c", setting + PREPARE + program, str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told: dict[str, int | list[str]] = json.loads(ran.stdout)
    return told


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="/proc says what a process holds")


@needs_proc
def test_hundred_small_indexes_take_little_memory(tmp_path: Path) -> None:
    """A hundred empty graphs of hnswlib alone would take 256 MB."""
    told = told_by(MANY_SMALL, tmp_path / "data")
    assert isinstance(told["bytes"], int)
    assert told["bytes"] < 60 * MIB


@needs_proc
def test_dropped_index_gives_back_its_memory_and_its_files(tmp_path: Path) -> None:
    told = told_by(ONE_DROPPED, tmp_path / "data")
    assert isinstance(told["loaded"], int)
    assert len(told["held"]) == 2  # type: ignore[arg-type]
    assert told["loaded"] > 25 * MIB, "it was held"
