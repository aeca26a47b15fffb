"""Length-prefixed messages in a body: gRPC, gRPC-Web and the streams of Connect."""

from __future__ import annotations

from typing import NamedTuple

COMPRESSED = 0x01
"""Flag of a message in the coding that grpc-encoding (or connect-content-encoding) names."""

GRPC_WEB_TRAILERS = 0x80
"""Flag of the trailers of gRPC-Web, as header lines."""

CONNECT_END = 0x02
"""Flag of the JSON that ends a stream of Connect."""

_PREFIX_BYTES = 5


class Envelope(NamedTuple):
    """One message ``start:stop`` and the flags before it."""

    flags: int
    start: int
    stop: int


def envelopes(data: bytes) -> list[Envelope] | None:
    """The messages of ``data``, None if they do not fill it exactly."""
    found: list[Envelope] = []
    position = 0
    while position < len(data):
        start = position + _PREFIX_BYTES
        stop = start + int.from_bytes(data[position + 1 : start])
        if stop > len(data) or start > len(data):
            return None
        found.append(Envelope(data[position], start, stop))
        position = stop
    return found


def enveloped(flags: int, message: bytes) -> bytes:
    """``message`` with its prefix."""
    return bytes([flags]) + len(message).to_bytes(4) + message
