"""Records and files that are not what was written: the place is named, nothing is made up.

Records are changed through the store module, as a mistake of this program would; files byte by
byte, as a failing disk would.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from durability.crash_child import DIMENSION
from durability.crashes import Crash
from durability.ledger import Ledger
from engines.subject import Subject
from oracles import random_grid
from vectorbucket.errors import Corruption
from vectorbucket_server.engine.base import Engine
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import (
    FORMAT_KEY,
    INDEX_ID_KEY,
    Family,
    bucket_key,
    checkpoints_key,
    encode_number,
    index_key,
    index_range,
    label_key,
    state_key,
    vector_prefix,
)
from vectorbucket_server.engine.embedded.store import Store

KEYS = [f"k{number:02d}" for number in range(30)]
INDEX_ID = 1
LABEL = len(KEYS)
"""The label of the last key."""

LAST = vector_prefix(INDEX_ID) + KEYS[-1].encode()
"""Where ``vectors`` holds it."""


def options(folder: Path) -> EmbeddedOptions:
    """Return the options of these tests."""
    return EmbeddedOptions(data_dir=folder / "data")


@contextmanager
def store_of(folder: Path) -> Iterator[Store]:
    """Yield the store of an engine that is closed."""
    store = Store(folder / "data" / "store", options(folder))
    try:
        yield store
    finally:
        store.close()


@pytest.fixture(name="folder")
def fixture_folder(tmp_path: Path) -> Path:
    """Return a folder with an index of known labels, closed, and another index beside it."""
    subject = Subject(lambda: EmbeddedEngine(options(tmp_path)), settles=False)
    index = subject.put_index()
    assert index.index_id == INDEX_ID
    rows = random_grid(np.random.default_rng(70), len(KEYS), 4)
    subject.put(index, KEYS, rows, [{"n": float(number)} for number in range(len(KEYS))])
    subject.put(subject.put_index("other"), ["sound"], [[1, 1, 1, 1]])
    subject.close()
    return tmp_path


def change(folder: Path, family: Family, key: bytes, value: bytes | None) -> bytes | None:
    """Set a record, or remove it with None; return what it was."""
    with store_of(folder) as store:
        before = store.get(family, key)
        batch = store.batch()
        if value is None:
            batch.delete(family, key)
        else:
            batch.put(family, key, value)
        store.write(batch)
    return before


def read_everything(engine: Engine, index_name: str = "vectors") -> list[object]:
    """Do every kind of read and return what it said."""
    subject = Subject.__new__(Subject)
    subject.engine = engine
    index = engine.get_index("things", index_name)
    hits = subject.query(index, [1, 0, 0, 0], top_k=100)
    return [
        subject.content(index),
        sorted((hit.key, hit.distance, str(hit.metadata)) for hit in hits),
        engine.index_statistics(index).vector_count,
        [vector.key for vector in subject.get(index, *KEYS)],
    ]


@contextmanager
def opened(folder: Path) -> Iterator[Engine]:
    """Yield an engine over a folder."""
    engine = EmbeddedEngine(options(folder))
    engine.open()
    try:
        yield engine
    finally:
        engine.close()


def outcome(folder: Path) -> list[object]:
    """Open a folder and read everything in it."""
    with opened(folder) as engine:
        return read_everything(engine)


def outcome_or_complaint(folder: Path) -> list[object] | str:
    """Return what ``outcome`` does, or what the Corruption says that it raises.

    The error itself is let go of: its traceback would keep the store's iterators, and so its lock.
    """
    try:
        return outcome(folder)
    except Corruption as error:
        return error.message


def complaint(folder: Path) -> str:
    """Return what the Corruption says that ``outcome`` must raise."""
    found = outcome_or_complaint(folder)
    assert isinstance(found, str), f"this was served: {found}"
    return found


Damage = Callable[[bytes], bytes | None]

RECORDS: dict[str, tuple[Family, bytes, Damage]] = {
    "format too short": (Family.CATALOG, FORMAT_KEY, lambda value: value[:-1]),
    "next index id too short": (Family.CATALOG, INDEX_ID_KEY, lambda value: value[:3]),
    "bucket no JSON": (Family.CATALOG, bucket_key("things"), lambda value: value[:-1]),
    "bucket without a field": (
        Family.CATALOG,
        bucket_key("things"),
        lambda _: b'{"name":"things"}',
    ),
    "index no JSON": (Family.CATALOG, index_key("things", "vectors"), lambda value: value[1:]),
    "index of no metric": (
        Family.CATALOG,
        index_key("things", "vectors"),
        lambda value: value.replace(b"euclidean", b"manhattan"),
    ),
    "state too short": (Family.CATALOG, state_key(INDEX_ID), lambda value: value[:-1]),
    "state missing": (Family.CATALOG, state_key(INDEX_ID), lambda _: None),
    "checkpoints no JSON": (Family.CATALOG, checkpoints_key(INDEX_ID), lambda _: b"["),
    "checkpoint without a field": (
        Family.CATALOG,
        checkpoints_key(INDEX_ID),
        lambda _: b'[{"generation":1,"name":"checkpoint-1"}]',
    ),
    "label too long": (Family.VECTORS, LAST, lambda value: value + b"\x00"),
    "label empty": (Family.VECTORS, LAST, lambda _: b""),
    "row too short": (Family.ROWS, label_key(INDEX_ID, LABEL), lambda value: value[:1]),
    "row that ends in its key": (Family.ROWS, label_key(INDEX_ID, LABEL), lambda value: value[:4]),
    "row whose key is no text": (
        Family.ROWS,
        label_key(INDEX_ID, LABEL),
        lambda value: value.replace(b"k29", b"k\xff9"),
    ),
    "row whose metadata are no JSON": (
        Family.ROWS,
        label_key(INDEX_ID, LABEL),
        lambda value: value[:-1],
    ),
    "row missing": (Family.ROWS, label_key(INDEX_ID, LABEL), lambda _: None),
    "data too short": (Family.DATA, label_key(INDEX_ID, LABEL), lambda value: value[:-4]),
    "data too long": (Family.DATA, label_key(INDEX_ID, LABEL), lambda value: value * 2),
    "data missing": (Family.DATA, label_key(INDEX_ID, LABEL), lambda _: None),
    "change of odd length": (Family.CHANGES, label_key(INDEX_ID, 9), lambda _: b"\x00" * 9),
}
"""What can be wrong with a record: family, key, and what it becomes."""


@pytest.mark.parametrize("what", list(RECORDS))
def test_broken_record_is_named(what: str, folder: Path) -> None:
    family, key, damage = RECORDS[what]
    before = outcome(folder)
    with store_of(folder) as store:
        value = store.get(family, key)
    change(folder, family, key, damage(value or b""))
    assert f"family {family.value}, key {key.hex()}" in complaint(folder)
    # Nothing else was harmed: with the record back, everything is.
    change(folder, family, key, value)
    assert outcome(folder) == before


def test_key_that_points_to_another_vectors_row_is_not_believed(folder: Path) -> None:
    change(folder, Family.VECTORS, LAST, encode_number(LABEL - 1))
    assert re.search("family (vectors|rows|data), key", complaint(folder))


def test_key_that_points_nowhere_is_not_believed(folder: Path) -> None:
    change(folder, Family.VECTORS, LAST, encode_number(LABEL + 1))
    assert re.search("family (catalog|rows|data), key", complaint(folder))


def test_vector_that_is_missing_from_the_count_is_noticed(folder: Path) -> None:
    change(folder, Family.VECTORS, LAST, None)
    assert "29 keys and counts 30 vectors" in complaint(folder)


def test_row_of_another_key_is_not_believed(folder: Path) -> None:
    with store_of(folder) as store:
        other = store.get(Family.ROWS, label_key(INDEX_ID, LABEL - 1))
    change(folder, Family.ROWS, label_key(INDEX_ID, LABEL), other)
    assert f"family rows, key {label_key(INDEX_ID, LABEL).hex()}" in complaint(folder)


@pytest.mark.parametrize("family", [Family.VECTORS, Family.ROWS, Family.DATA])
def test_record_that_breaks_while_the_index_is_open_is_named(family: Family, folder: Path) -> None:
    key = LAST if family is Family.VECTORS else label_key(INDEX_ID, LABEL)
    with opened(folder) as engine:
        before = read_everything(engine)
        store = engine._store  # type: ignore[attr-defined]
        value = store.get(family, key)
        for damaged in (b"", value[:-1], value + b"\x00"):
            batch = store.batch()
            batch.put(family, key, damaged)
            store.write(batch)
            with pytest.raises(Corruption, match=f"family {family.value}, key {key.hex()}"):
                read_everything(engine)
        batch = store.batch()
        batch.put(family, key, value)
        store.write(batch)
        assert read_everything(engine) == before


def test_broken_index_leaves_the_others_alone(folder: Path) -> None:
    change(folder, Family.DATA, label_key(INDEX_ID, LABEL), b"")
    with opened(folder) as engine:
        for _ in range(2):
            with pytest.raises(Corruption):
                read_everything(engine)
            assert read_everything(engine, "other")[2] == 1
        engine.delete_index(engine.get_index("things", "vectors"))
        assert read_everything(engine, "other")[2] == 1


def test_any_flipped_byte_of_a_record_is_corruption_or_a_well_formed_answer(folder: Path) -> None:
    rng = np.random.default_rng(71)
    with store_of(folder) as store:
        places = [
            (family, key, value)
            for family in (Family.VECTORS, Family.ROWS, Family.DATA)
            for key, value in store.scan(family, *index_range(INDEX_ID))
        ]
    noticed = 0
    for position in rng.choice(len(places), size=25, replace=False):
        family, key, value = places[position]
        damaged = bytearray(value)
        damaged[int(rng.integers(len(value)))] ^= 1 << int(rng.integers(8))
        change(folder, family, key, bytes(damaged))
        found = outcome_or_complaint(folder)
        if isinstance(found, str):
            noticed += 1
            assert "family " in found
        else:
            assert isinstance(found[0], dict)
            assert sorted(found[0]) == KEYS
        change(folder, family, key, value)
    assert noticed >= 6


def flip(path: Path, offset: int) -> None:
    """Invert a byte of a file."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(content)


