"""What every engine promises, one class a promise, in the order of Engine's docstring.

To hold another engine to it: add a recipe to recipes.py, nothing else.

Rules of this file, suite_writes.py, suite_reads.py and suite_isolation.py: each class is named as
its promise; its tests take a ``subject`` and nothing else, and know engines by the seam only. What
an engine does not promise (its Capabilities say so) is tested for being as it declares.
"""

from __future__ import annotations

from engines.subject import Promise
from engines.suite_isolation import Isolated
from engines.suite_reads import Complete, Faithful, Honest, Ordered
from engines.suite_writes import Atomic, Durable, Idempotent, Visible

PROMISES: tuple[type[Promise], ...] = (
    Durable,
    Atomic,
    Visible,
    Idempotent,
    Ordered,
    Complete,
    Faithful,
    Honest,
    Isolated,
)
"""All of them, in that order."""

__all__ = [
    "PROMISES",
    "Atomic",
    "Complete",
    "Durable",
    "Faithful",
    "Honest",
    "Idempotent",
    "Isolated",
    "Ordered",
    "Visible",
]
