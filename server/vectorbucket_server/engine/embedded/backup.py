"""A backup while calls go on: a data directory of one moment, made of links where that can be had.

First everything is brought together in a folder of the data directory, by links, which takes no
time: a moment's checkpoint of the store (store.py), and the files of the generations that it names.
From then on nobody can take them away, and they are copied to where the backup is wanted.

A checkpoint of an index may be replaced while that is done. So those are linked that are named
before the store's moment, and those that its moment names beside them. If one was written and swept
between the two, all is done once more, and that index writes none meanwhile.

Rules of this file:

- ``saving`` of an index is held while its files are linked, at the second try for a moment longer,
  and no lock while anything is copied.
- Files that never change may be links in the backup, too. Files that grow are copied, as far as
  the newest of the named checkpoints goes: what is behind that, a server may write anew.
- What fails leaves the engine as it was. The folder is removed at the end, or by the next start.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.backup_file import copy_file, go_on, sync_path
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.recovery import load_checkpoints
from vectorbucket_server.engine.embedded.schema import (
    CHECKPOINTS_PREFIX,
    Checkpoint,
    Family,
    catalogue_index_id,
    decode_checkpoints,
)
from vectorbucket_server.engine.embedded.store import Store

STAGE = "backup.partial"
"""The folder of the data directory where a backup is brought together."""

STORE = "store"
GENERATIONS = "generations"

_SPARE_BYTES = 16 << 20
"""Bytes of the disk that a backup leaves free."""

Named = Mapping[int, Sequence[Checkpoint]]
"""The checkpoints that a store names, by index_id."""


def back_up(
    store: Store,
    indexes: Sequence[OpenIndex],
    options: EmbeddedOptions,
    directory: Path,
    deadline: Deadline = NO_DEADLINE,
) -> None:
    """Write all that was written before this call into a directory, durably.

    Args:
        store: Of the engine; writers go on.
        indexes: All that are there.
        options: Of the engine.
        directory: Exists and is empty.
        deadline: Ends it, whatever of it is done.

    Raises:
        ServiceUnavailable: The disk is full or failing.
        Corruption: The store cannot be read.
        RequestTimeout: The deadline says so.
    """
    stage = options.data_dir / STAGE
    try:
        remove_stage(options.data_dir)
        stage.mkdir()
        try:
            named = _bring_together(store, indexes, options, stage, deadline)
            _check_room(stage, named, directory, options)
            _copy_store(stage, directory, deadline)
            _copy_generations(stage, named, directory, deadline)
            for path in [*directory.rglob("*"), directory]:
                deadline.check()
                sync_path(path)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        raise ServiceUnavailable(
            f"the backup failed: the disk refused: {error.strerror}; nothing is left of it: see to "
            "the disks of the data and of backup_dir, and make it again"
        ) from error


def remove_stage(data_dir: Path) -> None:
    """Remove what a backup that was killed has left in a data directory.

    Raises:
        OSError: It cannot be removed.
    """
    stage = data_dir / STAGE
    if stage.exists():
        shutil.rmtree(stage)


# --- Bringing together ----------------------------------------------------------------------------


def _bring_together(
    store: Store,
    indexes: Sequence[OpenIndex],
    options: EmbeddedOptions,
    stage: Path,
    deadline: Deadline,
) -> Named:
    """Fill the stage; return the checkpoints that its store names."""
    generations, held_ids = options.data_dir / GENERATIONS, set[int]()
    while True:
        with ExitStack() as held:
            others = []
            for opened in indexes:
                if opened.index.index_id in held_ids:
                    held.enter_context(opened.saving)
                    checkpoints = load_checkpoints(store, opened.index)
                    _link_all(checkpoints, opened, generations, stage)
                else:
                    others.append(opened)
            named = _at_one_moment(store, others, options, stage, deadline)
        missing = {
            index_id
            for index_id, checkpoints in named.items()
            if len(_whole(stage, index_id, checkpoints)) < len(checkpoints)
        }
        if missing <= held_ids or missing.isdisjoint(one.index.index_id for one in others):
            return named  # what is missing still was missing before
        held_ids |= missing
        shutil.rmtree(stage / STORE)


def _at_one_moment(
    store: Store,
    indexes: Sequence[OpenIndex],
    options: EmbeddedOptions,
    stage: Path,
    deadline: Deadline,
) -> Named:
    """Bring the store into the stage, and files that it names; return which it names.

    Args:
        store: Of the engine.
        indexes: Those that may write checkpoints meanwhile; the files of others are there.
        options: Of the engine.
        stage: Where to.
        deadline: Of the caller.
    """
    generations = options.data_dir / GENERATIONS
    for opened in indexes:
        deadline.check()
        with opened.saving:
            _link_all(load_checkpoints(store, opened.index), opened, generations, stage)
    store.sync()
    store.checkpoint(stage / STORE)
    named = _named(stage / STORE, options)
    for opened in indexes:
        # Those that were written meanwhile.
        with opened.saving:
            _link_all(named.get(opened.index.index_id, ()), opened, generations, stage)
    return named


def _whole(stage: Path, index_id: int, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Return those of an index's checkpoints whose files are all in the stage."""
    return [
        one
        for one in checkpoints
        if all((stage / GENERATIONS / path).exists() for path in _paths(index_id, one))
    ]


