"""Tests of bench_milvus_direct.py: what it puts and finds is what a server puts and finds."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from bench_data import draw_dataset
from bench_milvus_direct import Direct
from bench_server import start_server
from bench_session import BUCKET, INDEX_NAME, make_index
from bench_subject import CONDITIONS
from milvus_server import MilvusServer
from vectorbucket import Client


def test_server_and_pymilvus_see_what_the_other_has_put(
    milvus_server: MilvusServer, milvus_database: str, tmp_path: Path
) -> None:
    dataset = draw_dataset(1_001, 8, seed=1, queries=3)
    where = ("--milvus-uri", milvus_server.uri, "--milvus-database", milvus_database)
    with start_server(tmp_path / "data", "--engine", "milvus", *where) as server:
        make_index(server.target, dataset.dimension)
        with (
            closing(Direct(milvus_server.uri, milvus_database, INDEX_NAME)) as direct,
            Client(server.target) as client,
        ):
            for probe_every, moments in ((1, 3), (2, 2), (8, 1)):
                answered_s = direct.put(direct.batches_of(dataset), probe_every=probe_every)
                assert len(answered_s) == 3
                assert answered_s == sorted(answered_s)
                assert len(set(answered_s)) == moments
            assert client.get_vector_index(BUCKET, INDEX_NAME).vector_count == 1_001
            for condition in (None, CONDITIONS[0]):
                wanted = None if condition is None else condition.as_filter()
                for query in dataset.queries:
                    hits = client.query_vectors(BUCKET, INDEX_NAME, query, top_k=5, filter=wanted)
                    assert direct.query(query, 5, condition) == [hit.key for hit in hits]
