"""Which bucket or index a request means, and whether its caller may do there what it asks for.

Rules of this file: every RPC goes through it, first of all; the order of its steps is the
contract's: may the caller do this; does the bucket exist; was the body JSON; does the index exist;
then everything else. An error that a translator found (a *fault*) is raised where this order has
it, and never anywhere else. A caller who may not know of a thing does not hear whether it exists.
"""

from __future__ import annotations

from vectorbucket.errors import (
    AccessDenied,
    InvalidVectorBucketName,
    MalformedJson,
    NoSuchBucket,
    NotFound,
    VectorBucketError,
)
from vectorbucket.limits import Limits
from vectorbucket_server.auth.actions import action_of
from vectorbucket_server.auth.policy import Resource, is_allowed
from vectorbucket_server.auth.principal import Caller, current_caller
from vectorbucket_server.engine.base import Engine
from vectorbucket_server.model import Bucket, Index
from vectorbucket_server.naming import check_bucket_name, check_index_name, fact, shown

_ARN_CHARACTERS_MAX = 256
"""Characters of the name of a resource that is told whole: more than that of any legal one has."""


class Resources:
    """Finds what requests are about, for those who may; one for a server."""

    def __init__(self, engine: Engine, limits: Limits, *, region: str) -> None:
        """Take what requests are held against.

        Args:
            engine: Keeps buckets and indexes.
            limits: What names are legal.
            region: Stands in the names that policies are about.
        """
        self._engine = engine
        self._limits = limits
        self._region = region

    def account(self, rpc: str) -> str:
        """Return the account whose buckets the caller may list.

        Args:
            rpc: The RPC's name, as ``ListVectorBuckets``.

        Raises:
            AccessDenied: The caller may not.
            VectorBucketError: The request's fault.
        """
        caller = current_caller()
        self._authorize(caller, rpc, None)
        _raise_fault(caller)
        return caller.principal.account_id

    def new_bucket(self, rpc: str, bucket: str) -> str:
        """Return the account for which the caller may make a bucket.

        Args:
            rpc: The RPC's name.
            bucket: The name of the bucket to be.

        Raises:
            AccessDenied: The caller may not.
            InvalidVectorBucketName: The name is not legal.
            VectorBucketError: The request's fault.
        """
        caller = current_caller()
        self._authorize(caller, rpc, None, bucket)
        self._check_bucket_name(caller, bucket)
        _raise_fault(caller)
        return caller.principal.account_id

    def bucket(self, rpc: str, bucket: str) -> Bucket:
        """Return the bucket that a request is about.

        Args:
            rpc: The RPC's name.
            bucket: The bucket's name.

        Raises:
            AccessDenied: The caller may not do this.
            InvalidVectorBucketName: The name is not legal.
            NoSuchBucket: There is no such bucket, or it is not the named account's.
            VectorBucketError: The request's fault.
        """
        caller = current_caller()
        found = self._allowed(caller, rpc, bucket)
        _raise_fault(caller)
        return found

    def new_index(self, rpc: str, bucket: str, index_name: str) -> Bucket:
        """Return the bucket in which the caller may make an index.

        Args:
            rpc: The RPC's name.
            bucket: The bucket's name.
            index_name: The name of the index to be.

        Raises:
            VectorBucketError: As for ``bucket``.
            VectorIndexParameterInvalid: The index's name is not legal.
        """
        caller = current_caller()
        found = self._allowed(caller, rpc, bucket, index_name)
        _raise_fault(caller)
        check_index_name(index_name, self._limits)
        return found

    def index(self, rpc: str, bucket: str, index_name: str) -> Index:
        """Return the index that a request is about.

        Names are looked at only when nothing is found: a name under which something is kept was
        legal.

        Args:
            rpc: The RPC's name.
            bucket: The bucket's name.
            index_name: The index's name.

        Raises:
            AccessDenied: The caller may not do this.
            InvalidVectorBucketName: The bucket's name is not legal.
            NoSuchBucket: There is no such bucket, or it is not the named account's.
            VectorIndexParameterInvalid: The index's name is not legal.
            NoSuchVectorIndex: There is no such index.
            VectorBucketError: The request's fault.
        """
        caller = current_caller()
        self._allowed(caller, rpc, bucket, index_name)
        return self._index(caller, bucket, index_name)

    def _index(self, caller: Caller, bucket: str, index_name: str) -> Index:
        """Return an index of a bucket that is there, and that the caller may know of."""
        fault = caller.fault
        if isinstance(fault, MalformedJson):
            raise fault
        try:
            index = self._engine.get_index(bucket, index_name)
        except NotFound:
            # A translator that could not read the name knows better than we what is wrong with it.
            if fault is not None and not index_name:
                raise fault from None
            check_index_name(index_name, self._limits)
            raise
        if fault is not None:
            raise fault
        return index

    def operator(self, rpc: str) -> None:
        """Return if the caller may do something to the server as a whole.

        Args:
            rpc: The RPC's name, as ``PutBackup``.

        Raises:
            AccessDenied: The caller may not.
            VectorBucketError: The request's fault.
        """
        caller = current_caller()
        principal = caller.principal
        if not principal.operator and not principal.unrestricted:
            raise _not_operator(caller, rpc)
        _raise_fault(caller)

    def operated_index(self, rpc: str, bucket: str, index_name: str) -> Index:
        """Return the index whose place in the server the caller may change.

        An operator may, of whatever account, and the owner of the bucket. No policy is asked.

        Args:
            rpc: The RPC's name, as ``LoadVectorIndex``.
            bucket: The bucket's name.
            index_name: The index's name.

        Raises:
            VectorBucketError: As for ``index``.
        """
        caller = current_caller()
        found, principal = self._found(caller, bucket), caller.principal
        if principal.unrestricted:
            _check_account(caller, found)
        elif not principal.operator:
            account_id = _account_of(caller, found)
            if not principal.owner or account_id != principal.account_id:
                raise _not_operator(caller, rpc, bucket)
        self._existing(caller, found, bucket)
        return self._index(caller, bucket, index_name)

    def check_log_target(self, bucket: Bucket, target: str) -> None:
        """Check that the requests on a bucket may be logged in another's name.

        Args:
            bucket: The bucket.
            target: The name of the other, which need not exist.

        Raises:
            AccessDenied: It exists, and is another account's.
        """
        try:
            found = self._engine.get_bucket(target)
        except NoSuchBucket:
            return
        if found.account_id != bucket.account_id:
            raise AccessDenied(
                f"logging.target_bucket {shown(target)} belongs to another account than bucket "
                f"{shown(bucket.name)}",
                field="logging.target_bucket",
                details={"bucket": bucket.name, "target_bucket": target},
            )

    def _allowed(self, caller: Caller, rpc: str, bucket: str, index_name: str = "") -> Bucket:
        """Return a bucket to a caller who may do this there."""
        found = self._found(caller, bucket)
        self._authorize(caller, rpc, found, bucket, index_name)
        return self._existing(caller, found, bucket)

    def _found(self, caller: Caller, bucket: str) -> Bucket | None:
        """Return what the caller means by the name of a bucket, whether or not he may know."""
        try:
            found = self._engine.get_bucket(bucket)
        except NoSuchBucket:
            return None
        # Named as the bucket of an account that it is not of: for this caller it is not there.
        return found if caller.account_id in {"", found.account_id} else None

    def _existing(self, caller: Caller, found: Bucket | None, bucket: str) -> Bucket:
        """Return a bucket to a caller who may know whether it is there."""
        if found is None:
            self._check_bucket_name(caller, bucket)
            raise NoSuchBucket.of(bucket)
        return found

    def _authorize(
        self, caller: Caller, rpc: str, found: Bucket | None, bucket: str = "", index_name: str = ""
    ) -> None:
        """Raise AccessDenied unless the caller may do this, whether or not the bucket exists."""
        principal = caller.principal
        if principal.unrestricted:
            _check_account(caller, found)
            return
        account_id, policy = _account_of(caller, found), "" if found is None else found.policy
        action = action_of(rpc)
        resource = Resource(self._region, account_id, bucket, index_name)
        if not is_allowed(principal, action, resource, policy):
            raise _denied(caller, action, resource)

    def _check_bucket_name(self, caller: Caller, bucket: str) -> None:
        if isinstance(caller.fault, InvalidVectorBucketName):
            raise caller.fault
        check_bucket_name(bucket, self._limits)


