"""Packet captures made by hand: conversations as segments, segments as packets, packets as files."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
MASK = 0xFFFF_FFFF

ETHERNET, NULL, RAW, LOOP, SLL, SLL2 = 1, 0, 101, 108, 113, 276


@dataclass(frozen=True, kw_only=True)
class Packet:
    """One TCP segment on the wire."""

    time_ns: int
    source: tuple[str, int]
    target: tuple[str, int]
    seq: int
    ack: int
    flags: int
    payload: bytes = b""


class Talk:
    """A connection whose two sides say things; every method adds what a capture would hold of it."""

    def __init__(
        self,
        *,
        client: tuple[str, int] = ("10.0.0.1", 40000),
        server: tuple[str, int] = ("10.0.0.2", 80),
        start_ns: int = START_NS,
        isns: tuple[int, int] = (1000, 9000),
        mss: int = 1460,
        step_ns: int = MS,
    ) -> None:
        self.packets: list[Packet] = []
        self.now_ns = start_ns
        self.mss = mss
        self.step_ns = step_ns
        self._ends = (client, server)
        self._next = list(isns)

    def add(self, side: int, flags: int, payload: bytes = b"") -> None:
        """One segment of ``side`` (0 the client), acknowledging all there is."""
        ack = self._next[1 - side] if flags & ACK else 0
        self.packets.append(
            Packet(
                time_ns=self.now_ns,
                source=self._ends[side],
                target=self._ends[1 - side],
                seq=self._next[side],
                ack=ack,
                flags=flags,
                payload=payload,
            )
        )
        self._next[side] = (self._next[side] + len(payload) + bool(flags & (SYN | FIN))) & MASK
        self.now_ns += self.step_ns

    def open(self) -> Talk:
        """The handshake."""
        self.add(0, SYN)
        self.add(1, SYN | ACK)
        self.add(0, ACK)
        return self

    def skip_open(self) -> Talk:
        """As if the handshake was before the capture."""
        self._next = [(seq + 1) & MASK for seq in self._next]
        return self

    def client(self, data: bytes, *, acked: bool = True) -> Talk:
        """The client sends."""
        return self._say(0, data, acked=acked)

    def server(self, data: bytes, *, acked: bool = True) -> Talk:
        """The server sends."""
        return self._say(1, data, acked=acked)

    def close(self) -> Talk:
        """Both sides end, the client first."""
        self.add(0, FIN | ACK)
        self.add(1, FIN | ACK)
        self.add(0, ACK)
        return self

    def pause(self, duration_ns: int) -> Talk:
        """Nothing is sent for a while."""
        self.now_ns += duration_ns
        return self

    def _say(self, side: int, data: bytes, *, acked: bool) -> Talk:
        for start in range(0, len(data), self.mss):
            self.add(side, PSH | ACK, data[start : start + self.mss])
            if acked:
                self.add(1 - side, ACK)
        return self


def data_packets(packets: Sequence[Packet], source: tuple[str, int]) -> list[int]:
    """Places of the segments with payload that ``source`` sent."""
    return [at for at, packet in enumerate(packets) if packet.payload and packet.source == source]


def moved(packets: Sequence[Packet], at: int, to: int) -> list[Packet]:
    """The packets with the one at ``at`` captured at the place ``to``; the clock still goes forward."""
    order = list(packets)
    order.insert(to, order.pop(at))
    times = [packet.time_ns for packet in packets]
    return [replace(packet, time_ns=time_ns) for packet, time_ns in zip(order, times, strict=True)]


def ip_packet(packet: Packet) -> bytes:
    """The segment in an IPv4 or IPv6 packet; checksums are 0."""
    tcp = (
        struct.pack(
            "!HHIIBBHHH",
            packet.source[1],
            packet.target[1],
            packet.seq & MASK,
            packet.ack & MASK,
            5 << 4,
            packet.flags,
            65_535,
            0,
            0,
        )
        + packet.payload
    )
    return ip_around(tcp, packet.source[0], packet.target[0], 6)


def ip_around(
    payload: bytes, source: str, target: str, protocol: int, *, ident: int = 0, place: int = 0
) -> bytes:
    """An IP packet; ``place`` is the flags and fragment offset of IPv4."""
    first, second = ip_address(source).packed, ip_address(target).packed
    if len(first) == 4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), ident, place, 64, protocol, 0)
        return head + first + second + payload
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + first + second + payload


def framed(ip: bytes, link: int = ETHERNET, *, tags: bytes = b"") -> bytes:
    """An IP packet in the frame of a link type; ``tags`` are VLAN tags, each with its EtherType before."""
    kind = b"\x08\x00" if ip[0] >> 4 == 4 else b"\x86\xdd"
    if link == ETHERNET:
        frame = b"\x02" * 6 + b"\x04" * 6 + tags + kind + ip
        return frame.ljust(60, b"\x00")  # what is shorter is padded on the wire
    if link == NULL:
        return struct.pack("<I", 2 if kind == b"\x08\x00" else 30) + ip
    if link == LOOP:
        return struct.pack("!I", 2 if kind == b"\x08\x00" else 24) + ip
    if link == SLL:
        return struct.pack("!HHH", 0, 1, 6) + b"\x02" * 8 + kind + ip
    if link == SLL2:
        return kind + struct.pack("!HIHBB", 0, 1, 1, 0, 6) + b"\x02" * 8 + ip
    return ip


def frames(packets: Iterable[Packet], link: int = ETHERNET, *, tags: bytes = b"") -> list[tuple[int, bytes]]:
    """Time and bytes of each packet."""
    return [(packet.time_ns, framed(ip_packet(packet), link, tags=tags)) for packet in packets]


def write_pcap(
    path: Path,
    records: Iterable[tuple[int, bytes]],
    *,
    link: int = ETHERNET,
    nano: bool = False,
    order: str = "<",
    snap_bytes: int = 262_144,
) -> Path:
    """A classic pcap file."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap_bytes, link)]
    for time_ns, data in records:
        seconds, rest = divmod(time_ns, 1_000_000_000)
        kept = data[:snap_bytes]
        parts.append(
            struct.pack(order + "IIII", seconds, rest if nano else rest // 1000, len(kept), len(data))
        )
        parts.append(kept)
    path.write_bytes(b"".join(parts))
    return path


def ng_block(kind: int, body: bytes, order: str = "<") -> bytes:
    """One pcapng block."""
    body += b"\x00" * (-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def ng_section(order: str = "<") -> bytes:
    """A section header."""
    return ng_block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def ng_interface(
    link: int = ETHERNET, *, resolution: int | None = None, offset_s: int = 0, order: str = "<"
) -> bytes:
    """An interface description; ``resolution`` is if_tsresol's byte."""
    options = b""
    if resolution is not None:
        options += struct.pack(order + "HHB3x", 9, 1, resolution)
    if offset_s:
        options += struct.pack(order + "HHq", 14, 8, offset_s)
    options += struct.pack(order + "HH", 0, 0) if options else b""
    return ng_block(1, struct.pack(order + "HHI", link, 0, 262_144) + options, order)


def ng_packet(ticks: int, data: bytes, *, interface: int = 0, order: str = "<") -> bytes:
    """An enhanced packet block."""
    head = struct.pack(order + "5I", interface, ticks >> 32, ticks & MASK, len(data), len(data))
    return ng_block(6, head + data, order)


def write_pcapng(path: Path, records: Iterable[tuple[int, bytes]], *, link: int = ETHERNET) -> Path:
    """A pcapng file of one section and one interface with times in ns."""
    blocks = [ng_section(), ng_interface(link, resolution=9)]
    blocks += [ng_packet(time_ns, data) for time_ns, data in records]
    path.write_bytes(b"".join(blocks))
    return path
