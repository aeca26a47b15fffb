"""
The vault: with its key, the original of an anonymized capture, byte for byte; without it, nothing.

A vault holds what an anonymized row does not tell of the original one: each chunk is the original
rows compressed with the anonymized rows as the dictionary, and sealed. So bodies whose compression
cannot be repeated, and bodies that could not be read, come back as they were.

    file    = magic (8), version (u16), reserved (6), salt (32), id of the anonymized capture (16),
              key fingerprint (6), reserved (10); then chunks; all numbers little-endian
    chunk   = size of what follows (u32), AES-256-GCM of a msgpack map, with the chunk's number (from
              0) as the nonce and the 80 bytes of the file's head as associated data
    chunk 0 = the original's header, account, facts and recipients
    others  = {"rows", "kind", "raw_bytes", "digest", "data"}; the last one {"exchanges", "messages"}

The key of the chunks is HKDF-SHA256 (RFC 5869) of the key file's key and the salt, so no nonce is
used twice with one key. A chunk that is missing, changed, moved, or cut off does not open, and one
that was left out at the end is missed by the last chunk.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgpack
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from captures.codec import (
    build_counters,
    build_exchange,
    build_facts,
    build_header,
    build_message,
    exchange_row,
    facts_map,
    message_row,
    pack_header,
    unpack_map,
)
from captures.errors import CaptureError, UsageError, WriteError
from captures.frames import raw_dictionary
from captures.keys import create_private_file
from captures.model import Exchange, Message
from captures.reader import CaptureReader
from captures.units import MIB
from captures.writer import CaptureWriter

KEY_PURPOSE = "vault-key"
"""What a vault's key file says that it is for: the key of the stand-ins opens no vault."""

_MAGIC = b"\x89RVLT\r\n\x1a"
_VERSION = 1
_HEAD = struct.Struct("<8sH6x32s16s6s10x")
_SIZE = struct.Struct("<I")
_CHUNK_BYTES = MIB  # of original and anonymized rows together
_MAX_CHUNK_BYTES = 256 * MIB  # sealed; a row is at most 128 MiB
_MAX_WINDOW_LOG = 27
_LEVEL = 12  # on webhooks a third of the size that level 9 gives, at 70 MB/s
_KINDS = ("exchanges", "messages")

