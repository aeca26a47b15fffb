"""What a capture says of its own anonymization: told in words, and marked once an audit has passed."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgpack

from captures.codec import unpack_map
from captures.errors import CaptureError, UsageError, WriteError
from captures.frames import FILE_HEADER, BlockType, Codec, read_at, read_block
from captures.lineage import unique
from captures.model import Provenance


def provenance_sentence(provenance: Provenance | None) -> str:
    """How a capture was anonymized, without a full stop; the policy's name is that of its author."""
    if provenance is None:
        return "not anonymized"
    audit = "audit passed" if provenance.audit_passed else "audit not run"
    return f"anonymized by policy {provenance.policy}, key {provenance.key_fingerprint}, {audit}"


def provenance_map(provenance: Provenance | None) -> dict[str, str | bool] | None:
    """The same for JSON."""
    if provenance is None:
        return None
    return {
        "policy": provenance.policy,
        "key_fingerprint": provenance.key_fingerprint,
        "audit_passed": provenance.audit_passed,
    }


def common_provenance(provenances: Sequence[Provenance | None], *, mix: bool = False) -> Provenance | None:
    """
    What is said of several captures together.

    Those of several policies, or with ``mix`` of several keys, name all of them; one that is not
    anonymized makes the whole so.

    Raises:
        UsageError: some are anonymized and some are not, or with different keys, and ``mix`` does
            not allow it.

    """
    known = [provenance for provenance in provenances if provenance is not None]
    if not known:
        return None
    if len(known) < len(provenances):
        if mix:
            return None
        raise UsageError(
            "Some of these captures are anonymized and some are not; anonymize the rest first, "
            "or say --mix to get one that counts as not anonymized."
        )
    keys = unique(provenance.key_fingerprint for provenance in known)
    if len(keys) > 1 and not mix:
        raise UsageError(
            f"These captures were anonymized with different keys ({', '.join(keys)}), so one value has "
            "several stand-ins in them; anonymize them with one --key-file, or say --mix."
        )
    return Provenance(
        policy="+".join(unique(provenance.policy for provenance in known)),
        key_fingerprint="+".join(keys),
        audit_passed=all(provenance.audit_passed for provenance in known),
    )


def mark_audited(path: Path) -> None:
    """
    Write into the closed capture ``path`` that its audit has passed.

    The mark is one byte of the META block, so nothing else of the file moves. It is for a file that
    nobody reads yet. A sealed one is refused: a block is never sealed twice with one number.

    Raises:
        CaptureError: the capture is sealed, was not anonymized, or has no such place.
        WriteError: it cannot be written.

    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            position, data = _marked(descriptor, path.name)
            os.pwrite(descriptor, data, position)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise WriteError(f"{path} cannot be written ({error.strerror}); choose another place.") from error


def _marked(descriptor: int, name: str) -> tuple[int, bytes]:
    """Where the META block stands, and how it has to be."""
    block = read_block(read_at(descriptor), FILE_HEADER.size)
    if block is None or block.header.type != BlockType.META or block.header.codec != Codec.RAW:
        raise CaptureError(f"{name} has no place for an audit's result; anonymize its original again.")
    values = unpack_map(block.stored)
    provenance = values.get("anonymized")
    if not isinstance(provenance, dict) or "audit_passed" not in provenance:
        raise CaptureError(f"{name} was not anonymized, so no audit of it can pass; anonymize it first.")
    payload = msgpack.packb({**values, "anonymized": {**provenance, "audit_passed": True}})
    if len(payload) != len(block.stored):
        raise CaptureError(f"{name} has no place for an audit's result; anonymize its original again.")
    header = replace(block.header, payload_crc=zlib.crc32(payload))
    return block.position, header.pack() + payload
