"""Every record of the catalogue that is not as it was written is named."""

from __future__ import annotations

import pytest

from resting import GRAPHED, SMALL, change, store_of
from rooms import BUCKET, make_index
from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.embedded.at_rest import Finding, Severity, opened_at_rest
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import (
    FORMAT_KEY,
    INDEX_ID_KEY,
    Family,
    bucket_key,
    checkpoints_key,
    drop_key,
    encode_bucket,
    encode_index,
    encode_number,
    index_key,
    state_key,
)
from vectorbucket_server.engine.embedded.verified_catalogue import (
    END,
    VerifiedCatalogue,
    place_of,
)

GRAPHED_KEY = index_key(BUCKET.name, GRAPHED)


def read(options: EmbeddedOptions) -> tuple[VerifiedCatalogue, list[Finding]]:
    """Return the catalogue, and what is wrong with it."""
    catalogue = VerifiedCatalogue()
    with opened_at_rest(options.data_dir, options) as rest:
        return catalogue, list(catalogue.verify(rest))


def test_good_catalogue_is_read_whole(resting: EmbeddedOptions) -> None:
    catalogue, findings = read(resting)
    assert findings == []
    assert list(catalogue.buckets) == [BUCKET.name]
    assert [index.name for index in catalogue.indexes.values()] == [GRAPHED, SMALL]
    assert [state.vector_count for state in catalogue.states.values()] == [120, 3]
    assert (list(catalogue.checkpoints), catalogue.drops) == ([1], set())
    assert (catalogue.format_version, catalogue.next_index_id) == (1, 3)
    assert catalogue.record_count == 8


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (FORMAT_KEY, b"1", "a number has 1 bytes, not 8"),
        (FORMAT_KEY, None, "the record is missing"),
        (INDEX_ID_KEY, b"", "a number has 0 bytes, not 8"),
        (bucket_key(BUCKET.name), b"{", "truncated"),
        (bucket_key("b"), encode_bucket(BUCKET), "the record is of bucket 'things'"),
        (GRAPHED_KEY, b"{}", "required field"),
        (
            index_key(BUCKET.name, "x"),
            encode_index(make_index(name="y", index_id=1)),
            "the record is of index 'y' of bucket 'things'",
        ),
        (
            index_key(BUCKET.name, "x"),
            encode_index(make_index(name="x", index_id=2)),
            "index 'small' has the id 2, too",
        ),
        (state_key(1), b"x" * 23, "a state has 23 bytes, not 24"),
        (b"s/short", bytes(24), "a number has 5 bytes, not 8"),
        (b"d/short", b"", "a number has 5 bytes, not 8"),
        (b"what", b"", "no such record is written by this version"),
    ],
    ids=range(12),
)
def test_broken_record_is_damage_by_its_key(
    resting: EmbeddedOptions, key: bytes, value: bytes | None, words: str
) -> None:
    change(resting, Family.CATALOG, key, value)
    findings = [one for one in read(resting)[1] if one.place == place_of(key)]
    assert [one.severity for one in findings] == [Severity.DAMAGE]
    assert words in findings[0].what
    assert key.hex() in findings[0].place


def test_broken_list_of_checkpoints_is_repairable(resting: EmbeddedOptions) -> None:
    change(resting, Family.CATALOG, checkpoints_key(1), b"[{}]")
    (finding,) = read(resting)[1]
    assert (finding.severity, finding.place) == (Severity.REPAIRABLE, place_of(checkpoints_key(1)))


def test_index_whose_bucket_is_missing_is_damage(resting: EmbeddedOptions) -> None:
    change(resting, Family.CATALOG, bucket_key(BUCKET.name), None)
    assert [(one.severity, one.place, one.what) for one in read(resting)[1]] == [
        (Severity.DAMAGE, place_of(index_key(BUCKET.name, name)), "bucket 'things' is missing")
        for name in (GRAPHED, SMALL)
    ]


def test_index_without_a_state_is_damage(resting: EmbeddedOptions) -> None:
    change(resting, Family.CATALOG, state_key(2), None)
    what = "the state of index 'small' is missing"
    assert read(resting)[1] == [Finding(Severity.DAMAGE, place_of(state_key(2)), what)]


def test_id_that_would_be_given_again_is_damage(resting: EmbeddedOptions) -> None:
    change(resting, Family.CATALOG, INDEX_ID_KEY, encode_number(2))
    what = "it has id 2, and the next one would be 2"
    place = place_of(index_key(BUCKET.name, SMALL))
    assert read(resting)[1] == [Finding(Severity.DAMAGE, place, what)]


def test_records_of_no_index_are_leftovers(resting: EmbeddedOptions) -> None:
    change(resting, Family.CATALOG, state_key(9), bytes(24))
    change(resting, Family.CATALOG, checkpoints_key(9), b"[]")
    what = "it belongs to index 9, which is not there"
    assert read(resting)[1] == [
        Finding(Severity.LEFTOVER, place_of(key), what)
        for key in (state_key(9), checkpoints_key(9))
    ]
    change(resting, Family.CATALOG, drop_key(9), b"")
    catalogue, findings = read(resting)
    assert (findings, catalogue.drops) == ([], {9})


def test_other_format_is_not_judged(resting: EmbeddedOptions) -> None:
    change(resting, Family.CATALOG, FORMAT_KEY, encode_number(2))
    with pytest.raises(ServiceUnavailable, match="format version 2; this server reads version 1"):
        read(resting)


def test_catalogue_that_cannot_be_read_is_told_once(resting: EmbeddedOptions) -> None:
    for path in (resting.data_dir / "store").glob("*.sst"):
        content = path.read_bytes()
        if FORMAT_KEY in content:
            path.write_bytes(bytes(5) + content[5:])
    (finding,) = read(resting)[1]
    assert (finding.severity, finding.place) == (Severity.DAMAGE, "catalogue")
    assert str(resting.data_dir) in finding.what


def test_end_is_above_every_key(resting: EmbeddedOptions) -> None:
    change(resting, Family.ROWS, b"\xff" * 8 + b"\xfe", b"")
    with store_of(resting) as store:
        assert [key for key, _ in store.scan(Family.ROWS, b"\xff" * 8, END)] == [
            b"\xff" * 8 + b"\xfe"
        ]
