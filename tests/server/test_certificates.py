"""Certificates are good together or not at all, and what is wrong is said without a key."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from authorities import Authority, Issued, TlsFolder
from long_runs import Rounds
from rooms import together
from vectorbucket_server.auth.watched_files import FILE_BYTES_MAX
from vectorbucket_server.certificates import (
    BadTls,
    Identity,
    TlsFiles,
    load_identity,
)

AUTHORITY = Authority()
GOOD = AUTHORITY.issue()
OTHER = AUTHORITY.issue()
BROKEN = b"-----BEGIN CERTIFICATE-----\nQUFBQQ==\n-----END CERTIFICATE-----\n"


@pytest.fixture
def folder(tmp_path: Path) -> TlsFolder:
    """Good files, callers' authority among them."""
    return TlsFolder(tmp_path, GOOD, AUTHORITY)


def files_of(folder: TlsFolder) -> TlsFiles:
    """Return the paths of a folder's files."""
    return TlsFiles(str(folder.certificate), str(folder.key), str(folder.client_ca))


def problem_of(folder: TlsFolder) -> str:
    """Return what is said of files that cannot be used, which is one line and shows no key."""
    with pytest.raises(BadTls) as caught:
        load_identity(files_of(folder))
    message = str(caught.value)
    assert "\n" not in message
    assert "-----" not in message
    return message


def in_form(issued: Issued, form: PrivateFormat, password: bytes = b"") -> bytes:
    """Return a key in another form, encrypted if there is a password."""
    key = load_pem_private_key(issued.key, None)
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, encryption)


def test_files_become_what_is_shown_and_asked_for(folder: TlsFolder) -> None:
    found = load_identity(files_of(folder))
    assert (found.certificate, found.key) == (GOOD.certificate, GOOD.key)
    assert found.client_ca == AUTHORITY.pem
    assert found.context.verify_mode == ssl.CERT_REQUIRED
    assert found.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert found.expires.endswith(" GMT")
    assert found.objection == ""
    assert "PRIVATE KEY" not in repr(found)


def test_callers_show_nothing_where_no_authority_is_named(folder: TlsFolder) -> None:
    found = load_identity(TlsFiles(str(folder.certificate), str(folder.key), None))
    assert found.client_ca is None
    assert found.context.verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_key_may_have_either_form_and_stand_in_the_certificates_file(
    folder: TlsFolder, form: PrivateFormat
) -> None:
    folder.certificate.write_bytes(in_form(GOOD, form) + GOOD.certificate)
    both = str(folder.certificate)
    found = load_identity(TlsFiles(both, both, None))
    assert (found.certificate, found.objection) == (GOOD.certificate, "")
    assert "PRIVATE KEY" not in repr(found)


def put_folder_in_place_of(path: Path) -> None:
    """Have a folder where a file was."""
    path.unlink()
    path.mkdir()


SPOILED: dict[str, tuple[Callable[[TlsFolder], object], str]] = {
    "no_certificate": (lambda all_: all_.certificate.unlink(), "tls_certificate .*server.pem ca"),
    "no_key": (lambda all_: all_.key.unlink(), "tls_key .*server.key cannot be read: No such file"),
    "no_ca": (lambda all_: all_.client_ca.unlink(), "tls_client_ca .*clients.pem cannot be read"),
    "folder": (lambda all_: put_folder_in_place_of(all_.key), "tls_key .* is no file"),
    "empty": (lambda all_: all_.certificate.write_bytes(b""), "holds no certificate in PEM"),
    "swapped": (lambda all_: all_.certificate.write_bytes(GOOD.key), "holds no certificate in PEM"),
    "cut_off": (
        lambda all_: all_.certificate.write_bytes(GOOD.certificate[:200]),
        "tls_certificate .* holds no certificate in PEM",
    ),
    "broken": (
        lambda all_: all_.certificate.write_bytes(BROKEN),
        "tls_certificate .* holds a certificate that is broken",
    ),
    "broken_ca": (
        lambda all_: all_.client_ca.write_bytes(BROKEN),
        "tls_client_ca .* holds a certificate that is broken",
    ),
    "keyless": (lambda all_: all_.key.write_bytes(AUTHORITY.pem), "tls_key .* holds no private"),
    "key_cut_off": (
        lambda all_: all_.key.write_bytes(GOOD.key[:90]),
        "tls_certificate .* and tls_key .* cannot be used",
    ),
    "other_key": (
        lambda all_: all_.key.write_bytes(OTHER.key),
        "tls_certificate .* and tls_key .* do not belong together",
    ),
    "encrypted": (
        lambda all_: all_.key.write_bytes(in_form(GOOD, PrivateFormat.PKCS8, b"secret")),
        "tls_key .* is encrypted",
    ),
    "encrypted_of_old": (
        lambda all_: all_.key.write_bytes(
            in_form(GOOD, PrivateFormat.TraditionalOpenSSL, b"secret")
        ),
        "tls_key .* is encrypted",
    ),
    "large": (
        lambda all_: all_.key.write_bytes(GOOD.key + b"\n" * FILE_BYTES_MAX),
        f"tls_key .* has over {FILE_BYTES_MAX} bytes",
    ),
}


@pytest.mark.parametrize(("spoil", "words"), SPOILED.values(), ids=SPOILED)
def test_what_cannot_be_used_is_named(
    folder: TlsFolder, spoil: Callable[[TlsFolder], object], words: str
) -> None:
    spoil(folder)
    with pytest.raises(BadTls, match=words):
        load_identity(files_of(folder))
    problem_of(folder)


def shown_by(context: ssl.SSLContext) -> bytes:
    """Return the certificate that a context shows, as a client gets it."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(back, there)
    server = context.wrap_bio(there, back, server_side=True)
    for side in (client, server, client):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return ssl.DER_cert_to_PEM_cert(client.getpeercert(binary_form=True) or b"").encode()


def test_certificate_and_key_are_of_one_piece_while_files_are_changed(
    folder: TlsFolder, rounds: Rounds
) -> None:
    files = TlsFiles(str(folder.certificate), str(folder.key), None)
    found = []
    for turn in range(rounds(40, 3_000)):
        issued = (GOOD, OTHER)[turn % 2]
        loaded, _ = together([partial(load_identity, files), partial(folder.write, issued)])
        found.append(load_identity(files) if isinstance(loaded, BadTls) else loaded)
    for one in found:
        assert isinstance(one, Identity)
        pair = Issued(one.certificate, one.key)
        assert pair in (GOOD, OTHER)
        assert shown_by(one.context) == pair.certificate


def test_expired_certificate_can_be_shown_and_clients_will_object(folder: TlsFolder) -> None:
    folder.write(AUTHORITY.issue(expired=True))
    found = load_identity(files_of(folder))
    assert found.objection == "certificate has expired"
    assert found.expires == ""
