"""What a policy says, and whether a caller may do what it asks for.

Rules of this file: pure; a decision depends on its arguments only. A policy that holds something
unknown is refused as a whole, because ignoring a condition would allow more than was meant. What
is refused is named with its path, as ``policy.Statement[0].Effect``.

Source: oss-vectors-api, sections 0 and 8.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from vectorbucket.errors import InvalidPolicyDocument, InvalidRequest, MalformedJson
from vectorbucket_server.auth.actions import INDEX_ACTIONS, LIST_BUCKETS, VECTOR_ACTIONS
from vectorbucket_server.auth.principal import Principal
from vectorbucket_server.auth.statement import EVERYBODY, Effect, Statement
from vectorbucket_server.naming import fact, shown

__all__ = [
    "Effect",
    "Resource",
    "Statement",
    "is_allowed",
    "parse_policy",
    "parse_statements",
]

VERSION = "1"
"""The one version of the policy language."""

ARN_CHARACTERS_MAX = 1024
"""Longer names are nobody's but the owner's: no legal name is as long, and patterns need time."""

_POLICIES_KEPT = 128
"""Policies that are kept parsed. The worst of 16 KiB takes 0.5 MB, and 0.1 s to parse."""

_VECTORS, _INDEXES = frozenset(VECTOR_ACTIONS), frozenset(INDEX_ACTIONS)
_REFUSED = frozenset({"condition", "notaction", "notresource", "notprincipal"})
_REQUIRED = ("Effect", "Action", "Resource")


# --- Deciding -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Resource:
    """What an action is done to."""

    region: str
    account_id: str
    """Whose it is."""
    bucket: str = ""
    index_name: str = ""

    def arns(self, action: str) -> tuple[str, ...]:
        """Return the names that the patterns of a statement are held against, for an action.

        What has things inside it is named with a ``/`` at the end, too, so that ``bucket/*`` and
        ``bucket/index/*`` mean what their authors think.
        """
        account = f"acs:ossvector:{self.region}:{self.account_id}:"
        if action == LIST_BUCKETS:
            return (f"{account}*",)
        if action in _VECTORS:
            index = f"{account}{self.bucket}/{self.index_name}"
            return index, f"{index}/"
        if action in _INDEXES:
            return (f"{account}{self.bucket}/{self.index_name}",)
        return f"{account}{self.bucket}", f"{account}{self.bucket}/"


def is_allowed(
    principal: Principal, action: str, resource: Resource, bucket_policy: str = ""
) -> bool:
    """Return whether a caller may do something.

    An owner may do everything with what is its account's, whatever a policy says, so that nobody
    can lock themselves out. Otherwise a Deny, of the credential or of the bucket's policy, beats
    every Allow; both can allow within the account, only the bucket's policy across accounts.

    Args:
        principal: The caller.
        action: What it wants to do, as ``oss:PutVectors``.
        resource: What it wants to do it to.
        bucket_policy: The policy of the bucket, as it was put; empty if there is none. One that
            cannot be read allows nothing, and nothing else does.
    """
    if principal.unrestricted:
        return True
    within = principal.account_id == resource.account_id
    if within and principal.owner:
        return True
    arns = resource.arns(action)
    if len(arns[-1]) > ARN_CHARACTERS_MAX:
        return False
    try:
        granted = parse_policy(bucket_policy) if bucket_policy else ()
    except InvalidRequest:
        return False
    of_caller = [one for one in principal.statements if one.matches(action, arns)]
    of_bucket = [
        one
        for one in granted
        if one.concerns(principal.account_id, principal.name) and one.matches(action, arns)
    ]
    if any(one.effect is Effect.DENY for one in (*of_caller, *of_bucket)):
        return False
    return bool(of_bucket) or (within and bool(of_caller))


# --- Parsing ------------------------------------------------------------------------------------


@lru_cache(maxsize=_POLICIES_KEPT)
def parse_policy(text: str) -> tuple[Statement, ...]:
    """Return the statements of a bucket policy.

    Raises:
        MalformedJson: It is no JSON, or has a member twice.
        InvalidPolicyDocument: It is JSON, and no policy.
    """
    document = _json(text)
    if not isinstance(document, dict):
        raise _expected("policy", "an object", document)
    for name in document:
        if name not in {"Version", "Statement"}:
            raise _unknown("policy", name, ("Version", "Statement"))
    if document.get("Version", VERSION) != VERSION:
        raise _expected("policy.Version", f"{VERSION!r}", document["Version"])
    return _statements(document.get("Statement"), "policy.Statement", (*_REQUIRED, "Principal"))


def parse_statements(value: object, path: str) -> tuple[Statement, ...]:
    """Return the statements of a credential, whose members may also be in lower case.

    Args:
        value: The list, as TOML has it.
        path: What it is called in errors.

    Raises:
        InvalidPolicyDocument: It is no list of statements, or one names a principal.
    """
    return _statements(value, path, _REQUIRED)


def _json(text: str) -> object:
    """Return what a text says, if it can be understood in one way only."""
    try:
        return json.loads(text, object_pairs_hook=_members, parse_constant=_no_number)
    except RecursionError:
        raise MalformedJson("policy is nested too deeply", field="policy") from None
    except ValueError as error:
        raise MalformedJson(f"policy is no JSON: {error}", field="policy") from None


def _members(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"the member {shown(name)} stands twice in an object")
        members[name] = value
    return members


def _no_number(token: str) -> object:
    raise ValueError(f"{token} is no number")


def _statements(value: object, path: str, required: Sequence[str]) -> tuple[Statement, ...]:
    if not isinstance(value, list) or not value:
        raise _expected(path, "a list of one statement or more", value)
    return tuple(
        _statement(raw, f"{path}[{position}]", required) for position, raw in enumerate(value)
    )


def _statement(raw: object, path: str, required: Sequence[str]) -> Statement:
    """Return one statement; each member is known, is there, and stands once."""
    if not isinstance(raw, Mapping):
        raise _expected(path, "an object", raw)
    of_bucket = "Principal" in required
    # A person who writes TOML may write lower case; a policy has one spelling.
    known = {name: name for name in required}
    known |= {"Sid": "Sid"} if of_bucket else {name.lower(): name for name in required}
    found: dict[str, tuple[str, object]] = {}
    for name, value in raw.items():
        if name not in known:
            raise _unknown(path, name, required)
        if known[name] in found:
            raise _invalid(f"{path}.{name}", "stands twice")
        found[known[name]] = (f"{path}.{name}", value)
    for name in required:
        if name not in found:
            raise _invalid(f"{path}.{name if of_bucket else name.lower()}", "is missing")
    return Statement(
        _effect(*found["Effect"]),
        tuple(_action(one, place) for place, one in _texts(*found["Action"])),
        tuple(_resource(one, place) for place, one in _texts(*found["Resource"])),
        tuple(_principal(one, place) for place, one in _texts(*found["Principal"]))
        if of_bucket
        else (),
    )


def _effect(path: str, value: object) -> Effect:
    for effect in Effect:
        if value in (effect.value, effect.value.lower()):
            return effect
    raise _expected(path, "'Allow' or 'Deny'", value)


def _texts(path: str, value: object) -> list[tuple[str, str]]:
    """Return strings with their paths: one alone, or a list of one or more."""
    if isinstance(value, str):
        return [(path, value)]
    if not isinstance(value, list) or not value:
        raise _expected(path, "a string, or a list of one or more", value)
    texts = []
    for position, one in enumerate(value):
        if not isinstance(one, str):
            raise _expected(f"{path}[{position}]", "a string", one)
        texts.append((f"{path}[{position}]", one))
    return texts


def _action(value: str, path: str) -> str:
    if ":" not in value and "*" not in value:
        raise _expected(path, "an action, as 'oss:PutVectors' or 'oss:*'", value)
    return value


def _resource(value: str, path: str) -> str:
    if not value.startswith(("acs:", "*")):
        raise _expected(path, "'*', or what starts with 'acs:'", value)
    return value


def _principal(value: str, path: str) -> str:
    if value != EVERYBODY and ("*" in value or "?" in value or not value):
        raise _expected(path, "an account id, the name of a credential, or '*' alone", value)
    return value


def _unknown(path: str, name: object, known: Sequence[str]) -> InvalidPolicyDocument:
    """Return the error about a member that is not known, or known and not supported."""
    if isinstance(name, str) and name.lower() in _REFUSED:
        return _invalid(path, f"{name} is not supported, and without it more would be allowed")
    found = shown(name) if isinstance(name, str) else type(name).__name__
    return _invalid(path, f"there is no member {found}; there is {', '.join(known)}")


def _expected(path: str, wanted: str, found: object) -> InvalidPolicyDocument:
    if isinstance(found, str):
        return _invalid(path, f"expected {wanted}, found {shown(found)}", value=fact(found))
    what = "an empty list" if found == [] else _KINDS.get(type(found), "something else")
    return _invalid(path, f"expected {wanted}, found {what}")


def _invalid(path: str, problem: str, **facts: str) -> InvalidPolicyDocument:
    return InvalidPolicyDocument(f"{path}: {problem}", field=path, details=facts)


_KINDS: Mapping[type, str] = {
    type(None): "nothing",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}
