"""
The packet import beside scapy's TCPSession, dpkt and tshark, on one generated capture.

    taskset -c 1 python -m benchmarks.pcap [--exchanges 5000] [--runs 3] [--format pcap|pcapng]

Rates are packets per CPU second of the process that reads, best of the runs (scapy's session once,
on a part of the file, since it is slow). Corpus: keep-alive connections of 20 exchanges, 16 of them
at a time, webhooks of 0.5 to 12 kB cut at an MSS of 1448, each segment acknowledged by the other side.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tabulate import tabulate

from captures.model import Exchange
from captures.writer import CaptureWriter, new_header
from recorder.importers.pcap import PcapSource

MSS = 1448
SCAPY_EXCHANGES = 300
ETHERNET = bytes(12) + b"\x08\x00"


class _Side:
    """One end of a connection: its address and its next sequence number."""

    def __init__(self, address: int, port: int, seq: int) -> None:
        self.address = struct.pack("!I", address)
        self.port = port
        self.seq = seq


def _packet(source: _Side, target: _Side, flags: int, payload: bytes = b"") -> bytes:
    tcp = struct.pack(
        "!HHIIBBHHH", source.port, target.port, source.seq, target.seq if flags & 16 else 0, 8 << 4, flags,
        65535, 0, 0,
    ) + b"\x01\x01\x08\x0a" + bytes(8)  # fmt: skip
    source.seq = (source.seq + len(payload) + bool(flags & 3)) & 0xFFFF_FFFF
    size = 20 + len(tcp) + len(payload)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, size, 0, 0x4000, 64, 6, 0) + source.address + target.address
    return ETHERNET + ip + tcp + payload


def _connection(number: int, exchanges: int, chance: random.Random) -> Iterator[bytes]:
    client = _Side(0x0A000001 + number % 250, 10_000 + number % 50_000, chance.getrandbits(32))
    server = _Side(0x0A010001, 80, chance.getrandbits(32))
    yield _packet(client, server, 2)
    yield _packet(server, client, 18)
    yield _packet(client, server, 16)
    for at in range(exchanges):
        body = b'{"id": %d, "text": "%s"}' % (at, b"x" * chance.randint(500, 12_000))
        request = (
            b"POST /api/hooks/%d HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: hooks/1.0\r\n"
            b"Content-Type: application/json\r\nX-Signature: sha256=%064x\r\nContent-Length: %d\r\n\r\n%s"
        ) % (number, chance.getrandbits(256), len(body), body)
        answer = b'{"ok": true, "id": %d}' % at
        response = (
            b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%s"
        ) % (len(answer), answer)
        for source, target, data in ((client, server, request), (server, client, response)):
            for start in range(0, len(data), MSS):
                yield _packet(source, target, 24, data[start : start + MSS])
                yield _packet(target, source, 16)
    yield _packet(client, server, 17)
    yield _packet(server, client, 17)
    yield _packet(client, server, 16)


def _interleaved(exchanges: int) -> Iterator[bytes]:
    chance = random.Random(7)
    count = max(1, exchanges // 20)
    waiting = [_connection(number, min(20, exchanges), chance) for number in range(count)]
    active = [waiting.pop() for _ in range(min(16, count))]
    while active:
        connection = chance.choice(active)
        packet = next(connection, None)
        if packet is not None:
            yield packet
            continue
        active.remove(connection)
        if waiting:
            active.append(waiting.pop())


def make_capture(path: Path, exchanges: int, kind: str) -> int:
    """Writes the corpus and gives its packets."""
    count = 0
    with path.open("wb") as file:
        if kind == "pcap":
            file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        else:
            file.write(struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28))
            file.write(struct.pack("<IIHHII", 1, 20, 1, 0, 262_144, 20))
        for data in _interleaved(exchanges):
            count += 1
            time_us = 1_700_000_000_000_000 + count * 20
            size = len(data)
            if kind == "pcap":
                file.write(struct.pack("<IIII", time_us // 1_000_000, time_us % 1_000_000, size, size) + data)
            else:
                padded = data + bytes(-size % 4)
                length = 32 + len(padded)
                head = struct.pack("<7I", 6, length, 0, time_us >> 32, time_us & 0xFFFF_FFFF, size, size)
                file.write(head + padded + struct.pack("<I", length))
    return count


def import_only(path: Path) -> int:
    """Our import up to the exchanges."""
    source = PcapSource(path)
    count = sum(isinstance(item, Exchange) for item in source.items())
    source.close()
    return count


def import_to_capture(path: Path) -> int:
    """Our import with the capture written."""
    source = PcapSource(path)
    out = path.with_suffix(".reel")
    with CaptureWriter.create(out, new_header(source="benchmark", started_wall_ns=0)) as writer:
        count = 0
        for item in source.items():
            if isinstance(item, Exchange):
                writer.write(item)
                count += 1
    source.close()
    out.unlink()
    return count


def read_with_dpkt(path: Path) -> int:
    """Ethernet, IP and TCP by dpkt, which has no reassembly."""
    import dpkt

    count = 0
    with path.open("rb") as file:
        reader = dpkt.pcap.UniversalReader(file)
        for _, data in reader:
            segment = dpkt.ethernet.Ethernet(data).data.data
            count += segment.data[:4] == b"POST"
    return count


def read_with_scapy(path: Path) -> int:
    """Session handling and HTTP layer of scapy itself."""
    from scapy.layers.http import HTTPRequest
    from scapy.sendrecv import sniff
    from scapy.sessions import TCPSession

    count = 0

    def note(packet: object) -> None:
        nonlocal count
        count += HTTPRequest in packet

    sniff(offline=str(path), session=TCPSession, prn=note, store=False, quiet=True)
    return count


def rate(read: Callable[[Path], int], path: Path, packets: int, runs: int) -> tuple[float, int]:
    """Packets per CPU second, and the requests found."""
    best, found = 0.0, 0
    for _ in range(runs):
        started = time.process_time()
        found = read(path)
        best = max(best, packets / (time.process_time() - started))
    return best, found


def tshark_rate(path: Path, packets: int) -> tuple[float, int]:
    """The same of tshark, listing its requests."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["tshark", "-r", str(path), "-Y", "http.request", "-T", "fields", "-e", "http.request.method"]
    listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return packets / spent, len(listed.split())


