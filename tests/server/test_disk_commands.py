"""The commands on a data directory: what they print, and the codes they exit with.

What they find and do is tested in tests/server/engine/embedded/. Most of these tests run the
command in this process; some run it as a program.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from resting import (
    COUNT,
    GRAPH_ROWS_MIN,
    GRAPHED,
    change,
    change_all,
    copied,
    files_of,
    flip,
    make_resting,
    store_of,
    verified,
)
from rooms import BUCKET, in_child, opened_engine
from vectorbucket_server import cli
from vectorbucket_server.disk_commands import DISK_COMMANDS
from vectorbucket_server.engine.backup_file import BACKUP_FILE, write_backup_file
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import Family, label_key

OK, FAILED, WRONG_ARGUMENTS, DAMAGE = 0, 1, 2, 3


@pytest.fixture(name="made", scope="module")
def fixture_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a data directory that no test changes."""
    folder = tmp_path_factory.mktemp("made")
    make_resting(folder)
    return folder


@pytest.fixture(name="options")
def fixture_options(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedOptions:
    """Return the options of a copy of it; the environment tells the commands the same."""
    monkeypatch.setenv("VECTORBUCKET_EMBEDDED__GRAPH_ROWS_MIN", str(GRAPH_ROWS_MIN))
    monkeypatch.chdir(tmp_path)
    return copied(made, tmp_path)


def run(*arguments: object) -> tuple[int, str, str]:
    """Run the command; return its exit code, standard output and standard error."""
    result = CliRunner().invoke(cli.command, [str(one) for one in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def backup_of(options: EmbeddedOptions, folder: Path) -> Path:
    """Return a folder that the data directory was moved to and made a backup in."""
    options.data_dir.rename(folder)
    (folder / "store" / "LOCK").unlink()
    write_backup_file(folder, version="1", create_ms=1_700_000_000_000)
    return folder


# --- check ----------------------------------------------------------------------------------------


def test_check_of_a_good_directory_says_what_it_looked_at(options: EmbeddedOptions) -> None:
    before = files_of(options.data_dir)
    code, output, error = run("check", "--data-dir", options.data_dir)
    assert (code, error) == (OK, "")
    assert output == (
        f"{options.data_dir}: checked buckets 1, indexes 2, vectors {COUNT + 3}, records 377, "
        "checkpoints 1: all as it should be\n"
    )
    assert files_of(options.data_dir) == before


def test_check_names_damage_and_exits_with_a_code_of_its_own(options: EmbeddedOptions) -> None:
    key = label_key(1, 5)
    change(options, Family.DATA, key, None)
    code, output, error = run("check", "--data-dir", options.data_dir)
    assert code == DAMAGE
    assert output.splitlines()[0] == (
        f"damage      index 'graphed' of bucket 'things', family data, key {key.hex()}: the record "
        "of a vector that exists is missing"
    )
    assert output.splitlines()[-1].endswith("checkpoints 1: 1 damage")
    assert error == (
        f"vectorbucket-server: {options.data_dir} is damaged: restore a backup, or delete and put "
        "again what is named above\n"
    )


def test_check_of_a_broken_graph_says_how_to_repair_it(options: EmbeddedOptions) -> None:
    path = options.data_dir / "generations/1/1/checkpoint-1/graph.hnsw"
    flip(path, 200)
    code, output, error = run("check", "--data-dir", options.data_dir)
    assert (code, error) == (OK, "")
    assert output.startswith("repairable  index 'graphed'")
    assert f"{path} has checksum" in output
    assert "1 repairable" in output
    assert "vectorbucket-server rebuild" in output


def test_check_shows_as_many_findings_as_it_is_told_and_counts_all(
    options: EmbeddedOptions,
) -> None:
    change_all(options, ((Family.DATA, label_key(1, label), b"") for label in range(1, 6)))
    code, output, _ = run("check", "--data-dir", options.data_dir, "--findings-max", "2")
    assert code == DAMAGE
    assert output.count("a vector has 0 bytes, not 16") == 2
    assert "3 more findings are not shown (--findings-max)" in output
    assert "5 damage" in output


def test_check_speaks_json(options: EmbeddedOptions) -> None:
    change(options, Family.DATA, label_key(2, 1), None)
    code, output, _ = run("check", "--data-dir", options.data_dir, "--output", "json")
    said = json.loads(output)
    assert code == DAMAGE
    assert said["finding_counts"] == {"damage": 1, "repairable": 0, "leftover": 0}
    (finding,) = said["findings"]
    assert finding["severity"] == "damage"
    assert label_key(2, 1).hex() in finding["place"]
    assert said["counts"]["vectors"] == COUNT + 3


def test_check_of_a_backup_looks_at_its_files(options: EmbeddedOptions, tmp_path: Path) -> None:
    backup = backup_of(options, tmp_path / "backup")
    code, output, _ = run("check", "--data-dir", backup)
    assert (code, "checked files of the backup" in output) == (OK, True)
    (backup / BACKUP_FILE).write_bytes((backup / BACKUP_FILE).read_bytes()[:-20])
    code, output, _ = run("check", "--data-dir", backup)
    assert (code, f"{backup / BACKUP_FILE} is damaged" in output) == (DAMAGE, True)


@pytest.mark.parametrize("command", ["check", "inspect"])
def test_what_is_no_data_directory_is_told(tmp_path: Path, command: str) -> None:
    code, output, error = run(command, "--data-dir", tmp_path)
    assert (code, output) == (FAILED, "")
    assert f"{tmp_path} is neither a data directory nor a backup: no store/" in error


# --- inspect --------------------------------------------------------------------------------------


def test_inspect_shows_tables(options: EmbeddedOptions) -> None:
    code, output, error = run("inspect", "--data-dir", options.data_dir)
    assert (code, error) == (OK, "")
    assert f"{options.data_dir}: data, format version 1" in output
    for row in (
        r"things │ 1234567890 │ 2023-11-14 22:13:20 UTC │ +│ yes",
        r"things/graphed │ 1 +│ 4 +│ euclidean │ 16 │ +120 │ +1 │ 1/checkpoint-1, seq 1, ",
        r"things/small +│ 2 +│ 4 +│ euclidean │ 16 │ +3 │ +1 │ +│",
        r"vectors +│ +\d\.\d kB",
    ):
        assert re.search(row, output), row


def test_inspect_speaks_json(options: EmbeddedOptions) -> None:
    code, output, _ = run("inspect", "--data-dir", options.data_dir, "--output", "json")
    said = json.loads(output)
    assert code == OK
    assert [one["name"] for one in said["indexes"]] == ["graphed", "small"]
    assert said["indexes"][0]["checkpoints"][0]["path"] == "generations/1/1/checkpoint-1"


def test_inspect_of_a_backup_says_when_it_was_made(
    options: EmbeddedOptions, tmp_path: Path
) -> None:
    backup = backup_of(options, tmp_path / "backup")
    (backup / "generations" / "99").mkdir()
    code, output, _ = run("inspect", "--data-dir", backup)
    assert code == OK
    assert f"{backup}: backup of 2023-11-14 22:13:20 UTC, format version 1" in output
    assert "of no index, and removed by the next start: generations/99" in output
    (backup / BACKUP_FILE).write_text("{")
    code, _, error = run("inspect", "--data-dir", backup)
    assert (code, "is damaged" in error) == (FAILED, True)


# --- rebuild --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "which", [["--all"], ["--bucket", BUCKET.name, "--index-name", GRAPHED]], ids=["all", "one"]
)
def test_rebuild_makes_a_good_graph_of_a_broken_one(
    options: EmbeddedOptions, which: list[str]
) -> None:
    flip(options.data_dir / "generations/1/1/checkpoint-1/graph.hnsw", 200)
    code, output, error = run("rebuild", "--data-dir", options.data_dir, *which)
    assert (code, error) == (OK, "")
    assert output.splitlines()[0] == "things/graphed was made anew"
    assert len(output.splitlines()) == (2 if which == ["--all"] else 1)
    assert verified(options) == []


@pytest.mark.parametrize(
    "which",
    [
        [],
        ["--bucket", "b"],
        ["--index-name", "i"],
        ["--all", "--bucket", "b"],
        ["--all", "--bucket", "b", "--index-name", "i"],
    ],
    ids=range(5),
)
def test_rebuild_wants_to_know_of_what(options: EmbeddedOptions, which: list[str]) -> None:
    code, _, error = run("rebuild", "--data-dir", options.data_dir, *which)
    assert code == WRONG_ARGUMENTS
    assert "name one index with --bucket and --index-name, or all with --all" in error


def test_rebuild_of_what_is_not_there_is_told(options: EmbeddedOptions) -> None:
    which = ("--bucket", "things", "--index-name", "nothing")
    code, _, error = run("rebuild", "--data-dir", options.data_dir, *which)
    assert code == FAILED
    assert f"bucket 'things' of {options.data_dir} has no index 'nothing'" in error


# --- restore --------------------------------------------------------------------------------------


def test_restore_makes_what_a_server_starts_from(options: EmbeddedOptions, tmp_path: Path) -> None:
    backup = backup_of(options, tmp_path / "backup")
    code, output, error = run("restore", backup, "--data-dir", tmp_path / "new" / "data")
    assert (code, error) == (OK, "")
    assert re.search(r"restored \d+\.\d [kM]B of 2023-11-14 22:13:20 UTC to ", output)
    with opened_engine(tmp_path / "new") as engine:
        graphed = engine.get_index(BUCKET.name, GRAPHED)
        assert engine.index_statistics(graphed).vector_count == COUNT


def test_restore_refuses_what_is_in_use_and_what_is_damaged(
    options: EmbeddedOptions, tmp_path: Path
) -> None:
    backup = backup_of(options, tmp_path / "backup")
    code, _, error = run("restore", backup, "--data-dir", backup)
    assert (code, "is not empty: it has backup.json, " in error) == (FAILED, True)
    flip(backup / "generations/1/1/keys", 0)
    code, _, error = run("restore", backup, "--data-dir", tmp_path / "new")
    assert (code, "the backup is damaged: " in error) == (FAILED, True)
    code, _, error = run("restore", tmp_path / "nowhere", "--data-dir", tmp_path / "new")
    assert (code, "is no backup: it has no backup.json" in error) == (FAILED, True)


# --- settings, and the program --------------------------------------------------------------------


def test_directory_may_come_from_where_serve_takes_it(
    options: EmbeddedOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "server.toml"
    config.write_text(f'data_dir = "{options.data_dir}"\n')
    assert run("check", "--config", config)[0] == OK
    monkeypatch.setenv("VECTORBUCKET_DATA_DIR", str(options.data_dir))
    assert run("check")[0] == OK
    assert run("check", "--data-dir", tmp_path / "other")[0] == FAILED


@pytest.mark.parametrize("command", sorted(DISK_COMMANDS))
def test_wrong_settings_are_told_by_every_command(tmp_path: Path, command: str) -> None:
    (tmp_path / "bad.toml").write_text("nonsense = 1\n")
    more = {"restore": ["somewhere"], "rebuild": ["--all"]}.get(command, [])
    code, output, error = run(command, *more, "--config", tmp_path / "bad.toml")
    assert (code, output) == (WRONG_ARGUMENTS, "")
    assert "there is no setting 'nonsense'" in error


@pytest.mark.parametrize("command", sorted(DISK_COMMANDS))
def test_every_command_has_help(command: str) -> None:
    code, output, _ = run(command, "--help")
    assert (code, "--data-dir" in output) == (OK, True)


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "vectorbucket_server.engine.embedded.verification"
    monkeypatch.setitem(sys.modules, name, None)
    code, _, error = run("check", "--data-dir", tmp_path)
    assert (code, f"needs the package {name}, which is not" in error) == (FAILED, True)


_PROGRAM = """
import sys
from typer.testing import CliRunner
from vectorbucket_server import cli
used, damaged = sys.argv[1:]
for command in (["check"], ["inspect"], ["rebuild", "--all"], ["restore", used]):
    done = CliRunner().invoke(cli.command, [*command, "--data-dir", used])
    print(done.exit_code, repr(done.stdout), done.stderr, end="", flush=True)
sys.argv[1:] = ["check", "--data-dir", damaged]
try:
    cli.main()
except SystemExit as end:
    print(end.code)
"""


def test_program_refuses_what_a_server_uses_and_exits_as_it_is_told(
    options: EmbeddedOptions, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    damaged = copied(tmp_path, tmp_path / "other")
    change(damaged, Family.DATA, label_key(1, 5), None)
    with store_of(options):
        told = in_child(_PROGRAM, options.data_dir, damaged.data_dir).splitlines()
    in_use = (
        f"1 '' vectorbucket-server: ServiceUnavailable: {options.data_dir / 'store'} is in use by "
        "another process; one process at a time may use a data directory"
    )
    assert told[:3] == [in_use] * 3
    assert "is no backup" in told[3]
    assert told[4].startswith("damage      index")
    assert told[-1] == str(DAMAGE)


@pytest.mark.parametrize(
    "command", [["check"], ["inspect"], ["rebuild", "--all"], ["restore", "."]]
)
def test_disk_that_does_not_answer_is_told(
    options: EmbeddedOptions, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    for name in ("stat", "read_bytes"):
        monkeypatch.setattr(Path, name, refuse)
    code, _, error = run(*command, "--data-dir", options.data_dir)
    assert (code, "Permission denied" in error) == (FAILED, True)


@pytest.mark.parametrize("name", sorted(DISK_COMMANDS))
def test_settings_of_another_engine_have_no_data_directory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECTORBUCKET_ENGINE", "milvus")
    monkeypatch.chdir(tmp_path)
    more: list[object] = []
    if name in ("rebuild", "restore"):
        more = ["--all"] if name == "rebuild" else [tmp_path / "backup"]
    code, out, err = run(name, *more)
    assert (code, out) == (WRONG_ARGUMENTS, "")
    assert "the engine milvus keeps nothing in a data directory" in err
    # One that is named is meant.
    code, _, err = run(name, *more, "--data-dir", tmp_path / "nothing")
    assert code == FAILED
    assert "milvus" not in err
