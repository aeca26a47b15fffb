"""Keys: a keyed pseudo-random function, key files, and fingerprints that reveal nothing."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from captures.errors import UsageError, WriteError

KEY_BYTES = 32
_PURPOSE = "key"  # of stand-ins; a file says what its key is for, so that none is taken for another
_FINGERPRINT_BYTES = 6


class Prf:
    """
    A pseudo-random function: the same key, domain and value always give the same bytes.

    It is BLAKE2b in its keyed mode (RFC 7693); ``domain`` (at most 16 bytes as UTF-8)
    separates uses so that equal values of two kinds are not related.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise UsageError("A key must have at least 16 bytes; make one with a fresh key file.")
        self._key = key

    def digest(self, domain: str, value: bytes, size_bytes: int = 16) -> bytes:
        """``size_bytes`` (1 to 64) pseudo-random bytes for ``value``."""
        return hashlib.blake2b(value, digest_size=size_bytes, key=self._key, person=domain.encode()).digest()

    def number(self, domain: str, value: bytes, below: int) -> int:
        """A number in ``range(below)``; the bias is below 2**-64 for ``below`` up to 2**64."""
        return int.from_bytes(self.digest(domain, value, 16), "big") % below

    def fingerprint(self) -> str:
        """Twelve hex digits that tell keys apart and reveal nothing of the key."""
        return self.digest("key-fingerprint", b"", _FINGERPRINT_BYTES).hex()

    def __repr__(self) -> str:
        return f"Prf({self.fingerprint()})"


def credential_fingerprint(salt: bytes, kind: str, value: bytes) -> str:
    """
    Twelve hex digits naming a credential; ``salt`` is the capture's ``fingerprint_salt``.

    Who has a recording has its salt, and the value itself; to others it says nothing. What is
    anonymized has another salt, with which nothing can be guessed about the recording's.
    """
    person = kind.encode()[:16]
    return hashlib.blake2b(value, digest_size=_FINGERPRINT_BYTES, key=salt, person=person).hexdigest()


def new_key() -> bytes:
    """A fresh random key of 32 bytes from the operating system."""
    return secrets.token_bytes(KEY_BYTES)


def read_key_file(path: Path, *, purpose: str = _PURPOSE) -> bytes:
    """
    The key in ``path``, which was written for ``purpose``.

    Raises:
        UsageError: the file is absent, unreadable, open to others, or not a key file.

    """
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii", errors="replace").strip()
    except OSError as error:
        raise UsageError(
            f"The key file {path} cannot be read ({error.strerror}); give a file that exists."
        ) from error
    if mode & 0o077:
        raise UsageError(f"The key file {path} can be read by others; run: chmod 600 {path}")
    prefix = _prefix(purpose)
    if not text.startswith(prefix):
        raise UsageError(f"{path} is not a hookreel {purpose} file; give the .key file of an earlier run.")
    try:
        key = bytes.fromhex(text.removeprefix(prefix))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise UsageError(f"The key file {path} is damaged; give an undamaged copy of it.")
    return key


def _prefix(purpose: str) -> str:
    return f"hookreel-{purpose}-1:"


def write_key_file(path: Path, key: bytes, *, purpose: str = _PURPOSE) -> None:
    """
    Write ``key`` to a new file with mode 0600; ``purpose`` (one word) says what it is for.

    Raises:
        UsageError: the file exists already.
        WriteError: it cannot be written.

    """
    descriptor = create_private_file(path)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{_prefix(purpose)}{key.hex()}\n")
    except OSError as error:
        path.unlink(missing_ok=True)  # half a key would look like a damaged one
        raise WriteError(
            f"{path} cannot be written ({error.strerror}); free space or choose another place."
        ) from error


def create_private_file(path: Path) -> int:
    """
    Create ``path`` with mode 0600 and return its descriptor, open for reading and writing.

    Raises:
        UsageError: the file exists already, or its folder does not.
        WriteError: it cannot be created.

    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} exists already; name another file or remove it first.") from None
    except FileNotFoundError:
        raise UsageError(f"The folder of {path} does not exist; create it first.") from None
    except OSError as error:
        raise WriteError(f"{path} cannot be created ({error.strerror}); choose another place.") from error
    try:
        os.fchmod(descriptor, 0o600)
    except OSError as error:  # a file system without modes cannot keep a secret
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise WriteError(
            f"{path} cannot be made private ({error.strerror}); choose another place."
        ) from error
    return descriptor
