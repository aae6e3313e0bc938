"""The definition of an index beside, or in, an exported file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vectorbucket import Client
from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.transfer_definition import (
    Definition,
    definition_beside,
    definition_path,
    described,
)

FULL = Definition(4, "cosine", ("text", "url"), m=24, ef_construction=300, ef_search=50)
BARE = Definition(4, "euclidean")


def test_definition_is_that_of_the_index(client: Client, bucket: str) -> None:
    client.put_vector_index(
        bucket,
        "full",
        dimension=4,
        distance_metric="cosine",
        non_filterable_metadata_keys=["text", "url"],
        m=24,
        ef_construction=300,
        ef_search=50,
    )
    client.put_vector_index(bucket, "bare", dimension=4, distance_metric="euclidean")
    assert Definition.of_index(client.get_vector_index(bucket, "full")) == FULL
    assert Definition.of_index(client.get_vector_index(bucket, "bare")) == BARE


@pytest.mark.parametrize("definition", [FULL, BARE], ids=["full", "bare"])
def test_definition_comes_back_from_beside_the_file(tmp_path: Path, definition: Definition) -> None:
    file = tmp_path / "a.jsonl"
    path = definition_path(file)
    assert path.name == "a.jsonl.index.json"
    path.write_text(described(definition, {"bucket": "photos"}))
    assert definition_beside(file) == definition
    assert json.loads(path.read_text())["source"] == {"bucket": "photos"}


def test_spelling_is_that_of_oss() -> None:
    assert BARE.as_json() == {
        "dataType": "float32",
        "dimension": 4,
        "distanceMetric": "euclidean",
        "metadata": {"nonFilterableMetadataKeys": []},
    }
    assert FULL.as_json()["graph"] == {"m": 24, "efConstruction": 300, "efSearch": 50}


def test_file_without_a_definition_has_none(tmp_path: Path) -> None:
    assert definition_beside(tmp_path / "a.jsonl") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"index": null}',
        '{"index": {"dimension": 4}}',
        '{"index": {"dimension": "4", "distanceMetric": "cosine"}}',
        '{"index": {"dimension": 4, "distanceMetric": 1}}',
        '{"index": {"dimension": 4, "distanceMetric": "cosine", "graph": 7}}',
    ],
)
def test_what_is_no_definition_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.jsonl"
    definition_path(file).write_text(text)
    with pytest.raises(BadInput, match=r"a\.jsonl\.index\.json is no definition of an index"):
        definition_beside(file)
