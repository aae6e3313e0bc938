"""One change of an index in the store: what a put or a delete writes, in one atomic batch.

Rules of this file:

- Preparing needs no lock and is most of the work; ``commit`` is called under the index's write
  mutex, and either the whole change is in the store or nothing of it.
- It knows records and labels, no rows, slots or graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vectorbucket_server.engine.embedded.schema import (
    Family,
    IndexState,
    LabelArray,
    decode_number,
    encode_change,
    encode_number,
    encode_row,
    encode_state,
    label_key,
    state_key,
    vector_prefix,
)
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import VectorBatch


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What is to be written."""

    index_id: int
    vector_keys: list[bytes]
    """The keys in ``vectors`` whose vectors are replaced, or deleted where there are no records."""
    records: list[bytes]
    """One record of ``rows`` a key, or none at all."""
    data: list[bytes]
    """One record of ``data`` a record."""


@dataclass(frozen=True, slots=True, eq=False)
class Committed:
    """What was written."""

    state: IndexState
    """Of the index, from now on."""
    born: LabelArray
    """uint64, shape (n,), ascending: the labels of the records."""
    dead: LabelArray
    """uint64, shape (d,), ascending: the labels that were replaced or deleted."""


def putting(index_id: int, batch: VectorBatch) -> Change:
    """Return the change that stores a batch."""
    prefix = vector_prefix(index_id)
    raw = batch.data.astype("<f4", copy=False).tobytes()
    width = batch.data.shape[1] * 4
    return Change(
        index_id,
        [prefix + key.encode() for key in batch.keys],
        list(map(encode_row, batch.keys, batch.metadata)),
        [raw[start : start + width] for start in range(0, len(raw), width)],
    )


def deleting(index_id: int, keys: Sequence[str]) -> Change:
    """Return the change that deletes keys; those that do not exist change nothing."""
    prefix = vector_prefix(index_id)
    return Change(index_id, [prefix + key.encode() for key in dict.fromkeys(keys)], [], [])


def commit(store: Store, change: Change, before: IndexState) -> Committed | None:
    """Write a change, and return what it was; None if there was nothing to change.

    Args:
        store: Where to.
        change: What to write.
        before: The state of the index; nobody else may change it meanwhile.

    Raises:
        ServiceUnavailable: The store refused it; nothing was written.
        Corruption: A record that it replaces is broken.
    """
    index_id, keys = change.index_id, change.vector_keys
    dead = sorted(
        decode_number(Family.VECTORS, key, value)
        for key, value in zip(keys, store.get_many(Family.VECTORS, keys), strict=True)
        if value is not None
    )
    if not dead and not change.records:
        return None
    seq, born = before.seq + 1, range(before.next_label, before.next_label + len(change.records))
    after = IndexState(born.stop, seq, before.vector_count + len(born) - len(dead))
    batch = store.batch()
    if born:
        label_keys = [label_key(index_id, label) for label in born]
        batch.put_many(Family.VECTORS, keys, [encode_number(label) for label in born])
        batch.put_many(Family.ROWS, label_keys, change.records)
        batch.put_many(Family.DATA, label_keys, change.data)
    else:
        batch.delete_many(Family.VECTORS, keys)
    if dead:
        batch.put(Family.CHANGES, label_key(index_id, seq), encode_change(dead))
    batch.put(Family.CATALOG, state_key(index_id), encode_state(after))
    store.write(batch)
    return Committed(after, np.array(born, dtype=np.uint64), np.array(dead, dtype=np.uint64))
