"""What an engine can do, as it says itself: the service and the suite ask this and nothing else.

Rules of this file: a field a promise, true or false; what each is good for stands in its docstring.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do: the service and the suite ask this, never ``isinstance``."""

    read_your_writes: bool
    """A write that returned is seen by the next read, whoever reads."""
    atomic_batches: bool
    """A batch is applied whole or not at all, also for concurrent readers of the store."""
    persistent: bool
    """What was acknowledged outlives the process."""
    exact_search: bool
    """Queries return the true nearest vectors; otherwise nearly always (see the README on recall).
    """
    filter_pushdown: bool
    """Filters decide before the nearest are chosen, so top_k matches are found where they exist."""
    backups: bool
    """``back_up`` works; otherwise it raises MethodNotAllowed."""
    graphs: bool
    """It builds graphs, so that indexes can leave memory and be built anew: ``unload_index`` and
    ``rebuild_index`` work; otherwise they raise MethodNotAllowed."""
    visible_at_once: bool
    """What is stored is visible: nothing is won by storing several batches and then waiting, once,
    until readers see them (``wait_until_visible``)."""
    any_length: bool
    """Vectors may be as long or as short as float32 can say; otherwise those outside of what the
    engine can measure are refused."""
