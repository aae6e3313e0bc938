"""The messages that are built here: those that the client would have built."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymilvus import DataType
from pymilvus.client import ts_utils
from pymilvus.client.prepare import Prepare
from pymilvus.grpc_gen import schema_pb2

from vectorbucket_server.engine.milvus.definitions import index_fields
from vectorbucket_server.engine.milvus.pushdown import keys_expression
from vectorbucket_server.engine.milvus.rows import rows_of
from vectorbucket_server.engine.milvus.wire import hits_of, search_request, upsert_request
from vectorbucket_server.model import DistanceMetric, Index, VectorBatch

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("consistency", ["Bounded", "Strong"])
@pytest.mark.parametrize(
    ("count", "expression", "fields"),
    [(1, "", []), (3, keys_expression(['"é\\']), ["metadata"]), (2, "hash > 1", ["metadata"])],
)
def test_search_is_what_the_client_would_send(
    consistency: str, count: int, expression: str, fields: list[str]
) -> None:
    vectors = RNG.standard_normal((count, 5), np.float32)
    how: dict[str, Any] = {"consistency_level": consistency}
    use_default = ts_utils.construct_guarantee_ts("a", how)
    wanted = Prepare.search_requests_with_expr(
        collection_name="a",
        anns_field="vector",
        param={"params": {"ef": 96}},
        limit=10,
        data=list(vectors),
        expr=expression,
        partition_names=["p1"],
        output_fields=fields,
        use_default_consistency=use_default,
        **how,
    )
    made = search_request(
        "a",
        "p1",
        vectors,
        limit=10,
        expression=expression,
        fields=fields,
        ef=96,
        consistency=consistency,
    )
    assert made == wanted


@pytest.mark.parametrize(("count", "dimension"), [(1, 1), (1, 31), (1, 32), (2, 33), (41, 1_024)])
def test_upsert_is_what_the_client_would_send(count: int, dimension: int) -> None:
    index = Index("bucket", "index", dimension, DistanceMetric.EUCLIDEAN, index_id=1)
    batch = VectorBatch(
        tuple(f"é{number}" for number in range(count)),
        RNG.standard_normal((count, dimension), np.float32),
        tuple({"n": float(number), "text": "ü"} for number in range(count)),
    )
    rows = rows_of(index, batch)
    fields = [
        {
            "name": field["field_name"],
            "type": DataType[field["datatype"]],
            "params": {"dim": dimension, "max_length": 1_024},
        }
        for field in index_fields(dimension)
    ]
    wanted = Prepare.row_upsert_param("a", rows, "p1", fields)
    made = upsert_request("a", "p1", rows)
    order = [field["name"] for field in fields]
    made.fields_data.sort(key=lambda column: order.index(column.field_name))
    assert made == wanted
    (vectors,) = [column.vectors for column in made.fields_data if column.field_name == "vector"]
    numbers = np.array(vectors.float_vector.data, np.float32).reshape(count, dimension)
    np.testing.assert_array_equal(numbers, batch.data)


def test_numbers_arrive_whatever_the_order_of_the_bytes_in_memory() -> None:
    vector = np.arange(4, dtype=">f4")
    (column,) = upsert_request("a", "p1", [{"vector": vector}]).fields_data
    assert list(column.vectors.float_vector.data) == [0, 1, 2, 3]


def test_hits_are_given_to_the_queries_that_they_are_of() -> None:
    found = schema_pb2.SearchResultData(
        topks=[2, 0, 1],
        scores=[0.5, 0.25, 1.0],
        ids=schema_pb2.IDs(str_id=schema_pb2.StringArray(data=["a", "b", "c"])),
    )
    column = found.fields_data.add(field_name="metadata", type=DataType.JSON)
    column.scalars.json_data.data.extend([b"{}", b'{"n":1}', b'{"n":2}'])
    assert hits_of(found) == [
        [
            {"id": "a", "distance": 0.5, "entity": {"metadata": b"{}"}},
            {"id": "b", "distance": 0.25, "entity": {"metadata": b'{"n":1}'}},
        ],
        [],
        [{"id": "c", "distance": 1.0, "entity": {"metadata": b'{"n":2}'}}],
    ]


def test_nothing_found_is_no_hits() -> None:
    found = schema_pb2.SearchResultData(topks=[0, 0])
    # So a field of which there are no values comes: without what says where they would be.
    found.fields_data.add(field_name="metadata", type=DataType.JSON)
    assert hits_of(found) == [[], []]
