"""One captured packet -> its TCP segment: link layers, VLAN tags, IPv4, IPv6, fragments and tunnels."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as struct_error
from typing import TypeAlias

Segment: TypeAlias = tuple[bytes, int, int, int, bytes]
"""Addresses and ports as they stand in the packet, seq, ack, flags, payload."""

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

DAMAGED = (IndexError, struct_error)
"""What a decoder raises for a packet that is too short for what it says it holds."""

MAX_FRAGMENTED = 1024  # datagrams in pieces at one time; the oldest is given up above it
_MAX_FRAGMENT_BYTES = 65_535
_MAX_DEPTH = 4  # tunnels within tunnels; AWS and Azure mirroring need one

_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_TAGS = frozenset({b"\x81\x00", b"\x88\xa8", b"\x91\x00", b"\x92\x00"})  # VLAN, QinQ and its older types
_PPPOE, _MPLS = b"\x88\x64", frozenset({b"\x88\x47", b"\x88\x48"})
_PPP_TYPES = {b"\x00\x21": _IPV4, b"\x00\x57": _IPV6}
_TRANSPARENT_ETHERNET = b"\x65\x58"
_TCP, _UDP, _IN_IPV4, _IN_IPV6, _GRE, _FRAGMENT = 6, 17, 4, 41, 47, 44
_OPTION_HEADERS = frozenset({0, 43, 60, 135})  # hop-by-hop, routing, destination options, mobility
_VXLAN_PORT = b"\x12\xb5"  # 4789

_tcp_head = Struct("!IIBB").unpack_from


class Decoder:
    """
    Finds the TCP segment in packets of one or several link types.

    It holds state only for IP datagrams that came in fragments, of at most ``MAX_FRAGMENTED`` at a
    time. ``decoders`` maps a link type (the LINKTYPE_ numbers of pcap) to a callable that takes a
    packet and gives its segment, or None when it holds no (whole) TCP segment. It raises one of
    ``DAMAGED`` for a packet that ends too soon.
    """

    def __init__(self) -> None:
        self._fragments: dict[bytes, _Datagram] = {}
        self.decoders: dict[int, Callable[[bytes], Segment | None]] = {
            0: self._null,
            1: self._ethernet,
            9: self._ppp,
            12: self._raw,
            14: self._raw,
            101: self._raw,
            108: self._null,
            113: self._sll,
            228: self._raw,
            229: self._raw,
            276: self._sll2,
        }

    def _ethernet(self, data: bytes) -> Segment | None:
        if data[12:14] == _IPV4:
            return self._ipv4(data, 14, 0)
        return self._typed(data, 12, 14, 0)

    def _sll(self, data: bytes) -> Segment | None:
        return self._typed(data, 14, 16, 0)

    def _sll2(self, data: bytes) -> Segment | None:
        return self._typed(data, 0, 20, 0)

    def _null(self, data: bytes) -> Segment | None:
        # The family before the packet has the byte order and the numbers of the machine that
        # captured it; the packet's own version says the same without either.
        return self._ip(data, 4, 0)

    def _raw(self, data: bytes) -> Segment | None:
        return self._ip(data, 0, 0)

    def _ppp(self, data: bytes) -> Segment | None:
        at = 2 if data[:2] == b"\xff\x03" else 0
        return self._network(_PPP_TYPES.get(data[at : at + 2], b""), data, at + 2, 0)

    def _typed(self, data: bytes, type_at: int, at: int, depth: int) -> Segment | None:
        kind = data[type_at : type_at + 2]
        while kind in _TAGS:
            kind = data[at + 2 : at + 4]
            at += 4
        if kind == _PPPOE:
            return self._network(_PPP_TYPES.get(data[at + 6 : at + 8], b""), data, at + 8, depth)
        if kind in _MPLS:
            while not data[at + 2] & 1:  # bottom of the label stack, RFC 3032
                at += 4
            return self._ip(data, at + 4, depth)
        return self._network(kind, data, at, depth)

    def _network(self, kind: bytes, data: bytes, at: int, depth: int) -> Segment | None:
        if kind == _IPV4:
            return self._ipv4(data, at, depth)
        if kind == _IPV6:
            return self._ipv6(data, at, depth)
        if kind == _TRANSPARENT_ETHERNET and depth < _MAX_DEPTH:
            return self._typed(data, at + 12, at + 14, depth + 1)
        return None

    def _ip(self, data: bytes, at: int, depth: int) -> Segment | None:
        version = data[at] >> 4
        if version == 4:
            return self._ipv4(data, at, depth)
        return self._ipv6(data, at, depth) if version == 6 else None

    def _ipv4(self, data: bytes, at: int, depth: int) -> Segment | None:
        start = at + (data[at] & 0x0F) * 4
        end = at + (data[at + 2] << 8 | data[at + 3])
        if end == at:  # a packet captured before the network card cut it up may have no total length
            end = len(data)
        protocol = data[at + 9]
        place = (data[at + 6] & 0x3F) << 8 | data[at + 7]
        if place:
            key = data[at + 4 : at + 6] + data[at + 9 : at + 10] + data[at + 12 : at + 20]
            offset_bytes = (place & 0x1FFF) * 8
            whole = self._defragmented(key, offset_bytes, data[start:end], more=bool(place & 0x2000))
            if whole is None:
                return None
            return self._transport(protocol, data[at + 12 : at + 20], whole, 0, len(whole), depth)
        if protocol != _TCP:
            return self._transport(protocol, b"", data, start, end, depth)
        seq, ack, size, flags = _tcp_head(data, start + 4)
        return (
            data[at + 12 : at + 20] + data[start : start + 4],
            seq,
            ack,
            flags,
            data[start + (size >> 2 & 0x3C) : end],
        )

    def _ipv6(self, data: bytes, at: int, depth: int) -> Segment | None:
        start = at + 40
        length_bytes = data[at + 4] << 8 | data[at + 5]
        end = start + length_bytes if length_bytes else len(data)
        addresses = data[at + 8 : at + 40]
        kind = data[at + 6]
        while kind in _OPTION_HEADERS:
            kind, start = data[start], start + (data[start + 1] + 1) * 8
        if kind == _FRAGMENT:
            kind = data[start]
            place = data[start + 2] << 8 | data[start + 3]
            key = data[start + 4 : start + 8] + addresses
            whole = self._defragmented(key, place & 0xFFF8, data[start + 8 : end], more=bool(place & 1))
            if whole is None:
                return None
            return self._transport(kind, addresses, whole, 0, len(whole), depth)
        return self._transport(kind, addresses, data, start, end, depth)

    def _transport(
        self, protocol: int, addresses: bytes, data: bytes, at: int, end: int, depth: int
    ) -> Segment | None:
        if protocol == _TCP:
            seq, ack, size, flags = _tcp_head(data, at + 4)
            return addresses + data[at : at + 4], seq, ack, flags, data[at + (size >> 2 & 0x3C) : end]
        if depth >= _MAX_DEPTH:
            return None
        if protocol == _UDP and data[at + 2 : at + 4] == _VXLAN_PORT:
            return self._typed(data, at + 28, at + 30, depth + 1)  # 8 bytes UDP, 8 VXLAN, two MACs
        if protocol == _IN_IPV4:
            return self._ipv4(data, at, depth + 1)
        if protocol == _IN_IPV6:
            return self._ipv6(data, at, depth + 1)
        if protocol == _GRE:
            options = data[at]  # checksum, key and sequence number take 4 bytes each, RFC 2890
            inner = at + 4 + 4 * ((options >> 7 & 1) + (options >> 5 & 1) + (options >> 4 & 1))
            return self._network(data[at + 2 : at + 4], data, inner, depth + 1)
        return None

    def _defragmented(self, key: bytes, at_bytes: int, piece: bytes, *, more: bool) -> bytes | None:
        datagram = self._fragments.get(key)
        if datagram is None:
            if len(self._fragments) >= MAX_FRAGMENTED:
                del self._fragments[next(iter(self._fragments))]
            datagram = self._fragments[key] = _Datagram()
        whole = datagram.add(at_bytes, piece, more=more)
        if whole is not None:
            del self._fragments[key]
        return whole


class _Datagram:
    """The fragments of one IP datagram; the first one that covers a byte wins."""

    __slots__ = ("_pieces", "_size_bytes")

    def __init__(self) -> None:
        self._pieces: dict[int, bytes] = {}
        self._size_bytes: int | None = None

    def add(self, at_bytes: int, piece: bytes, *, more: bool) -> bytes | None:
        """Takes one fragment; gives the whole once nothing is missing."""
        if at_bytes + len(piece) <= _MAX_FRAGMENT_BYTES:
            self._pieces.setdefault(at_bytes, piece)
            if not more:
                self._size_bytes = at_bytes + len(piece)
        if self._size_bytes is None:
            return None
        whole = bytearray()
        for start in sorted(self._pieces):
            if start > len(whole):
                return None
            whole += self._pieces[start][len(whole) - start :]
        return bytes(whole[: self._size_bytes]) if len(whole) >= self._size_bytes else None
