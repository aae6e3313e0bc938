"""Values of the client in the spelling of OSS."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from vectorbucket import (
    BackupInfo,
    BucketInfo,
    Hit,
    IndexInfo,
    RejectedBatch,
    ServerStatistics,
    Vector,
    VectorIndexParameterInvalid,
)
from vectorbucket.cli import spelling

MOMENT = datetime(2025, 4, 17, 1, 33, 47, 5_600, UTC)
INDEX = IndexInfo("photos", "faces", "float32", 3, "cosine", ("note",), MOMENT, "enable")


def test_time_has_milliseconds_and_ends_in_z() -> None:
    assert spelling.time_text(MOMENT) == "2025-04-17T01:33:47.005Z"


def test_bucket_is_spelled_as_get_vector_bucket_answers() -> None:
    bucket = BucketInfo("photos", "1234567890", MOMENT, "cn-hangzhou")
    assert spelling.bucket_document(bucket) == {
        "Name": "acs:ossvector:cn-hangzhou:1234567890:photos",
        "CreationDate": "2025-04-17T01:33:47.005Z",
        "Location": "oss-cn-hangzhou",
        "Region": "cn-hangzhou",
    }


def test_index_shows_the_graph_only_where_something_is_said_of_it() -> None:
    assert "graph" not in spelling.index_document(INDEX)
    assert spelling.index_facts_document(INDEX) == {"index": spelling.index_document(INDEX)}


def test_what_oss_has_no_word_for_stands_beside_what_it_has() -> None:
    known = IndexInfo(
        *("photos", "faces", "float32", 3, "cosine", (), MOMENT, "enable"),
        vector_count=7,
        ef_construction=200,
        loaded=False,
        dead_share=0.0,
        checkpoint_time=MOMENT,
    )
    document = spelling.index_facts_document(known)
    assert document.pop("index")["graph"] == {"efConstruction": 200}
    assert document == {
        "vectorCount": 7,
        "loaded": False,
        "deadShare": 0.0,
        "checkpointTime": "2025-04-17T01:33:47.005Z",
    }


def test_numbers_are_the_shortest_that_read_back_the_same() -> None:
    data = np.array([0.1, 1e-45, 3.4028235e38, -0.0, 16777216.0], np.float32)
    document = spelling.vector_document(Vector("a", data, {"b": 1, "a": 2}))
    assert document["data"]["float32"] == [0.1, 1e-45, 3.4028235e38, 0.0, 16777216.0]
    assert (np.array(document["data"]["float32"], np.float32) == data).all()
    assert list(document["metadata"]) == ["a", "b"]


def test_what_was_not_asked_for_is_left_out() -> None:
    assert spelling.vector_document(Vector("a")) == {"key": "a"}
    hits = [Hit("a"), Hit("b", 0.5, {})]
    assert spelling.hits_document(hits) == {
        "vectors": [{"key": "a"}, {"key": "b", "distance": 0.5, "metadata": {}}]
    }


def test_rejected_batch_says_where_it_began_and_why() -> None:
    batch = RejectedBatch(500, 20, VectorIndexParameterInvalid("key is empty"))
    assert spelling.rejected_document(batch) == {
        "firstPosition": 500,
        "vectorCount": 20,
        "code": "VectorIndexParameterInvalid",
        "message": "key is empty",
    }


def test_operators_values_are_spelled_as_the_contract_names_them() -> None:
    backup = BackupInfo("monday", MOMENT, 17, "/backups/monday")
    assert spelling.backup_document(backup) == {
        "name": "monday",
        "createTime": "2025-04-17T01:33:47.005Z",
        "sizeBytes": 17,
        "path": "/backups/monday",
    }
    counts = (1, 2, 1, 30, 4, 5, 600, 700, 800, 900, 1000)
    statistics = ServerStatistics("1.2.0", "embedded", MOMENT, *counts, "")
    document = spelling.statistics_document(statistics)
    assert document["loadedIndexCount"] == 1
    assert document["diskFreeBytes"] == 1000
    assert document["writesRefused"] == ""
    assert len(document) == 15
