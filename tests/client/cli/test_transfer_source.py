"""What an import reads and where it puts it: everything that shows before the first vector."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vectorbucket import Client, NoSuchBucket, NoSuchVectorIndex, VectorIndexParameterInvalid
from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.rows import Source
from vectorbucket.cli.rows_json import JsonLines
from vectorbucket.cli.rows_npy import NpyRows
from vectorbucket.cli.transfer_definition import Definition, definition_path, described
from vectorbucket.cli.transfer_formats import Format
from vectorbucket.cli.transfer_source import Wanted, destination, open_source, task_of

EXPORTED = Definition(3, "cosine", ("text",), m=24, ef_construction=300, ef_search=40)


def wanted(
    dimension: int | None = None, metric: str | None = None, keys: tuple[str, ...] = ()
) -> Wanted:
    """Return the flags of an import that makes its index."""
    return Wanted(
        create=True, dimension=dimension, distance_metric=metric, non_filterable_metadata_keys=keys
    )


def source(folder: Path, definition: Definition | None = None, name: str = "a") -> Source:
    path = folder / f"{name}.jsonl"
    path.write_text("")
    if definition is not None:
        definition_path(path).write_text(described(definition, {}))
    opened = open_source(str(path), None, None)
    opened.close()
    return opened


# --- The file -------------------------------------------------------------------------------------


def test_file_is_opened_as_what_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((1, 2), np.float32))
    (tmp_path / "a.jsonl").write_text('{"key": "a"}\n')
    with closing(open_source(str(tmp_path / "a.jsonl"), None, None)) as opened:
        assert isinstance(opened, JsonLines)
    with closing(open_source(str(tmp_path / "a.npy"), None, str(tmp_path / "a.jsonl"))) as array:
        assert isinstance(array, NpyRows)


@pytest.mark.parametrize(
    ("name", "said", "metadata", "words"),
    [
        ("gone.jsonl", None, None, "gone.jsonl cannot be read: No such file"),
        ("gone.parquet", None, None, "gone.parquet cannot be read: No such file"),
        ("folder.jsonl", None, None, "folder.jsonl cannot be read: Is a directory"),
        ("a.npy", None, None, "--metadata FILE.jsonl goes with a --file of .npy"),
        ("a.jsonl", None, "b.jsonl", "--metadata FILE.jsonl goes with a --file of .npy"),
        ("a.npy", None, "gone.jsonl", "gone.jsonl cannot be read"),
        ("a.jsonl", Format.PARQUET, None, "a.jsonl is no Parquet file"),
        ("a.jsonl", Format.NPY, "a.jsonl", "a.jsonl is no .npy file"),
        ("a.txt", None, None, "whose ending says no format"),
        ("-", Format.PARQUET, None, "which can hold JSON lines only"),
    ],
)
def test_file_that_cannot_be_read_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    name: str,
    said: Format | None,
    metadata: str | None,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.jsonl").mkdir()
    Path("a.jsonl").write_text('{"key": "a"}\n')
    np.save("a.npy", np.ones((1, 2), np.float32))
    with pytest.raises(BadInput) as caught:
        open_source(name, said, metadata)
    assert words in str(caught.value)


# --- The index ------------------------------------------------------------------------------------


def test_index_is_made_as_the_file_says(client: Client, bucket: str, tmp_path: Path) -> None:
    index = destination(client, bucket, "faces", source(tmp_path, EXPORTED), Wanted(create=True))
    assert Definition.of_index(index) == EXPORTED


def test_flags_say_more_than_the_file(client: Client, bucket: str, tmp_path: Path) -> None:
    flags = wanted(3, "euclidean", ("url",))
    index = destination(client, bucket, "faces", source(tmp_path, EXPORTED), flags)
    made = Definition(3, "euclidean", ("url",), m=24, ef_construction=300, ef_search=40)
    assert Definition.of_index(index) == made


def test_index_is_made_from_flags_alone_and_its_bucket_too(
    client: Client, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{bucket}-new"
    index = destination(client, name, "faces", source(tmp_path), wanted(5, "cosine"))
    assert Definition.of_index(index) == Definition(5, "cosine")
    assert capsys.readouterr().err.splitlines() == [
        f"vectorbucket: bucket {name} is made",
        "vectorbucket: index faces is made: 5 numbers, cosine",
    ]
    client.delete_vector_index(name, "faces")
    client.delete_vector_bucket(name)


def test_missing_index_is_told_and_how_to_make_it(
    client: Client, bucket: str, tmp_path: Path
) -> None:
    with pytest.raises(NoSuchVectorIndex, match="--create makes it"):
        destination(client, bucket, "faces", source(tmp_path, EXPORTED), Wanted())
    with pytest.raises(NoSuchBucket, match="--create makes it"):
        destination(client, f"{bucket}-gone", "faces", source(tmp_path, EXPORTED), Wanted())


@pytest.mark.parametrize("flags", [wanted(), wanted(3), wanted(None, "cosine")], ids=str)
def test_nothing_is_made_where_nothing_says_what(
    client: Client, bucket: str, tmp_path: Path, flags: Wanted
) -> None:
    with pytest.raises(BadInput, match="--dimension and --distance-metric say what to make"):
        destination(client, f"{bucket}-gone", "faces", source(tmp_path), flags)
    with pytest.raises(NoSuchBucket):
        client.get_vector_bucket(f"{bucket}-gone")


def test_index_that_cannot_be_made_is_refused_by_the_server(
    client: Client, bucket: str, tmp_path: Path
) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match="dimension is 9999"):
        destination(client, bucket, "faces", source(tmp_path), wanted(9999, "cosine"))
    with pytest.raises(VectorIndexParameterInvalid, match="distance_metric is 'dot'"):
        destination(client, bucket, "faces", source(tmp_path), wanted(3, "dot"))


@pytest.mark.parametrize(
    ("exported", "flags", "words"),
    [
        (EXPORTED, Wanted(), "holds vectors of 3 numbers; index faces takes 4"),
        (EXPORTED, wanted(), "holds vectors of 3 numbers; index faces takes 4"),
        (None, Wanted(dimension=5), "--dimension is 5 numbers; index faces takes 4"),
        (
            None,
            wanted(4, "cosine"),
            "--distance-metric is cosine; index faces exists and has euclidean",
        ),
    ],
    ids=["file", "file, create", "flag", "metric"],
)
def test_index_that_does_not_fit_is_refused(
    client: Client,
    bucket: str,
    tmp_path: Path,
    *,
    exported: Definition | None,
    flags: Wanted,
    words: str,
) -> None:
    client.put_vector_index(bucket, "faces", dimension=4, distance_metric="euclidean")
    with pytest.raises(BadInput) as caught:
        destination(client, bucket, "faces", source(tmp_path, exported), flags)
    assert words in str(caught.value)


def test_dimension_of_the_flag_must_be_that_of_the_file(
    client: Client, bucket: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=r"--dimension is 5; .* holds vectors of 3 numbers"):
        destination(client, bucket, "faces", source(tmp_path, EXPORTED), wanted(5))


# --- What it is -----------------------------------------------------------------------------------


def test_task_is_the_same_as_long_as_file_and_index_are(
    client: Client, bucket: str, tmp_path: Path
) -> None:
    def task(name: str, metadata: str | None = None, index_name: str = "faces") -> Any:
        index = client.get_vector_index(bucket, index_name)
        return task_of(name, metadata, index)

    for name in ("faces", "cats"):
        client.put_vector_index(bucket, name, dimension=4, distance_metric="euclidean")
    file, other = tmp_path / "a.npy", tmp_path / "b.jsonl"
    file.write_bytes(b"x" * 100_000)
    other.write_bytes(b"y")
    first = task(str(file), str(other))
    assert task(str(file), str(other)) == first
    assert task(str(file), str(other), "cats") != first
    assert task(str(file)) != first
    file.write_bytes(b"x" * 100_001)
    assert task(str(file), str(other)) != first
    file.write_bytes(b"z" + b"x" * 99_999)
    assert task(str(file), str(other)) != first
    assert task("-")["input"] == []
