"""Which index a request means.

Rules of this file: the bucket comes before the index, and both before everything else of a request.
"""

from __future__ import annotations

from vectorbucket.errors import NotFound
from vectorbucket.limits import Limits
from vectorbucket_server.engine.base import Engine
from vectorbucket_server.model import Bucket, Index
from vectorbucket_server.naming import check_bucket_name, check_index_name


def find_bucket(engine: Engine, limits: Limits, bucket: str) -> Bucket:
    """Return the bucket of a name.

    Raises:
        InvalidVectorBucketName: The name is not legal.
        NoSuchBucket: There is none.
    """
    check_bucket_name(bucket, limits)
    return engine.get_bucket(bucket)


def find_index(engine: Engine, limits: Limits, bucket: str, index_name: str) -> Index:
    """Return the index of a name.

    Names are looked at only when nothing is found: a name under which something is kept was legal.

    Raises:
        InvalidVectorBucketName: The bucket's name is not legal.
        NoSuchBucket: There is no such bucket.
        VectorIndexParameterInvalid: The index's name is not legal.
        NoSuchVectorIndex: There is no such index.
    """
    try:
        return engine.get_index(bucket, index_name)
    except NotFound:
        find_bucket(engine, limits, bucket)
        check_index_name(index_name, limits)
        raise
