"""Everything in a data directory is looked at, and what is not as it should be is told by place."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resting import (
    COUNT,
    change,
    change_all,
    counted,
    files_of,
    flip,
    numbers_of,
    resting_options,
    told,
    verified,
)
from rooms import BUCKET
from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.backup_file import BACKUP_FILE, write_backup_file
from vectorbucket_server.engine.embedded import verification as module
from vectorbucket_server.engine.embedded.at_rest import Finding, Severity
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import (
    FORMAT_KEY,
    Family,
    IndexState,
    checkpoints_key,
    decode_checkpoints,
    drop_key,
    encode_checkpoints,
    encode_number,
    encode_state,
    index_key,
    label_key,
    state_key,
    vector_prefix,
)
from vectorbucket_server.engine.embedded.verification import Counts, Verification

CHECKPOINT = "generations/1/1/checkpoint-1"


def test_good_directory_is_good_and_stays_as_it_is(resting: EmbeddedOptions) -> None:
    before = files_of(resting.data_dir)
    findings, counts = counted(resting)
    assert findings == []
    records = 8 + 3 * (COUNT + 3)
    assert counts == Counts(1, 2, COUNT + 3, records, checkpoints=1, files=0)
    assert files_of(resting.data_dir) == before


def test_store_alone_is_good_but_for_the_graph(resting: EmbeddedOptions) -> None:
    shutil.rmtree(resting.data_dir / "generations")
    assert [one.severity for one in verified(resting)] == [Severity.REPAIRABLE]


@pytest.mark.parametrize(
    "file",
    ["graph.hnsw", "slots.npy", "metadata.bin", "../column.f32", "../codes.i8", "../keys"],
    ids=range(6),
)
@pytest.mark.parametrize("how", ["flipped", "short", "gone"])
def test_every_file_of_a_checkpoint_is_verified(
    resting: EmbeddedOptions, file: str, how: str
) -> None:
    path = (resting.data_dir / CHECKPOINT / file).resolve()
    if how == "flipped":
        flip(path, 100)
    elif how == "gone":
        path.unlink()
    else:
        with path.open("r+b") as opened:
            opened.truncate(100)
    (finding,) = verified(resting)
    assert finding.severity is Severity.REPAIRABLE
    assert finding.place == "index 'graphed' of bucket 'things', checkpoint-1 of generation 1/1"
    assert str(path) in finding.what


def test_what_is_behind_a_checkpoints_rows_does_not_matter(resting: EmbeddedOptions) -> None:
    flip(resting.data_dir / "generations" / "1" / "1" / "column.f32", -1)
    assert verified(resting) == []


def test_checkpoint_that_cannot_be_loaded_is_repairable(resting: EmbeddedOptions) -> None:
    change_checkpoint(resting, count=COUNT - 1)
    ((severity, text),) = told(verified(resting))
    assert severity == "repairable"
    assert "holds 120 slots" in text


@pytest.mark.parametrize("field", ["seq", "next_label"])
def test_checkpoint_from_the_future_is_repairable(resting: EmbeddedOptions, field: str) -> None:
    change_checkpoint(resting, **{field: 1_000})
    ((severity, text),) = told(verified(resting))
    assert severity == "repairable"
    assert "is newer than the store" in text


def change_checkpoint(options: EmbeddedOptions, **changes: int) -> None:
    """Let the store say something else of the checkpoint."""
    key = checkpoints_key(1)
    before = change(options, Family.CATALOG, key, b"[]")
    assert before is not None
    (one,) = decode_checkpoints(key, before)
    changed: Any = changes
    change(options, Family.CATALOG, key, encode_checkpoints([replace(one, **changed)]))


def test_checkpoint_that_lacks_a_vector_is_repairable(resting: EmbeddedOptions) -> None:
    # A label between those of the checkpoint and its next one.
    change(resting, Family.CATALOG, state_key(1), encode_state(IndexState(COUNT + 2, 2, COUNT)))
    change_checkpoint(resting, next_label=COUNT + 2)
    change(resting, Family.VECTORS, vector_prefix(1) + b"k0", encode_number(COUNT + 1))
    found = verified(resting)
    assert "lacks 1 vectors" in found[-1].what
    assert found[-1].severity is Severity.REPAIRABLE
    assert {one.severity for one in found[:-1]} == {Severity.DAMAGE, Severity.LEFTOVER}


def test_damage_of_an_index_hides_nothing_of_another(resting: EmbeddedOptions) -> None:
    change(resting, Family.CATALOG, state_key(1), None)
    change(resting, Family.DATA, label_key(2, 1), None)
    assert [one.severity for one in verified(resting)] == [Severity.DAMAGE, Severity.DAMAGE]
    assert f"family data, key {label_key(2, 1).hex()}" in verified(resting)[1].place


def test_records_of_unknown_indexes_are_leftovers(resting: EmbeddedOptions) -> None:
    rows = [label_key(index_id, label) for index_id, label in ((0, 1), (3, 1), (3, 2), (9, 1))]
    vector = (Family.VECTORS, vector_prefix(7), b"")
    change_all(resting, [vector, *((Family.ROWS, key, b"") for key in rows)])
    assert verified(resting) == [
        Finding(Severity.LEFTOVER, f"family {family}", f"{count} records belong to index {owner}, "
                "which is not there")
        for family, owner, count in (("vectors", 7, 1), ("rows", 0, 1), ("rows", 3, 2),
                                     ("rows", 9, 1))
    ]  # fmt: skip
    change_all(resting, ((Family.CATALOG, drop_key(one), b"") for one in (0, 3, 7, 9)))
    assert verified(resting) == []


def test_key_without_an_owner_is_damage(resting: EmbeddedOptions) -> None:
    change(resting, Family.DATA, b"\0\0", b"")
    ((severity, text),) = told(verified(resting))
    assert severity == "damage"
    assert "family data, key 0000: a number has 2 bytes, not 8" in text


def test_index_that_is_not_in_the_catalogue_is_a_leftover(resting: EmbeddedOptions) -> None:
    change(resting, Family.CATALOG, index_key(BUCKET.name, "small"), None)
    found = verified(resting)
    assert {one.severity for one in found} == {Severity.LEFTOVER}
    assert len(found) == 4  # its state, and three families


@pytest.mark.parametrize("how", ["gone", "short", "flipped"])
def test_table_file_is_named(resting: EmbeddedOptions, how: str) -> None:
    path, place = numbers_of(resting, 77)
    if how == "gone":
        path.unlink()
    elif how == "short":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        flip(path, place)
    found = told(verified(resting))
    assert {severity for severity, _ in found} == {"damage"}
    assert all(str(path) in text for _, text in found)


def test_what_cannot_be_looked_at_is_no_finding(resting: EmbeddedOptions, tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="neither a data directory nor a backup"):
        verified(resting, tmp_path / "nowhere")
    change(resting, Family.CATALOG, FORMAT_KEY, encode_number(9))
    with pytest.raises(ServiceUnavailable, match="format version 9"):
        verified(resting)


def test_progress_is_told_by_index(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STEP", 50)
    options = resting_options(made)
    steps: list[tuple[str, int, int]] = []
    look = Verification(options.data_dir, options, lambda *step: steps.append(step))
    assert list(look.findings()) == []
    assert steps[:2] == [("catalogue", 0, 0), ("things/graphed", 0, 3 * COUNT)]
    assert ("things/graphed", 350, 3 * COUNT) in steps
    assert steps[-1] == ("things/small", 0, 9)


def test_backup_is_held_against_its_list_of_files(resting: EmbeddedOptions) -> None:
    written = write_backup_file(resting.data_dir, version="1", create_ms=1)
    findings, counts = counted(resting)
    assert (findings, counts.files) == ([], len(written.files))
    column = resting.data_dir / "generations" / "1" / "1" / "column.f32"
    flip(column, -1)  # behind the checkpoint's rows
    (resting.data_dir / "store" / "IDENTITY").unlink(missing_ok=True)
    found = told(verified(resting))
    assert {severity for severity, _ in found} == {"damage"}
    assert any(f"{column}: the file has checksum" in text for _, text in found)


def test_missing_file_of_a_backup_is_damage(resting: EmbeddedOptions) -> None:
    (resting.data_dir / "generations" / "note").write_text("x")
    write_backup_file(resting.data_dir, version="1", create_ms=1)
    (resting.data_dir / "generations" / "note").unlink()
    ((severity, text),) = told(verified(resting))
    assert severity == "damage"
    assert "generations/note: the file cannot be read: No such file" in text


def test_broken_list_of_files_is_damage_and_the_rest_is_verified(resting: EmbeddedOptions) -> None:
    write_backup_file(resting.data_dir, version="1", create_ms=1)
    path = resting.data_dir / BACKUP_FILE
    path.write_bytes(path.read_bytes()[:-10])
    findings, counts = counted(resting)
    assert [one.place for one in findings] == [str(path)]
    assert counts.vectors == COUNT + 3
