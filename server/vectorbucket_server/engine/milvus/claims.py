"""Collections of Milvus as claims on names of buckets and indexes: made, read, found, dropped.

How two that claim the same name do not both succeed: whoever claims one makes a collection whose
name follows from it, with a random nonce in the description, and then reads it. Milvus makes one of
them; whoever reads his own nonce owns it, the others come too late.

How nobody drops a claim that was made after the one that he means: Milvus drops by name, whatever
has the name by then. So a claim is renamed first, to a name with its nonce in it. Of many who do
that one succeeds, as the new name is taken for the others; and he looks at what he has renamed
before he drops it. If that is another one, because he was held up, it gets its name back.

Rules of this file: it knows what a claim is and where it stands, not when one may be made or
dropped. What is remembered of a claim was read ``catalogue_cache_s`` ago at most; whoever decides
something asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from vectorbucket.errors import InternalError, VectorBucketError
from vectorbucket_server.engine.milvus.connection import Connection
from vectorbucket_server.engine.milvus.definitions import (
    BUCKETS_PREFIX,
    GONE_PREFIX,
    INDEXES_PREFIX,
    BucketClaim,
    IndexClaim,
    bucket_collection,
    bucket_description,
    bucket_fields,
    gone_collection,
    index_collection,
    index_description,
    index_fields,
    indexes_prefix,
    read_bucket,
    read_gone,
    read_index,
    real_name,
)
from vectorbucket_server.engine.milvus.failures import Missing, Refused
from vectorbucket_server.engine.milvus.remembered import Remembered

Claim = TypeVar("Claim", BucketClaim, IndexClaim)
Look = Callable[[str], Claim | None]
"""Finds the claim that a collection is; None: there is none."""

_LOOKS_AT_ONCE = 8
_ATTEMPTS = 5


class Claims:
    """The claims in a database of Milvus. Used by many threads at once."""

    def __init__(self, connection: Connection, cache_s: float, clock: Callable[[], float]) -> None:
        """Take what is needed; nothing is asked of Milvus yet.

        Args:
            connection: To the database.
            cache_s: How long what was read is believed.
            clock: Seconds that never go back.
        """
        self._connection = connection
        self.buckets = Remembered(self._read_bucket, cache_s, clock)
        self.indexes = Remembered(self._read_index, cache_s, clock)
        """Both by the name of the collection."""

    def _read_bucket(self, collection: str) -> BucketClaim | None:
        """Return what Milvus says of a bucket."""
        described = self._connection.describe(collection)
        if described is None:
            return None
        return read_bucket(collection, described.description, described.properties)

    def _read_index(self, collection: str) -> IndexClaim | None:
        """Return what Milvus says of an index."""
        described = self._connection.describe(collection)
        return None if described is None else read_index(collection, described.description)

    # --- Making and dropping ----------------------------------------------------------------------

    def claim_bucket(self, claim: BucketClaim) -> bool:
        """Make a bucket's collection; return whether the name is ours."""
        collection = bucket_collection(claim.name)
        self._create(collection, bucket_description(claim), bucket_fields())
        return _is(claim, self.buckets.ask(collection))

    def claim_index(self, claim: IndexClaim) -> bool:
        """Make an index's collection; return whether the name is ours."""
        index = claim.index
        collection = index_collection(index.bucket_name, index.name)
        self._create(collection, index_description(claim), index_fields(index.dimension))
        return _is(claim, self.indexes.ask(collection))

    def _create(
        self, collection: str, description: str, fields: Sequence[Mapping[str, object]]
    ) -> None:
        """Make a collection, or find that somebody else has."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._connection.create(collection, description, fields)
            except Refused as error:
                # Perhaps it was there when Milvus looked, and gone when it was asked about it.
                if attempt == _ATTEMPTS:
                    raise InternalError(f"Milvus refuses to make a collection: {error}") from error
            else:
                return

    def drop_bucket(self, claim: BucketClaim, check: Callable[[], None] = lambda: None) -> bool:
        """Drop a bucket's collection; return False if it is another one's by now.

        Args:
            claim: The bucket.
            check: Called before each attempt; raises if it would come too late.
        """
        return self._drop(bucket_collection(claim.name), claim, self.buckets, check)

    def drop_index(self, claim: IndexClaim) -> bool:
        """Drop an index's collection, with all rows; return False if it is another one's by now."""
        collection = index_collection(claim.index.bucket_name, claim.name)
        return self._drop(collection, claim, self.indexes)

    def _drop(
        self,
        collection: str,
        claim: Claim,
        remembered: Remembered[Claim],
        check: Callable[[], None] = lambda: None,
    ) -> bool:
        gone = gone_collection(claim.nonce)
        for _ in range(_ATTEMPTS):
            if not _is(claim, remembered.ask(collection)):
                return False
            check()
            try:
                self._connection.rename(collection, gone)
            except (Missing, Refused):
                # Somebody else is at it: then it is not there when it is asked for again.
                continue
            remembered.forget(collection)
            return self._finish(gone)
        raise InternalError(f"Milvus refuses to rename collection {collection}")

    def finish_drops(self) -> None:
        """Finish what others began to drop and could not, because they died; as far as it goes.

        Whoever calls this has done what he was asked for: a failure here is none of his.
        """
        with suppress(VectorBucketError):
            for gone in self._starting(GONE_PREFIX):
                # What cannot be finished stays for the operator to see; whoever began it was told.
                with suppress(InternalError):
                    self._finish(gone)

    def _finish(self, gone: str) -> bool:
        """Drop what was renamed; if it is not what was meant, give its name back.

        Returns:
            Whether it is what was meant.

        Raises:
            InternalError: Somebody has claimed that name since. Nothing was dropped.
        """
        described = self._connection.describe(gone)
        if described is None:
            return True
        collection, nonce = read_gone(gone, described.description)
        if gone == gone_collection(nonce):
            self._connection.drop(gone)
            return True
        try:
            self._connection.rename(gone, collection)
        except Missing:
            return False  # somebody else has finished it
        except Refused as error:
            raise InternalError(
                f"collection {gone} of Milvus was {collection}, which was made again; rename it"
            ) from error
        return False

    # --- Looking for them -------------------------------------------------------------------------

    def of_buckets(self, look: Look[BucketClaim]) -> list[BucketClaim]:
        """Return the claims of all buckets."""
        return looked_at(self._starting(BUCKETS_PREFIX), look)

    def of_indexes(self, look: Look[IndexClaim]) -> list[IndexClaim]:
        """Return the claims of all indexes, whatever has become of their buckets."""
        return looked_at(self._starting(INDEXES_PREFIX), look)

    def are_buckets_at_most(self, count: int, account_id: str) -> bool:
        """Return whether an account has at most so many buckets, as Milvus says."""
        collections = self._starting(BUCKETS_PREFIX)
        if len(collections) <= count:
            return True
        found = looked_at(collections, self.buckets.ask)
        return sum(claim.bucket.account_id == account_id for claim in found) <= count

    def are_indexes_at_most(self, count: int, bucket: BucketClaim) -> bool:
        """Return whether a bucket holds at most so many indexes, as Milvus says."""
        collections = self._starting(indexes_prefix(bucket.name))
        if len(collections) <= count:
            return True
        found = looked_at(collections, self.indexes.ask)
        return sum(claim.bucket_nonce == bucket.nonce for claim in found) <= count

    def buckets_named(self, prefix: str = "", after: str = "") -> list[tuple[str, str]]:
        """Return the names of buckets that begin with ``prefix`` and are after ``after``.

        Returns:
            Pairs, ascending: the name, and that of its collection.
        """
        return self._named(BUCKETS_PREFIX, self.buckets.get, prefix, after)

    def indexes_named(
        self, bucket_name: str, prefix: str = "", after: str = ""
    ) -> list[tuple[str, str]]:
        """Return the same of a bucket's indexes, those of former buckets of its name included."""
        return self._named(indexes_prefix(bucket_name), self.indexes.get, prefix, after)

    def _named(
        self, kind: str, look: Look[Claim], prefix: str, after: str
    ) -> list[tuple[str, str]]:
        pairs: list[tuple[str, str]] = []
        for collection in self._starting(kind):
            name = real_name(collection, kind)
            if name is not None:
                pairs.append((name, collection))
            else:
                pairs += [(claim.name, collection) for claim in looked_at([collection], look)]
        return sorted(pair for pair in pairs if pair[0].startswith(prefix) and pair[0] > after)

    def _starting(self, prefix: str) -> list[str]:
        """Return the names of the collections that begin with a prefix."""
        return [name for name in self._connection.names() if name.startswith(prefix)]


def looked_at(collections: Iterable[str], look: Look[Claim]) -> list[Claim]:
    """Return the claims that collections are, in their order; what is gone is left out."""
    wanted = list(collections)
    if len(wanted) <= _LOOKS_AT_ONCE:
        found = list(map(look, wanted))
    else:
        with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
            found = list(pool.map(look, wanted))
    return [claim for claim in found if claim is not None]


def _is(claim: Claim, found: Claim | None) -> bool:
    """Return whether what was found is a claim, and not another one of its name."""
    return found is not None and found.nonce == claim.nonce
