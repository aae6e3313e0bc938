"""Who may do what: every operation under every way to allow and to deny it, as one table.

A case is an operation under a rule; it has a bucket and a credential of its own, so that all cases
run against one server without meeting each other. The table says nothing of how an operation is
called: each door (gRPC, REST) has a test that does that and holds the outcome against the table.

Rules of this file: what is right stands here as a literal, never as a call of what is tested; what
a case needs is made by the owner, over gRPC.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rpc import Stubs, bearer, saying, vector_of
from rpc_calls import CALLS, KEY, POLICY
from vectorbucket.v1 import bucket_service_pb2 as messages

REGION = "cn-hangzhou"
ACCOUNT = "1234567890"
OTHER_ACCOUNT = "2222222222"
INDEX = "faces"

Place: TypeAlias = Literal["account", "bucket", "index", "vectors"]
Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """An operation of OSS Vectors."""

    name: str
    """As ``PutVectors``; the action is ``oss:`` and this."""
    on: Place
    """What it is done to."""
    makes: bool = False
    """It makes what it is done to, so that a case must not have it yet."""

    @property
    def action(self) -> str:
        """The action that allows it."""
        return f"oss:{self.name}"

    @property
    def has_policy(self) -> bool:
        """Whether there is a bucket whose policy could say something of it."""
        return self.on != "account" and self.name != "PutVectorBucket"


OPERATIONS = (
    Operation("ListVectorBuckets", "account"),
    Operation("PutVectorBucket", "bucket", makes=True),
    Operation("GetVectorBucket", "bucket"),
    Operation("DeleteVectorBucket", "bucket"),
    Operation("PutBucketPolicy", "bucket"),
    Operation("GetBucketPolicy", "bucket"),
    Operation("DeleteBucketPolicy", "bucket"),
    Operation("PutBucketLogging", "bucket"),
    Operation("GetBucketLogging", "bucket"),
    Operation("DeleteBucketLogging", "bucket"),
    Operation("ListVectorIndexes", "bucket"),
    Operation("PutVectorIndex", "index", makes=True),
    Operation("GetVectorIndex", "index"),
    Operation("DeleteVectorIndex", "index"),
    Operation("PutVectors", "vectors"),
    Operation("GetVectors", "vectors"),
    Operation("ListVectors", "vectors"),
    Operation("DeleteVectors", "vectors"),
    Operation("QueryVectors", "vectors"),
)
"""Every operation that a policy can be about."""


@dataclass(frozen=True)
class Rule:
    """A way to allow or to deny an operation."""

    name: str
    """A word, which is part of the names of its cases."""
    allowed: bool
    """Whether a caller whom nothing else is said of may do it."""
    credential: Sequence[tuple[str, str, str]] = ()
    """Statements of the caller's credential: effect, action, resource; ``{…}`` are filled in."""
    policy: Sequence[tuple[str, str, str, str]] = ()
    """Statements of the bucket's policy: effect, principal, action, resource."""
    account_id: str = ACCOUNT
    """Of the caller."""
    owner: bool = False
    """Whether the caller is the owner of its account."""
    allowed_without_policy: bool | None = None
    """The outcome for operations that no bucket's policy is about, where it is another one."""


