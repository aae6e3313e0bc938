"""The commands of an operator, against the real server with its files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.cli.conftest import Ran, Run
from rooms import eventually
from vectorbucket import Client

FACES = ("--bucket", "photos", "--index-name", "faces")


@pytest.fixture(name="operate")
def fixture_operate(operated_address: str, run: Run) -> Iterator[Run]:
    """Run a command against the server with files; no backup is left behind."""

    def operated(*arguments: str) -> Ran:
        return run("--endpoint", operated_address, *arguments)

    yield operated
    with Client(operated_address) as client:
        for backup in client.list_backups():
            client.delete_backup(backup.name)


def test_statistics_are_shown(operate: Run) -> None:
    found = operate("get-server-statistics", "-o", "json").json
    assert (found["engine"], found["vectorCount"], found["writesRefused"]) == ("embedded", 30, "")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["startTime"])
    shown = operate("get-server-statistics").out
    for words in (r"vectors +30\n", r"writes +taken", r"store +[\d.]+ [kM]B \([\d,]+ bytes\)"):
        assert re.search(words, re.sub(r" +\n", "\n", shown))


def test_metrics_are_shown_as_they_stand(operate: Run) -> None:
    text = operate("get-metrics").out
    assert text.startswith("# HELP vectorbucket_")
    document = operate("get-metrics", "-o", "json").json
    assert list(document) == ["text"]
    assert document["text"].startswith("# HELP vectorbucket_")


def test_index_is_unloaded_and_loaded(operate: Run) -> None:
    assert operate("unload-vector-index", *FACES).err == (
        "vectorbucket: index faces is not in memory\n"
    )
    assert operate("get-vector-index", *FACES, "-o", "json").json["loaded"] is False
    assert operate("load-vector-index", *FACES, "--timeout-s", "20", "-o", "json").json == {}
    facts = operate("get-vector-index", *FACES, "-o", "json").json
    assert facts["loaded"] is True
    assert facts["checkpointTime"].endswith("Z")
    assert "checkpoint " in operate("get-vector-index", *FACES).out


def test_rebuild_is_begun(operate: Run) -> None:
    begun = operate("rebuild-vector-index", *FACES)
    assert (begun.code, begun.out) == (0, "")
    assert "under way" in begun.err
    show = ("get-vector-index", *FACES, "-o", "json")
    eventually(lambda: not operate(*show).json["rebuilding"], "the rebuild is over")


def test_backup_is_made_listed_and_deleted(operate: Run) -> None:
    made = operate("put-backup", "--name", "monday", "-o", "json").json["backup"]
    assert made["name"] == "monday"
    assert Path(made["path"]).is_dir()
    assert operate("list-backups", "-o", "json").json == {"backups": [made]}
    assert re.search(r"monday .* [\d.]+ (bytes|[kM]B) ", operate("list-backups").out)
    again = operate("put-backup", "--name", "monday")
    assert (again.code, again.out) == (6, "")
    assert operate("delete-backup", "--name", "monday").code == 0
    gone = operate("delete-backup", "--name", "monday")
    assert (gone.code, gone.out) == (3, "")
    assert operate("put-backup", "--name", "../up").code == 2


def test_server_without_files_makes_no_backups(run: Run) -> None:
    refused = run("put-backup", "--name", "monday")
    assert (refused.code, refused.out) == (1, "")
    assert "MethodNotAllowed" in refused.err
    statistics = run("get-server-statistics").out
    assert re.search(r"memory at most +no bound", statistics)
    assert re.search(r"disk free +not known", statistics)
