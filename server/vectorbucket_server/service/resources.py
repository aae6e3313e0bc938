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
from vectorbucket_server.naming import check_bucket_name, check_index_name, shown

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
        found: Bucket | None
        try:
            found = self._engine.get_bucket(bucket)
        except NoSuchBucket:
            found = None
        if found is not None and caller.account_id and caller.account_id != found.account_id:
            # Named as the bucket of an account that it is not of: for this caller it is not there.
            found = None
        self._authorize(caller, rpc, found, bucket, index_name)
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
            if found is None and caller.account_id not in {"", principal.account_id}:
                raise _other_account(caller)
            return
        if found is None:
            account_id, policy = caller.account_id or principal.account_id, ""
        else:
            account_id, policy = found.account_id, found.policy
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
