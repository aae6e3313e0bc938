"""What an import reads, and where it puts it: the file, its format, the index.

Rules of this file: what is wrong with the command shows here, before the first vector travels.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vectorbucket import Client
from vectorbucket._models import IndexInfo
from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.endings import say
from vectorbucket.cli.rows import Source
from vectorbucket.cli.rows_json import JsonLines
from vectorbucket.cli.rows_npy import NpyRows
from vectorbucket.cli.rows_parquet import ParquetRows
from vectorbucket.cli.transfer_definition import Definition
from vectorbucket.cli.transfer_formats import STANDARD, Format, format_of
from vectorbucket.errors import NoSuchBucket, NoSuchVectorIndex

_BEGINNING_BYTES = 64 * 1024
"""Bytes by which a file is known again, beside its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The index that an import is to make where there is none.

    Attributes:
        create: Whether it is to make it.
        dimension: Numbers in each vector; None: what the file says.
        distance_metric: ``cosine`` or ``euclidean``; None: what the file says.
        non_filterable_metadata_keys: Metadata fields that no filter can use; empty: what the file
            says.
    """

    create: bool = False
    dimension: int | None = None
    distance_metric: str | None = None
    non_filterable_metadata_keys: tuple[str, ...] = ()


def open_source(name: str, said: Format | None, metadata: str | None) -> Source:
    """Return the file that an import reads.

    Args:
        name: What ``--file`` says.
        said: What ``--format`` says.
        metadata: What ``--metadata`` says.

    Raises:
        BadInput: It cannot be read, or is not of the format.
    """
    kind, compressed = format_of(name, said)
    if (metadata is None) is (kind is Format.NPY):
        raise BadInput(
            "--metadata FILE.jsonl goes with a --file of .npy, and such a file needs it: a "
            'line {"key": …, "metadata": {…}} for each row'
        )
    if name == STANDARD:
        return JsonLines("standard input", sys.stdin.buffer)
    path = Path(name)
    try:
        if metadata is not None:
            return NpyRows(path, Path(metadata), compressed=metadata.endswith(".gz"))
        if kind is Format.PARQUET:
            return ParquetRows(path)
        return JsonLines.open(path, compressed=compressed)
    except OSError as error:
        raise BadInput(f"{error.filename or path} cannot be read: {error.strerror}") from error


def destination(
    client: Client, bucket: str, index_name: str, source: Source, wanted: Wanted
) -> IndexInfo:
    """Return the index that an import fills, which takes vectors as the file has them.

    Raises:
        BadInput: It takes vectors of another dimension, or nothing says what index to make.
        NoSuchBucket: There is no such bucket, and none is to be made.
        NoSuchVectorIndex: There is no such index, and none is to be made.
    """
    try:
        index = client.get_vector_index(bucket, index_name)
    except (NoSuchBucket, NoSuchVectorIndex) as missing:
        if not wanted.create:
            raise type(missing)(f"{missing.message}; --create makes it") from missing
        return _made(client, bucket, index_name, _definition(source, wanted), missing)
    for whose, dimension in (
        ("--dimension is", wanted.dimension),
        (f"{source.name} holds vectors of", source.definition and source.definition.dimension),
    ):
        if dimension is not None and dimension != index.dimension:
            raise BadInput(
                f"{whose} {dimension} numbers; index {index_name} takes {index.dimension}"
            )
    if wanted.distance_metric not in (None, index.distance_metric):
        raise BadInput(
            f"--distance-metric is {wanted.distance_metric}; index {index_name} exists and has "
            f"{index.distance_metric}"
        )
    return index


def task_of(name: str, metadata: str | None, index: IndexInfo) -> Mapping[str, Any]:
    """Return what an import is: only the same can be resumed.

    Args:
        name: What ``--file`` says.
        metadata: What ``--metadata`` says.
        index: The index that it fills.
    """
    files = [Path(one) for one in (name, metadata) if one is not None and one != STANDARD]
    return {
        "bucket": index.bucket,
        "indexName": index.index_name,
        "createTime": index.create_time.isoformat(),
        "input": [{"size": path.stat().st_size, "beginning": _beginning(path)} for path in files],
    }


def _definition(source: Source, wanted: Wanted) -> Definition:
    """Return the index to make.

    Raises:
        BadInput: Neither the file nor a flag says it.
    """
    found = source.definition
    dimension = wanted.dimension or (found and found.dimension)
    metric = wanted.distance_metric or (found and found.distance_metric)
    if not dimension or not metric:
        raise BadInput(
            f"{source.name} does not say what index it is from; --dimension and --distance-metric "
            "say what to make"
        )
    keys = wanted.non_filterable_metadata_keys
    if found is None:
        return Definition(dimension, metric, keys)
    if wanted.dimension not in (None, found.dimension):
        raise BadInput(
            f"--dimension is {wanted.dimension}; {source.name} holds vectors of {found.dimension} "
            "numbers"
        )
    return Definition(
        dimension,
        metric,
        keys or found.non_filterable_metadata_keys,
        found.m,
        found.ef_construction,
        found.ef_search,
    )


def _made(
    client: Client, bucket: str, index_name: str, made: Definition, missing: Exception
) -> IndexInfo:
    """Return an index that was made, its bucket too if that was missing."""
    if isinstance(missing, NoSuchBucket):
        client.put_vector_bucket(bucket)
        say(f"bucket {bucket} is made")
    client.put_vector_index(
        bucket,
        index_name,
        dimension=made.dimension,
        distance_metric=made.distance_metric,
        non_filterable_metadata_keys=made.non_filterable_metadata_keys,
        m=made.m,
        ef_construction=made.ef_construction,
        ef_search=made.ef_search,
    )
    say(f"index {index_name} is made: {made.dimension} numbers, {made.distance_metric}")
    return client.get_vector_index(bucket, index_name)


def _beginning(path: Path) -> str:
    """Return what tells a file from another one of the same size, most probably."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(_BEGINNING_BYTES)).hexdigest()
