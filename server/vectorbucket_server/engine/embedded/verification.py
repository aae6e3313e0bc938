"""``check``: every record and every checkpoint of a data directory or a backup, verified.

What is in the store is the truth: what is wrong there is damage. A graph is made again from it.

Rules of this file:

- Findings are told as they are found; nothing is kept of them, however many there are.
- Nothing is changed (at_rest.py). A graph at a time is in memory, as a server would load it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vectorbucket.errors import Corruption
from vectorbucket_server.engine.backup_file import (
    BACKUP_FILE,
    BadBackup,
    difference,
    measure,
    read_backup_file,
)
from vectorbucket_server.engine.embedded import checkpoint as checkpoints
from vectorbucket_server.engine.embedded.at_rest import AtRest, Finding, Severity, opened_at_rest
from vectorbucket_server.engine.embedded.checkpoint import BadCheckpoint
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.recovery import graph_m
from vectorbucket_server.engine.embedded.schema import (
    Checkpoint,
    Family,
    IndexState,
    LabelArray,
    index_range,
    owner_of,
)
from vectorbucket_server.engine.embedded.verified_catalogue import END, VerifiedCatalogue
from vectorbucket_server.engine.embedded.verified_records import VerifiedRecords
from vectorbucket_server.model import Index

_STEP = 2_000
"""Records between two reports of progress."""

OnProgress = Callable[[str, int, int], None]
"""Is told what is being verified, how many records of it were read, and of how many."""


@dataclass(slots=True)
class Counts:
    """What was verified."""

    buckets: int = 0
    indexes: int = 0
    vectors: int = 0
    records: int = 0
    checkpoints: int = 0
    files: int = 0
    """Of a backup, those that its ``backup.json`` names."""


class Verification:
    """One look at everything."""

    def __init__(self, data_dir: Path, options: EmbeddedOptions, on_progress: OnProgress) -> None:
        """Prepare; nothing is read yet.

        Args:
            data_dir: A data directory, or a backup.
            options: Of the engine.
            on_progress: Is told now and then how far it is.
        """
        self._data_dir = data_dir
        self._options = options
        self._on_progress = on_progress
        self._what, self._done, self._total = "", 0, 0
        self.counts = Counts()

    def findings(self) -> Iterator[Finding]:
        """Verify everything; yield what is not as it should be.

        Raises:
            ServiceUnavailable: It cannot be verified: a server uses it, say.
        """
        if (self._data_dir / BACKUP_FILE).exists():
            yield from self._backup()
        try:
            with opened_at_rest(self._data_dir, self._options) as rest:
                yield from self._store(rest)
        except Corruption as error:
            yield Finding(Severity.DAMAGE, str(self._data_dir / "store"), error.message)

    def _begin(self, what: str, total: int) -> None:
        self._what, self._done, self._total = what, 0, total
        self._on_progress(what, 0, total)

    def _advance(self, count: int) -> None:
        self._done += count
        self.counts.records += count
        if self._done % _STEP == 0:
            self._on_progress(self._what, self._done, self._total)

    def _backup(self) -> Iterator[Finding]:
        """Hold a backup's files against its ``backup.json``."""
        try:
            written = read_backup_file(self._data_dir)
        except BadBackup as error:
            yield Finding(Severity.DAMAGE, str(self._data_dir / BACKUP_FILE), str(error))
            return
        for done, (name, facts) in enumerate(written.files.items()):
            self._on_progress("files of the backup", done, len(written.files))
            path = self._data_dir / name
            try:
                wrong = difference(measure(path), facts)
            except OSError as error:
                wrong = f"cannot be read: {error.strerror}"
            if wrong is not None:
                yield Finding(Severity.DAMAGE, str(path), f"the file {wrong}")
            self.counts.files += 1

    def _store(self, rest: AtRest) -> Iterator[Finding]:
        self._begin("catalogue", 0)
        catalogue = VerifiedCatalogue()
        yield from catalogue.verify(rest)
        counts = self.counts
        counts.records += catalogue.record_count
        counts.buckets = len(catalogue.buckets)
        for index_id, index in catalogue.indexes.items():
            counts.indexes += 1
            state = catalogue.states.get(index_id)
            if state is None:
                continue  # told already; nothing can be held against it
            named = catalogue.checkpoints.get(index_id, ())
            yield from self._index(rest, index, state, named)
        yield from self._strangers(rest, {*catalogue.indexes, *catalogue.drops})

    def _index(
        self, rest: AtRest, index: Index, state: IndexState, named: Sequence[Checkpoint]
    ) -> Iterator[Finding]:
        self._begin(f"{index.bucket_name}/{index.name}", 3 * state.vector_count)
        records = VerifiedRecords(rest, index, state, self._advance)
        yield from records.verify()
        self.counts.vectors += len(records.live)
        for one in named:
            self.counts.checkpoints += 1
            try:
                self._checkpoint(one, index, state, records.live)
            except BadCheckpoint as error:
                place = f"index {index.name!r} of bucket {index.bucket_name!r}, {one.name} of "
                place += f"generation {index.index_id}/{one.generation}"
                yield Finding(Severity.REPAIRABLE, place, str(error))

    def _checkpoint(
        self, checkpoint: Checkpoint, index: Index, state: IndexState, live: LabelArray
    ) -> None:
        """Return if a checkpoint will be believed.

        Raises:
            BadCheckpoint: It will not.
        """
        base = self._data_dir / "generations" / str(index.index_id) / str(checkpoint.generation)
        if checkpoint.seq > state.seq or checkpoint.next_label > state.next_label:
            raise BadCheckpoint(f"{base / checkpoint.name} is newer than the store")
        loaded = checkpoints.load(checkpoint, base, index, graph_m(index, self._options))
        older = live[: np.searchsorted(live, checkpoint.next_label)]
        missing = int(np.count_nonzero(~np.isin(older, loaded.rows.labels)))
        if missing:
            raise BadCheckpoint(f"{base / checkpoint.name} lacks {missing} vectors")

    def _strangers(self, rest: AtRest, known: set[int]) -> Iterator[Finding]:
        """Yield which records belong to an index that nobody knows."""
        bounds = [b"", *(bound for one in sorted(known) for bound in index_range(one)), END]
        for family in (Family.VECTORS, Family.ROWS, Family.DATA, Family.CHANGES):
            for start, stop in zip(bounds[::2], bounds[1::2], strict=True):
                yield from self._strangers_between(rest, family, start, stop)

    def _strangers_between(
        self, rest: AtRest, family: Family, start: bytes, stop: bytes
    ) -> Iterator[Finding]:
        owners: dict[int, int] = {}
        try:
            for key, _ in rest.store.scan(family, start, stop):
                owner = owner_of(family, key)
                owners[owner] = owners.get(owner, 0) + 1
        except Corruption as error:
            yield Finding(Severity.DAMAGE, f"family {family.value}", rest.told(error))
        for owner, count in owners.items():
            what = f"{count} records belong to index {owner}, which is not there"
            yield Finding(Severity.LEFTOVER, f"family {family.value}", what)
