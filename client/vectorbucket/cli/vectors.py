"""The commands on vectors.

Rules of this file: those of buckets.py. What is long goes over streams and is never whole in
memory: what is put, and with ``--all`` what is listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Annotated, Any

import typer

from vectorbucket import Hit, ProgressBar, PutResult, RejectedBatch, Vector
from vectorbucket.cli.answers import (
    answer,
    answer_done,
    answer_elements,
    columns,
    data_text,
)
from vectorbucket.cli.command import operation
from vectorbucket.cli.connection import BadInput, Connection, Output
from vectorbucket.cli.endings import leave, say
from vectorbucket.cli.exit_codes import exit_code
from vectorbucket.cli.flags import (
    All,
    BucketName,
    EfSearch,
    Filter,
    IndexName,
    Keys,
    MaxResults,
    NextToken,
    ReturnData,
    ReturnDistance,
    ReturnMetadata,
    TopK,
    Vectors,
)
from vectorbucket.cli.json_input import read_json, read_keys, read_vectors
from vectorbucket.cli.spelling import hits_document, rejected_document, vector_document

_PANEL = "Vectors"

_REJECTED_SHOWN = 10
"""Rejected batches of a put that are told one by one; JSON has them all."""

_TABLE_ROWS = 1000
"""Vectors in a table where all are listed: then comes the next, so that memory is bounded."""

app = typer.Typer()


@operation(app, "put-vectors", panel=_PANEL)
def put_vectors(
    connection: Connection, *, bucket: BucketName, index_name: IndexName, vectors: Vectors
) -> None:
    """Put any number of vectors, over a stream; each replaces what its key held before.

    They travel in batches, each of which is stored whole or not at all. A batch that is rejected is
    told and does not stop the others; the exit code then is that of the first.
    """
    rejected: list[RejectedBatch] = []

    def note(batch: RejectedBatch) -> None:
        rejected.append(batch)
        if len(rejected) <= _REJECTED_SHOWN:
            say(_rejection(batch))

    with connection.connect() as client:
        result = client.put_vectors(
            bucket,
            index_name,
            read_vectors("--vectors", vectors),
            on_rejected=note,
            progress=ProgressBar("vectors"),
        )
    document = {
        "vectorCount": result.stored,
        "rejected": [rejected_document(batch) for batch in rejected],
    }
    answer(connection, document)
    say(_stored(result, index_name))
    if rejected:
        missing = sum(one.count for one in rejected)
        say(f"{missing:,} vectors are not stored; batches rejected: {len(rejected)}")
        leave(exit_code(rejected[0].error))


@operation(app, "put-vectors-batch", panel=_PANEL)
def put_vectors_batch(
    connection: Connection, *, bucket: BucketName, index_name: IndexName, vectors: Vectors
) -> None:
    """Put a few vectors in one call, all or none of them."""
    with connection.connect() as client:
        given = list(read_vectors("--vectors", vectors))
        result = client.put_vectors_batch(bucket, index_name, given)
    answer(connection, {"vectorCount": result.stored})
    say(_stored(result, index_name))


@operation(app, "get-vectors", panel=_PANEL)
def get_vectors(
    connection: Connection,
    *,
    bucket: BucketName,
    index_name: IndexName,
    keys: Keys,
    return_data: ReturnData = False,
    return_metadata: ReturnMetadata = False,
) -> None:
    """Show the vectors that exist of those with these keys."""
    with connection.connect() as client:
        vectors = client.get_vectors(
            bucket,
            index_name,
            read_keys(keys),
            return_data=return_data,
            return_metadata=return_metadata,
        )
    document = {"vectors": [vector_document(vector) for vector in vectors]}
    answer(connection, document, _vectors(vectors))


@operation(app, "list-vectors", panel=_PANEL)
def list_vectors(
    connection: Connection,
    *,
    bucket: BucketName,
    index_name: IndexName,
    max_results: MaxResults = 0,
    next_token: NextToken = "",
    return_data: ReturnData = False,
    return_metadata: ReturnMetadata = False,
    segment_count: Annotated[
        int, typer.Option("--segment-count", help="Into how many segments the keys are split.")
    ] = 1,
    segment_index: Annotated[
        int, typer.Option("--segment-index", help="Which segment to list, from 0.")
    ] = 0,
    filter_: Filter = None,
    every: All = False,
) -> None:
    """List the vectors of an index by key: a page, or all, or of all what a filter matches."""
    asked: dict[str, Any] = {
        "return_data": return_data,
        "return_metadata": return_metadata,
        "segment_count": segment_count,
        "segment_index": segment_index,
    }
    if every and (next_token or max_results):
        raise BadInput("--all lists everything; it goes with no --next-token and no --max-results")
    if filter_ is not None and not every:
        raise BadInput("--filter goes with --all; a page takes none")
    wanted = _filter(filter_)
    with connection.connect() as client:
        if every:
            found = client.scan_vectors(bucket, index_name, filter=wanted, **asked)
            _list_all(connection, found)
            return
        page = client.list_vectors_page(
            bucket, index_name, max_results=max_results, next_token=next_token, **asked
        )
    document: dict[str, Any] = {"vectors": [vector_document(vector) for vector in page.vectors]}
    if page.next_token:
        document["nextToken"] = page.next_token
    answer(connection, document, _vectors(page.vectors))
    if page.next_token:
        say(f"there are more: --next-token {page.next_token}, or --all")


@operation(app, "delete-vectors", panel=_PANEL)
def delete_vectors(
    connection: Connection, *, bucket: BucketName, index_name: IndexName, keys: Keys
) -> None:
    """Delete vectors by key, all at once; keys that do not exist are ignored."""
    with connection.connect() as client:
        client.delete_vectors(bucket, index_name, read_keys(keys))
    answer_done(connection, f"the vectors are deleted from index {index_name}")


@operation(app, "query-vectors", panel=_PANEL)
def query_vectors(
    connection: Connection,
    *,
    bucket: BucketName,
    index_name: IndexName,
    query_vector: Annotated[
        str,
        typer.Option(
            "--query-vector",
            help='{"float32": […]} or just the array: JSON, file://PATH or - for standard input.',
            show_default=False,
        ),
    ],
    top_k: TopK,
    filter_: Filter = None,
    return_distance: ReturnDistance = False,
    return_metadata: ReturnMetadata = False,
    ef_search: EfSearch = None,
) -> None:
    """Find the vectors nearest to a query vector, nearest first."""
    found = read_json("--query-vector", query_vector, (dict, list), "an object or an array")
    with connection.connect() as client:
        hits = client.query_vectors(
            bucket,
            index_name,
            _numbers("--query-vector", found),
            top_k=top_k,
            filter=_filter(filter_),
            return_distance=return_distance,
            return_metadata=return_metadata,
            ef_search=ef_search,
        )
    answer(connection, hits_document(hits), _hits(hits))


@operation(app, "query-vectors-batch", panel=_PANEL)
def query_vectors_batch(
    connection: Connection,
    *,
    bucket: BucketName,
    index_name: IndexName,
    query_vectors: Annotated[
        str,
        typer.Option(
            "--query-vectors",
            help="An array of what --query-vector of query-vectors takes.",
            show_default=False,
        ),
    ],
    top_k: TopK,
    filter_: Filter = None,
    return_distance: ReturnDistance = False,
    return_metadata: ReturnMetadata = False,
    ef_search: EfSearch = None,
) -> None:
    """Find the vectors nearest to each of several query vectors, in one call."""
    found = read_json("--query-vectors", query_vectors, list, "an array of query vectors")
    rows = [_numbers(f"--query-vectors: number {at}", one) for at, one in enumerate(found)]
    with connection.connect() as client:
        results = client.query_vectors_batch(
            bucket,
            index_name,
            rows,
            top_k=top_k,
            filter=_filter(filter_),
            return_distance=return_distance,
            return_metadata=return_metadata,
            ef_search=ef_search,
        )
    document = {"results": [hits_document(hits) for hits in results]}
    answer(connection, document, *map(_hits, results))


# --- Flags and tables -----------------------------------------------------------------------------


def _list_all(connection: Connection, vectors: Iterable[Vector]) -> None:
    """Answer with vectors of any number."""
    if connection.output is Output.JSON:
        answer_elements("vectors", map(vector_document, vectors))
        return
    rest = iter(vectors)
    rows = list(islice(rest, _TABLE_ROWS))
    while True:
        answer(connection, None, _vectors(rows))
        rows = list(islice(rest, _TABLE_ROWS))
        if not rows:
            return


def _stored(result: PutResult, index_name: str) -> str:
    """Return what is told of a put."""
    vectors = "1 vector is" if result.stored == 1 else f"{result.stored:,} vectors are"
    return f"{vectors} stored in index {index_name}"


def _rejection(batch: RejectedBatch) -> str:
    """Return what is told of a batch that was rejected."""
    first = batch.first_position
    if batch.count == 0:
        return f"there are no vectors: {batch.error}"
    if batch.count == 1:
        return (
            f"vector {first}, counted from 0, is not stored; it is vectors[0] here: {batch.error}"
        )
    return (
        f"vectors {first} to {first + batch.count - 1}, counted from 0, are not stored; "
        f"the first of them is vectors[0] here: {batch.error}"
    )


def _numbers(place: str, found: object) -> list[Any]:
    """Return the numbers of a query vector; whether they are numbers the client sees.

    Raises:
        BadInput: There are none.
    """
    if isinstance(found, dict):
        found = found.get("float32")
    if not isinstance(found, list):
        raise BadInput(f'{place} must be {{"float32": […]}} or an array of numbers')
    return found


def _filter(text: str | None) -> dict[str, Any] | None:
    """Return what ``--filter`` says."""
    if text is None:
        return None
    found: dict[str, Any] = read_json("--filter", text, dict, "a JSON object")
    return found


def _vectors(vectors: list[Vector]) -> Any:
    """Return a table of vectors, with what was asked for."""
    headings, asked = ["key"], vectors[:1]
    if any(vector.data is not None for vector in asked):
        headings.append("data")
    if any(vector.metadata is not None for vector in asked):
        headings.append("metadata")
    cells = (
        {
            "key": vector.key,
            "data": None if vector.data is None else data_text(vector.data.tolist()),
            "metadata": vector.metadata,
        }
        for vector in vectors
    )
    return columns(headings, ([row[name] for name in headings] for row in cells))


def _hits(hits: list[Hit]) -> Any:
    """Return a table of hits, with what was asked for."""
    headings = ["key"]
    if any(hit.distance is not None for hit in hits):
        headings.append("distance")
    if any(hit.metadata is not None for hit in hits):
        headings.append("metadata")
    rows = ([getattr(hit, name) for name in headings] for hit in hits)
    return columns(headings, rows)
