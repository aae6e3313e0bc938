"""One statement of a policy: who may, or must not, do what on which resources.

Rules of this file: a statement is a value, compiled once when it is made. However its patterns are
written, holding a name against one walks the name at most once a character of the pattern: no
pattern can make a request slow.

Source: oss-vectors-api, section 8; wildcards as RAM policies have them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

EVERYBODY = "*"
"""The principal that means every credential."""

_OTHER_PREFIX = "ossvector:"
"""What older clients write for ``oss:`` in actions."""


class Effect(Enum):
    """What a statement that matches does."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True)
class Statement:
    """What one statement says. Patterns have ``*`` for any text and ``?`` for one character."""

    effect: Effect
    actions: tuple[str, ...]
    """Patterns of actions, as ``oss:Get*``; upper and lower case are the same."""
    resources: tuple[str, ...]
    """Patterns of resources, as ``acs:ossvector:*:*:bucket/*``; ``*`` crosses ``:`` and ``/``."""
    principals: tuple[str, ...] = ()
    """Account ids, names of credentials, ``*``; empty in a statement of a credential."""
    _action: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _resource: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the patterns."""
        object.__setattr__(self, "_action", _compiled(one.lower() for one in self.actions))
        object.__setattr__(self, "_resource", _compiled(self.resources))

    def concerns(self, account_id: str, name: str) -> bool:
        """Return whether this statement of a bucket policy is about a credential."""
        principals = self.principals
        return EVERYBODY in principals or account_id in principals or name in principals

    def matches(self, action: str, arns: Iterable[str]) -> bool:
        """Return whether this statement is about an action on a resource.

        Args:
            action: The action, as ``oss:PutVectors``.
            arns: The names of the resource; one that matches is enough.
        """
        action = action.lower()
        other = _OTHER_PREFIX + action.partition(":")[2]
        if not self._action.fullmatch(action) and not self._action.fullmatch(other):
            return False
        return any(self._resource.fullmatch(arn) for arn in arns)


def _compiled(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return the expression that matches what one of the patterns does."""
    return re.compile("|".join(map(_expression, patterns)), re.DOTALL)


def _expression(pattern: str) -> str:
    """Return a pattern as a regular expression that never goes back over what it passed.

    Between two ``*`` the first place that fits is as good as any later one, so it is taken for good
    (an atomic group); without that, a pattern of many ``*`` could take for ever to fail.
    """
    parts = [re.escape(part).replace(r"\?", ".") for part in re.split(r"\*+", pattern)]
    head, *middle, tail = parts if len(parts) > 1 else [*parts, ""]
    found = "".join(f"(?>.*?{part})" for part in middle)
    return f"{head}{found}{'.*' if len(parts) > 1 else ''}{tail}"
