"""Which files a bucket's logging stands for, and that none of them is anywhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_files import open_in
from vectorbucket.errors import InvalidRequest
from vectorbucket.limits import UNLIMITED
from vectorbucket_server.model import BucketLogging
from vectorbucket_server.observability.log_folders import file_parts, make_file

PREFIX_BYTES_MAX = UNLIMITED.logging_text_bytes_max

MOMENT_S = 1_782_911_045.75
"""2026-07-01 13:04:05 UTC and a bit."""


def test_name_is_prefix_bucket_time_and_something_unique() -> None:
    parts = file_parts(BucketLogging("audit", "app-"), "photos", MOMENT_S, "0A1B")
    assert parts == ["audit", "app-photos2026-07-01-13-04-05-0A1B"]


def test_slashes_of_a_prefix_are_folders() -> None:
    parts = file_parts(BucketLogging("audit", "a/b/"), "photos", MOMENT_S, "X")
    assert parts == ["audit", "a", "b", "photos2026-07-01-13-04-05-X"]
    parts = file_parts(BucketLogging("audit", "a//./b-"), "photos", MOMENT_S, "X")
    assert parts == ["audit", "a", "b-photos2026-07-01-13-04-05-X"]


def test_longest_names_are_names_that_a_file_can_have(tmp_path: Path) -> None:
    logging = BucketLogging("a" * 63, "p" * PREFIX_BYTES_MAX)
    parts = file_parts(logging, "b" * 63, MOMENT_S, "0123456789ABCDEF01234567")
    os.close(make_file(tmp_path, parts))


@pytest.mark.parametrize(
    "prefix",
    [
        *("/etc", "..", "a/../../b", "a\nb", "a\x00b", "a\x85b", "\ud800"),
        *("p" * (PREFIX_BYTES_MAX + 1), "ü" * (PREFIX_BYTES_MAX // 2 + 1)),
    ],
)
def test_prefix_that_could_not_have_been_put_is_refused_again(prefix: str) -> None:
    with pytest.raises(InvalidRequest):
        file_parts(BucketLogging("audit", prefix), "photos", MOMENT_S, "X")


@pytest.mark.parametrize("prefix", ["", "logs/", "a.b/", "Ünïcode-", "a b", "~", "$HOME/", "."])
def test_odd_prefix_that_leads_nowhere_else_is_taken(prefix: str, tmp_path: Path) -> None:
    parts = file_parts(BucketLogging("audit", prefix), "photos", MOMENT_S, "X")
    os.close(make_file(tmp_path, parts))
    (made,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert made.is_relative_to(tmp_path / "audit")


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", "Photos", "-a", "a\n"])
def test_bucket_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        file_parts(BucketLogging(name), "photos", MOMENT_S, "X")
    with pytest.raises(InvalidRequest):
        file_parts(BucketLogging("audit"), name, MOMENT_S, "X")


@given(prefix=st.text(max_size=40), target=st.text(max_size=8))
def test_whatever_is_asked_for_no_part_leads_up_or_away(prefix: str, target: str) -> None:
    try:
        parts = file_parts(BucketLogging(target, prefix), "photos", MOMENT_S, "X")
    except InvalidRequest:
        return
    assert parts[0] == target
    assert all(part not in {"", ".", ".."} and "/" not in part for part in parts)
    assert "\x00" not in "".join(parts)


def test_file_is_made_once(tmp_path: Path) -> None:
    os.close(make_file(tmp_path, ["audit", "one"]))
    with pytest.raises(FileExistsError):
        make_file(tmp_path, ["audit", "one"])


def test_files_are_for_the_operator_and_his_group(tmp_path: Path) -> None:
    os.close(make_file(tmp_path, ["audit", "one"]))
    assert (tmp_path / "audit").stat().st_mode & 0o007 == 0
    assert (tmp_path / "audit" / "one").stat().st_mode & 0o137 == 0


@pytest.mark.parametrize("link", ["audit", "audit/app", "audit/app/one"])
def test_symbolic_link_on_the_way_is_not_followed(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    inside = tmp_path / "inside"
    (inside / link).parent.mkdir(parents=True)
    (inside / link).symlink_to(outside / "stolen" if link.endswith("one") else outside)
    with pytest.raises(OSError, match=r"symbolic|directory|exists"):
        make_file(inside, ["audit", "app", "one"])
    assert list(outside.iterdir()) == []


def test_directory_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "logs").symlink_to(tmp_path / "disk")
    os.close(make_file(tmp_path / "logs", ["audit", "one"]))
    assert (tmp_path / "disk" / "audit" / "one").exists()


def test_no_descriptor_is_left_behind_by_failures(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("no folder")
    for _ in range(5):
        with pytest.raises(NotADirectoryError):
            make_file(tmp_path, ["audit", "app", "one"])
    assert open_in(tmp_path) == 0