def main() -> int:
    """Print the table; 1 when the import is slower than 100,000 packets a second."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    parser.add_argument("--exchanges", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--format", choices=["pcap", "pcapng"], default="pcap")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "all", Path(folder) / "some"
        packets = make_capture(path, arguments.exchanges, arguments.format)
        few = make_capture(small, SCAPY_EXCHANGES, arguments.format)
        print(f"{packets} packets, {path.stat().st_size / 1e6:.0f} MB, {arguments.exchanges} exchanges")
        rows = [
            ("hookreel, to exchanges", *rate(import_only, path, packets, arguments.runs)),
            ("hookreel, to a capture", *rate(import_to_capture, path, packets, arguments.runs)),
        ]
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            rows.append(("dpkt (no reassembly)", *rate(read_with_dpkt, path, packets, arguments.runs)))
        except ImportError:
            print("dpkt is not installed", file=sys.stderr)
        if shutil.which("tshark"):
            rows.append(("tshark", *tshark_rate(path, packets)))
        rows.append((f"scapy TCPSession ({few} packets)", *rate(read_with_scapy, small, few, 1)))
    print(tabulate(rows, headers=["reader", "packets/CPU-s", "requests found"], floatfmt=",.0f"))
    print(f"peak RSS of this process after ours: {peak_kib / 1024:.0f} MiB")
    return 0 if rows[0][1] >= 100_000 else 1


if __name__ == "__main__":
    sys.exit(main())