def _link_all(
    checkpoints: Sequence[Checkpoint], opened: OpenIndex, generations: Path, stage: Path
) -> None:
    """Link the files of an index's checkpoints into the stage; the caller holds ``saving``."""
    for checkpoint in checkpoints:
        for path in _paths(opened.index.index_id, checkpoint):
            target = stage / GENERATIONS / path
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    _link(generations / path, target)
                except FileNotFoundError:
                    break  # swept, or of an index that is being dropped


def _paths(index_id: int, checkpoint: Checkpoint) -> Iterator[Path]:
    """Yield where a checkpoint's files are, in the folder of generations."""
    for file in checkpoint.files:
        yield Path(str(index_id), str(checkpoint.generation), file)


def _link(source: Path, target: Path, check: Callable[[], object] = go_on) -> None:
    """Make a file appear at a second place, as a link where the disk allows it."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        copy_file(source, target, check=check)


def _named(path: Path, options: EmbeddedOptions) -> Named:
    """Return the checkpoints that a store names which nobody has open."""
    store = Store(path, options, read_only=True)
    try:
        return {
            catalogue_index_id(key): decode_checkpoints(key, value)
            for key, value in store.scan(
                Family.CATALOG, CHECKPOINTS_PREFIX, CHECKPOINTS_PREFIX + b"\xff" * 9
            )
        }
    finally:
        store.close()


# --- Copying --------------------------------------------------------------------------------------


def _check_room(stage: Path, named: Named, directory: Path, options: EmbeddedOptions) -> None:
    """Return if the backup will fit on its disk, and leave room for writes if it is the data's.

    Raises:
        ServiceUnavailable: It will not.
    """
    needed_bytes = sum(
        size_bytes
        for index_id, checkpoints in named.items()
        for size_bytes in _growing(index_id, checkpoints).values()
    )
    spare_bytes = max(options.disk_free_bytes_min, _SPARE_BYTES)
    if not _can_link(stage, directory):
        spare_bytes = _SPARE_BYTES
        needed_bytes += sum(path.stat().st_size for path in (stage / STORE).iterdir())
        needed_bytes += sum(
            facts.size_bytes
            for checkpoints in named.values()
            for one in checkpoints
            for file, facts in one.files.items()
            if _is_own(one, file)
        )
    free_bytes = shutil.disk_usage(directory).free
    if needed_bytes + spare_bytes > free_bytes:
        raise ServiceUnavailable(
            f"the backup needs {needed_bytes} bytes, and {spare_bytes} are to stay free; its disk "
            f"has {free_bytes} left: make room there, or set backup_dir to a folder on another disk"
        )


def _can_link(stage: Path, directory: Path) -> bool:
    """Return whether files of the stage can be in the directory, too, as links.

    One disk may be mounted at both places and allow none from one to the other, so it is tried.
    """
    trial = directory / "CURRENT"
    try:
        os.link(stage / STORE / trial.name, trial)
    except OSError:
        return False
    trial.unlink()
    return True


def _is_own(checkpoint: Checkpoint, file: str) -> bool:
    """Return whether a file is the checkpoint's alone, and will never change."""
    return file.startswith(f"{checkpoint.name}/")


def _growing(index_id: int, checkpoints: Sequence[Checkpoint]) -> dict[Path, int]:
    """Return how much of the files that grow the checkpoints of an index take, by path."""
    sizes: dict[Path, int] = {}
    for one in checkpoints:
        for path, (file, facts) in zip(_paths(index_id, one), one.files.items(), strict=True):
            if not _is_own(one, file):
                sizes[path] = max(sizes.get(path, 0), facts.size_bytes)
    return sizes


def _copy_store(stage: Path, directory: Path, deadline: Deadline) -> None:
    (directory / STORE).mkdir()
    for path in (stage / STORE).iterdir():
        deadline.check()
        _link(path, directory / STORE / path.name, deadline.check)


def _copy_generations(stage: Path, named: Named, directory: Path, deadline: Deadline) -> None:
    """Copy the files that checkpoints need, of those that are whole in the stage."""
    (directory / GENERATIONS).mkdir()
    for index_id, checkpoints in named.items():
        whole = _whole(stage, index_id, checkpoints)
        growing = _growing(index_id, whole)
        for path in {path for one in whole for path in _paths(index_id, one)}:
            source, target = stage / GENERATIONS / path, directory / GENERATIONS / path
            target.parent.mkdir(parents=True, exist_ok=True)
            deadline.check()
            if path in growing:
                copy_file(source, target, growing[path], deadline.check)
            else:
                _link(source, target, deadline.check)
