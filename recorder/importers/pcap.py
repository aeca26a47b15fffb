"""pcap and pcapng files -> exchanges: scapy reads the packets, everything above them is our own."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from scapy.error import Scapy_Exception
from scapy.utils import RawPcapNgReader, RawPcapReader

from captures.errors import CaptureError
from captures.units import MIB, NS_PER_S
from recorder.importers.base import Item, Tally, open_bytes
from recorder.importers.http_exchange import MAX_BODY_BYTES, Output
from recorder.importers.http_streams import HttpStream
from recorder.importers.pcap_links import DAMAGED, Decoder
from recorder.importers.tcp import Limits, Reassembler
from recorder.importers.tcp_half import Memory

MEMORY_BYTES = 256 * MIB  # bodies and segments that wait, of all connections together

_PACKET_BYTES = 262_144  # larger ones do not exist: tcpdump and dumpcap cut them there
_BLOCK_BYTES = 16 * MIB
_NG_MAGIC = b"\x0a\x0d\x0d\x0a"
_NG_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_TOO_SHORT = "packet block that is too short for a packet, left out"
_MAX_TIME_NS = 2**62  # the year 2116; sums of times then stay within 64 bits

# scapy warns of each odd block on stderr; what matters of that is in the tally.
logging.getLogger("scapy.runtime").setLevel(logging.ERROR)

Packet: TypeAlias = tuple[int, int, bytes]
"""Unix time in ns, link type, bytes."""


class PcapSource:
    """
    The exchanges in one capture of packets.

    Memory is bounded by ``memory_bytes`` and by what ``limits`` says of connections. Bodies above
    ``max_body_bytes`` are cut and marked.
    """

    format = "pcap"
    note = ""

    def __init__(
        self,
        path: Path,
        *,
        limits: Limits | None = None,
        memory_bytes: int = MEMORY_BYTES,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        """
        Opens ``path``, which may be gzipped.

        Raises:
            UsageError: the file cannot be read.
            CaptureError: it does not begin as pcap or pcapng.

        """
        memory = Memory(memory_bytes)
        self._output = output = Output(memory, max_body_bytes=max_body_bytes)
        self._file = open_bytes(path, self.tally)
        self._reassembler = Reassembler(lambda key, opener: HttpStream(key, opener, output), memory, limits)
        try:
            packets = _packets(self._file, self.tally)
            first = next(packets, None)
        except (Scapy_Exception, OSError, EOFError, zlib.error) as error:
            self.close()
            raise CaptureError(
                f"{path.name} does not begin as a whole pcap or pcapng file does; give an undamaged copy."
            ) from error
        self.started_wall_ns = 0 if first is None else first[0]
        self._packets = packets if first is None else chain((first,), packets)

    @property
    def tally(self) -> Tally:
        """The account of what is in no item."""
        return self._output.tally

    def items(self) -> Iterator[Item]:
        """The exchanges as they are completed, and the messages of streams; may be called once."""
        started_ns = self.started_wall_ns
        decoders, segment_of = Decoder().decoders, self._reassembler.segment
        done = self._output.items
        offset_ns = 0
        for time_ns, link, data in self._packets:
            decode = decoders.get(link)
            if decode is None:
                self.tally.remark(f"packet of link type {link}, which is not read")
                continue
            try:
                segment = decode(data)
            except DAMAGED:
                self.tally.remark("packet that is cut inside its headers")
                continue
            if segment is None:
                continue
            offset_ns = time_ns - started_ns if time_ns > started_ns else 0
            segment_of(offset_ns, *segment)
            if done:
                yield from done
                done.clear()
        for _ in self._reassembler.finish(offset_ns):
            yield from done
            done.clear()

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


def open_pcap(path: Path) -> PcapSource:
    """
    The packet capture in ``path``, which may be gzipped.

    Raises:
        UsageError: the file cannot be read.
        CaptureError: it does not begin as pcap or pcapng.

    """
    return PcapSource(path)


def _packets(file: Any, tally: Tally) -> Iterator[Packet]:
    """The packets of an open file; what is damaged ends them and is tallied."""
    if file.peek(4)[:4] == _NG_MAGIC:
        return _ng_packets(_NgReader(file), tally)
    return _pcap_packets(_ClassicReader(file), tally)


def _pcap_packets(reader: Any, tally: Tally) -> Iterator[Packet]:
    link = reader.linktype & 0xFFFF  # above are the length and presence of a frame check sequence
    read = reader._read_packet  # noqa: SLF001 - what scapy tells to use for raw packets
    while True:
        try:
            data, time_ns = read(_PACKET_BYTES)
        except EOFError:
            if reader.damaged:
                tally.remark("packet that the file ends in the middle of, or whose size is impossible")
            return
        yield time_ns, link, data


def _ng_packets(reader: Any, tally: Tally) -> Iterator[Packet]:
    read = reader._read_packet  # noqa: SLF001 - see above
    while True:
        try:
            data, (time_ns, link) = read(_PACKET_BYTES)
        except _LeftOut as reason:
            tally.remark(str(reason))
            continue
        except EOFError:
            if not reader.ended:
                tally.remark("damaged block, after which nothing can be read")
            return
        yield time_ns, link, data


class _LeftOut(Exception):  # noqa: N818 - nothing went wrong, the file goes on behind it
    """A packet that cannot be taken; says why."""


class _ClassicReader(RawPcapReader):
    """
    scapy's raw reader with a check of each size before it is read; a packet comes with its time in ns.

    What the base class reads is the file's header: byte order, unit of time, link type.
    """

    def __init__(self, filename: Any, fdesc: Any = None, magic: Any = None) -> None:
        super().__init__(filename, fdesc, magic)
        self.damaged = False
        self._unit_ns = 1 if self.nano else 1000
        self._record = struct.Struct(self.endian + "IIII").unpack

    def _read_packet(self, size: int = _PACKET_BYTES) -> Any:
        try:
            head = self.f.read(16)
            if len(head) == 16 and not self.damaged:
                seconds, fraction, captured_bytes, _ = self._record(head)
                if captured_bytes <= size:
                    data = self.f.read(captured_bytes)
                    self.damaged = len(data) < captured_bytes
                    return data, seconds * NS_PER_S + fraction * self._unit_ns
            self.damaged = self.damaged or bool(head)
        except (OSError, zlib.error):
            self.damaged = True
        raise EOFError


class _NgReader(RawPcapNgReader):
    """
    scapy's raw reader with what it lacks: sections of their own, time offsets, a cap on block sizes.

    Options of packets (comments, process names) are not read, which makes it faster by half.
    A packet comes as its bytes, and its time in ns with its link type. EOFError is a file's end when
    ``ended`` says so, and what cannot be read otherwise.
    """

    def __init__(self, filename: Any, fdesc: Any = None, magic: Any = None) -> None:
        self.ended = False
        self._time_ns = 0
        super().__init__(filename, fdesc, magic)
        self.blocktypes = {
            1: self._read_block_idb,
            2: self._read_block_pkt,
            3: self._read_block_spb,
            6: self._read_block_epb,
        }

    def _read_block_shb(self) -> None:
        self._begin_section(self.f.read(4))

    def _begin_section(self, length: bytes) -> None:
        """Reads a section's header behind its length, which is in the byte order that comes after it."""
        order = _NG_ORDERS.get(self.f.read(4))
        if order is None:
            raise EOFError
        (size,) = struct.unpack(order + "I", length)
        if not 28 <= size <= _BLOCK_BYTES or size % 4:
            raise EOFError
        rest = self.f.read(size - 12)
        if len(rest) < size - 12 or rest[-4:] != length or struct.unpack_from(order + "H", rest) != (1,):
            raise EOFError
        self.endian = order
        self.interfaces.clear()  # they are numbered anew in each section
        self._head = struct.Struct(order + "II").unpack
        self._enhanced = struct.Struct(order + "5I").unpack_from

    def _read_block(self, size: int = _PACKET_BYTES) -> Any:
        head = self.f.read(8)
        if len(head) < 8:
            self.ended = not head
            raise EOFError
        if head[:4] == _NG_MAGIC:
            self._begin_section(head[4:])
            return None
        kind, length = self._head(head)
        if not 12 <= length <= _BLOCK_BYTES or length % 4:
            raise EOFError
        block = self.f.read(length - 8)
        if len(block) < length - 8 or block[-4:] != head[4:]:
            raise EOFError
        handler = self.blocktypes.get(kind)
        return None if handler is None else handler(block[:-4], size)

    def _read_block_idb(self, block: bytes, size: int) -> None:
        super()._read_block_idb(block, size)
        offset: Any = self._read_options(block[8:]).get(14, b"")  # if_tsoffset, in seconds
        options = self.interfaces[-1][2]
        options["offset_ns"] = 0
        if len(offset) == 8:
            options["offset_ns"] = struct.unpack(self.endian + "q", offset)[0] * NS_PER_S

    def _read_block_epb(self, block: bytes, size: int) -> Any:
        if len(block) < 20:
            raise _LeftOut(_TOO_SHORT)
        number, high, low, captured_bytes, _ = self._enhanced(block)
        link, _, options = self._interface(number)
        ticks = high << 32 | low
        unit = options["tsresol"]
        time_ns = (ticks * 1000 if unit == 1_000_000 else ticks * NS_PER_S // unit) + options["offset_ns"]
        if not 0 <= time_ns < _MAX_TIME_NS:
            raise _LeftOut("packet with a time that cannot be, left out")
        self._time_ns = time_ns
        return block[20 : 20 + min(captured_bytes, size)], (time_ns, link)

    def _read_block_pkt(self, block: bytes, size: int) -> Any:
        number = block[:2] + b"\0\0" if self.endian == "<" else b"\0\0" + block[:2]
        return self._read_block_epb(number + block[4:], size)

    def _read_block_spb(self, block: bytes, size: int) -> Any:
        if len(block) < 4:
            raise _LeftOut(_TOO_SHORT)
        link, most_bytes, _ = self._interface(0)  # it has neither an interface's number nor a time
        (wire_bytes,) = struct.unpack_from(self.endian + "I", block)
        return block[4 : 4 + min(wire_bytes, most_bytes or size, size)], (self._time_ns, link)

    def _interface(self, number: int) -> Any:
        if number >= len(self.interfaces):
            raise _LeftOut("packet of an interface that the file does not describe, left out")
        return self.interfaces[number]
