"""The certificate authority that lets the recorder read TLS traffic."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from mitmproxy.certs import CertStore
from mitmproxy.options import CONF_BASENAME, KEY_SIZE

from captures.errors import UsageError, WriteError
from recorder.modes import Mode

DEFAULT_CONFDIR = "~/.hookreel"


class FolderError(UsageError):
    """The folder for the CA cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """
    The CA's certificate: where it is, its PEM, and its SHA-256 fingerprint as colon-separated hex.

    The private key lies beside it, mode 0600.
    """

    path: Path
    pem: bytes
    fingerprint: str
    created: bool


def ensure_authority(confdir: Path) -> Authority:
    """
    The CA in ``confdir``, made (folder 0700, key 0600) when there is none; ``~`` is the user's home.

    Raises:
        FolderError: the folder cannot be used.
        UsageError: what is in it is not a certificate and its key.

    """
    try:
        confdir = confdir.expanduser()
    except RuntimeError as error:
        raise FolderError(
            "You have no home folder for the recorder's CA; name a folder for it with --confdir."
        ) from error
    certificate_path, key_path = (confdir / f"{CONF_BASENAME}-{name}.pem" for name in ("ca-cert", "ca"))
    wrong = f"{certificate_path} is not a certificate"
    try:
        created = not key_path.exists()
        if created:
            confdir.mkdir(mode=0o700, parents=True, exist_ok=True)
            CertStore.create_store(
                confdir, CONF_BASENAME, KEY_SIZE, organization="hookreel", cn="hookreel recorder CA"
            )
        pem = certificate_path.read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
        wrong = f"{key_path} is not a certificate with its key"
        CertStore.from_store(confdir, CONF_BASENAME, KEY_SIZE)  # as the proxy will
    except OSError as error:
        raise FolderError(
            f"The folder {confdir} for the recorder's CA cannot be used ({error.strerror}); "
            "name another with --confdir."
        ) from error
    except (ValueError, TypeError) as error:  # TypeError: the key has a password
        raise UsageError(f"{wrong}; move the folder away and a new CA is made.") from error
    digest = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    return Authority(path=certificate_path, pem=pem, fingerprint=digest, created=created)


@contextmanager
def authority_folder(confdir: Path, modes: Sequence[Mode], *, output: Path) -> Iterator[Path]:
    """
    The folder with the CA of one recording.

    When ``confdir`` cannot be used and clients need no TLS, as in front of plain HTTP servers, it is
    one that goes with the recording: among the system's temporary files, else beside ``output``.

    Raises:
        UsageError: ``confdir`` cannot be used, and clients may speak TLS.

    """
    try:
        folder = ensure_authority(confdir).path.parent
    except FolderError as error:
        if not all(mode.spec.startswith("reverse:http:") for mode in modes):
            raise
        with _temporary_folder(output, error) as name:
            yield Path(name)
    else:
        yield folder


def _temporary_folder(output: Path, refused: FolderError) -> tempfile.TemporaryDirectory[str]:
    for place in (None, output.parent):  # a container may have no place to write to but the output's
        try:
            return tempfile.TemporaryDirectory(prefix=".hookreel-ca-", dir=place)
        except OSError:
            continue
    raise refused


def export_certificate(authority: Authority, destination: Path) -> None:
    """
    Writes the certificate's PEM (it holds no secret) to a new file.

    Raises:
        UsageError: the file exists.
        WriteError: it cannot be written.

    """
    try:
        with destination.open("xb") as file:
            file.write(authority.pem)
    except FileExistsError as error:
        raise UsageError(f"{destination} exists already; name a new file with --export.") from error
    except OSError as error:
        raise WriteError(
            f"{destination} cannot be written ({error.strerror}); name another file with --export."
        ) from error
