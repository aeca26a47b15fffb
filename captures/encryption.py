"""
Sealed captures: every block is encrypted with a key of the file's own, which age keeps.

The file key is wrapped for its recipients in the age format (age-encryption.org/v1: X25519 and
SSH keys) and stands in the file's first block. The other blocks are sealed with
ChaCha20-Poly1305 (RFC 8439), each by itself, so a sealed capture survives a kill and is read at
any place as an open one is. docs/format.md has the bytes.

pyrage and cryptography are imported where they are needed: reading an open capture pays nothing.
"""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgpack

from captures.errors import CaptureError, UsageError
from captures.frames import (
    BLOCK_HEADER,
    MAX_BLOCK_BYTES,
    SEALED,
    Block,
    BlockHeader,
    BlockOpener,
    BlockPacker,
    BlockType,
    too_large,
)

IDENTITY_VARIABLE = "HOOKREEL_IDENTITY"
"""The environment variable that names identity files, separated like PATH."""

SEAL_BYTES = 16  # Poly1305's tag, at the end of each sealed payload
_KEY_BYTES = 32
_NONCE_BYTES = 12
_AUTHENTICATED_BYTES = BLOCK_HEADER.size - 8  # a block's header up to its two checksums
_AGE_MAGIC = b"age-encryption.org/v1\n"
_MAX_WRAPPED_BYTES = 1024 * 1024  # room for thousands of recipients


@dataclass(frozen=True, slots=True)
class Identities:
    """Private keys that open sealed captures; ``repr`` shows none of them."""

    keys: tuple[Any, ...] = field(repr=False)


_IN_EFFECT: ContextVar[Identities | None] = ContextVar("identities", default=None)


@contextmanager
def use_identities(identities: Identities) -> Iterator[None]:
    """Within the block, captures that are opened without identities of their own use these."""
    token = _IN_EFFECT.set(identities)
    try:
        yield
    finally:
        _IN_EFFECT.reset(token)


def identities_in_effect(environment: Mapping[str, str]) -> Identities:
    """
    Those of the innermost ``use_identities``, else those that ``HOOKREEL_IDENTITY`` names, else none.

    Raises:
        UsageError: a named file is absent or no identity.

    """
    identities = _IN_EFFECT.get()
    if identities is not None:
        return identities
    named = environment.get(IDENTITY_VARIABLE, "")
    return read_identities([Path(part) for part in named.split(os.pathsep) if part])


def read_identities(paths: Sequence[Path]) -> Identities:
    """
    The private keys in age identity files and SSH private key files.

    Raises:
        UsageError: a file is absent, open to others, protected by a passphrase, or holds no key.

    """
    keys: list[Any] = []
    for path in paths:
        try:
            mode = path.stat().st_mode
            content = path.read_bytes()
        except OSError as error:
            raise UsageError(
                f"The identity {path} cannot be read ({error.strerror}); give a file that exists."
            ) from error
        if mode & 0o077:
            raise UsageError(f"The identity {path} can be read by others; run: chmod 600 {path}")
        keys.extend(_identity_keys(path, content))
    return Identities(tuple(keys))


def _identity_keys(path: Path, content: bytes) -> Iterator[Any]:
    import pyrage  # noqa: PLC0415

    if content.startswith((_AGE_MAGIC, b"-----BEGIN AGE ENCRYPTED")):
        raise UsageError(f"The identity {path} is protected by a passphrase; decrypt it with age -d first.")
    wrong = UsageError(f"{path} is no identity; give an age identity file or an SSH private key.")
    try:
        if content.startswith(b"-----BEGIN"):
            yield pyrage.ssh.Identity.from_buffer(content)
            return
        lines = [line.strip() for line in content.decode("ascii").splitlines()]
        texts = [line for line in lines if line and not line.startswith("#")]
        if not texts:
            raise wrong
        for text in texts:
            yield pyrage.x25519.Identity.from_str(text)
    except (pyrage.IdentityError, ValueError):
        raise wrong from None  # the cause could quote the key


def new_identity() -> tuple[str, str]:
    """A fresh age identity as text (``AGE-SECRET-KEY-1...``), and its recipient (``age1...``)."""
    import pyrage  # noqa: PLC0415

    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def ephemeral_identity() -> tuple[Identities, str]:
    """An identity that exists in this process's memory only, and its recipient."""
    import pyrage  # noqa: PLC0415

    identity = pyrage.x25519.Identity.generate()
    return Identities((identity,)), str(identity.to_public())


def read_recipients(values: Sequence[str]) -> tuple[str, ...]:
    """
    Recipients as text out of ``age1...``, ``ssh-...`` and names of files that hold some, one a line.

    Raises:
        UsageError: a value is neither, or a file is absent or holds something else.

    """
    texts: list[str] = []
    for value in values:
        if value.upper().startswith("AGE-SECRET-KEY-"):
            raise UsageError("A private key was given to encrypt to; give its public half (age1...).")
        if value.startswith(("age1", "ssh-")):
            texts.append(value)
            continue
        try:
            lines = Path(value).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise UsageError(
                f"{value!r} is neither a recipient nor a file of them; write age1..., ssh-... or a file."
            ) from None
        found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not found:
            raise UsageError(f"The file {value} holds no recipient; write one on each line.")
        texts.extend(found)
    for text in texts:
        _recipient(text)
    return tuple(texts)