def _raise_fault(caller: Caller) -> None:
    """Raise what was found wrong with the request before it came here."""
    if caller.fault is not None:
        raise caller.fault


def _account_of(caller: Caller, found: Bucket | None) -> str:
    """Return whose a bucket is, or would be for the caller if it were there."""
    return (caller.account_id or caller.principal.account_id) if found is None else found.account_id


def _check_account(caller: Caller, found: Bucket | None) -> None:
    """Raise AccessDenied to the caller of an open server who means another account's."""
    if found is None and caller.account_id not in {"", caller.principal.account_id}:
        raise _other_account(caller)


def _not_operator(caller: Caller, rpc: str, bucket: str = "") -> VectorBucketError:
    """Return the error of a caller who may not operate the server, or the indexes of a bucket."""
    name, where = caller.principal.name, {"bucket": fact(bucket)} if bucket else {}
    owner = ", or the owner of the bucket" if bucket else ""
    on = f" on {shown(bucket)}" if bucket else ""
    return AccessDenied(
        f"{shown(name)} may not do {rpc}{on}: it is for a credential with operator = true{owner}",
        details={"principal": name, "action": rpc, **where},
    )


def _denied(caller: Caller, action: str, resource: Resource) -> VectorBucketError:
    """Return the error of a caller who may not do something."""
    name, arn = caller.principal.name, resource.arns(action)[0]
    # No legal name is as long; what callers send as one may have megabytes.
    whole = len(arn) <= _ARN_CHARACTERS_MAX
    return AccessDenied(
        f"{shown(name)} may not do {action} on {repr(arn) if whole else shown(arn)}",
        details={
            "principal": name,
            "action": action,
            "resource": arn if whole else shown(arn),
        },
    )


def _other_account(caller: Caller) -> VectorBucketError:
    """Return the error of a caller who takes an open server for another account's."""
    own = caller.principal.account_id
    return AccessDenied(
        f"the request is for account {shown(caller.account_id)}; this server, which has no "
        f"credentials, is account {shown(own)} (the setting account_id)",
        details={"account_id": caller.account_id},
    )
