"""The peer pgvector: a PostgreSQL with that extension, which the user has started.

Its client is psycopg with the adapter of pgvector (pip install "psycopg[binary]" pgvector); its
address is a connection string, such as ``postgresql://postgres@127.0.0.1:5432/postgres``, of a role
that may create the extension.

Rules of this file: only importer of ``psycopg`` and ``pgvector``. Every field is a column of its
own type; rows come by binary COPY, and the indexes after them, as the extension's manual advises;
queries are prepared and go on through the graph until enough match (``hnsw.iterative_scan``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench_data import Float32Array
from bench_peer_base import (
    COLLECTION,
    INDEXED_FIELDS,
    PeerUnavailable,
    PerThread,
    field_kinds,
    peer_package,
)
from bench_peer_memory import parent_pid, tree_memory_bytes
from bench_reference import EF_CONSTRUCTION, EF_SEARCH, M
from bench_subject import Condition

DEFAULT_TARGET = "postgresql://postgres@127.0.0.1:5432/postgres"

_COLUMN_TYPES = {"text": "text", "number": "double precision", "list": "text[]"}
"""Its type by what a field holds."""

_INSTALL = '"psycopg[binary]" pgvector'


def quoted(name: str) -> str:
    """Return a name as an identifier of SQL, safe beside psycopg's placeholders."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


def where_clause(condition: Condition | None) -> tuple[str, tuple[str | float, ...]]:
    """Return a condition as SQL and the values of its placeholders."""
    if condition is None:
        return "", ()
    column = quoted(condition.field)
    if condition.operator == "range":
        return f"WHERE {column} >= %s AND {column} < %s", (condition.low, condition.high)
    if condition.operator == "in_list":
        return f"WHERE {column} @> ARRAY[%s]::text[]", (condition.value,)
    return f"WHERE {column} = %s", (condition.value,)


class PgvectorPeer:
    """A table in a running PostgreSQL."""

    name = "pgvector"
    in_process = False

    def __init__(self, target: str | None = None) -> None:
        """Connect.

        Args:
            target: A connection string; None: DEFAULT_TARGET.

        Raises:
            PeerUnavailable: The client is not installed, or no such server answers.
        """
        self._psycopg = peer_package(self.name, "psycopg", _INSTALL)
        self._adapter = peer_package(self.name, "pgvector.psycopg", _INSTALL)
        self._target = target or DEFAULT_TARGET
        try:
            self._connection = self._psycopg.connect(self._target, autocommit=True)
            self._connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except self._psycopg.Error as refused:
            reason = str(refused).strip().splitlines()[0]
            raise PeerUnavailable(
                f"pgvector cannot be had at {self._target} ({reason}); start PostgreSQL with it"
                " and say where with --peer-target"
            ) from refused
        self._adapter.register_vector(self._connection)
        self._cursors = PerThread(self._cursor, lambda cursor: cursor.connection.close())

    def _cursor(self) -> Any:
        """Return a cursor with a connection of its own, set as this file's rules say."""
        connection = self._psycopg.connect(self._target, autocommit=True)
        self._adapter.register_vector(connection)
        connection.execute(f"SET hnsw.ef_search = {EF_SEARCH}")
        connection.execute("SET hnsw.iterative_scan = strict_order")
        return connection.cursor(binary=True)

    def store(
        self, keys: Sequence[str], data: Float32Array, metadata: Sequence[Mapping[str, Any]]
    ) -> None:
        """Copy all rows into a new table, in one transaction."""
        kinds = field_kinds(metadata)
        types = [_COLUMN_TYPES[kind] for kind in kinds.values()]
        columns = [f"{quoted(name)} {kind}" for name, kind in zip(kinds, types, strict=True)]
        self._drop()
        # Plain: a vector that is kept apart from its row costs a second look-up.
        self._connection.execute(
            f"CREATE TABLE {COLLECTION} (key text PRIMARY KEY,"
            f" embedding vector({data.shape[1]}) STORAGE PLAIN NOT NULL"
            f"{''.join(f', {column}' for column in columns)})"
        )
        copy = f"COPY {COLLECTION} FROM STDIN WITH (FORMAT BINARY)"
        with self._connection.cursor() as cursor, cursor.copy(copy) as rows:
            rows.set_types(["text", "vector", *types])
            for key, row, fields in zip(keys, data, metadata, strict=True):
                rows.write_row([key, row, *(fields.get(name) for name in kinds)])

    def finish(self) -> None:
        """Build the graph and the indexes of the filtered fields, and gather statistics."""
        self._connection.execute("SET maintenance_work_mem = '1GB'")
        self._connection.execute(
            f"CREATE INDEX ON {COLLECTION} USING hnsw (embedding vector_cosine_ops)"
            f" WITH (m = {M}, ef_construction = {EF_CONSTRUCTION})"
        )
        for field in INDEXED_FIELDS:
            self._connection.execute(f"CREATE INDEX ON {COLLECTION} ({quoted(field)})")
        self._connection.execute(f"VACUUM ANALYZE {COLLECTION}")

    def query(self, vector: Float32Array, top_k: int, condition: Condition | None) -> list[str]:
        """Return the nearest keys."""
        where, values = where_clause(condition)
        found = self._cursors.get().execute(
            f"SELECT key FROM {COLLECTION} {where} ORDER BY embedding <=> %s LIMIT %s",  # noqa: S608 - our own words
            (*values, vector, top_k),
            prepare=True,
        )
        return [key for (key,) in found.fetchall()]

    def memory_bytes(self) -> int | None:
        """Return what the server's processes take, when they run here."""
        info = self._connection.info
        if not info.host.startswith("/") and info.hostaddr not in {"127.0.0.1", "::1"}:
            return None
        parent = parent_pid(info.backend_pid)
        return None if parent is None else tree_memory_bytes(parent)

    def close(self) -> None:
        """Drop the table and disconnect."""
        self._cursors.close()
        self._drop()
        self._connection.close()

    def _drop(self) -> None:
        self._connection.execute(f"DROP TABLE IF EXISTS {COLLECTION}")
