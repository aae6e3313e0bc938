"""Programs as the cloud publishes them run here, with only their environment set."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from house import ROOT
from oss.live_rest import ACCESS_KEY_ID, ACCESS_KEY_SECRET, ACCOUNT_ID, REGION, LiveProcess, serving
from oss.sdk import ENDPOINT
from rooms import WITHIN_S

SAMPLES = Path(__file__).parent / "samples"

OF_BUCKETS = [
    "put_vector_bucket.py",
    "get_vector_bucket.py",
    "list_vector_buckets.py",
    "put_bucket_policy.py",
    "get_bucket_policy.py",
    "delete_bucket_policy.py",
    "put_bucket_logging.py",
    "get_bucket_logging.py",
    "delete_bucket_logging.py",
    "delete_vector_bucket.py",
]

OF_INDEXES = [
    "put_vector_bucket.py",
    "put_vector_index.py",
    "get_vector_index.py",
    "list_vector_indexes.py",
    "put_vectors.py",
    "get_vectors.py",
    "list_vectors.py",
    "query_vectors.py",
    "delete_vectors.py",
    "list_vectors.py",
    "delete_vector_index.py",
]

STATUS = r"status code: (\d+), request id: [0-9A-F]{24}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveProcess]:
    with serving(tmp_path_factory.mktemp("samples")) as server:
        yield server


def run(server: LiveProcess, sample: str, bucket: str) -> list[str]:
    """Run a sample and return what it prints, the service's answers without their request ids."""
    arguments = ["--region", REGION, "--account_id", ACCOUNT_ID, "--endpoint", ENDPOINT]
    if "buckets" not in sample:
        arguments += ["--bucket", bucket]
    if re.search(r"_vectors|_vector_index\.", sample):
        arguments += ["--index_name", "sampleIndex"]
    environment = {
        "PATH": os.defpath,
        "OSS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "OSS_ACCESS_KEY_SECRET": ACCESS_KEY_SECRET,
        "http_proxy": f"http://{server.rest_address}",
    }
    done = subprocess.run(
        [sys.executable, str(SAMPLES / sample), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert done.returncode == 0, done.stderr
    return [re.sub(rf"^{STATUS}$", r"\1", line) for line in done.stdout.splitlines()]


def test_every_sample_is_run() -> None:
    assert {path.name for path in SAMPLES.glob("*.py")} == {*OF_BUCKETS, *OF_INDEXES}


def test_samples_of_buckets_print_what_the_service_answers(server: LiveProcess) -> None:
    said = {sample: run(server, sample, "sample-bucket") for sample in OF_BUCKETS}
    arn = f"acs:ossvector:{REGION}:{ACCOUNT_ID}:sample-bucket"
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00:00"
    assert said["put_vector_bucket.py"] == ["200"]
    status, name, location, created, extranet, intranet = said["get_vector_bucket.py"]
    assert (status, name) == ("200", f"name: {arn}")
    assert location == f"location: oss-{REGION}"
    assert re.fullmatch(f"creation date: {time}", created)
    assert extranet == f"extranet endpoint: {ENDPOINT.removeprefix('http://')}"
    assert intranet.startswith("intranet endpoint: ")
    (listed,) = said["list_vector_buckets.py"]
    assert re.fullmatch(f"bucket: {arn}, oss-{REGION}, {time}", listed)
    assert said["put_bucket_policy.py"] == ["200"]
    status, policy = said["get_bucket_policy.py"]
    assert status == "200"
    assert policy.startswith('policy: {"Version": "1", "Statement": [{"Effect": "Allow", ')
    assert said["delete_bucket_policy.py"] == ["204"]
    assert said["put_bucket_logging.py"] == ["200"]
    assert said["get_bucket_logging.py"] == [
        "200",
        "target bucket: sample-bucket, prefix: log-",
    ]
    assert said["delete_bucket_logging.py"] == ["204"]
    assert said["delete_vector_bucket.py"] == ["204"]


def test_samples_of_indexes_and_vectors_print_what_the_service_answers(
    server: LiveProcess,
) -> None:
    said = [run(server, sample, "sample-vectors") for sample in OF_INDEXES]
    _, made, index, indexes, put, found, listed, near, deleted, none, gone = said
    assert made == put == ["200"]
    assert index[0] == "200"
    assert "'dimension': 128" in index[1]
    assert "'nonFilterableMetadataKeys': ['note', 'source']" in index[1]
    assert indexes == ["index: sampleIndex, 128, enable"]
    assert found[0] == near[0] == "200"
    assert [parsed(line) for line in found[1:]] == [
        ("key1, 128 numbers", {"title": "first", "type": "comedy", "note": "not filterable"}),
        ("key2, 128 numbers", {"title": "second", "type": "documentary", "tags": ["a", "b"]}),
    ]
    assert listed == [
        "page 1: key1, first",
        "page 1: key2, second",
        "page 2: key3, third",
    ]
    # The cosine of the angle is (32 x 3 + 96) : sqrt((32 x 9 + 96) x 128), or sqrt(3) : 2.
    assert [parsed(line) for line in near[1:]] == [
        ("key3, 0.1340", {"title": "third", "type": "drama", "tags": ["b", "c"]})
    ]
    assert deleted == gone == ["204"]
    assert none == []


def parsed(line: str) -> tuple[str, Any]:
    """Return what a line tells of a vector, and its metadata, whose fields are in no order."""
    told, metadata = line.removeprefix("vector: ").split(", {", 1)
    return told, ast.literal_eval("{" + metadata)


def test_example_of_the_readme_works_when_pasted(server: LiveProcess) -> None:
    """The one for the SDK. Its access key is any; here it has to be a real one."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[1]
    assert "import alibabacloud_oss_v2 as oss" in example
    for pasted, meant in (
        ("127.0.0.1:8080", server.rest_address),
        ("any-id", ACCESS_KEY_ID),
        ("any-secret", ACCESS_KEY_SECRET),
    ):
        assert pasted in example
        example = example.replace(pasted, meant)
    done = subprocess.run(
        [sys.executable, "-c", example],
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[{'key': 'first', 'distance': 0.5, 'metadata': {'part': 1}}]\n"