def _recipient(text: str) -> Any:
    import pyrage  # noqa: PLC0415

    kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(text)
    except (pyrage.RecipientError, ValueError):
        shown = f"{text[:16]}..." if text.startswith(("age1", "ssh-")) else "A line"
        raise UsageError(
            f"{shown} is no recipient; give an age X25519 key (age1...) or an SSH public key."
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What age keeps of a sealed capture: its file key, and for whom it was wrapped."""

    key: bytes = field(repr=False)
    recipients: tuple[str, ...]


def wrap(envelope: Envelope) -> bytes:
    """
    The payload of a KEY block: a msgpack map of the key and its recipients, in the age format.

    Raises:
        UsageError: a recipient is none.

    """
    import pyrage  # noqa: PLC0415

    content = msgpack.packb({"key": envelope.key, "recipients": list(envelope.recipients)})
    return pyrage.encrypt(content, [_recipient(text) for text in envelope.recipients])


def unwrap(payload: bytes, identities: Identities, *, name: str) -> Envelope:
    """
    What ``wrap`` was given; ``name`` is the file's, for errors.

    Raises:
        UsageError: there is no identity, or none of them opens it.
        CaptureError: the payload is damaged.

    """
    import pyrage  # noqa: PLC0415

    damaged = CaptureError(f"The key block of {name} is damaged; give an undamaged copy.")
    if not payload.startswith(_AGE_MAGIC) or len(payload) > _MAX_WRAPPED_BYTES:
        raise damaged
    if not identities.keys:
        raise UsageError(
            f"{name} is encrypted; name the key that opens it with --identity FILE or {IDENTITY_VARIABLE}."
        )
    try:
        content = pyrage.decrypt(payload, list(identities.keys))
    except (pyrage.DecryptError, ValueError):
        raise UsageError(
            f"{name} is encrypted to another key; name the right one with --identity FILE."
        ) from None
    try:
        values = msgpack.unpackb(content)
        key, recipients = values["key"], tuple(str(text) for text in values["recipients"])
    except (ValueError, TypeError, LookupError, msgpack.exceptions.UnpackException):
        raise damaged from None
    if not isinstance(key, bytes) or len(key) != _KEY_BYTES:
        raise damaged
    return Envelope(key=key, recipients=recipients)


def seal_file(recipients: Sequence[str], file_header: bytes) -> tuple[bytes, SealedPacker]:
    """
    A KEY block with a fresh file key for ``recipients``, and the packer of all blocks after it.

    Raises:
        UsageError: a recipient is none.

    """
    envelope = Envelope(key=secrets.token_bytes(_KEY_BYTES), recipients=tuple(recipients))
    block = BlockPacker().pack(BlockType.KEY, wrap(envelope), compress=False)
    return block, SealedPacker(envelope.key, file_header)


class _Seal:
    """
    ChaCha20-Poly1305 over one block's stored payload.

    The nonce is the block's number, which is never used twice with one key: a key belongs to one
    file and its packer counts. The file's header and the block's own are authenticated too, so
    no block can be changed, moved to another place or put into another file.
    """

    __slots__ = ("_cipher", "_file_header", "_invalid")

    def __init__(self, key: bytes, file_header: bytes) -> None:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # noqa: PLC0415

        self._cipher = ChaCha20Poly1305(key)
        self._file_header = file_header
        self._invalid = InvalidTag

    def close(self, header: BlockHeader, payload: bytes) -> bytes:
        return self._cipher.encrypt(_nonce(header), payload, self._authenticated(header))

    def open(self, header: BlockHeader, stored: bytes) -> bytes | None:
        """The payload, or None when it was not sealed by this key for this place."""
        if len(stored) < SEAL_BYTES:
            return None
        try:
            return self._cipher.decrypt(_nonce(header), stored, self._authenticated(header))
        except self._invalid:
            return None

    def _authenticated(self, header: BlockHeader) -> bytes:
        return self._file_header + header.pack()[:_AUTHENTICATED_BYTES]


def _nonce(header: BlockHeader) -> bytes:
    return header.number.to_bytes(_NONCE_BYTES, "little")


class SealedPacker(BlockPacker):
    """Packs sealed blocks, numbered from 1: block 0 is the KEY block, which stays readable."""

    def __init__(self, key: bytes, file_header: bytes) -> None:
        super().__init__(first_number=1)
        self._seal = _Seal(key, file_header)

    def finish(self, header: BlockHeader, stored: bytes) -> bytes:
        """The block with its payload sealed."""
        if len(stored) + SEAL_BYTES > MAX_BLOCK_BYTES:
            raise too_large()
        header = replace(header, codec=header.codec | SEALED, stored_bytes=len(stored) + SEAL_BYTES)
        sealed = self._seal.close(header, stored)
        return super().finish(replace(header, payload_crc=zlib.crc32(sealed)), sealed)


class SealedOpener(BlockOpener):
    """Opens sealed blocks; one that is not sealed did not come from the file's writer."""

    def __init__(self, dictionary: Callable[[int], bytes | None], key: bytes, file_header: bytes) -> None:
        super().__init__(dictionary)
        self._seal = _Seal(key, file_header)

    def open(self, block: Block) -> bytes:
        """
        The raw payload.

        Raises:
            CaptureError: the block is not sealed, was changed or moved, or does not decompress.

        """
        header = block.header
        stored = self._seal.open(header, block.stored) if header.codec & SEALED else None
        if stored is None:
            raise CaptureError(
                f"The block at byte {block.position} is not as it was written: it was changed, moved "
                "or put in; give an untouched copy."
            )
        plain = replace(header, codec=header.codec & ~SEALED, stored_bytes=len(stored))
        return super().open(Block(block.position, plain, stored))
