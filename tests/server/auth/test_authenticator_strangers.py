"""Tests of auth/authenticator.py: what is known of a call before it is served, or is refused.

Whom it makes the caller is in test_authenticator.py.
"""

from __future__ import annotations

import pytest

from vectorbucket.errors import SignatureDoesNotMatch
from vectorbucket_server.auth.api_keys import hash_api_key
from vectorbucket_server.auth.authenticator import Authenticator
from vectorbucket_server.auth.credential import Credential, Credentials
from vectorbucket_server.auth.entries import AUTHORIZATION, Entries, encode_fault
from vectorbucket_server.auth.principal import Sender

OWN = "vbk_of-the-child"
ID = "0123456789ABCDEF01234567"
ANN = Credential("ann", "111", api_key_hashes=(hash_api_key("of-ann"),))
DOOR = Credential("door", "333", api_key_hashes=(hash_api_key("of-door"),), impersonate=True)
CLOSED = Authenticator(lambda: Credentials([ANN, DOOR], 1), account_id="1", own_api_key=OWN)
OPEN = Authenticator(None, account_id="1", own_api_key=OWN)


# --- What is asked before a call is served --------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "known"),
    [
        ([(AUTHORIZATION, "Bearer of-ann")], True),
        ([("a", "b"), (AUTHORIZATION, "bearer of-door"), ("c-bin", b"d")], True),
        ([(AUTHORIZATION, f"Bearer {OWN}")], True),
        ([], False),
        ([(AUTHORIZATION, "")], False),
        ([(AUTHORIZATION, "Bearer ")], False),
        ([(AUTHORIZATION, "Bearer of-nobody")], False),
        ([(AUTHORIZATION, "Basic of-ann")], False),
        ([(AUTHORIZATION, b"Bearer of-ann")], False),
        ([(AUTHORIZATION, "Bearer of-ann"), (AUTHORIZATION, "Bearer of-ann")], False),
        ([(AUTHORIZATION, "Bearer \ud800")], False),
    ],
)
def test_key_is_known_before_anything_is_read(
    metadata: list[tuple[str, str | bytes]], *, known: bool
) -> None:
    assert CLOSED.knows(metadata) is known
    assert OPEN.knows(metadata)


def test_key_is_known_by_what_was_in_force_at_the_last_look() -> None:
    in_force = [Credentials([DOOR], 2), Credentials([ANN], 1)]
    authenticator = Authenticator(in_force.pop, account_id="1")
    assert authenticator.knows(Entries("of-ann").metadata())
    assert not authenticator.knows(Entries("of-door").metadata())
    assert len(in_force) == 1
    authenticator.authenticate(Entries("of-door", "door").metadata())
    assert authenticator.knows(Entries("of-door").metadata())
    assert not authenticator.knows(Entries("of-ann").metadata())


# --- What is told of a call that was refused ------------------------------------------------------

ADDRESS = "192.0.2.1:5"
RELAYED = Sender(remote_address=ADDRESS, is_relayed=True)
WRONG = encode_fault(SignatureDoesNotMatch("no"))


@pytest.mark.parametrize(
    ("authenticator", "entries", "sender"),
    [
        (CLOSED, Entries("of-nobody", "sig", ID, None, WRONG, ADDRESS), Sender()),
        (CLOSED, Entries("", None, ID, None, WRONG, ADDRESS), Sender()),
        (CLOSED, Entries("of-ann", "sig", ID, None, WRONG, ADDRESS), Sender("ann")),
        (CLOSED, Entries("of-door", None, ID, None, None, ADDRESS), Sender("door", ADDRESS)),
        (CLOSED, Entries("of-door", "nobody", ID), Sender("door")),
        (CLOSED, Entries("of-door", None, ID, None, WRONG, ADDRESS), RELAYED),
        (CLOSED, Entries(OWN, None, ID, None, WRONG, ADDRESS), RELAYED),
        (CLOSED, Entries(OWN, None, ID, None, WRONG, "\n"), Sender(is_relayed=True)),
        (OPEN, Entries("", None, ID, None, WRONG, ADDRESS), RELAYED),
    ],
)
def test_sender_of_a_refused_call_is_believed_as_far_as_his_key_goes(
    authenticator: Authenticator, entries: Entries, sender: Sender
) -> None:
    assert authenticator.sender_of(entries.metadata()) == sender


def test_sender_of_torn_entries_is_nobody() -> None:
    both = Entries("of-ann").metadata()
    assert CLOSED.sender_of((*both, *both)) == Sender()