_Item = TypeVar("_Item", Exchange, Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What came back."""

    exchanges: int
    messages: int


def write_vault(path: Path, key: bytes, original: CaptureReader, anonymized: CaptureReader) -> None:
    """
    Write to the new file ``path`` (mode 0600) what turns ``anonymized`` into ``original`` again.

    Memory is bounded by a chunk, which is about 1 MiB or one exchange.

    Raises:
        UsageError: the file exists.
        CaptureError: a capture is damaged, or the two do not hold the same exchanges.
        WriteError: it cannot be written; nothing is left of it.

    """
    descriptor = create_private_file(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            sealer = _Sealer(file, key, _id_of(anonymized))
            facts = original.facts
            sealer.write(
                {
                    "header": pack_header(original.header),
                    "counters": asdict(original.counters),
                    "facts": None if facts is None else facts_map(facts),
                    "recipients": list(original.recipients),
                }
            )
            exchanges = sealer.rows("exchanges", original.exchanges(), anonymized.exchanges(), exchange_row)
            messages = sealer.rows("messages", original.messages(), anonymized.messages(), message_row)
            sealer.write({"exchanges": exchanges, "messages": messages})
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise WriteError(
            f"{path} cannot be written ({error.strerror}); free space or choose another place."
        ) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def restore_capture(anonymized: CaptureReader, vault: Path, key: bytes, output: Path) -> Restored:
    """
    Write the original of ``anonymized`` to the new capture ``output``; nothing is left there on failure.

    It has the original's id, start, source, account, exchanges and messages, and is sealed for whom
    the original was.

    Raises:
        UsageError: the vault or ``output`` cannot be used, the key is another one, or the vault
            belongs to another capture.
        CaptureError: the vault was changed or cut, or a capture is damaged.
        WriteError: ``output`` cannot be written.

    """
    with _open(vault) as file:
        opener = _Opener(file, key, vault.name, _id_of(anonymized))
        chunks = iter(opener)
        first = next(chunks)
        header = build_header(unpack_map(first["header"]))
        writer = CaptureWriter.create(output, header, recipients=first["recipients"])
        try:
            written = _write_rows(anonymized, writer, opener, chunks)
            writer.facts = None if first["facts"] is None else build_facts(first["facts"])
            writer.close(build_counters(first["counters"]))
        except WriteError as error:
            writer.discard()
            raise nothing_left(output, error) from error
        except BaseException:
            writer.discard()
            raise
        return written


def _id_of(reader: CaptureReader) -> bytes:
    try:
        return bytes.fromhex(reader.header.capture_id)
    except ValueError:
        raise CaptureError(
            f"{reader.path.name} has no id that a vault could name; name another file."
        ) from None


def nothing_left(path: Path, error: WriteError) -> WriteError:
    """The same ``error`` for a capture that is removed, where a recorder would keep what it wrote."""
    cause = error.__cause__
    reason = cause.strerror if isinstance(cause, OSError) else None
    return WriteError(
        f"{path} cannot be written ({reason or 'it was cut short'}), so nothing is left of it; "
        "free space or choose another place."
    )


def _write_rows(
    anonymized: CaptureReader, writer: CaptureWriter, opener: _Opener, chunks: Iterator[dict[str, Any]]
) -> Restored:
    exchanges, messages = anonymized.exchanges(), anonymized.messages()
    counts = {"exchanges": 0, "messages": 0}
    for chunk in chunks:
        if "kind" not in chunk:
            if next(chunks, None) is not None:
                raise opener.damaged()
            if chunk != counts or next(exchanges, None) or next(messages, None):
                raise opener.other_capture()
            return Restored(**counts)
        if chunk["kind"] == "exchanges":
            for row in _original_rows(chunk, exchanges, exchange_row, opener):
                writer.write(build_exchange(row))
        else:
            for row in _original_rows(chunk, messages, message_row, opener):
                writer.write_message(build_message(row))
        counts[chunk["kind"]] += chunk["rows"]
    raise opener.damaged()


def _original_rows(
    chunk: dict[str, Any],
    anonymized: Iterator[_Item],
    row_of: Callable[[_Item], tuple[Any, ...]],
    opener: _Opener,
) -> Iterator[tuple[Any, ...]]:
    rows = b"".join(msgpack.packb(row_of(item)) for item in islice(anonymized, chunk["rows"]))
    if _digest(rows) != chunk["digest"]:
        raise opener.other_capture()
    window_bytes = 1 << _MAX_WINDOW_LOG
    decompressor = zstandard.ZstdDecompressor(dict_data=raw_dictionary(rows), max_window_size=window_bytes)
    plain = decompressor.decompress(chunk["data"], max_output_size=chunk["raw_bytes"])
    unpacker = msgpack.Unpacker(use_list=False, max_buffer_size=len(plain) + 1)
    unpacker.feed(plain)
    yield from unpacker


def _open(vault: Path) -> BinaryIO:
    try:
        return vault.open("rb")
    except OSError as error:
        raise UsageError(
            f"The vault {vault} cannot be read ({error.strerror}); give a file that exists."
        ) from error


def _digest(rows: bytes) -> bytes:
    return hashlib.blake2b(rows, digest_size=16).digest()


def _derived(key: bytes, salt: bytes, purpose: bytes, size_bytes: int) -> bytes:
    info = b"hookreel vault 1 " + purpose
    return HKDF(algorithm=SHA256(), length=size_bytes, salt=salt, info=info).derive(key)


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "little")


class _Sealer:
    """Writes a vault's head and its chunks."""

    def __init__(self, file: BinaryIO, key: bytes, capture_id: bytes) -> None:
        salt = secrets.token_bytes(32)
        fingerprint = _derived(key, salt, b"fingerprint", 6)
        self._head = _HEAD.pack(_MAGIC, _VERSION, salt, capture_id, fingerprint)
        self._file = file
        self._cipher = AESGCM(_derived(key, salt, b"chunks", 32))
        self._number = 0
        file.write(self._head)

    def write(self, values: dict[str, Any]) -> None:
        sealed = self._cipher.encrypt(_nonce(self._number), msgpack.packb(values), self._head)
        self._number += 1
        self._file.write(_SIZE.pack(len(sealed)) + sealed)

    def rows(
        self,
        kind: str,
        original: Iterator[_Item],
        anonymized: Iterator[_Item],
        row_of: Callable[[_Item], tuple[Any, ...]],
    ) -> int:
        """Write all rows of one kind and return how many there were."""
        befores: list[bytes] = []
        afters: list[bytes] = []
        size_bytes = total = 0
        try:
            for before, after in zip(original, anonymized, strict=True):
                befores.append(msgpack.packb(row_of(before)))
                afters.append(msgpack.packb(row_of(after)))
                size_bytes += len(befores[-1]) + len(afters[-1])
                total += 1
                if size_bytes >= _CHUNK_BYTES:
                    self._chunk(kind, befores, afters)
                    befores, afters, size_bytes = [], [], 0
        except ValueError:
            raise CaptureError(
                f"The anonymized capture holds other {kind} than the original, so no vault can be made; "
                "run hookreel verify on the original."
            ) from None
        if befores:
            self._chunk(kind, befores, afters)
        return total

    def _chunk(self, kind: str, befores: list[bytes], afters: list[bytes]) -> None:
        before, after = b"".join(befores), b"".join(afters)
        window_log = min(_MAX_WINDOW_LOG, max(10, (len(before) + len(after)).bit_length()))
        parameters = zstandard.ZstdCompressionParameters.from_level(
            _LEVEL, window_log=window_log, source_size=len(before), dict_size=len(after)
        )
        compressor = zstandard.ZstdCompressor(dict_data=raw_dictionary(after), compression_params=parameters)
        self.write(
            {
                "kind": kind,
                "rows": len(befores),
                "raw_bytes": len(before),
                "digest": _digest(after),
                "data": compressor.compress(before),
            }
        )


class _Opener:
    """Reads the chunks of a vault in order; each is checked before it is looked at."""

    def __init__(self, file: BinaryIO, key: bytes, name: str, capture_id: bytes) -> None:
        self._file = file
        self._name = name
        self._head = file.read(_HEAD.size)
        if len(self._head) < _HEAD.size or not self._head.startswith(_MAGIC):
            raise UsageError(f"{name} is not a vault; give the file that anonymize --vault wrote.")
        _, version, salt, made_for, fingerprint = _HEAD.unpack(self._head)
        if version != _VERSION:
            raise CaptureError(f"{name} has vault version {version}; use a newer hookreel.")
        if fingerprint != _derived(key, salt, b"fingerprint", 6):
            raise UsageError(f"The vault {name} has another key; give the key file that was made with it.")
        if made_for != capture_id:
            raise self.other_capture()
        self._cipher = AESGCM(_derived(key, salt, b"chunks", 32))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        number = 0
        while True:
            size = self._file.read(_SIZE.size)
            if not size and number:
                return
            if len(size) < _SIZE.size or _SIZE.unpack(size)[0] > _MAX_CHUNK_BYTES:
                raise self.damaged()
            sealed = self._file.read(_SIZE.unpack(size)[0])
            if len(sealed) < _SIZE.unpack(size)[0]:
                raise self.damaged()
            try:
                values: dict[str, Any] = msgpack.unpackb(
                    self._cipher.decrypt(_nonce(number), sealed, self._head)
                )
            except (InvalidTag, ValueError):
                raise self.damaged() from None
            yield values
            number += 1

    def damaged(self) -> CaptureError:
        return CaptureError(f"The vault {self._name} was changed or cut; give an untouched copy of it.")

    def other_capture(self) -> UsageError:
        return UsageError(
            f"The vault {self._name} belongs to another capture; give the anonymized capture that was "
            "written with it, as it was written."
        )
