"""WebSocket messages in overheard bytes: frames joined, unmasked, inflated (RFC 6455, RFC 7692)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from captures.http1 import header_values
from captures.model import Headers, MessageKind
from recorder.importers.http_exchange import Body, Output

_TAIL = b"\x00\x00\xff\xff"  # RFC 7692 section 7.2.2
_KINDS = {1: MessageKind.TEXT, 2: MessageKind.BINARY}
_STEP_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflate:
    """permessage-deflate as the server agreed to it: whose context starts anew with each message."""

    client_resets: bool
    server_resets: bool


def agreed_deflate(headers: Headers) -> Deflate | None:
    """What the head of a 101 response says of permessage-deflate; None when it is not used."""
    for value in header_values(headers, b"sec-websocket-extensions"):
        for extension in value.lower().split(b","):
            name, *parameters = (part.strip() for part in extension.split(b";"))
            if name == b"permessage-deflate":
                return Deflate(
                    client_resets=b"client_no_context_takeover" in parameters,
                    server_resets=b"server_no_context_takeover" in parameters,
                )
    return None


class WebSocketSide:
    """
    One direction of a WebSocket; each whole message goes to ``output`` when its last byte came.

    Pings, pongs and close frames are no messages. A message above the limit, or with bytes missing,
    is cut and marked. After a gap outside of a payload the rest of the direction is left out.
    """

    def __init__(
        self, output: Output, exchange: int, *, from_client: bool, deflated: bool, resets: bool
    ) -> None:
        self._output = output
        self._exchange = exchange
        self._from_client = from_client
        self._deflated = deflated
        self._resets = resets
        self._inflate = zlib.decompressobj(-15)
        self._readable = True  # whether what is deflated can still be inflated
        self._held = b""
        self._lost = False
        self._in_payload = False
        self._remaining_bytes = 0
        self._mask = b""
        self._at = 0  # bytes of the frame's payload that came, for the mask
        self._control = self._last = False
        self._kind: MessageKind | None = None
        self._compressed = False
        self._body = Body(output)

    def feed(self, data: bytes, time_ns: int, position: int, peer_position: int) -> None:  # noqa: ARG002
        """Takes the next bytes."""
        data = self._held + data if self._held else data
        self._held = b""
        at = 0
        while not self._lost and (at < len(data) or (self._in_payload and not self._remaining_bytes)):
            if self._in_payload:
                piece = data[at : at + self._remaining_bytes]
                at += len(piece)
                self._remaining_bytes -= len(piece)
                self._take(piece)
                if not self._remaining_bytes:
                    self._in_payload = False
                    self._frame_done(time_ns)
                continue
            size = self._head(data, at)
            if size == 0:
                self._held = data[at:]
                return
            at += size

    def gap(self, time_ns: int, missing_bytes: int) -> None:
        """The next bytes are missing; inside a payload the place is kept."""
        if not self._in_payload or missing_bytes > self._remaining_bytes:
            if not self._lost:
                self._output.tally.remark("WebSocket direction with bytes missing, its rest left out")
            self._lost = True
            return
        if not self._control:
            self._body.missed(missing_bytes)
        self._at += missing_bytes
        self._remaining_bytes -= missing_bytes
        if not self._remaining_bytes:
            self._in_payload = False
            self._frame_done(time_ns)

    def release(self) -> None:
        """There are no more bytes; what is held of a message is let go, and told."""
        if self._kind is not None and not self._lost:
            self._output.tally.remark("WebSocket message that the file or its connection ends in, left out")
        self._kind = None
        self._body.take()

    def _head(self, data: bytes, at: int) -> int:
        """Reads a frame's head and gives its size; 0 when it is not whole."""
        available = len(data) - at
        if available < 2:
            return 0
        first, second = data[at], data[at + 1]
        wide = {126: 2, 127: 8}.get(second & 0x7F, 0)
        size = 2 + wide + (4 if second & 0x80 else 0)
        if available < size:
            return 0
        self._remaining_bytes = int.from_bytes(data[at + 2 : at + 2 + wide]) if wide else second & 0x7F
        self._mask = data[at + 2 + wide : at + size]
        self._at = 0
        opcode = first & 0x0F
        self._control = opcode >= 8
        if not self._control:
            self._last = bool(first & 0x80)
            if opcode:
                self._kind = _KINDS.get(opcode, MessageKind.BINARY)
                self._compressed = bool(first & 0x40) and self._deflated
        self._in_payload = True
        return size

    def _take(self, piece: bytes) -> None:
        start, self._at = self._at, self._at + len(piece)
        if piece and not self._control:
            self._body.add(_unmasked(piece, self._mask, start) if self._mask else piece)

    def _frame_done(self, time_ns: int) -> None:
        if self._control or not self._last:
            return
        payload, truncated_bytes = self._body.take(), self._body.truncated_bytes
        self._body = Body(self._output)
        if self._compressed:
            payload, truncated_bytes = self._inflated(payload, truncated_bytes)
        self._output.message(
            self._exchange,
            time_ns,
            self._kind or MessageKind.BINARY,
            from_client=self._from_client,
            payload=payload,
            truncated_bytes=truncated_bytes,
        )
        self._kind = None

    def _inflated(self, payload: bytes, truncated_bytes: int) -> tuple[bytes, int]:
        """What a message held before it was deflated, as far as that can be told, and what is cut."""
        if self._resets:
            self._inflate = zlib.decompressobj(-15)
        elif not self._readable:
            return b"", max(1, len(payload) + truncated_bytes)
        limit_bytes = self._output.max_body_bytes
        try:
            whole = self._inflate.decompress(payload + (b"" if truncated_bytes else _TAIL), limit_bytes)
            while tail := self._inflate.unconsumed_tail:
                truncated_bytes += len(self._inflate.decompress(tail, _STEP_BYTES))
        except zlib.error:
            self._readable = False
            return b"", max(1, len(payload))
        if truncated_bytes and len(whole) < limit_bytes:
            self._readable = False  # what came after a gap refers to bytes that are not there
        return whole, truncated_bytes


def _unmasked(piece: bytes, mask: bytes, start: int) -> bytes:
    turned = (mask * 2)[start % 4 : start % 4 + 4]
    key = (turned * (len(piece) // 4 + 1))[: len(piece)]
    return (int.from_bytes(piece) ^ int.from_bytes(key)).to_bytes(len(piece))