RULES = (
    # The credential alone.
    Rule("nothing", allowed=False),
    Rule("exact", allowed=True, credential=[("Allow", "{action}", "{arn}")]),
    Rule("everything", allowed=True, credential=[("Allow", "*", "*")]),
    Rule("wildcards", allowed=True, credential=[("Allow", "oss:*", "acs:ossvector:*:*:*")]),
    Rule("otherprefix", allowed=True, credential=[("Allow", "ossvector:{name}", "{arn}")]),
    Rule("lowercase", allowed=True, credential=[("allow", "OSS:{name}", "{arn}")]),
    Rule("otheraction", allowed=False, credential=[("Allow", "oss:Other*", "*")]),
    Rule("otherregion", allowed=False, credential=[("Allow", "*", "acs:ossvector:elsewhere:*:*")]),
    Rule("otherthing", allowed=False, credential=[("Allow", "*", "{arn}-other")]),
    Rule("onlydeny", allowed=False, credential=[("Deny", "{action}", "{arn}")]),
    Rule(
        "denybeats",
        allowed=False,
        credential=[("Allow", "*", "*"), ("Deny", "{action}", "{arn}")],
    ),
    Rule(
        "denyother",
        allowed=True,
        credential=[("Allow", "*", "*"), ("Deny", "oss:Other*", "*")],
    ),
    # The policy of the bucket.
    Rule(
        "policybyname",
        allowed=True,
        policy=[("Allow", "{caller}", "{action}", "{arn}")],
        allowed_without_policy=False,
    ),
    Rule(
        "policybyaccount",
        allowed=True,
        policy=[("Allow", ACCOUNT, "{action}", "{arn}")],
        allowed_without_policy=False,
    ),
    Rule(
        "policyforall",
        allowed=True,
        policy=[("Allow", "*", "oss:*", "acs:ossvector:*:*:{bucket}*")],
        allowed_without_policy=False,
    ),
    Rule("policyforothers", allowed=False, policy=[("Allow", "somebody", "*", "*")]),
    Rule("policyotheraction", allowed=False, policy=[("Allow", "*", "oss:Other*", "*")]),
    Rule("policyotherthing", allowed=False, policy=[("Allow", "*", "*", "{arn}-other")]),
    Rule(
        "policydenybeats",
        allowed=False,
        policy=[("Allow", "*", "*", "*"), ("Deny", "{caller}", "{action}", "{arn}")],
    ),
    Rule(
        "policydenybeatscredential",
        allowed=False,
        credential=[("Allow", "*", "*")],
        policy=[("Deny", "*", "{action}", "*")],
        allowed_without_policy=True,
    ),
    Rule(
        "credentialdenybeatspolicy",
        allowed=False,
        credential=[("Deny", "{action}", "*")],
        policy=[("Allow", "*", "*", "*")],
    ),
    # Another account.
    Rule("strangerwithrights", allowed=False, credential=[("Allow", "*", "*")],
         account_id=OTHER_ACCOUNT, allowed_without_policy=True),
    Rule("strangerinpolicy", allowed=True, policy=[("Allow", OTHER_ACCOUNT, "{action}", "{arn}")],
         account_id=OTHER_ACCOUNT, allowed_without_policy=False),
    Rule("strangerwhoowns", allowed=False, account_id=OTHER_ACCOUNT, owner=True,
         allowed_without_policy=True),
    Rule("strangernotinpolicy", allowed=False, policy=[("Allow", ACCOUNT, "*", "*")],
         credential=[("Allow", "oss:Get*", "*")], account_id=OTHER_ACCOUNT),
    # The owner.
    Rule("owner", allowed=True, owner=True),
    Rule("ownerisneverdenied", allowed=True, owner=True, credential=[("Deny", "*", "*")],
         policy=[("Deny", "*", "*", "*")]),
)  # fmt: skip
"""Every way that the rules of section 0 of oss-vectors-api speak of."""


