"""The command as a whole: what is there, how it helps, and what stands around it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.cli.conftest import COMMAND, ENVIRONMENT, Run
from house import ROOT
from vectorbucket import __version__, cli
from vectorbucket.cli.application import app
from vectorbucket.cli.connection import connection_flags, environment_name
from vectorbucket.cli.exit_codes import EXIT_CODES
from vectorbucket.v1 import (
    bucket_service_pb2,
    index_service_pb2,
    operations_service_pb2,
    vector_service_pb2,
)

RPCS = {
    method.name
    for module in (
        bucket_service_pb2,
        index_service_pb2,
        operations_service_pb2,
        vector_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}

OTHER_NAMES = {"scan-vectors": "list-vectors"}
"""RPCs whose command has another name: it is ``--all`` of that one."""

MORE = {"export", "import", "get-health"}
"""Commands that are made of several RPCs, or speak with a service of gRPC's own."""

COMMANDS = COMMAND.commands


def kebab_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def test_every_rpc_of_the_contract_has_a_command_and_every_command_an_rpc() -> None:
    wanted = {OTHER_NAMES.get(name, name) for name in map(kebab_case, RPCS)}
    assert len(RPCS) > 25
    assert wanted <= set(COMMANDS)
    assert set(COMMANDS) - wanted <= MORE


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_command_helps_and_takes_the_flags_of_every_command(run: Run, name: str) -> None:
    helped = run(name, "--help", environment={"COLUMNS": "200"})
    assert (helped.code, helped.err) == (0, "")
    command = COMMANDS[name]
    assert command.help
    assert all(parameter.help for parameter in command.params)
    spelled = {spelling for one in command.params for spelling in one.opts}
    assert {f"--{one.name.replace('_', '-')}" for one in connection_flags(environment=True)} <= (
        spelled
    )
    words = helped.out.replace(",", " ").split()
    assert [one for one in spelled if one.startswith("--") and one not in words] == []


def test_help_shows_commands_environment_and_exit_codes(run: Run) -> None:
    for arguments, columns in (("--help", "200"), ("-h", "80")):
        helped = run(arguments, environment={"COLUMNS": columns})
        assert helped.code == 0
        assert [name for name in COMMANDS if name not in helped.out] == []
        assert max(map(len, helped.out.splitlines())) <= int(columns)
        words = " ".join(helped.out.split())
        assert [text for text in EXIT_CODES.values() if text not in words] == []
        names = [environment_name(one.name) for one in connection_flags(environment=True)]
        assert [name for name in names if name not in helped.out] == []
        assert "\x1b" not in helped.out


def test_no_command_is_wrong_usage_and_helps(run: Run) -> None:
    ran = run()
    assert ran.code == 2
    assert "put-vector-bucket" in ran.out


def test_version_is_shown(run: Run) -> None:
    assert run("--version").out == f"vectorbucket {__version__}\n"


def test_command_is_what_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["vectorbucket"] == f"{cli.__name__}:{cli.main.__name__}"


def test_missing_extra_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "vectorbucket.cli.application")
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == (
        "vectorbucket needs the package typer, which is not installed: "
        "pip install 'vectorbucket[cli]'"
    )


def test_ctrl_c_while_it_is_loaded_ends_it_cleanly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupting:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "vectorbucket.cli.application":
                raise KeyboardInterrupt

    monkeypatch.setattr(sys, "meta_path", [Interrupting, *sys.meta_path])
    monkeypatch.delitem(sys.modules, "vectorbucket.cli.application")
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert (caught.value.code, capsys.readouterr().err) == (130, "vectorbucket: interrupted\n")


def test_module_of_ours_that_is_missing_is_no_missing_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "vectorbucket.cli.application", None)
    with pytest.raises(ModuleNotFoundError, match="vectorbucket"):
        cli.main()


@pytest.mark.parametrize(
    ("shell", "words"),
    [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete --command")],
)
def test_completion_script_is_printed(shell: str, words: str) -> None:
    environment = ENVIRONMENT | {"_VECTORBUCKET_COMPLETE": f"source_{shell}"}
    printed = CliRunner(env=environment).invoke(app, [], prog_name="vectorbucket")
    assert printed.exit_code == 0
    assert words in printed.stdout
    assert "vectorbucket" in printed.stdout


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("vectorbucket put-ve", {"put-vector-bucket", "put-vector-index", "put-vectors"}),
        ("vectorbucket query-vectors --top", {"--top-k"}),
        ("vectorbucket get-metrics --output ", {"table", "json"}),
    ],
    ids=["command", "flag", "value"],
)
def test_shell_completes_commands_flags_and_values(line: str, wanted: set[str]) -> None:
    words = line.split(" ")
    environment = ENVIRONMENT | {
        "_VECTORBUCKET_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    completed = CliRunner(env=environment).invoke(app, [], prog_name="vectorbucket")
    assert wanted <= set(completed.stdout.split())


def test_command_runs_as_a_program_of_its_own(server_address: str, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "vectorbucket.cli"]
    command = [*program, "list-vector-buckets", "--endpoint", server_address, "-o", "json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == '{"ListAllMyBucketsResult":{"Buckets":[]}}\n'
