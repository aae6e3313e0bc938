"""The connection to Milvus: each call timed, told to the observer, its failure in our words.

Rules of this file: with failures.py and wire.py the only importer of pymilvus; it knows no bucket,
no index and no vector, only what Milvus has: collections, partitions, rows. A failure becomes an
error of the contract, or one of the three exceptions of failures.py, which its callers know what to
do about.

Milvus that does not answer, or is not ready, is asked again until ``timeout_s`` is over: all calls
here may be made twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline, Observer
from vectorbucket_server.engine.milvus.failures import (
    PASSES,
    Missing,
    Refused,
    code_of,
    outcome_of,
    still_loading,
    translated,
    words_of,
)
from vectorbucket_server.engine.milvus.options import MilvusOptions
from vectorbucket_server.engine.milvus.wire import (
    Found,
    Row,
    search,
    search_request,
    upsert,
    upsert_request,
)

CHECK_S = 2.0
"""Seconds that Milvus has to say that it is there; health checks have little more."""

_CONNECT_S = 5.0
_FIRST_PAUSE_S, _PAUSE_MAX_S = 0.02, 1.0
_LOAD_PAUSE_S = 0.02

# It would write every failure, with what callers sent in it, to standard error.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Described:
    """What Milvus keeps about a collection besides its rows."""

    description: str
    properties: Mapping[str, str]


class Connection:
    """A connection to one database of Milvus; used by many threads at once."""

    def __init__(self, options: MilvusOptions, observer: Observer) -> None:
        """Take what is needed; nothing is opened yet."""
        self._options = options
        self._observer = observer
        self._client: MilvusClient | None = None

    def open(self) -> None:
        """Connect.

        Raises:
            ServiceUnavailable: Nothing answers there, it does not know us, or it has no such
                database.
        """
        options = self._options
        try:
            self._client = MilvusClient(
                uri=options.uri,
                token=options.token,
                db_name=options.database,
                # That of connecting, now and whenever the client does it again by itself; all calls
                # that find the connection broken wait for that, health checks too.
                timeout=min(options.timeout_s, _CONNECT_S),
                dedicated=True,
            )
            self._client.list_collections(timeout=options.timeout_s)
        except (MilvusException, grpc.RpcError) as error:
            self.close()
            raise ServiceUnavailable(
                f"Milvus at {options.uri} cannot be used with database {options.database!r}: "
                f"{words_of(error)}; see milvus_uri, milvus_token and milvus_database"
            ) from error

    def close(self) -> None:
        """Disconnect; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def check(self) -> None:
        """Return if Milvus answers.

        Raises:
            ServiceUnavailable: It does not.
        """
        self._call("list_collections", patience_s=CHECK_S)

    # --- Collections ------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return the names of all collections of the database."""
        found = self._call("list_collections")
        return [str(name) for name in found]

    def describe(self, name: str) -> Described | None:
        """Return what is kept about a collection; None if there is none of that name."""
        try:
            found = self._call("describe_collection", name)
        except Missing:
            return None
        properties = {str(key): str(value) for key, value in found["properties"].items()}
        return Described(str(found["description"]), properties)

    def create(self, name: str, description: str, fields: Sequence[Mapping[str, Any]]) -> bool:
        """Make a collection; return False if another one has that name already.

        Two that make one of the same name and description at once both hear True: whoever wants to
        know which is his puts something into the description that nobody else has.

        Args:
            name: Its name.
            description: Its description.
            fields: Its fields, as ``add_field`` takes them; ``datatype`` is a name of DataType.
        """
        schema = MilvusClient.create_schema(
            auto_id=False, enable_dynamic_field=False, description=description
        )
        for field in fields:
            schema.add_field(**{**field, "datatype": DataType[field["datatype"]]})
        try:
            self._call("create_collection", name, schema=schema, num_shards=self._options.shards)
        except Refused:
            if self.describe(name) is None:
                raise
            return False
        return True

    def set_properties(self, name: str, properties: Mapping[str, str]) -> None:
        """Set properties of a collection, durably; others stay.

        Raises:
            Missing: There is no such collection.
        """
        self._call("alter_collection_properties", name, properties=dict(properties))

    def drop(self, name: str) -> None:
        """Drop a collection; nothing happens if there is none."""
        try:
            self._call("drop_collection", name)
        except Missing:
            return

    def create_partition(self, name: str, partition: str) -> None:
        """Make a partition; nothing happens if there is one of that name.

        Raises:
            Missing: There is no such collection.
        """
        self._call("create_partition", name, partition)

    def drop_partition(self, name: str, partition: str) -> None:
        """Drop a partition and its rows; nothing happens if there is none."""
        try:
            # One that is loaded is not dropped.
            self._call("release_partitions", name, [partition])
            self._call("drop_partition", name, partition)
        except Missing:
            return

    def rename(self, name: str, new_name: str) -> None:
        """Give a collection another name; all that it holds, and that it is loaded, stays so.

        Raises:
            Missing: There is no such collection.
            Refused: Another one has the new name already.
        """
        self._call("rename_collection", name, new_name)

    def create_graph(
        self, name: str, field: str, metric: str, m: int, ef_construction: int
    ) -> None:
        """Say how vectors are searched; nothing happens if that was said already.

        Raises:
            Missing: There is no such collection.
        """
        parameters = MilvusClient.prepare_index_params()
        parameters.add_index(
            field,
            index_type="HNSW",
            metric_type=metric,
            params={"M": m, "efConstruction": ef_construction},
        )
        # Without waiting: Milvus searches what is not in a graph yet by other means.
        self._call("create_index", name, parameters, sync=False)

    def begin_load(self, name: str) -> None:
        """Let Milvus bring a collection into the memory of the query nodes; without waiting.

        Raises:
            Missing: There is no such collection.
        """
        self._call("load_collection", name, _async=True, replica_number=self._options.replicas)

    def wait_until_loaded(self, name: str, patience_s: float, deadline: Deadline) -> None:
        """Return once a collection is in the memory of the query nodes.

        Raises:
            Missing: There is no such collection.
            ServiceUnavailable: It was not there in time; Milvus goes on with it.
            RequestTimeout: The deadline passed; the same.
        """
        given_up = time.monotonic() + patience_s
        while not self.is_loaded(name):
            deadline.check()
            if time.monotonic() > given_up:
                raise still_loading(patience_s)
            time.sleep(_LOAD_PAUSE_S)

    def is_loaded(self, name: str) -> bool:
        """Return whether a collection is in the memory of the query nodes.

        Raises:
            Missing: There is no such collection.
        """
        state = self._call("get_load_state", name)["state"]
        if state.name == "NotExist":
            raise Missing(name)
        return bool(state.name == "Loaded")

    def replica_count(self, name: str) -> int:
        """Return how many copies of a loaded collection there are."""
        return len(self._call("describe_replica", name))

    # --- Rows -------------------------------------------------------------------------------------

    def upsert(self, name: str, partition: str, rows: list[Row], deadline: Deadline) -> None:
        """Store rows, durably, in place of those with their keys.

        Raises:
            Missing: There is no such collection or partition.
            QpsLimitExceeded: Milvus' rate limits refuse it.
        """
        self._call("upsert", upsert_request(name, partition, rows), deadline=deadline)

    def delete(self, name: str, partition: str, expression: str, deadline: Deadline) -> None:
        """Delete the rows for which an expression holds.

        Raises:
            Missing: There is no such collection or partition.
            QpsLimitExceeded: Milvus' rate limits refuse it.
        """
        self._call("delete", name, filter=expression, partition_name=partition, deadline=deadline)

    def query(
        self,
        name: str,
        partition: str,
        expression: str,
        fields: Sequence[str],
        *,
        consistency: str,
        limit: int | None = None,
        deadline: Deadline = NO_DEADLINE,
    ) -> list[Row]:
        """Return the rows for which an expression holds, ascending by key.

        Args:
            name: The collection.
            partition: Its partition.
            expression: Which rows.
            fields: What is wanted of each.
            consistency: ``Strong`` or ``Bounded``.
            limit: At most so many; None: all.
            deadline: How long the caller waits.

        Raises:
            Missing: There is no such collection or partition.
            Unloaded: It is not loaded.
        """
        bounds = {} if limit is None else {"limit": limit}
        found: list[Row] = self._call(
            "query",
            name,
            filter=expression,
            output_fields=list(fields),
            partition_names=[partition],
            consistency_level=consistency,
            deadline=deadline,
            **bounds,
        )
        return found

    def search(
        self,
        name: str,
        partition: str,
        vectors: Any,
        *,
        limit: int,
        expression: str,
        fields: Sequence[str],
        ef: int,
        consistency: str,
        deadline: Deadline,
    ) -> Found:
        """Return for each vector the hits that Milvus finds, nearest first.

        Args:
            name: The collection.
            partition: Its partition.
            vectors: float32, shape (q, dimension).
            limit: Hits for each.
            expression: Which rows take part; empty: all.
            fields: What is wanted of each hit.
            ef: Breadth of the search.
            consistency: As for ``query``.
            deadline: How long the caller waits.

        Raises:
            Missing: There is no such collection or partition.
            Unloaded: It is not loaded.
        """
        request = search_request(
            name,
            partition,
            vectors,
            limit=limit,
            expression=expression,
            fields=fields,
            ef=ef,
            consistency=consistency,
        )
        found: Found = self._call("search", request, deadline=deadline)
        return found

    # --- Calling ----------------------------------------------------------------------------------

    def _call(
        self,
        method: str,
        *arguments: Any,
        deadline: Deadline = NO_DEADLINE,
        patience_s: float | None = None,
        **named: Any,
    ) -> Any:
        """Call the client's method, or ours of that name, until it answers or time is over."""
        client = self._client
        if client is None:
            raise ServiceUnavailable("the connection to Milvus is closed")
        call = partial(_OURS[method], client) if method in _OURS else getattr(client, method)
        given_up = time.monotonic() + (patience_s or self._options.timeout_s)
        pause_s = _FIRST_PAUSE_S
        while True:
            deadline.check()
            began = time.monotonic()
            left_s, remaining_s = given_up - began, deadline.remaining_s()
            left_s = max(0.001, left_s if remaining_s is None else min(left_s, remaining_s))
            try:
                answer = call(*arguments, timeout=left_s, retry_on_rate_limit=False, **named)
            except (MilvusException, grpc.RpcError) as error:
                now = time.monotonic()
                self._observer.backend_called(method, outcome_of(error), now - began)
                deadline.check()
                if self._client is None:
                    raise ServiceUnavailable("the connection to Milvus was closed") from None
                if not (code_of(error) in PASSES and now + pause_s < given_up):
                    carries_data = method in _CARRY_DATA
                    # A cause is logged with its text.
                    cause = None if carries_data else error
                    raise translated(error, carries_data=carries_data) from cause
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_MAX_S)
            else:
                self._observer.backend_called(method, "ok", time.monotonic() - began)
                return answer


_OURS: Mapping[str, Callable[..., Any]] = {"search": search, "upsert": upsert}
"""What the client has a method for, too, which takes longer."""

_CARRY_DATA = frozenset({"upsert", "delete", "query", "search", "alter_collection_properties"})
"""Calls whose texts of failure may hold what callers sent."""