@dataclass(frozen=True)
class Case:
    """An operation under a rule."""

    operation: Operation
    rule: Rule
    number: int

    @property
    def name(self) -> str:
        """What a test calls it."""
        return f"{self.operation.name}-{self.rule.name}"

    @property
    def caller(self) -> str:
        """The name of the caller's credential."""
        return f"caller-{self.number}"

    @property
    def bucket(self) -> str:
        """The name of its bucket."""
        return f"bucket-{self.number}"

    @property
    def api_key(self) -> str:
        """What the caller shows on gRPC."""
        return f"key-of-{self.caller}"

    @property
    def access_key_id(self) -> str:
        """What the caller signs with."""
        return f"AK{self.number}"

    @property
    def access_key_secret(self) -> str:
        """The secret that goes with it."""
        return f"secret-of-{self.caller}"

    @property
    def allowed(self) -> bool:
        """Whether the caller may."""
        rule = self.rule
        if self.operation.has_policy or rule.allowed_without_policy is None:
            return rule.allowed
        return rule.allowed_without_policy

    @property
    def arn(self) -> str:
        """What the operation is done to, as a policy names it."""
        # What belongs to nobody yet, or is no bucket, is the caller's own.
        account_id = ACCOUNT if self.operation.has_policy else self.rule.account_id
        base = f"acs:ossvector:{REGION}:{account_id}:"
        if self.operation.on == "account":
            return f"{base}*"
        inside = f"/{INDEX}" if self.operation.on in {"index", "vectors"} else ""
        return f"{base}{self.bucket}{inside}"

    @property
    def statements(self) -> list[Document]:
        """The statements of the caller's credential."""
        return [
            {"effect": effect, "action": [self._filled(action)], "resource": [self._filled(arn)]}
            for effect, action, arn in self.rule.credential
        ]

    @property
    def policy(self) -> str:
        """The policy of the bucket; empty if it has none."""
        statements = [
            {
                "Effect": effect,
                "Principal": [self._filled(principal)],
                "Action": [self._filled(action)],
                "Resource": [self._filled(arn)],
            }
            for effect, principal, action, arn in self.rule.policy
        ]
        return json.dumps({"Version": "1", "Statement": statements}) if statements else ""

    def _filled(self, text: str) -> str:
        return text.format(
            action=self.operation.action,
            name=self.operation.name,
            arn=self.arn,
            bucket=self.bucket,
            caller=self.caller,
        )


def _cases() -> Iterator[Case]:
    pairs = [(operation, rule) for operation in OPERATIONS for rule in RULES]
    for number, (operation, rule) in enumerate(pairs):
        yield Case(operation, rule, number)


CASES = tuple(_cases())
"""Every operation under every rule."""

OWNER_KEY = "key-of-the-owner"


def hash_of(api_key: str) -> str:
    """Return what a file of credentials holds of an API key."""
    return f"sha256:{hashlib.sha256(api_key.encode()).hexdigest()}"


def credentials_text(cases: Sequence[Case] = CASES) -> str:
    """Return a file with the credentials of these cases, and of the owner of ACCOUNT."""
    return "\n".join([_table("the-owner", ACCOUNT, OWNER_KEY, owner=True), *map(_table_of, cases)])


def _table_of(case: Case) -> str:
    keys = {
        "access_key_id": case.access_key_id,
        "access_key_secret": case.access_key_secret,
    }
    table = _table(case.caller, case.rule.account_id, case.api_key, owner=case.rule.owner, **keys)
    # JSON's lists and strings are TOML's, too.
    statements = [
        "[[credential.statement]]\n"
        + "".join(f"{name} = {json.dumps(value)}\n" for name, value in statement.items())
        for statement in case.statements
    ]
    return "".join([table, *statements])


def _table(name: str, account_id: str, api_key: str, *, owner: bool, **keys: str) -> str:
    texts = {"name": name, "account_id": account_id, **keys}
    return (
        "[[credential]]\n"
        + "".join(f"{member} = {json.dumps(text)}\n" for member, text in texts.items())
        + f"api_keys = [{json.dumps(hash_of(api_key))}]\n"
        + f"owner = {str(owner).lower()}\n"
    )


def as_owner(stubs: Stubs) -> Stubs:
    """Return stubs of the owner of ACCOUNT."""
    return saying(stubs, bearer(OWNER_KEY))


def make_things(owner: Stubs, case: Case) -> None:
    """Make what a case needs: a bucket with an index, a vector, a policy and logging.

    Less where the operation makes it, or where there must be nothing in the way.
    """
    if not case.operation.has_policy:
        return
    bucket = case.bucket
    CALLS["PutVectorBucket"](owner, bucket, "")
    if case.operation.name != "DeleteVectorBucket" and not case.operation.makes:
        CALLS["PutVectorIndex"](owner, bucket, INDEX)
        owner.put(vector_of(KEY), bucket=bucket, index_name=INDEX)
    CALLS["PutBucketLogging"](owner, bucket, "")
    # There is always one, for those who are to see it or to delete it.
    policy = case.policy or POLICY
    owner.buckets.PutBucketPolicy(messages.PutBucketPolicyRequest(bucket=bucket, policy=policy))
