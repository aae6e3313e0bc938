"""The commands of ``vectorbucket-server`` that work on a data directory without a server.

Rules of this file: it shows what engine/embedded/ finds and does, and decides nothing. What is
asked for goes to standard output, progress and what went wrong to standard error. Exit codes are
cli.py's: a command returns, or raises. The engine is imported when it is needed: ``serve`` may run
where its packages are not installed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from vectorbucket_server.engine.backup_file import BadBackup
from vectorbucket_server.model import Index
from vectorbucket_server.settings import BadSettings, Settings, load_settings

if TYPE_CHECKING:
    from vectorbucket_server.engine.embedded.at_rest import Finding
    from vectorbucket_server.engine.embedded.inspection import IndexFacts, Inspection
    from vectorbucket_server.engine.embedded.verification import Counts

_PIPED_WIDTH = 160
"""Columns of what no terminal shows."""

_STYLES = {"damage": "bold red", "repairable": "yellow", "leftover": "dim"}
"""By severity, the worst first."""


class CommandFailed(Exception):
    """A command cannot do what it was asked for; the message says why, and what to do."""


class DamageFound(Exception):
    """``check`` did its work, and found damage."""


class Output(StrEnum):
    """What is shown."""

    TABLE = "table"
    JSON = "json"


DataDir = Annotated[
    str | None,
    typer.Option(
        "--data-dir",
        metavar="FOLDER",
        help="The data directory; else what the environment or the file says, as for serve.",
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="A TOML file of settings.")
]
OutputOption = Annotated[
    Output, typer.Option("--output", help="A table for people, or JSON for programs.")
]


def check_command(
    data_dir: DataDir = None,
    config: ConfigFile = None,
    output: OutputOption = Output.TABLE,
    findings_max: Annotated[
        int, typer.Option(min=1, help="Findings that are shown; all are counted.")
    ] = 100,
) -> None:
    """Verify every record and every checkpoint of a data directory, or of a backup.

    Nothing is changed. Exits with 3 if something that was stored is lost or cannot be trusted; what
    the server makes again by itself is only told. A graph at a time is in memory.
    """
    from vectorbucket_server.engine.embedded.verification import Verification  # noqa: PLC0415

    options = _settings(data_dir, config).embedded_options()
    shown: list[Finding] = []
    numbers: Counter[str] = Counter()
    with _progress() as told:
        verification = Verification(options.data_dir, options, told)
        for finding in verification.findings():
            numbers[finding.severity.value] += 1
            if len(shown) < findings_max:
                shown.append(finding)
                if output is Output.TABLE:
                    _tell(finding)
    counts = verification.counts
    if output is Output.JSON:
        said = [{**asdict(one), "severity": one.severity.value} for one in shown]
        _write_json(
            {
                "findings": said,
                "finding_counts": {severity: numbers[severity] for severity in _STYLES},
                "counts": asdict(counts),
            }
        )
    else:
        _tell_counts(options.data_dir, counts, numbers, len(shown))
    if numbers["damage"]:
        raise DamageFound(
            f"{options.data_dir} is damaged: restore a backup, or delete and put again what is "
            "named above"
        )


def inspect_command(
    data_dir: DataDir = None, config: ConfigFile = None, output: OutputOption = Output.TABLE
) -> None:
    """Show what is in a data directory, or in a backup. Nothing is changed."""
    from vectorbucket_server.engine.embedded.inspection import inspect  # noqa: PLC0415

    options = _settings(data_dir, config).embedded_options()
    try:
        found = inspect(options.data_dir, options)
    except BadBackup as error:
        raise CommandFailed(str(error)) from error
    if output is Output.JSON:
        _write_json(asdict(found))
    else:
        _show(found)


def rebuild_command(
    data_dir: DataDir = None,
    config: ConfigFile = None,
    bucket: Annotated[str | None, typer.Option("--bucket", help="The bucket of the index.")] = None,
    index_name: Annotated[
        str | None, typer.Option("--index-name", help="The index whose graph is made anew.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Make all graphs anew.")] = False,  # noqa: FBT002 - typer calls it by name
) -> None:
    """Make graphs anew from the vectors of a data directory that no server uses, and save them.

    A running server does the same by itself where it is needed, and when it is asked by the
    operation RebuildVectorIndex.
    """
    from vectorbucket_server.engine.embedded.offline_rebuild import (  # noqa: PLC0415
        indexes_at_rest,
        rebuild,
    )

    if every == (bucket is not None or index_name is not None) or (bucket is None) != (
        index_name is None
    ):
        raise BadSettings("name one index with --bucket and --index-name, or all with --all")
    options = _settings(data_dir, config).embedded_options()
    wanted = [
        one
        for one in indexes_at_rest(options.data_dir, options)
        if every or (one.bucket_name, one.name) == (bucket, index_name)
    ]
    if not wanted and not every:
        raise CommandFailed(f"bucket {bucket!r} of {options.data_dir} has no index {index_name!r}")
    with _progress() as told:
        rebuild(wanted, options, lambda index, done, total: told(_name(index), done, total))
    for index in wanted:
        _say(f"{_name(index)} was made anew")


def restore_command(
    backup: Annotated[Path, typer.Argument(help="The folder of the backup.")],
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make a data directory of a backup, every byte of it verified.

    The data directory must be empty or not exist. The backup stays as it is.
    """
    from vectorbucket_server.engine.embedded.restore import CannotRestore, restore  # noqa: PLC0415

    target = _settings(data_dir, config).data_dir
    try:
        with _progress() as told:
            written = restore(backup, target, lambda done, total: told("bytes", done, total))
    except (BadBackup, CannotRestore) as error:
        raise CommandFailed(str(error)) from error
    _say(f"restored {decimal(written.size_bytes)} of {_utc(written.create_ms)} to {target}")


