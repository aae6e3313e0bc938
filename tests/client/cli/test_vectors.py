"""The commands on vectors, against the real server: golden documents, and tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from client.cli.conftest import Run
from vectorbucket import Client

VECTORS = [
    {"key": "dan", "data": {"float32": [1, 2, 3]}, "metadata": {"year": 2020}},
    {"key": "eva", "data": {"float32": [4.5, 5, 6]}},
]
LINES = "\n".join(map(json.dumps, VECTORS))


@pytest.mark.parametrize("command", ["put-vectors", "put-vectors-batch"])
@pytest.mark.parametrize("form", ["inline", "file", "standard input", "lines"])
def test_vectors_are_put_from_every_form(
    run: Run, faces: list[str], tmp_path: Path, command: str, form: str
) -> None:
    text = LINES if form == "lines" else json.dumps(VECTORS)
    file = tmp_path / "vectors.json"
    file.write_text(text)
    value = {"inline": text, "standard input": "-"}.get(form, f"file://{file}")
    put = run(command, *faces, "--vectors", value, "-o", "json", given=text)
    assert put.json["vectorCount"] == 2
    assert put.err == "vectorbucket: 2 vectors are stored in index faces\n"
    found = run("get-vectors", *faces, "--keys", "dan,eva", "--return-data", "-o", "json").json
    assert [one["data"]["float32"] for one in found["vectors"]] == [[1, 2, 3], [4.5, 5, 6]]


def test_rejected_batches_are_told_and_the_others_are_stored(
    run: Run, faces: list[str], client: Client
) -> None:
    vectors = [{"key": f"k{number}", "data": [1, 2, 3]} for number in range(1200)]
    vectors[600]["data"] = [1, 2]
    put = run("put-vectors", *faces, "--vectors", "-", "-o", "json", given=json.dumps(vectors))
    assert put.code == 2
    document = json.loads(put.out)
    assert document["vectorCount"] == 700
    [batch] = document["rejected"]
    assert (batch["firstPosition"], batch["vectorCount"]) == (500, 500)
    assert batch["code"] == "VectorIndexParameterInvalid"
    assert "vectors[100].data has 2 numbers" in batch["message"]
    first, *rest = put.err.splitlines()
    assert first.startswith("vectorbucket: vectors 500 to 999, counted from 0, are not stored; ")
    assert rest == [
        "vectorbucket: 700 vectors are stored in index faces",
        "vectorbucket: 500 vectors are not stored; batches rejected: 1",
    ]
    assert client.get_vector_index(faces[1], "faces").vector_count == 703


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ("[]", "there are no vectors: VectorIndexParameterInvalid: vectors has 0 elements"),
        ('{"key": "a", "data": [1]}', "vector 0, counted from 0, is not stored; it is vectors[0] "),
    ],
    ids=["none", "one"],
)
def test_put_that_stores_nothing_says_so(
    run: Run, faces: list[str], vectors: str, words: str
) -> None:
    put = run("put-vectors", *faces, "--vectors", vectors)
    assert put.code == 2
    assert words in put.err
    assert "vectorbucket: 0 vectors are stored in index faces" in put.err


def test_many_rejected_batches_are_not_told_one_by_one(run: Run, faces: list[str]) -> None:
    lines = "\n".join('{"key": "", "data": [1, 2, 3]}' for _ in range(12 * 500))
    put = run("put-vectors", *faces, "--vectors", "-", "-o", "json", given=lines)
    assert put.code == 2
    assert len(json.loads(put.out)["rejected"]) == 12
    assert len(put.err.splitlines()) == 12


def test_batch_in_one_call_is_stored_whole_or_not_at_all(
    run: Run, faces: list[str], client: Client
) -> None:
    given = json.dumps([*VECTORS, {"key": "fay", "data": [1, 2]}])
    put = run("put-vectors-batch", *faces, "--vectors", given)
    assert (put.code, put.out) == (2, "")
    assert "vectors[2].data has 2 numbers" in put.err
    assert client.get_vector_index(faces[1], "faces").vector_count == 3


def test_bad_line_of_a_file_is_named_and_what_came_before_is_stored(
    run: Run, faces: list[str], client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "vectors.jsonl"
    good = '{"key": "k%d", "data": [1, 2, 3]}\n'
    file.write_text("".join(good % number for number in range(600)) + '{"key": oops}\n')
    put = run("put-vectors", *faces, "--vectors", f"file://{file}")
    assert (put.code, put.out) == (2, "")
    assert put.err == (
        f"vectorbucket: {file}, named by --vectors, is no JSON: Expecting value: "
        "line 601 column 9\n"
    )
    assert client.get_vector_index(faces[1], "faces").vector_count in {3, 503}


GOLDEN_GET = {
    "vectors": [
        {
            "key": "ann",
            "data": {"float32": [0.1, 0.2, 0.3]},
            "metadata": {"tags": ["a", "b"], "year": 1999},
        },
        {"key": "cat", "data": {"float32": [0.0, 2.0, 0.0]}, "metadata": {}},
    ]
}


@pytest.mark.parametrize(
    "keys",
    [
        ("--keys", "ann,nobody,cat"),
        ("--keys", "ann", "--keys", "cat"),
        ("--keys", '["ann", "cat"]'),
    ],
    ids=["commas", "repeated", "array"],
)
def test_vectors_are_got_by_key(run: Run, faces: list[str], keys: tuple[str, ...]) -> None:
    asked = ("--return-data", "--return-metadata=true", "-o", "json")
    assert run("get-vectors", *faces, *keys, *asked).json == GOLDEN_GET
    assert run("get-vectors", *faces, *keys, "--return-data=false", "-o", "json").json == {
        "vectors": [{"key": "ann"}, {"key": "cat"}]
    }


def test_numbers_are_written_so_that_they_read_back_the_same(
    run: Run, faces: list[str], client: Client
) -> None:
    numbers = np.random.default_rng(1).standard_normal((20, 3)).astype(np.float32)
    client.put_vectors(faces[1], "faces", keys=[f"n{i}" for i in range(20)], data=numbers)
    listed = run("list-vectors", *faces, "--return-data", "-o", "json").json["vectors"]
    found = {one["key"]: np.array(one["data"]["float32"], np.float32) for one in listed}
    assert all((found[f"n{i}"] == numbers[i]).all() for i in range(20))


def test_vectors_are_listed_in_pages_or_all(run: Run, faces: list[str]) -> None:
    listing = ("list-vectors", *faces, "-o", "json")
    page = run(*listing, "--max-results", "2").json
    assert page["vectors"] == [{"key": "ann"}, {"key": "ben"}]
    rest = run(*listing, "--next-token", page["nextToken"]).json
    assert rest == {"vectors": [{"key": "cat"}]}
    every = {"vectors": [{"key": "ann"}, {"key": "ben"}, {"key": "cat"}]}
    assert run(*listing, "--all").json == every
    halves = [
        run(*listing, "--all", "--segment-count", "2", "--segment-index", half).json["vectors"]
        for half in ("0", "1")
    ]
    assert sorted(one["key"] for half in halves for one in half) == ["ann", "ben", "cat"]
    more = run("list-vectors", *faces, "--max-results", "1")
    assert f"--next-token {run(*listing, '--max-results', '1').json['nextToken']}" in more.err
    both = run(*listing, "--all", "--max-results", "1")
    assert (both.code, both.out) == (2, "")


def test_filter_decides_what_is_listed(run: Run, faces: list[str]) -> None:
    listing = ("list-vectors", *faces, "--filter", '{"year": {"$gt": 2000}}', "-o", "json")
    assert run(*listing, "--all").json == {"vectors": [{"key": "ben"}]}
    page = run(*listing)
    assert (page.code, page.out) == (2, "")
    assert "--filter goes with --all" in page.err


def test_many_vectors_are_shown_in_several_tables(
    run: Run, faces: list[str], client: Client
) -> None:
    keys = [f"k{number:04}" for number in range(1000)]
    client.put_vectors(faces[1], "faces", keys=keys, data=np.ones((1000, 3)))
    shown = run("list-vectors", *faces, "--all").out.split()
    assert shown.count("key") == 2
    assert [word for word in shown if word not in {"key", "─────", "───"}] == [
        *("ann", "ben", "cat"),
        *keys,
    ]


def test_empty_index_is_listed_as_one_document(run: Run, bucket: str, client: Client) -> None:
    client.put_vector_index(bucket, "empty", dimension=3, distance_metric="cosine")
    listing = ("list-vectors", "--bucket", bucket, "--index-name", "empty", "--all")
    assert run(*listing, "-o", "json").json == {"vectors": []}
    assert run(*listing).out.split() == ["key", "───"]


def test_what_cannot_be_listed_leaves_no_document(run: Run, bucket: str) -> None:
    listing = ("list-vectors", "--bucket", bucket, "--index-name", "none", "--all", "-o", "json")
    missing = run(*listing)
    assert (missing.code, missing.out) == (3, "")


def test_vectors_are_deleted_by_key(run: Run, faces: list[str], client: Client) -> None:
    deleted = run("delete-vectors", *faces, "--keys", "ann,nobody", "-o", "json")
    assert deleted.json == {}
    assert [one.key for one in client.list_vectors(faces[1], "faces")] == ["ben", "cat"]


QUERY = ("--query-vector", '{"float32": [1, 0, 0]}', "--top-k", "2")


def test_nearest_vectors_are_found(run: Run, faces: list[str]) -> None:
    found = run("query-vectors", *faces, *QUERY, "-o", "json").json
    assert found == {"vectors": [{"key": "ben"}, {"key": "ann"}]}
    asked = ("--return-distance", "--return-metadata", "-o", "json")
    first, second = run("query-vectors", *faces, *QUERY, *asked).json["vectors"]
    assert first == {"key": "ben", "distance": 0.0, "metadata": {"year": 2001}}
    assert second["distance"] == pytest.approx(0.9695, abs=1e-4)
    bare = ("--query-vector", "[1, 0, 0]", "--top-k", "2")
    assert run("query-vectors", *faces, *bare, "-o", "json").json == found


def test_filter_decides_who_takes_part(run: Run, faces: list[str], tmp_path: Path) -> None:
    file = tmp_path / "filter.json"
    file.write_text('{"year": {"$lt": 2000}}')
    for value in (file.read_text(), f"file://{file}"):
        found = run("query-vectors", *faces, *QUERY, "--filter", value, "-o", "json").json
        assert found == {"vectors": [{"key": "ann"}]}
    refused = run("query-vectors", *faces, *QUERY, "--filter", '{"year": {"$le": 1}}')
    assert (refused.code, refused.out) == (2, "")
    assert "$le" in refused.err


def test_several_queries_are_answered_in_one_call(run: Run, faces: list[str]) -> None:
    asked = ("--query-vectors", '[[1, 0, 0], {"float32": [0, 2, 0]}]', "--top-k", "1")
    found = run("query-vectors-batch", *faces, *asked, "--return-distance", "-o", "json").json
    assert found == {
        "results": [
            {"vectors": [{"key": "ben", "distance": 0.0}]},
            {"vectors": [{"key": "cat", "distance": 0.0}]},
        ]
    }
    tables = run("query-vectors-batch", *faces, *asked).out
    assert tables.count("key") == 2


BAD_QUERIES = {
    "no JSON": ("[1, 2,", "--query-vector is no JSON: Expecting value: line 1 column 7"),
    "text": ('"abc"', "--query-vector must be an object or an array, not a text"),
    "no numbers": ('{"float64": [1]}', '--query-vector must be {"float32": […]} or an array'),
    "NaN": ("[NaN, 0, 0]", "NaN is no number of JSON"),
    "texts": ('["a", "b", "c"]', "query_vector"),
    "too few": ("[1, 2]", "2"),
}


@pytest.mark.parametrize("case", BAD_QUERIES)
def test_query_vector_that_is_none_is_refused(run: Run, faces: list[str], case: str) -> None:
    text, words = BAD_QUERIES[case]
    refused = run("query-vectors", *faces, "--query-vector", text, "--top-k", "1")
    assert (refused.code, refused.out) == (2, "")
    assert words in refused.err


GOLDEN_TABLE = """
 key   distance   metadata
 ──────────────────────────────────────────────
 ben          0   {"year": 2001}
 ann   0.969536   {"tags": ["a", "b"], "year": 1999}
