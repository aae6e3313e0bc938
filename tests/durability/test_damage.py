"""A byte of a record that a disk has changed, as callers and the operator of a server see it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from bench_server import StartServer
from oracles import Float32Array
from vectorbucket import Client, RetryPolicy
from vectorbucket.errors import InternalError
from vectorbucket_server.engine.embedded.schema import label_key

BUCKET = "damaged"
DIMENSION = 2_048
"""So wide that each vector has a block of the store to itself."""

COUNT = 60
BROKEN = 30
"""Whose data are changed."""


def flip_data(store: Path, row: Float32Array) -> None:
    """Invert a byte in the middle of a vector, wherever the store's tables have it."""
    wanted = row.tobytes()
    for table in store.glob("*.sst"):
        content = bytearray(table.read_bytes())
        place = content.find(wanted)
        if place >= 0:
            content[place + len(wanted) // 2] ^= 0x10
            table.write_bytes(content)
            return
    pytest.fail("no table has the vector")


def test_changed_byte_fails_those_who_need_it_by_name_and_nobody_else(
    start: StartServer, tmp_path: Path
) -> None:
    data = np.random.default_rng(65).standard_normal((COUNT, DIMENSION), np.float32)
    keys = [f"k{number:02d}" for number in range(COUNT)]
    server = start(tmp_path / "data")
    with Client(server.target) as client:
        client.put_vector_bucket(BUCKET)
        for name in ("vectors", "sound"):
            client.put_vector_index(BUCKET, name, dimension=DIMENSION, distance_metric="cosine")
        client.put_vectors(BUCKET, "vectors", keys=keys, data=data)
        client.put_vectors(BUCKET, "sound", keys=keys, data=data[::-1].copy())
    assert server.stop() == 0
    flip_data(tmp_path / "data" / "store", data[BROKEN])

    server = start(tmp_path / "data")
    with Client(server.target, retry=RetryPolicy(attempts_max=1)) as client:
        with pytest.raises(InternalError) as told:
            client.get_vectors(BUCKET, "vectors", [keys[BROKEN]], return_data=True)
        request_id = told.value.request_id
        assert "family" not in told.value.message, "the place is for the operator"
        assert re.fullmatch("[0-9A-F]{24}", request_id or "")
        # Whatever does not need that byte is served as before.
        others = [key for key in keys if key != keys[BROKEN]]
        got = client.get_vectors(BUCKET, "vectors", others, return_data=True)
        assert [one.key for one in got] == others
        found = np.stack([one.data for one in got if one.data is not None])
        assert np.array_equal(found, np.delete(data, BROKEN, 0))
        assert [one.key for one in client.scan_vectors(BUCKET, "vectors")] == keys
        (hit,) = client.query_vectors(BUCKET, "sound", data[0], top_k=1)
        assert hit.key == keys[-1]
        client.put_vectors(BUCKET, "sound", keys=["new"], data=data[:1])
    assert server.stop() == 0
    lines = [json.loads(line) for line in _json_lines(tmp_path / "server.log")]
    (line,) = [one for one in lines if one.get("request_id") == request_id]
    assert (line["level"], line["code"], line["method"]) == ("error", "INTERNAL", "GetVectors")
    label = BROKEN + 1
    assert f"family data, key {label_key(1, label).hex()}" in json.dumps(line)


def _json_lines(log: Path) -> list[str]:
    """Return the lines of a log that are objects."""
    return [line for line in log.read_text("utf-8").splitlines() if line.startswith("{")]
