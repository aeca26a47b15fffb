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

MAGICS = frozenset(
    {b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1", b"\x0a\x0d\x0d\x0a"}
)
"""What a pcap or pcapng file begins with."""

MEMORY_BYTES = 256 * MIB  # bodies and segments that wait, of all connections together

_PACKET_BYTES = 262_144  # larger ones do not exist: tcpdump and dumpcap cut them there
_BLOCK_BYTES = 16 * MIB
_NG_MAGIC = b"\x0a\x0d\x0d\x0a"

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
        self._file = open_bytes(path)
        memory = Memory(memory_bytes)
        self._output = output = Output(memory, max_body_bytes=max_body_bytes)
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
        zipped = getattr(getattr(self._file, "raw", None), "fileobj", None)
        self._file.close()
        if zipped is not None:
            zipped.close()


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
        except (EOFError, Scapy_Exception, struct.error):
            if reader.damaged:
                tally.remark("damaged block, after which nothing can be read")
            return
        yield time_ns, link, data


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
    A packet comes as its bytes, and its time in ns with its link type.
    """

    def __init__(self, filename: Any, fdesc: Any = None, magic: Any = None) -> None:
        self.damaged = False
        self._time_ns = 0
        super().__init__(filename, fdesc, magic)
        self.blocktypes.update({2: self._read_block_pkt, 3: self._read_block_spb, 6: self._read_block_epb})
        self.blocktypes.pop(10, None)  # TLS keys are not used, so they are not read either

    def _read_block_shb(self) -> None:
        super()._read_block_shb()
        self.interfaces.clear()  # they are numbered anew in each section
        self._head = struct.Struct(self.endian + "II").unpack
        self._enhanced = struct.Struct(self.endian + "5I").unpack_from

    def _read_block(self, size: int = _PACKET_BYTES) -> Any:
        head = self.f.read(8)
        if len(head) < 8:
            self.damaged = bool(head)
            raise EOFError
        kind, length = self._head(head)
        if head[:4] == _NG_MAGIC:
            self.f.seek(-4, 1)
            self._read_block_shb()
            return None
        if not 12 <= length <= _BLOCK_BYTES or length % 4:
            self.damaged = True
            raise EOFError
        block = self.f.read(length - 8)
        if len(block) < length - 8 or block[-4:] != head[4:]:
            self.damaged = True
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
        number, high, low, captured_bytes, _ = self._enhanced(block)
        if number >= len(self.interfaces):
            return None
        link, _, options = self.interfaces[number]
        ticks = high << 32 | low
        unit = options["tsresol"]
        self._time_ns = (ticks * 1000 if unit == 1_000_000 else ticks * NS_PER_S // unit) + options[
            "offset_ns"
        ]
        return block[20 : 20 + min(captured_bytes, size)], (self._time_ns, link)

    def _read_block_pkt(self, block: bytes, size: int) -> Any:
        number, _ = struct.unpack_from(self.endian + "HH", block)
        return self._read_block_epb(struct.pack(self.endian + "I", number) + block[4:], size)

    def _read_block_spb(self, block: bytes, size: int) -> Any:
        packet = super()._read_block_spb(block, size)
        return None if packet is None else (packet[0], (self._time_ns, self.interfaces[0][0]))