DISK_COMMANDS: Mapping[str, Callable[..., None]] = {
    "check": check_command,
    "inspect": inspect_command,
    "rebuild": rebuild_command,
    "restore": restore_command,
}
"""The commands by name."""


def _settings(data_dir: str | None, config: Path | None) -> Settings:
    """Return the settings, as serve reads them.

    Raises:
        BadSettings: They cannot be used, or are those of a server that has no data directory.
    """
    settings = load_settings(Settings, {} if data_dir is None else {"data_dir": data_dir}, config)
    if data_dir is None and settings.engine != "embedded":
        raise BadSettings(
            f"the engine {settings.engine} keeps nothing in a data directory; name one of the "
            "engine embedded with --data-dir"
        )
    return settings


# --- Showing --------------------------------------------------------------------------------------


def _console() -> Console:
    """Return where results go."""
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


def _say(text: str) -> None:
    _console().print(Text(text), soft_wrap=True)


def _write_json(value: Any) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Yield what shows how far it is: of what, how much is done, and of how much."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def told(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=max(total, done) or None)

        yield told


def _tell(finding: Finding) -> None:
    text = Text(f"{finding.severity.value:<10}  ", style=_STYLES[finding.severity.value])
    text.append(f"{finding.place}: {finding.what}", style="default")
    _console().print(text, soft_wrap=True)


def _tell_counts(data_dir: Path, counts: Counts, numbers: Mapping[str, int], shown: int) -> None:
    total = sum(numbers.values())
    if total > shown:
        _say(f"{total - shown} more findings are not shown (--findings-max)")
    found = ", ".join(f"{numbers[one]} {one}" for one in _STYLES if numbers[one])
    files = f"files of the backup {counts.files}, " if counts.files else ""
    _say(
        f"{data_dir}: checked {files}buckets {counts.buckets}, indexes {counts.indexes}, vectors "
        f"{counts.vectors:,}, records {counts.records:,}, checkpoints {counts.checkpoints}: "
        f"{found or 'all as it should be'}"
    )
    if numbers["repairable"]:
        _say(
            "what is repairable is made again by the server when it loads the index, or now by "
            "vectorbucket-server rebuild"
        )


def _show(found: Inspection) -> None:
    console = _console()
    what = "backup of " + _utc(found.backup_created_ms) if found.backup_created_ms else "data"
    _say(f"{found.data_dir}: {what}, format version {found.format_version}")
    console.print(_buckets_table(found), _indexes_table(found), _store_table(found))
    if found.dropping:
        _say(f"deleted, and still to be removed: indexes {', '.join(map(str, found.dropping))}")
    for path in found.unknown_generations:
        _say(f"of no index, and removed by the next start: {path}")


def _buckets_table(found: Inspection) -> Table:
    table = Table("bucket", "account", "created", "policy", "logging", title="Buckets")
    for one in found.buckets:
        yes = ["yes" if has else "" for has in (one.has_policy, one.has_logging)]
        table.add_row(one.name, one.account_id, _utc(one.created_ms), *yes)
    return table


def _indexes_table(found: Inspection) -> Table:
    table = Table("index", "id", "dimension", "metric", "m", title="Indexes")
    for column in ("vectors", "seq"):
        table.add_column(column, justify="right")
    table.add_column("checkpoints")
    table.add_column("on disk", justify="right")
    for one in found.indexes:
        table.add_row(
            f"{one.bucket_name}/{one.name}",
            *map(str, (one.index_id, one.dimension, one.metric, one.m)),
            *(f"{number:,}" for number in (one.vector_count, one.seq)),
            _checkpoints(one),
            decimal(sum(one.generations.values())),
        )
    return table


def _checkpoints(index: IndexFacts) -> str:
    """Return what is known of an index's checkpoints, one a line."""
    return "\n".join(
        f"{one.path.split('/', 2)[-1]}, seq {one.seq:,}, {decimal(one.size_bytes)}, "
        + (_utc(one.written_ms) if one.written_ms is not None else "missing")
        for one in index.checkpoints
    )


def _store_table(found: Inspection) -> Table:
    table = Table("family", title="Store")
    table.add_column("table files", justify="right")
    for family, size_bytes in found.family_bytes.items():
        table.add_row(family, decimal(size_bytes))
    table.add_section()
    table.add_row("all files", decimal(found.store_bytes))
    return table


def _utc(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _name(index: Index) -> str:
    return f"{index.bucket_name}/{index.name}"
