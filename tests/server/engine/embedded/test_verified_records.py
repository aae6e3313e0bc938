"""Every record of a vector that is missing, broken, or another's is named, and told once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from resting import (
    COUNT,
    GRAPHED,
    change,
    copied,
    flip,
    make_resting,
    numbers_of,
    resting_options,
    store_of,
)
from rooms import BUCKET, all_vectors, numbered, opened_engine
from vectorbucket_server.engine.embedded import verified_records as module
from vectorbucket_server.engine.embedded.at_rest import Finding, Severity, opened_at_rest
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.recovery import load_state
from vectorbucket_server.engine.embedded.schema import (
    Family,
    IndexState,
    decode_index,
    encode_change,
    encode_number,
    encode_row,
    encode_state,
    index_key,
    label_key,
    state_key,
    vector_prefix,
)
from vectorbucket_server.engine.embedded.verified_records import VerifiedRecords

LABEL = 78
"""Of the vector with number and key 77."""

VECTOR = vector_prefix(1) + b"k77"
ROW = label_key(1, LABEL)


@pytest.fixture(autouse=True)
def fixture_rows_per_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let little be looked at together, so that what is found is near the ends of it, too."""
    monkeypatch.setattr(module, "_ROWS_PER_CHUNK", 7)


def findings(options: EmbeddedOptions) -> list[Finding]:
    """Return what is wrong with the records of the index with a graph."""
    key = index_key(BUCKET.name, GRAPHED)
    with opened_at_rest(options.data_dir, options) as rest:
        value = rest.store.get(Family.CATALOG, key)
        assert value is not None
        index = decode_index(key, value)
        read: list[int] = []
        records = VerifiedRecords(rest, index, load_state(rest.store, index), read.append)
        found = list(records.verify())
        assert set(read) <= {1}
        return found


def damage(family: Family, key: bytes, what: str) -> Finding:
    """Return a finding of damage."""
    place = f"index 'graphed' of bucket 'things', family {family.value}, key {key.hex()}"
    return Finding(Severity.DAMAGE, place, what)


def test_good_records_are_good(resting: EmbeddedOptions) -> None:
    assert findings(resting) == []


def test_overwritten_and_deleted_vectors_are_no_damage(tmp_path: Path) -> None:
    with opened_engine(tmp_path) as engine:
        engine._reaper.stop()  # so that the rows of the dead are still there
        index = engine.put_index(
            decode_index(
                b"",
                b'{"bucket_name":"things","name":"graphed","dimension":4,"metric":'
                b'"cosine","non_filterable_keys":[],"created_ms":1,"index_id":7}',
            ),
            indexes_max=9,
        )
        engine.put_vectors(index, numbered(30, start=1)[0])
        engine.put_vectors(index, numbered(10, start=1)[0])
        engine.delete_vectors(index, ["k20", "k21"])
        assert len(all_vectors(engine, index)) == 28
    options = resting_options(tmp_path)
    with store_of(options) as store:
        assert sum(1 for _ in store.scan(Family.CHANGES, b"", b"\xff")) == 2
    assert findings(options) == []


@pytest.mark.parametrize("family", [Family.ROWS, Family.DATA], ids=["rows", "data"])
@pytest.mark.parametrize("label", [1, LABEL, COUNT])
def test_missing_record_is_damage(resting: EmbeddedOptions, family: Family, label: int) -> None:
    key = label_key(1, label)
    change(resting, family, key, None)
    what = "the record of a vector that exists is missing"
    assert findings(resting) == [damage(family, key, what)]


@pytest.mark.parametrize(
    ("family", "value", "words"),
    [
        (Family.DATA, b"x" * 15, "a vector has 15 bytes, not 16"),
        (Family.DATA, b"", "a vector has 0 bytes, not 16"),
        (Family.ROWS, b"", "a row has only 0 bytes"),
        (Family.ROWS, b"\0\5k77", "a row of 5 bytes ends in its key"),
        (Family.ROWS, b"\0\1\xff", "a vector's key is not UTF-8"),
        (Family.ROWS, encode_row("k77", {}) + b"{", "metadata:"),
        (Family.ROWS, encode_row("k77", {}) + b'{"a":null}', "metadata:"),
    ],
    ids=range(7),
)
def test_broken_record_is_damage_and_told_once(
    resting: EmbeddedOptions, family: Family, value: bytes, words: str
) -> None:
    change(resting, family, ROW, value)
    (finding,) = findings(resting)
    assert finding == damage(family, ROW, finding.what)
    assert words in finding.what


def test_row_of_another_key_is_damage(resting: EmbeddedOptions) -> None:
    change(resting, Family.ROWS, ROW, encode_row("k78", {}))
    what = "the row is not that of the key that has its label"
    assert findings(resting) == [damage(Family.ROWS, ROW, what)]


def test_key_that_is_gone_is_missed_in_the_count(resting: EmbeddedOptions) -> None:
    change(resting, Family.VECTORS, VECTOR, None)
    state = "there are 119 keys, and 120 are counted"
    stranger = "1 records belong to no vector, and to none that is being removed"
    assert findings(resting) == [
        damage(Family.CATALOG, state_key(1), state),
        *(
            Finding(Severity.LEFTOVER, f"index 'graphed', family {family}", stranger)
            for family in ("rows", "data")
        ),
    ]


