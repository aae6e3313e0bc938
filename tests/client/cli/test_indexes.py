"""The commands on indexes, against the real server."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from client.cli.conftest import Run
from vectorbucket import Client

METADATA = '{"nonFilterableMetadataKeys": ["note", "raw"]}'


def test_index_is_made_shown_listed_and_deleted(run: Run, bucket: str, client: Client) -> None:
    flags = ("--dimension", "8", "--distance-metric", "cosine", "--data-type", "float32")
    made = run(
        *("put-vector-index", "--bucket", bucket, "--index-name", "cats", *flags),
        *("--metadata", METADATA, "--m", "16", "--ef-search", "200"),
    )
    assert (made.code, made.out) == (0, "")
    assert made.err == f"vectorbucket: index cats is made in bucket {bucket}\n"
    index = client.get_vector_index(bucket, "cats")
    assert (index.dimension, index.m, index.ef_search) == (8, 16, 200)
    shown = run("get-vector-index", "--bucket", bucket, "--index", "cats", "-o", "json").json
    assert shown["index"].pop("createTime")
    assert shown.pop("index") == {
        "indexName": "cats",
        "dataType": "float32",
        "dimension": 8,
        "distanceMetric": "cosine",
        "metadata": {"nonFilterableMetadataKeys": ["note", "raw"]},
        "status": "enable",
        "vectorBucketName": bucket,
        "graph": {"m": 16, "efSearch": 200},
    }
    assert (shown["vectorCount"], shown["pendingVectorCount"], shown["loaded"]) == (0, 0, True)
    listed = run("list-vector-indexes", "--bucket", bucket, "-o", "json").json
    assert [one["indexName"] for one in listed["indexes"]] == ["cats"]
    assert list(listed) == ["indexes"]
    deleted = run("delete-vector-index", "--bucket", bucket, "--index-name", "cats")
    assert deleted.err == f"vectorbucket: index cats is deleted from bucket {bucket}\n"
    missing = run("get-vector-index", "--bucket", bucket, "--index-name", "cats")
    assert (missing.code, missing.out) == (3, "")


def test_index_is_shown_to_people_with_what_is_known(run: Run, faces: list[str]) -> None:
    shown = run("get-vector-index", *faces).out
    found = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in shown.splitlines())
    assert (found["index"], found["vectors"], found["loaded"]) == ("faces", "3", "yes")
    assert found["memory"].endswith("bytes")
    assert "ef search" not in found


def test_indexes_are_listed_in_pages_or_all(run: Run, bucket: str, client: Client) -> None:
    names = [f"many{number}" for number in range(5)]
    for name in names:
        client.put_vector_index(bucket, name, dimension=2, distance_metric="cosine")
    listing = ("list-vector-indexes", "--bucket", bucket, "--prefix", "many", "-o", "json")
    page = run(*listing, "--max-results", "2").json
    assert [one["indexName"] for one in page["indexes"]] == names[:2]
    rest = run(*listing, "--next-token", page["nextToken"]).json
    assert [one["indexName"] for one in rest["indexes"]] == names[2:]
    every = run(*listing, "--max-results", "2", "--all").json
    assert [one["indexName"] for one in every["indexes"]] == names
    assert "nextToken" not in every
    table = run(*listing[:-1], "table", "--max-results", "2")
    assert re.findall(r"many\d", table.out) == names[:2]
    assert f"--next-token {page['nextToken']}" in table.err


BAD = {
    "data type": (("--data-type", "int8"), "--data-type is 'int8'; it must be float32"),
    "unknown member": (("--metadata", '{"keys": []}'), "--metadata has 'keys'"),
    "no array": (
        ("--metadata", '{"nonFilterableMetadataKeys": "note"}'),
        "nonFilterableMetadataKeys must be an array of texts",
    ),
    "no text": (
        ("--metadata", '{"nonFilterableMetadataKeys": [1]}'),
        "nonFilterableMetadataKeys must be an array of texts",
    ),
    "metric": (("--distance-metric", "dot"), "distance_metric is 'dot'"),
    "dimension": (("--dimension", "5000"), "5000"),
}


@pytest.mark.parametrize("case", BAD)
def test_definition_that_cannot_be_is_refused(run: Run, bucket: str, case: str) -> None:
    flags, words = BAD[case]
    usual = ("--dimension", "8", "--distance-metric", "cosine")
    refused = run("put-vector-index", "--bucket", bucket, "--index-name", "cats", *usual, *flags)
    assert (refused.code, refused.out) == (2, "")
    assert words in refused.err


def test_index_that_exists_is_a_conflict(
    run: Run, faces: list[str], log_lines: Callable[[], object]
) -> None:
    again = run("put-vector-index", *faces, "--dimension", "3", "--distance-metric", "cosine")
    assert (again.code, again.out) == (6, "")
    assert "VectorBucketIndexAlreadyExist" in again.err
    assert log_lines() == []
