"""A capture's messages by their stream, in memory that does not grow with the capture."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgpack
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from captures.model import Message, MessageKind
from captures.units import MIB

MEMORY_BYTES = 64 * MIB
_OVERHEAD_BYTES = 300  # of a message object beside its payload
_NONCE_BYTES = 12


class MessagesByStream:
    """
    Messages that come in any order, given back stream by stream; END messages are left out.

    They are read once. What does not fit into ``memory_bytes`` waits in a file in ``folder`` (None:
    the system's for temporary files) that has no name and is sealed with a key in memory only,
    since the capture itself may be encrypted.
    """

    def __init__(self, folder: Path | None, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None  # most captures need none
        self._seal = ChaCha20Poly1305(ChaCha20Poly1305.generate_key())
        self._memory_bytes = memory_bytes
        self._held: dict[int, list[Message]] = {}
        self._held_bytes = 0
        self._places: dict[int, list[tuple[int, int]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, messages: Iterable[Message]) -> None:
        """
        Takes messages; those of one stream keep their order.

        Raises:
            OSError: the file cannot be written.

        """
        for message in messages:
            if message.kind is MessageKind.END:
                continue
            self._held.setdefault(message.exchange, []).append(message)
            self._held_bytes += len(message.payload) + _OVERHEAD_BYTES
            if self._held_bytes > self._memory_bytes:
                self._spill()

    def take(self, exchange: int) -> list[Message]:
        """All messages of one stream, once."""
        parts = [self._read(*place) for place in self._places.pop(exchange, ())]
        return [*(message for part in parts for message in part), *self._held.pop(exchange, ())]

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by __exit__
        for exchange, messages in self._held.items():
            rows = [
                (
                    item.exchange,
                    item.offset_ns,
                    item.from_client,
                    item.kind,
                    item.payload,
                    item.truncated_bytes,
                )
                for item in messages
            ]
            nonce = secrets.token_bytes(_NONCE_BYTES)
            sealed = nonce + self._seal.encrypt(nonce, msgpack.packb(rows), None)
            self._places.setdefault(exchange, []).append((self._file.tell(), len(sealed)))
            self._file.write(sealed)
        self._held.clear()
        self._held_bytes = 0

    def _read(self, position: int, size: int) -> list[Message]:
        assert self._file is not None
        self._file.seek(position)
        sealed = self._file.read(size)
        rows = msgpack.unpackb(self._seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None))
        return [
            Message(
                exchange=exchange,
                offset_ns=offset_ns,
                from_client=from_client,
                kind=MessageKind(kind),
                payload=payload,
                truncated_bytes=truncated_bytes,
            )
            for exchange, offset_ns, from_client, kind, payload, truncated_bytes in rows
        ]