def test_broken_label_of_a_key_is_told_once(resting: EmbeddedOptions) -> None:
    change(resting, Family.VECTORS, VECTOR, b"short")
    (finding,) = findings(resting)
    assert "a number has 5 bytes, not 8" in finding.what
    assert finding.place.endswith(f"family vectors, key {VECTOR.hex()}")


def test_two_keys_with_a_label_are_damage(resting: EmbeddedOptions) -> None:
    change(resting, Family.VECTORS, VECTOR, encode_number(LABEL + 1))
    found = findings(resting)
    where = label_key(1, LABEL + 1)
    assert damage(Family.VECTORS, where, "several keys have the label 79") in found
    assert damage(Family.ROWS, where, "the row is not that of the key that has its label") in found


def test_label_that_would_be_given_again_is_damage(resting: EmbeddedOptions) -> None:
    change(resting, Family.CATALOG, state_key(1), encode_state(IndexState(COUNT, 1, COUNT)))
    last = vector_prefix(1) + b"k119"
    what = "label 120 is there, and the next one would be 120"
    row = label_key(1, COUNT)
    assert findings(resting) == [
        damage(Family.VECTORS, last, what),
        damage(Family.ROWS, row, what),
        damage(Family.DATA, row, what),
    ]


def test_living_vector_that_is_noted_as_dead_is_damage(resting: EmbeddedOptions) -> None:
    key = label_key(1, 1)
    change(resting, Family.CHANGES, key, encode_change([LABEL, 10_000]))
    what = "label 78 died, and there is a key that has it"
    assert findings(resting) == [damage(Family.CHANGES, key, what)]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (label_key(1, 2), b"", "seq 2 is there, and the last one was 1"),
        (label_key(1, 1), b"x" * 7, "a change has 7 bytes, no multiple of 8"),
        (label_key(1, 1) + b"x", b"", "a key has 17 bytes, not 16"),
    ],
    ids=range(3),
)
def test_broken_change_is_damage(
    resting: EmbeddedOptions, key: bytes, value: bytes, words: str
) -> None:
    change(resting, Family.CHANGES, key, value)
    (finding,) = findings(resting)
    assert finding == damage(Family.CHANGES, key, finding.what)
    assert words in finding.what


@pytest.mark.parametrize("family", [Family.ROWS, Family.DATA], ids=["rows", "data"])
def test_key_that_is_no_label_is_damage(resting: EmbeddedOptions, family: Family) -> None:
    key = label_key(1, LABEL)[:-1]
    change(resting, family, key, b"")
    found = findings(resting)
    assert [one.place for one in found] == [damage(family, key, "").place]
    assert "a key has 15 bytes, not 16" in found[0].what


@pytest.fixture(name="large", scope="module")
def fixture_large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an index whose records take many blocks of a table file."""
    folder = tmp_path_factory.mktemp("large")
    make_resting(folder)
    with opened_engine(folder, graph_rows_min=10_000) as engine:
        index = engine.get_index(BUCKET.name, GRAPHED)
        engine.put_vectors(index, numbered(2_000, start=1_000)[0])
    return folder


def test_block_that_cannot_be_read_is_one_finding(large: Path, tmp_path: Path) -> None:
    options = copied(large, tmp_path)
    path, place = numbers_of(options, 2_000)
    flip(path, place)
    (finding,) = findings(options)
    assert "cannot be read" in finding.what
    assert "checksum mismatch" in finding.what
    assert str(path) in finding.what
    first = int(finding.place[-16:], 16)
    last = int(finding.what.split("label ")[1].split()[0])
    label = COUNT + 1_000 + 1
    assert first <= label <= last < first + 500, "the others are verified"
    assert f"{last + 1 - first} of them of vectors that exist" in finding.what


def test_what_is_behind_an_unreadable_block_is_verified(large: Path, tmp_path: Path) -> None:
    options = copied(large, tmp_path)
    far = label_key(1, COUNT + 1_900)
    change(options, Family.DATA, far, b"short")
    path, place = numbers_of(options, 1_500)
    flip(path, place)
    found = findings(options)
    assert ["cannot be read" in one.what for one in found] == [True, False]
    assert found[1] == damage(Family.DATA, far, found[1].what)


def test_end_that_cannot_be_read_is_told(large: Path, tmp_path: Path) -> None:
    options = copied(large, tmp_path)
    flip(*numbers_of(options, 2_999))
    (finding,) = findings(options)
    assert f"up to label {COUNT + 2_000} cannot be read" in finding.what


def test_keys_that_cannot_be_read_make_no_leftovers(large: Path, tmp_path: Path) -> None:
    options = copied(large, tmp_path)
    with store_of(options) as store:
        sizes = store.sizes_bytes()
    path = min(
        (options.data_dir / "store").glob("*.sst"),
        key=lambda one: abs(one.stat().st_size - sizes[Family.VECTORS]),
    )
    flip(path, np.iinfo(np.int16).max // 8)
    (finding,) = findings(options)
    assert finding.severity is Severity.DAMAGE
    assert "this key and those after it cannot be read" in finding.what