"""


def test_hits_are_shown_to_people_in_a_table(run: Run, faces: list[str]) -> None:
    shown = run("query-vectors", *faces, *QUERY, "--return-distance", "--return-metadata")
    lines = [line.rstrip() for line in shown.out.splitlines()]
    wanted = GOLDEN_TABLE.splitlines()
    assert lines[1] == wanted[1]
    assert lines[3:5] == wanted[3:]
    assert set(lines[2]) == {" ", "─"}


def test_table_keeps_to_80_columns_and_loses_nothing(
    run: Run, faces: list[str], client: Client
) -> None:
    key, text = "k" * 150, "x" * 300
    client.put_vectors(faces[1], "faces", [(key, [9.0, 9.0, 9.0], {"text": text})])
    shown = run("list-vectors", *faces, "--return-data", "--return-metadata").out
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.count("x") >= 300
    assert shown.count("k") >= 150


def test_what_users_store_cannot_command_a_terminal(
    run: Run, faces: list[str], client: Client
) -> None:
    evil = "\x1b[31mred\x07\n\u202e[bold]"
    client.put_vectors(faces[1], "faces", [(evil, [9.0, 9.0, 9.0], {"a\x1b[2J": evil})])
    shown = run("list-vectors", *faces, "--return-metadata").out
    assert not set("\x1b\x07\u202e") & set(shown)
    assert r"\x1b[31mred\x07\n\u202e[bold]" in shown
    listed = run("list-vectors", *faces, "-o", "json").json["vectors"]
    assert evil in [one["key"] for one in listed]
