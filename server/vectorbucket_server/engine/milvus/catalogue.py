"""The catalogue of buckets and indexes, in Milvus alone, so that any number of servers share it.

How two that make the same do not both succeed, and none deletes what another made since, is said in
claims.py.

Why no index is acknowledged in a bucket that is then deleted: ``put_index`` makes its claim and
then reads the bucket; ``delete_bucket`` marks the bucket and then looks for claims. Either the mark
was there when the bucket was read: then ``put_index`` waits until the mark, or the bucket, is gone.
Or the mark came after that: then the claim was there when claims were looked for, and the bucket is
not deleted. Every deleter has a mark of its own, which he takes away when he has found an index, so
that none takes away that of another.

A server may die with its mark on a bucket. So a mark is good for a time only: whoever has seen the
same one for ``2 * timeout_s``, by his own clock, takes it away. A deleter who has got no further
within a quarter of that gives up, and renaming the claim, a call of Milvus, takes half of it at
most. No clock is compared with another one.

What was read is believed for ``catalogue_cache_s``. Changes of policy, of logging, and deletions
are acknowledged when that time has passed since: then no server goes by what was before.

An index belongs to a bucket by the bucket's nonce: what is left over from another bucket of the
same name does not exist for anybody, and is replaced by whoever makes an index of its name.

Limits are looked at before something is made and again afterwards: of those who reach a limit at
the same time all may be refused, but never too few.

Rules of this file: whoever decides asks Milvus; what was remembered is only shown.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from vectorbucket.errors import (
    BucketNameNotAvailable,
    NoSuchBucket,
    NoSuchVectorIndex,
    ServiceUnavailable,
    TooManyBuckets,
    VectorBucketError,
    VectorBucketIndexAlreadyExist,
    VectorBucketIndexExceedLimit,
    VectorBucketNotEmpty,
)
from vectorbucket_server.engine.milvus.claims import Claim, Claims, Look, looked_at
from vectorbucket_server.engine.milvus.connection import Connection
from vectorbucket_server.engine.milvus.definitions import (
    VECTOR,
    BucketClaim,
    IndexClaim,
    bucket_collection,
    deletion_property,
    index_collection,
    logging_property,
    partition_of,
    policy_property,
)
from vectorbucket_server.engine.milvus.failures import Missing
from vectorbucket_server.engine.milvus.options import MilvusOptions
from vectorbucket_server.engine.milvus.rows import metric_name
from vectorbucket_server.model import Bucket, BucketLogging, Index, Page

_MARK_PATIENCE_S = 5.0
"""How long a call waits for somebody else to finish deleting the bucket."""

_MARK_PAUSE_S = 0.01

_MARKS_KEPT = 10_000
"""Marks that are remembered; more means only that the time of some begins anew."""

_STATISTICS_AGE_S = 30.0
"""How old what statistics go by may be."""

_CHUNK = 8
"""Claims that a listing looks at, at least: as many as are read at once."""


def _random_id() -> int:
    """Return 63 random bits, not all of them zero."""
    return secrets.randbelow(2**63 - 1) + 1


class Catalogue:
    """The buckets and indexes of a database of Milvus. Used by many threads at once."""

    def __init__(
        self,
        connection: Connection,
        options: MilvusOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        new_id: Callable[[], int] = _random_id,
    ) -> None:
        """Take what is needed; nothing is asked of Milvus yet.

        Args:
            connection: To the database.
            options: Of the engine.
            clock: Seconds that never go back.
            new_id: Returns 63 random bits, never 0.
        """
        self._connection = connection
        self._options = options
        self._clock = clock
        self._new_id = new_id
        self._claims = Claims(connection, options.catalogue_cache_s, clock)
        self._mark_s = 2 * options.timeout_s
        self._marks: dict[str, float] = {}
        """When each mark of a deletion was seen first, by its token."""

    # --- Buckets ----------------------------------------------------------------------------------

    def put_bucket(self, bucket: Bucket, *, buckets_max: int) -> None:
        """Make a bucket; see Engine.put_bucket."""
        claims = self._claims
        if claims.buckets.ask(bucket_collection(bucket.name)) is not None:
            raise BucketNameNotAvailable.of(bucket.name)
        if not claims.are_buckets_at_most(buckets_max - 1, bucket.account_id):
            raise TooManyBuckets.of(buckets_max)
        claim = BucketClaim(bucket, str(self._new_id()))
        if not claims.claim_bucket(claim):
            raise BucketNameNotAvailable.of(bucket.name)
        if not claims.are_buckets_at_most(buckets_max, bucket.account_id):
            claims.drop_bucket(claim)
            raise TooManyBuckets.of(buckets_max)

    def get_bucket(self, bucket_name: str) -> Bucket:
        """Return a bucket; see Engine.get_bucket."""
        return self._bucket(bucket_name).bucket

    def list_buckets(
        self, account_id: str, *, prefix: str = "", after: str = "", limit: int
    ) -> Page[Bucket]:
        """Return a page of the account's buckets; see Engine.list_buckets."""
        page = _page(
            self._claims.buckets_named(prefix, after),
            self._claims.buckets.get,
            lambda claim: claim.bucket.account_id == account_id,
            limit,
        )
        return Page([claim.bucket for claim in page.items], page.next_after)

    def bucket_names(self) -> list[str]:
        """Return the names of all buckets, of all accounts, ascending."""
        return [name for name, _ in self._claims.buckets_named()]

    def set_bucket_policy(self, bucket_name: str, policy: str, seen: Bucket | None = None) -> None:
        """Replace a bucket's policy; see Engine.set_bucket_policy."""
        self._set(bucket_name, seen, lambda nonce: policy_property(nonce, policy))

    def set_bucket_logging(
        self, bucket_name: str, logging: BucketLogging | None, seen: Bucket | None = None
    ) -> None:
        """Replace where a bucket is logged; see Engine.set_bucket_logging."""
        self._set(bucket_name, seen, lambda nonce: logging_property(nonce, logging))

    def _set(
        self, bucket_name: str, seen: Bucket | None, said: Callable[[str], dict[str, str]]
    ) -> None:
        """Set a property of a bucket, and return when every server goes by it."""
        collection = bucket_collection(bucket_name)
        claim = _same(self._claims.buckets.ask(collection), bucket_name, seen)
        try:
            self._connection.set_properties(collection, said(claim.nonce))
        except Missing as error:
            raise NoSuchBucket.of(bucket_name) from error
        now = self._claims.buckets.ask(collection)
        if now is None or now.nonce != claim.nonce:
            raise NoSuchBucket.of(bucket_name)
        self._outlast_caches()

    def delete_bucket(self, bucket_name: str, seen: Bucket | None = None) -> None:
        """Delete an empty bucket; see Engine.delete_bucket."""
        claim = _same(self._settled(bucket_name), bucket_name, seen)
        # Most that are not empty are found to be so without a mark.
        self._check_empty(claim)
        token, began_s = str(self._new_id()), self._clock()

        def check_in_time() -> None:
            if self._clock() - began_s > self._mark_s / 4:
                raise ServiceUnavailable(f"Milvus was too slow to delete bucket {bucket_name!r}")

        try:
            self._mark(claim, token, is_on=True)
        except Missing as error:
            raise NoSuchBucket.of(bucket_name) from error
        try:
            self._check_empty(claim)
            check_in_time()
        except VectorBucketError:
            with suppress(Missing, ServiceUnavailable):
                self._mark(claim, token, is_on=False)
            raise
        # From here on the mark stays: if this fails, it may be done by Milvus all the same.
        if not self._claims.drop_bucket(claim, check_in_time):
            raise NoSuchBucket.of(bucket_name)
        self._claims.finish_drops()
        self._outlast_caches()

    def _check_empty(self, claim: BucketClaim) -> None:
        if not self._claims.are_indexes_at_most(0, claim):
            raise VectorBucketNotEmpty.of(claim.name)

    def _bucket(self, bucket_name: str) -> BucketClaim:
        """Return a bucket, as it is remembered."""
        found = self._claims.buckets.get(bucket_collection(bucket_name))
        return _same(found, bucket_name, None)

    # --- Indexes ----------------------------------------------------------------------------------

    def put_index(self, index: Index, *, indexes_max: int) -> Index:
        """Make an index and return it with its id; see Engine.put_index.

        It has no partition yet: see ``prepare``.
        """
        claims, place = self._claims, (index.bucket_name, index.name)
        bucket = self._settled(index.bucket_name)
        held = claims.indexes.ask(index_collection(*place))
        if held is not None and held.bucket_nonce == bucket.nonce:
            raise VectorBucketIndexAlreadyExist.of(*place)
        if held is not None:
            claims.drop_index(held)
        if not claims.are_indexes_at_most(indexes_max - 1, bucket):
            raise VectorBucketIndexExceedLimit.of(index.bucket_name, indexes_max)
        claim = IndexClaim(self._resolved(index), bucket.nonce)
        if not claims.claim_index(claim):
            raise VectorBucketIndexAlreadyExist.of(*place)
        try:
            if self._settled(index.bucket_name).nonce != bucket.nonce:
                raise NoSuchBucket.of(index.bucket_name)
            if not claims.are_indexes_at_most(indexes_max, bucket):
                raise VectorBucketIndexExceedLimit.of(index.bucket_name, indexes_max)
        except VectorBucketError:
            claims.drop_index(claim)
            raise
        return claim.index

    def _resolved(self, index: Index) -> Index:
        """Return an index with an id, and with what its graph leaves open."""
        m, ef, graph = self._options.m, self._options.ef_construction, index.graph
        graph = replace(graph, m=graph.m or m, ef_construction=graph.ef_construction or ef)
        return replace(index, index_id=self._new_id(), graph=graph)

    def prepare(self, index: Index) -> None:
        """Make what an index needs before it can be loaded; nothing happens if it is there.

        Raises:
            NoSuchVectorIndex: The index does not exist any more.
        """
        collection, graph = index_collection(index.bucket_name, index.name), index.graph
        self._check_there(index)
        try:
            self._connection.create_partition(collection, partition_of(index.index_id))
            self._connection.create_graph(
                collection,
                VECTOR,
                metric_name(index.metric),
                graph.m or self._options.m,
                graph.ef_construction or self._options.ef_construction,
            )
        except Missing as error:
            raise NoSuchVectorIndex.of(index.bucket_name, index.name) from error
        if not self.is_there(index):
            # It was replaced meanwhile: what was put by whoever means the old one must not stay.
            self._connection.drop_partition(collection, partition_of(index.index_id))
            raise NoSuchVectorIndex.of(index.bucket_name, index.name)

    def get_index(self, bucket_name: str, index_name: str) -> Index:
        """Return an index; see Engine.get_index."""
        bucket = self._bucket(bucket_name)
        claim = self._claims.indexes.get(index_collection(bucket_name, index_name))
        if claim is None or claim.bucket_nonce != bucket.nonce:
            raise NoSuchVectorIndex.of(bucket_name, index_name)
        return claim.index

    def list_indexes(
        self, bucket_name: str, *, prefix: str = "", after: str = "", limit: int
    ) -> Page[Index]:
        """Return a page of the bucket's indexes; see Engine.list_indexes."""
        bucket = self._bucket(bucket_name)
        page = _page(
            self._claims.indexes_named(bucket_name, prefix, after),
            self._claims.indexes.get,
            lambda claim: claim.bucket_nonce == bucket.nonce,
            limit,
        )
        return Page([claim.index for claim in page.items], page.next_after)

    def indexes(self) -> list[Index]:
        """Return all indexes, for statistics: some may have been replaced half a minute ago."""
        buckets, indexes = self._claims.buckets, self._claims.indexes

        def bucket_of(name: str) -> BucketClaim | None:
            return buckets.believed(name, _STATISTICS_AGE_S) or buckets.get(name)

        def index_of(name: str) -> IndexClaim | None:
            return indexes.believed(name, _STATISTICS_AGE_S) or indexes.get(name)

        nonces = {claim.nonce for claim in self._claims.of_buckets(bucket_of)}
        found = self._claims.of_indexes(index_of)
        return [claim.index for claim in found if claim.bucket_nonce in nonces]

    def delete_index(self, index: Index) -> None:
        """Delete an index and its vectors; see Engine.delete_index."""
        if not self._claims.drop_index(IndexClaim(index, bucket_nonce="")):
            raise NoSuchVectorIndex.of(index.bucket_name, index.name)
        self._claims.finish_drops()
        self._outlast_caches()

    def is_there(self, index: Index) -> bool:
        """Return whether an index is still this one, as Milvus says."""
        claim = self._claims.indexes.ask(index_collection(index.bucket_name, index.name))
        return claim is not None and claim.index.index_id == index.index_id

    def _check_there(self, index: Index) -> None:
        if not self.is_there(index):
            raise NoSuchVectorIndex.of(index.bucket_name, index.name)

    # --- Marks and leases -------------------------------------------------------------------------

    def _settled(self, bucket_name: str) -> BucketClaim:
        """Return a bucket, as Milvus says, when nobody is deleting it."""
        given_up_s = self._clock() + _MARK_PATIENCE_S
        while True:
            claim = self._claims.buckets.ask(bucket_collection(bucket_name))
            if claim is None:
                raise NoSuchBucket.of(bucket_name)
            good = [token for token in claim.deletions if self._is_good(claim, token)]
            if not good:
                return claim
            if self._clock() > given_up_s:
                raise ServiceUnavailable(
                    f"bucket {bucket_name!r} is being deleted, perhaps by a server that has died; "
                    f"it can be used again {self._mark_s:g} s after that was noticed"
                )
            time.sleep(_MARK_PAUSE_S)

    def _is_good(self, claim: BucketClaim, token: str) -> bool:
        """Return whether a mark is to be respected; take it away if not."""
        now_s = self._clock()
        if len(self._marks) > _MARKS_KEPT:
            self._marks.clear()
        if now_s - self._marks.setdefault(token, now_s) < self._mark_s:
            return True
        with suppress(Missing):
            self._mark(claim, token, is_on=False)
        return False

    def _mark(self, claim: BucketClaim, token: str, *, is_on: bool) -> None:
        """Say whether somebody is deleting a bucket."""
        said = deletion_property(claim.nonce, token, is_on=is_on)
        self._connection.set_properties(bucket_collection(claim.name), said)

    def _outlast_caches(self) -> None:
        """Wait until no server goes by what was before."""
        time.sleep(self._options.catalogue_cache_s)


def _same(claim: BucketClaim | None, bucket_name: str, seen: Bucket | None) -> BucketClaim:
    """Return a bucket, or raise NoSuchBucket if it is not the one that was seen."""
    if claim is None or not claim.bucket.is_same(seen or claim.bucket):
        raise NoSuchBucket.of(bucket_name)
    return claim


def _page(
    pairs: Sequence[tuple[str, str]],
    look: Look[Claim],
    belongs: Callable[[Claim], bool],
    limit: int,
) -> Page[Claim]:
    """Return the first ``limit`` claims that belong to whoever lists.

    Args:
        pairs: Names, ascending, and those of their collections.
        look: Finds the claim that a collection is.
        belongs: Says of a claim whether it is listed.
        limit: At most so many.
    """
    chosen: list[Claim] = []
    start = 0
    while start < len(pairs) and len(chosen) <= limit:
        end = start + max(_CHUNK, limit + 1 - len(chosen))
        found = looked_at([collection for _, collection in pairs[start:end]], look)
        chosen += filter(belongs, found)
        start = end
    more = len(chosen) > limit
    return Page(chosen[:limit], chosen[limit - 1].name if more else None)
