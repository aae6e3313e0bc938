"""The table of operations: by which method and flag they are asked for, and which RPC answers.

Rules of this file: everything that tells operations apart before their bodies are read stands in
``ROUTES``, one row each, and nowhere else; README's table is made of it. A parameter of the query
that belongs to no operation is refused and never passed over: ``DELETE /?acl`` must not delete a
bucket.

Source: oss-vectors-api, section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vectorbucket.errors import (
    InvalidArgument,
    InvalidVectorBucketName,
    MethodNotAllowed,
    VectorBucketError,
)
from vectorbucket_server.rest.oss import bucket_settings, buckets, fusion, indexes, vectors
from vectorbucket_server.rest.oss.conversion import Conversion
from vectorbucket_server.rest.oss.errors import ALLOWED
from vectorbucket_server.rest.oss.words import shown

SIGNATURE_PREFIX = "x-oss-"
"""What the names of parameters begin with that carry a signature, not a request."""


@dataclass(frozen=True, slots=True)
class Route:
    """One operation."""

    operation: str
    """As OSS calls it."""
    method: str
    flag: str
    """The parameter of the query that names it, with or without ``=``; empty: there is none."""
    service: str
    """Which stub answers: ``buckets``, ``indexes`` or ``vectors``."""
    rpc: str
    status: int
    """Of a success."""
    conversion: Conversion
    differences: str = ""
    """What is other here than in the cloud, for who comes from there; empty: nothing."""
    on_bucket: bool = True
    """Whether a bucket has to be named; if not, none may be."""
    parameters: frozenset[str] = frozenset()
    """Other parameters of the query that it takes."""

    def __str__(self) -> str:
        """Return the row as a line."""
        asked = f"{self.method} /?{self.flag}" if self.flag else f"{self.method} /"
        return f"{self.operation:19} {asked:25} {self.rpc:18} {self.status}"


ROUTES: tuple[Route, ...] = (
    Route(
        "PutVectorBucket", "PUT", "", "buckets", "PutVectorBucket", 200, buckets.PUT,
        "names of 3 to 63 characters, unique in the server; a name is free again at once after a "
        "delete; resource group and tags are passed over",
    ),
    Route(
        "GetVectorBucket", "GET", "bucketInfo", "buckets", "GetVectorBucket", 200, buckets.GET,
        "both endpoints are the host of the request, or the one configured; the resource group is "
        "always `rg-default`",
    ),
    Route(
        "ListVectorBuckets", "GET", "", "buckets", "ListVectorBuckets", 200, buckets.LIST,
        "as GetVectorBucket", on_bucket=False, parameters=buckets.LIST_PARAMETERS,
    ),
    Route(
        "DeleteVectorBucket", "DELETE", "", "buckets", "DeleteVectorBucket", 204, buckets.DELETE,
    ),
    Route(
        "PutBucketPolicy", "PUT", "policy", "buckets", "PutBucketPolicy", 200,
        bucket_settings.PUT_POLICY,
        "at most 16 KiB; what is no policy is refused, conditions and negated members too; the "
        "owner is never denied",
    ),
    Route(
        "GetBucketPolicy", "GET", "policy", "buckets", "GetBucketPolicy", 200,
        bucket_settings.GET_POLICY,
    ),
    Route(
        "DeleteBucketPolicy", "DELETE", "policy", "buckets", "DeleteBucketPolicy", 204,
        bucket_settings.DELETE_POLICY,
    ),
    Route(
        "PutBucketLogging", "PUT", "logging", "buckets", "PutBucketLogging", 200,
        bucket_settings.PUT_LOGGING,
        "lines go to files of the server, in a folder named as the target bucket, which need not "
        "exist; the role is kept and has no effect",
    ),
    Route(
        "GetBucketLogging", "GET", "logging", "buckets", "GetBucketLogging", 200,
        bucket_settings.GET_LOGGING,
    ),
    Route(
        "DeleteBucketLogging", "DELETE", "logging", "buckets", "DeleteBucketLogging", 204,
        bucket_settings.DELETE_LOGGING,
    ),
    Route(
        "PutVectorIndex", "POST", "putVectorIndex", "indexes", "PutVectorIndex", 200, indexes.PUT,
        "`dimension` and `distanceMetric` have to be said; the index is `enable` at once; no "
        "fusion indexes",
    ),
    Route(
        "GetVectorIndex", "POST", "getVectorIndex", "indexes", "GetVectorIndex", 200, indexes.GET,
    ),
    Route(
        "ListVectorIndexes", "POST", "listVectorIndexes", "indexes", "ListVectorIndexes", 200,
        indexes.LIST,
    ),
    Route(
        "DeleteVectorIndex", "POST", "deleteVectorIndex", "indexes", "DeleteVectorIndex", 204,
        indexes.DELETE,
    ),
    Route(
        "PutVectors", "POST", "putVectors", "vectors", "PutVectorsBatch", 200, vectors.PUT,
        "all or nothing; found by the next query; numbers and booleans in metadata, too; NaN and "
        "infinity are 400",
    ),
    Route(
        "GetVectors", "POST", "getVectors", "vectors", "GetVectors", 200, vectors.GET,
        "a key asked for twice is answered once, in the order of first mention",
    ),
    Route(
        "ListVectors", "POST", "listVectors", "vectors", "ListVectors", 200, vectors.LIST,
        "in the order of keys; no `filter`",
    ),
    Route(
        "DeleteVectors", "POST", "deleteVectors", "vectors", "DeleteVectors", 204, vectors.DELETE,
    ),
    Route(
        "QueryVectors", "POST", "queryVectors", "vectors", "QueryVectors", 200, vectors.QUERY,
        "`topK` hits whenever that many match; euclidean distances are rooted; also `$gt`, `$gte`, "
        "`$lt`, `$lte` and `$exists`; a filter on a non-filterable key is 400",
    ),
)  # fmt: skip
"""Every operation that is answered, in the order of the pages."""

REFUSED: tuple[Route, ...] = (
    Route(
        "PutVectorIndexFusion", "POST", "putVectorIndexFusion", "indexes", "PutVectorIndex", 200,
        fusion.PUT,
    ),
    Route(
        "QueryVectorsFusion", "POST", "queryVectorsFusion", "vectors", "QueryVectors", 200,
        fusion.QUERY,
    ),
)  # fmt: skip
"""Operations that are known, and never done: each is asked for as the one that is nearest to it,
with a fault, so that rights, missing buckets and bucket logs come as they do for that one."""

UNSUPPORTED: Mapping[str, str] = {route.flag: route.operation for route in REFUSED}
"""Their names by their flags."""

_BY_FLAG: Mapping[str, Mapping[tuple[str, bool], Route]] = {
    flag: {
        (route.method, route.on_bucket): route
        for route in (*ROUTES, *REFUSED)
        if route.flag == flag
    }
    for flag in {route.flag for route in (*ROUTES, *REFUSED)}
}


def route_of(method: str, names: Iterable[str], *, bucket: bool) -> Route:
    """Return the operation that a request asks for.

    Args:
        method: Of the request.
        names: Of the parameters in its query.
        bucket: Whether it names a bucket.

    Raises:
        InvalidArgument: A parameter is unknown, or several name operations.
        MethodNotAllowed: No operation is asked for by this method in this way.
        InvalidVectorBucketName: A bucket has to be named.
    """
    said = [name for name in names if not name.startswith(SIGNATURE_PREFIX)]
    flags = [name for name in said if name and name in _BY_FLAG]
    if len(flags) > 1:
        raise InvalidArgument(f"the query names several operations: {', '.join(flags[:4])}")
    flag = flags[0] if flags else ""
    route = _route(method, flag, bucket=bucket)
    rest = [name for name in said if not flag or name != flag]
    known = route.parameters if isinstance(route, Route) else buckets.LIST_PARAMETERS
    for position, name in enumerate(rest):
        if name not in known:
            raise InvalidArgument(f"the query has an unknown parameter {shown(name)}", field=name)
        if name in rest[:position]:
            raise InvalidArgument(f"the query has the parameter {name} twice", field=name)
    if isinstance(route, Route):
        return route
    raise route


def _route(method: str, flag: str, *, bucket: bool) -> Route | VectorBucketError:
    """Return the operation of a method and a flag, or why there is none."""
    routes = _BY_FLAG[flag]
    if route := routes.get((method, bucket)):
        return route
    if (method, True) in routes and not bucket:
        return InvalidVectorBucketName(
            "the request names no bucket, neither in its host, as BUCKET-ACCOUNT.SERVICE, nor in "
            "its path, as /BUCKET/",
            field="bucket",
        )
    asked = f"?{flag}" if flag else "a request without a flag"
    here = [known for known, on_bucket in routes if on_bucket == bucket]
    allowed = ", ".join(sorted(here or {known for known, _ in routes}))
    return MethodNotAllowed(
        f"{asked} cannot be asked for by {shown(method)} here; it can by {allowed}",
        details={ALLOWED: allowed},
    )
