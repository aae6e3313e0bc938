"""The commands ``export`` and ``import`` against the real server, from the flags to the summary."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from client.cli.conftest import Run
from client.cli.transfers import ODD, lines_of, make_numbered, make_odd, stored
from vectorbucket import Client
from vectorbucket.cli import transfer_export, transfer_import
from vectorbucket.cli.transfer_target import JsonLinesTarget, ParquetTarget

GO_ON = "the same command with --resume goes on after them"
SKIP = "--on-error skip goes on without such rows and writes them down"

FORMATS = ["jsonl", "jsonl.gz", "parquet"]


def place(bucket: str, index_name: str, file: Path | str) -> list[str]:
    return ["--bucket", bucket, "--index-name", index_name, "--file", str(file)]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_index_comes_back_exactly(
    run: Run, client: Client, bucket: str, tmp_path: Path, *, kind: str, metric: str
) -> None:
    make_odd(client, bucket, "odd", metric)
    file = tmp_path / f"odd.{kind}"
    exported = run("export", *place(bucket, "odd", file), "-o", "json").json
    assert exported["vectorCount"] == len(ODD)
    assert exported["bytes"] == file.stat().st_size
    imported = run("import", *place(bucket, "again", file), "--create", "-o", "json").json
    assert (imported["vectorCount"], imported["rejectedCount"]) == (len(ODD), 0)
    assert stored(client, bucket, "again") == stored(client, bucket, "odd")
    made, was = (client.get_vector_index(bucket, name) for name in ("again", "odd"))
    for name in ("dimension", "distance_metric", "non_filterable_metadata_keys", "m"):
        assert getattr(made, name) == getattr(was, name)
    left = {one.name for one in tmp_path.iterdir()} - {f"{file.name}.index.json"}
    assert left == {file.name}


def test_exported_lines_are_plain_json(
    run: Run, client: Client, bucket: str, tmp_path: Path
) -> None:
    make_odd(client, bucket, "odd")
    run("export", *place(bucket, "odd", tmp_path / "a.jsonl"))
    run("export", *place(bucket, "odd", tmp_path / "a.jsonl.gz"))
    raw = (tmp_path / "a.jsonl").read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()) == raw
    found = [json.loads(line) for line in raw.splitlines()]
    odd = {key: (data, metadata) for key, data, metadata in ODD}
    assert [one["key"] for one in found] == sorted(odd, key=str.encode)
    for one in found:
        data, metadata = odd[one["key"]]
        assert np.array_equal(np.array(one["data"]["float32"], "<f4"), np.array(data, "<f4"))
        assert one["metadata"] == (metadata or {})
    standard = run("export", *place(bucket, "odd", "-"), "-o", "json")
    assert standard.out.encode() == raw
    assert json.loads(standard.err)["vectorCount"] == len(ODD)


@pytest.mark.parametrize("kind", FORMATS)
def test_filter_and_segment_choose_what_is_exported(
    run: Run, client: Client, bucket: str, tmp_path: Path, kind: str
) -> None:
    make_numbered(client, bucket, "faces", 60)
    for number, more in enumerate(
        (["--filter", '{"n": {"$gte": 50}}'], ["--segment-count", "3", "--segment-index", "1"])
    ):
        file = tmp_path / f"{number}.{kind}"
        run("export", *place(bucket, "faces", file), *more)
        run("import", *place(bucket, f"again{number}", file), "--create")
    every = stored(client, bucket, "faces")
    assert stored(client, bucket, "again0") == every[50:]
    share = stored(client, bucket, "again1")
    assert 0 < len(share) < 60
    assert set(map(str, share)) < set(map(str, every))


@pytest.mark.parametrize("kind", FORMATS)
def test_export_without_numbers_has_keys_and_metadata(
    run: Run, client: Client, bucket: str, tmp_path: Path, kind: str
) -> None:
    make_numbered(client, bucket, "faces", 3)
    file = tmp_path / f"a.{kind}"
    run("export", *place(bucket, "faces", file), "--no-data")
    if kind == "parquet":
        assert pq.read_table(file).column_names == ["key", "metadata"]
    else:
        raw = file.read_bytes()
        text = gzip.decompress(raw) if kind.endswith("gz") else raw
        assert text.splitlines()[2] == b'{"key":"k000002","metadata":{"n":2}}'
    refused = run("import", *place(bucket, "faces", file))
    assert refused.code == 2
    assert "missing" in refused.err


@pytest.mark.parametrize("kind", FORMATS)
def test_empty_index_is_an_empty_file(
    run: Run, client: Client, bucket: str, tmp_path: Path, kind: str
) -> None:
    client.put_vector_index(bucket, "faces", dimension=4, distance_metric="cosine")
    file = tmp_path / f"a.{kind}"
    assert run("export", *place(bucket, "faces", file), "-o", "json").json["vectorCount"] == 0
    imported = run("import", *place(bucket, "again", file), "--create", "-o", "json").json
    assert imported["vectorCount"] == 0
    assert client.get_vector_index(bucket, "again").distance_metric == "cosine"


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_array_and_its_lines_are_imported(
    run: Run, client: Client, bucket: str, tmp_path: Path, kind: str
) -> None:
    data = np.arange(1, 41).reshape(10, 4).astype(kind)
    np.save(tmp_path / "a.npy", data)
    lines = lines_of({"key": f"k{n}", "metadata": {"n": n}} for n in range(10))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    told = run(
        "import",
        *place(bucket, "faces", tmp_path / "a.npy"),
        *("--metadata", str(tmp_path / "a.jsonl.gz"), "--create"),
        *("--dimension", "4", "--distance-metric", "euclidean"),
        *("--non-filterable-metadata-keys", "text,url"),
    )
    assert told.code == 0, told.err
    assert stored(client, bucket, "faces") == [
        (f"k{n}", data[n].astype(np.float32).tobytes(), {"n": n}) for n in range(10)
    ]
    index = client.get_vector_index(bucket, "faces")
    assert index.non_filterable_metadata_keys == ("text", "url")


def test_lines_come_from_standard_input(run: Run, client: Client, faces: list[str]) -> None:
    given = lines_of([{"key": "new", "data": {"float32": [1, 2, 3]}}])
    told = run("import", *faces, "--file", "-", given=given)
    assert (told.code, told.out) == (0, "")
    assert told.err.startswith("vectorbucket: imported 1 vectors")
    assert [key for key, _, _ in stored(client, faces[1], "faces")] == ["ann", "ben", "cat", "new"]


def test_bad_rows_stop_or_are_skipped(
    run: Run, client: Client, faces: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "a.jsonl"
    good = [{"key": f"k{n}", "data": [n, 1, 1]} for n in range(4)]
    file.write_text(
        lines_of(good[:2]) + '{"key": "bad", "data": [1, NaN, 1]}\n' + lines_of(good[2:])
    )
    stopped = run("import", *faces, "--file", str(file))
    assert stopped.code == 2
    told, why = stopped.err.splitlines()
    assert told == f"vectorbucket: 2 lines are done; {GO_ON}"
    assert why.startswith(f"vectorbucket: {file}, line 3: it is no JSON: it holds NaN; numbers")
    assert why.endswith(SKIP)
    skipped = run("import", *faces, "--file", str(file), "--on-error", "skip")
    assert skipped.code == 0
    assert f"; 1 were rejected and stand in {file}.rejects.jsonl" in skipped.err
    (rejected,) = map(json.loads, Path(f"{file}.rejects.jsonl").read_text().splitlines())
    assert rejected["line"] == 3
    assert json.loads(rejected["text"])["key"] == "bad"
    assert client.get_vector_index(faces[1], "faces").vector_count == 7


WRONG: dict[str, tuple[list[str], str]] = {
    "resume of standard output": (
        ["export", "--file", "-", "--resume"],
        "standard output cannot be resumed",
    ),
    "export to npy": (["export", "--file", "a.npy"], "--format npy cannot be written"),
    "filter that is no JSON": (
        ["export", "--file", "a.jsonl", "--filter", "{"],
        "--filter is no JSON",
    ),
    "filter that is none": (
        ["export", "--file", "a.jsonl", "--filter", '{"n": {"$near": 1}}'],
        "filter.n.$near",
    ),
    "segment": (["export", "--file", "a.jsonl", "--segment-index", "7"], "segment_index is 7"),
    "folder that is not there": (["export", "--file", "no/a.jsonl"], "no/a.jsonl"),
    "rejects without skip": (
        ["import", "--file", "-", "--rejects", "r"],
        "--rejects goes with --on-error skip",
    ),
    "skip of standard input": (
        ["import", "--file", "-", "--on-error", "skip"],
        "needs --rejects FILE",
    ),
    "resume of standard input": (["import", "--file", "-", "--resume"], "needs --state FILE"),
    "file that is not there": (["import", "--file", "a.jsonl"], "a.jsonl cannot be read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_command_is_told_and_leaves_nothing_behind(
    run: Run, faces: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (command, *flags), words = WRONG[case]
    told = run(command, *faces, *flags)
    assert told.code in (1, 2)
    assert words in told.err
    assert "Traceback" not in told.err
    assert len(told.err.splitlines()) == 1
    assert [*tmp_path.iterdir()] == []


def test_what_exists_is_replaced_only_if_told(
    run: Run, client: Client, bucket: str, tmp_path: Path
) -> None:
    make_numbered(client, bucket, "faces", 3)
    file = tmp_path / "a.jsonl"
    file.write_text("precious")
    refused = run("export", *place(bucket, "faces", file))
    assert (refused.code, file.read_text()) == (2, "precious")
    assert run("export", *place(bucket, "faces", file), "--overwrite").code == 0
    assert len(file.read_text().splitlines()) == 3


# --- Ended and resumed ----------------------------------------------------------------------------


def interrupt_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, count: int) -> None:
    """Press Ctrl-C when something is called so often."""
    calls, real = iter(range(1, 10_000)), getattr(owner, name)

    def pressed(*given: Any) -> Any:
        if next(calls) == count:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(owner, name, pressed)


@pytest.mark.parametrize("kind", FORMATS)
def test_interrupted_export_says_how_to_resume_and_is_whole_then(
    run: Run, client: Client, bucket: str, tmp_path: Path, kind: str
) -> None:
    make_numbered(client, bucket, "faces", 500)
    file, whole = tmp_path / f"a.{kind}", tmp_path / f"whole.{kind}"
    asked = place(bucket, "faces", file)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(transfer_export, "CHUNK_VECTORS", 50)
        patched.setattr(transfer_export, "POINT_VECTORS", 100)
        target = ParquetTarget if kind == "parquet" else JsonLinesTarget
        interrupt_at(patched, target, "write", 6)
        told = run("export", *asked)
        assert told.code == 130
        assert told.err.splitlines()[-2:] == [
            f"vectorbucket: 200 vectors are exported and kept; {GO_ON}",
            "vectorbucket: interrupted",
        ]
        refused = run("export", *asked)
        assert refused.code == 2
        assert "--resume goes on with it, --overwrite begins anew" in refused.err
        other = run("export", *asked, "--resume", "--filter", '{"n": 1}')
        assert other.code == 2
        assert 'its filter is null, now it is {"n": 1}' in other.err
    resumed = run("export", *asked, "--resume", "-o", "json").json
    assert resumed["vectorCount"] == 500
    run("export", *place(bucket, "faces", whole))
    if kind == "jsonl":
        assert file.read_bytes() == whole.read_bytes()
    run("import", *place(bucket, "again", file), "--create")
    assert stored(client, bucket, "again") == stored(client, bucket, "faces")
    assert not list(tmp_path.glob("*.partial*"))


def test_export_of_an_index_that_was_made_anew_is_not_resumed(
    run: Run, client: Client, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = place(bucket, "faces", tmp_path / "a.jsonl")
    monkeypatch.setattr(transfer_export, "CHUNK_VECTORS", 10)
    monkeypatch.setattr(transfer_export, "POINT_VECTORS", 10)
    make_numbered(client, bucket, "faces", 50)
    with pytest.MonkeyPatch.context() as patched:
        interrupt_at(patched, JsonLinesTarget, "write", 3)
        assert run("export", *asked).code == 130
    client.delete_vector_index(bucket, "faces")
    make_numbered(client, bucket, "faces", 50)
    told = run("export", *asked, "--resume")
    assert told.code == 2
    assert "its createTime is" in told.err


@pytest.mark.parametrize("kind", FORMATS)
def test_interrupted_import_says_how_to_resume_and_is_whole_then(
    run: Run, client: Client, bucket: str, tmp_path: Path, kind: str
) -> None:
    make_numbered(client, bucket, "faces", 900)
    file = tmp_path / f"a.{kind}"
    run("export", *place(bucket, "faces", file))
    asked = [*place(bucket, "again", file), "--create", "--batch-size", "50"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(transfer_import, "NOTE_ROWS", 100)
        interrupt_at(patched, transfer_import.Import, "_acknowledge", 5)
        told = run("import", *asked)
    assert told.code == 130
    unit = "row" if kind == "parquet" else "line"
    hint = f"200 {unit}s are done; the same command with --resume goes on after them"
    assert hint in told.err
    state = Path(f"{file}.import.json")
    assert json.loads(state.read_text())["done"] == {"rows": 200, "stored": 200}
    client.put_vector_index(bucket, "other", dimension=4, distance_metric="euclidean")
    other = run("import", *place(bucket, "other", file), "--resume")
    assert other.code == 2
    assert 'its indexName is "again", now it is "other"' in other.err
    # What was acknowledged is not read again: a row that was deleted meanwhile stays away.
    client.delete_vectors(bucket, "again", ["k000000"])
    resumed = run("import", *asked, "--resume", "-o", "json").json
    assert resumed["vectorCount"] == 900
    assert stored(client, bucket, "again") == stored(client, bucket, "faces")[1:]
    assert not state.exists()


def test_changed_file_is_not_resumed(
    run: Run, client: Client, faces: list[str], tmp_path: Path
) -> None:
    file, state = tmp_path / "a.jsonl", tmp_path / "state.json"
    file.write_text(lines_of({"key": f"k{n}", "data": [n, 1, 1]} for n in range(5)) + "no JSON\n")
    asked = ["import", *faces, "--file", str(file), "--state", str(state)]
    assert run(*asked).code == 2
    assert state.exists()
    file.write_text(lines_of({"key": f"l{n}", "data": [n, 1, 1]} for n in range(5)))
    told = run(*asked, "--resume")
    assert told.code == 2
    assert "its input is" in told.err
    assert run(*asked).code == 0
    assert client.get_vector_index(faces[1], "faces").vector_count == 3 + 5 + 5


def test_standard_input_is_resumed_with_a_state(
    run: Run, client: Client, faces: list[str], tmp_path: Path
) -> None:
    given = lines_of({"key": f"k{n}", "data": [n, 1, 1]} for n in range(5))
    asked = ["import", *faces, "--file", "-", "--state", str(tmp_path / "state.json")]
    assert run(*asked, given=given + "no JSON\n").code == 2
    more = lines_of([{"key": "new", "data": [1, 1, 1]}])
    told = run(*asked, "--resume", "-o", "json", given="".join(["{}\n"] * 5) + more).json
    assert told["vectorCount"] == 6
    assert client.get_vector_index(faces[1], "faces").vector_count == 3 + 6
