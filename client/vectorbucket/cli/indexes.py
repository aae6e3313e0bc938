"""The commands on indexes.

Rules of this file: those of buckets.py.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vectorbucket import IndexInfo
from vectorbucket.cli.answers import answer, answer_done, columns, facts, size_text
from vectorbucket.cli.command import operation
from vectorbucket.cli.connection import BadInput, Connection
from vectorbucket.cli.endings import say
from vectorbucket.cli.flags import All, BucketName, EfSearch, IndexName, MaxResults, NextToken
from vectorbucket.cli.flags import Prefix as IndexPrefix
from vectorbucket.cli.json_input import read_json
from vectorbucket.cli.spelling import index_document, index_facts_document

_PANEL = "Indexes"

app = typer.Typer()


@operation(app, "put-vector-index", panel=_PANEL)
def put_vector_index(
    connection: Connection,
    *,
    bucket: BucketName,
    index_name: IndexName,
    dimension: Annotated[
        int,
        typer.Option("--dimension", help="Numbers in a vector, 1 to 4,096.", show_default=False),
    ],
    distance_metric: Annotated[
        str, typer.Option("--distance-metric", help="cosine or euclidean.", show_default=False)
    ],
    data_type: Annotated[
        str, typer.Option("--data-type", help="float32: there is no other.")
    ] = "float32",
    metadata: Annotated[
        str | None,
        typer.Option(
            "--metadata",
            help='Metadata fields that no filter can use: {"nonFilterableMetadataKeys": […]} as '
            "JSON, file://PATH or - for standard input.",
            show_default=False,
        ),
    ] = None,
    m: Annotated[
        int | None,
        typer.Option("--m", help="Links of a vector in the graph, 4 to 128.", show_default=False),
    ] = None,
    ef_construction: Annotated[
        int | None,
        typer.Option(
            "--ef-construction",
            help="Breadth of the search for a new vector's links, 8 to 4,096.",
            show_default=False,
        ),
    ] = None,
    ef_search: EfSearch = None,
) -> None:
    """Make an index; its definition never changes afterwards."""
    if data_type != "float32":
        raise BadInput(f"--data-type is {data_type!r}; it must be float32")
    with connection.connect() as client:
        client.put_vector_index(
            bucket,
            index_name,
            dimension=dimension,
            distance_metric=distance_metric,
            non_filterable_metadata_keys=_non_filterable(metadata),
            m=m,
            ef_construction=ef_construction,
            ef_search=ef_search,
        )
    answer_done(connection, f"index {index_name} is made in bucket {bucket}")


@operation(app, "get-vector-index", panel=_PANEL)
def get_vector_index(connection: Connection, *, bucket: BucketName, index_name: IndexName) -> None:
    """Show an index: its definition, how many vectors it holds, and how it fares."""
    with connection.connect() as client:
        index = client.get_vector_index(bucket, index_name)
    answer(connection, index_facts_document(index), facts(_facts(index)))


@operation(app, "list-vector-indexes", panel=_PANEL)
def list_vector_indexes(
    connection: Connection,
    *,
    bucket: BucketName,
    prefix: IndexPrefix = "",
    next_token: NextToken = "",
    max_results: MaxResults = 0,
    every: All = False,
) -> None:
    """List the indexes of a bucket, a page or all."""
    with connection.connect() as client:
        indexes: list[IndexInfo] = []
        while True:
            page = client.list_vector_indexes_page(
                bucket, prefix, next_token=next_token, max_results=max_results
            )
            indexes += page.indexes
            next_token = page.next_token
            if not every or not next_token:
                break
    document: dict[str, Any] = {"indexes": [index_document(one) for one in indexes]}
    if next_token:
        document["nextToken"] = next_token
    headings = ("index", "dimension", "metric", "status", "made")
    answer(connection, document, columns(headings, map(_row, indexes)))
    if next_token:
        say(f"there are more: --next-token {next_token}, or --all")


@operation(app, "delete-vector-index", panel=_PANEL)
def delete_vector_index(
    connection: Connection, *, bucket: BucketName, index_name: IndexName
) -> None:
    """Delete an index and all its vectors."""
    with connection.connect() as client:
        client.delete_vector_index(bucket, index_name)
    answer_done(connection, f"index {index_name} is deleted from bucket {bucket}")


def _row(index: IndexInfo) -> tuple[object, ...]:
    """Return what stands in a table for an index."""
    return (
        index.index_name,
        index.dimension,
        index.distance_metric,
        index.status,
        index.create_time,
    )


def _facts(index: IndexInfo) -> list[tuple[str, object]]:
    """Return what is shown of one index, by name; what is not known is left out."""
    dead = None if index.dead_share is None else f"{index.dead_share:.1%}"
    pairs: list[tuple[str, object]] = [
        ("bucket", index.bucket),
        ("index", index.index_name),
        ("dimension", index.dimension),
        ("metric", index.distance_metric),
        ("data type", index.data_type),
        ("not filterable", ", ".join(index.non_filterable_metadata_keys) or None),
        ("m", index.m),
        ("ef construction", index.ef_construction),
        ("ef search", index.ef_search),
        ("status", index.status),
        ("made", index.create_time),
        ("vectors", index.vector_count),
        ("pending", index.pending_vector_count),
        ("loaded", index.loaded),
        ("dead in graph", dead),
        ("rebuilding", index.rebuilding),
        ("memory", size_text(index.memory_bytes)),
        ("disk", size_text(index.disk_bytes)),
        ("checkpoint", index.checkpoint_time),
    ]
    return [(name, value) for name, value in pairs if value is not None]


def _non_filterable(metadata: str | None) -> list[str]:
    """Return the names that ``--metadata`` says.

    Raises:
        BadInput: It says something else.
    """
    if metadata is None:
        return []
    found = read_json("--metadata", metadata, dict, "a JSON object")
    unknown = next((name for name in found if name != "nonFilterableMetadataKeys"), None)
    if unknown is not None:
        raise BadInput(f"--metadata has {unknown!r}; it may have nonFilterableMetadataKeys only")
    names = found.get("nonFilterableMetadataKeys", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadInput("--metadata: nonFilterableMetadataKeys must be an array of texts")
    return names
