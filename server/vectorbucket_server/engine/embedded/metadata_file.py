"""The inverted lists of a generation as bytes: the ``metadata.bin`` of a checkpoint.

Rules of this file:

- It writes what metadata_index.py and number_lists.py hold and no more; FORMAT.md is it in prose.
- It is called for bytes whose checksum was verified, so what it cannot read is a bug, not damage:
  it raises ValueError.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
import numpy as np
from pyroaring import BitMap

from vectorbucket_server.engine.embedded.metadata_index import Field, MetadataIndex
from vectorbucket_server.engine.embedded.number_lists import NumberList


class _FieldRecord(msgspec.Struct, array_like=True):
    """One field."""

    present: bytes
    """The slots that have it, as a serialised bitmap."""
    single: list[Any]
    """The values seen once: texts, hashes of long texts, booleans."""
    slots: list[int]
    """The slot of each of them."""
    listed: list[Any]
    """The values seen more often."""
    bitmaps: list[bytes]
    """The slots of each of them, as serialised bitmaps."""
    numbers: bytes
    """Little-endian float64, ascending."""
    number_slots: bytes
    """Little-endian uint32, one a number."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, _FieldRecord])


def encode(lists: MetadataIndex) -> bytes:
    """Return the lists as bytes. Nobody may add to them meanwhile."""
    return _encoder.encode({name: _record(field) for name, field in lists.fields.items()})


def _record(field: Field) -> _FieldRecord:
    single = {value: slot for value, slot in field.values.items() if isinstance(slot, int)}
    several = {value: slots for value, slots in field.values.items() if isinstance(slots, BitMap)}
    numbers, slots = field.numbers.pairs()
    return _FieldRecord(
        present=field.present.serialize(),
        single=list(single),
        slots=list(single.values()),
        listed=list(several),
        bitmaps=[slots.serialize() for slots in several.values()],
        numbers=numbers.astype("<f8", copy=False).tobytes(),
        number_slots=slots.astype("<u4", copy=False).tobytes(),
    )


def decode(encoded: bytes, non_filterable_keys: Collection[str]) -> MetadataIndex:
    """Return the lists that ``encode`` wrote.

    Raises:
        ValueError: These are no such bytes.
    """
    try:
        records = _decoder.decode(encoded)
    except msgspec.MsgspecError as error:
        raise ValueError(f"these are no lists of metadata: {error}") from error
    lists = MetadataIndex(non_filterable_keys)
    lists.resume({name: _field(record) for name, record in records.items()})
    return lists


def _field(record: _FieldRecord) -> Field:
    field = Field()
    field.present = BitMap.deserialize(record.present)
    field.values.update(zip(record.single, record.slots, strict=True))
    for value, bitmap in zip(record.listed, record.bitmaps, strict=True):
        field.values[value] = BitMap.deserialize(bitmap)
    field.numbers = NumberList.of(
        np.frombuffer(record.numbers, dtype="<f8"),
        np.frombuffer(record.number_slots, dtype="<u4"),
    )
    return field