def test_flipped_byte_in_a_table_is_never_served(folder: Path) -> None:
    before = outcome(folder)
    tables = sorted((folder / "data" / "store").glob("*.sst"))
    assert tables
    rng = np.random.default_rng(72)
    noticed = 0
    for _ in range(30):
        table = tables[int(rng.integers(len(tables)))]
        offset = int(rng.integers(table.stat().st_size))
        flip(table, offset)
        found = outcome_or_complaint(folder)
        if isinstance(found, str):
            noticed += 1
        else:
            # A byte that nobody reads harms nobody.
            assert found == before
        # Opening may have written other tables; this one is as it was, or gone.
        if table.exists():
            flip(table, offset)
        tables = sorted((folder / "data" / "store").glob("*.sst"))
    assert noticed >= 5


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_flipped_byte_in_the_log_is_no_silent_loss(
    crash: Crash, share: float, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    # A process that died leaves everything in the log; one that was closed leaves tables.
    crash(data_dir, 1, "after a sync of the store", 40, Ledger(DIMENSION))
    log = max((data_dir / "store").glob("*.log"), key=lambda path: path.stat().st_size)
    flip(log, int(log.stat().st_size * share))
    with pytest.raises(Corruption, match=str(data_dir / "store")):
        EmbeddedEngine(EmbeddedOptions(data_dir=data_dir)).open()


def test_torn_end_of_the_log_costs_only_what_was_not_acknowledged(
    crash: Crash, tmp_path: Path
) -> None:
    # The last that was written may be the saver's, and the batch that was under way before it.
    found = {found_after_a_torn_end(crash, tmp_path / str(seed), seed) for seed in range(2, 6)}
    assert 0 in found


def found_after_a_torn_end(crash: Crash, data_dir: Path, seed: int) -> int:
    """Return how much is found of what was under way; what was acknowledged is all found."""
    ledger = Ledger(DIMENSION)
    crash(data_dir, seed, "before a sync of the store", 20, ledger)
    assert len(ledger.under_way) == 1
    log = max((data_dir / "store").glob("*.log"), key=lambda path: path.stat().st_size)
    log.write_bytes(log.read_bytes()[:-3])
    subject = Subject(lambda: EmbeddedEngine(EmbeddedOptions(data_dir=data_dir)), settles=False)
    try:
        content = subject.content(subject.engine.get_index("crashing", "vectors"))
    finally:
        subject.close()
    return ledger.settle(content)
