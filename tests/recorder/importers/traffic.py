"""Generated traffic for the packet import, and what may happen to it on the way to a capture."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from captures.model import Exchange, Message, Response
from recorder.importers.pcap import PcapSource
from recorder.importers.tcp import Limits
from tests.recorder.importers.packets import MASK, MS, START_NS, Packet, Talk, moved

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
_ALPHABET = b"abc {}\r\n"


def read_pcap(path: Path, limits: Limits | None = None) -> tuple[list[Exchange], list[Message], PcapSource]:
    """The exchanges by number, the messages, and the source with its account."""
    source = PcapSource(path, limits=limits)
    items = list(source.items())
    source.close()
    exchanges = sorted((item for item in items if isinstance(item, Exchange)), key=lambda each: each.seq)
    return exchanges, [item for item in items if isinstance(item, Message)], source


def answered_by_its_own(exchange: Exchange) -> bool:
    """Whether the response, if there is one, was made for this request."""
    if not isinstance(exchange.outcome, Response):
        return True
    return dict(exchange.outcome.headers)[b"X-For"] == exchange.request.target


def request(chance: random.Random, target: str) -> bytes:
    """Any request, with a body where its method has one."""
    method = chance.choice(METHODS)
    head = f"{method} {target} HTTP/1.1\r\nHost: shop.test\r\nX-Id: {chance.random()}\r\n".encode()
    if method in {"GET", "HEAD", "OPTIONS", "DELETE"}:
        return head + b"\r\n"
    body = bytes(chance.choices(_ALPHABET, k=chance.randint(0, 3000)))
    if chance.random() < 0.3:
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(chance, body)
    return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def chunked(chance: random.Random, body: bytes) -> bytes:
    """``body`` in chunks of any sizes."""
    parts = []
    while body:
        size = chance.randint(1, 800)
        piece, body = body[:size], body[size:]
        parts.append(b"%x\r\n%s\r\n" % (len(piece), piece))
    return b"".join(parts) + b"0\r\n\r\n"


def response(chance: random.Random, request_line: bytes) -> bytes:
    """Any response; it says which target it is for."""
    method, target, *_ = request_line.split(b" ", 2)
    mark = b"\r\nX-For: %s\r\n" % target
    if chance.random() < 0.1:
        return b"HTTP/1.1 204 No Content" + mark + b"\r\n"
    status = chance.choice((b"200 OK", b"404 Not Found", b"500 Oh", b"201 Created"))
    body = bytes(chance.choices(_ALPHABET, k=chance.randint(0, 6000)))
    head = b"HTTP/1.1 " + status + mark
    if chance.random() < 0.3:
        body, head = gzip.compress(body), head + b"Content-Encoding: gzip\r\n"
    if chance.random() < 0.4:
        head, sent = head + b"Transfer-Encoding: chunked\r\n\r\n", chunked(chance, body)
    else:
        head, sent = head + b"Content-Length: %d\r\n\r\n" % len(body), body
    return head if method == b"HEAD" else head + sent


def traffic(
    kind: str, seed: int, *, connections: int = 3, pipelined: bool = False, near_wrap: bool = False
) -> list[Packet]:
    """Connections at the same time, with keep-alive; targets and ports tell kinds and seeds apart."""
    chance = random.Random(f"{kind} {seed}")
    name = kind.replace(" ", "-")
    first_port = 1024 + zlib.crc32(f"{kind} {seed}".encode()) % 60_000
    packets: list[Packet] = []
    for number in range(connections):
        isns = (chance.getrandbits(32), chance.getrandbits(32))
        if near_wrap:
            isns = (MASK - chance.randint(0, 9000), MASK - chance.randint(0, 9000))
        talk = Talk(
            client=("10.0.0.1", first_port + number),
            isns=isns,
            mss=chance.choice((200, 536, 1460)),
            start_ns=START_NS + number * 7000,
            step_ns=MS // 10,
        ).open()
        asked = 0
        while asked < 12:
            group = chance.randint(2, 5) if pipelined else 1
            requests = [request(chance, f"/{name}/{seed}/c{number}/r{asked + at}") for at in range(group)]
            talk.client(b"".join(requests))
            talk.server(b"".join(response(chance, each) for each in requests))
            talk.pause(MS)
            asked += group
        packets += talk.close().packets
    return sorted(packets, key=lambda packet: packet.time_ns)


def reordered(packets: list[Packet], seed: int) -> list[Packet]:
    """Some segments captured up to three packets late."""
    chance = random.Random(seed)
    for _ in range(len(packets) // 20):
        at = chance.randrange(len(packets) - 10)
        if packets[at].payload:
            packets = moved(packets, at, at + chance.randint(1, 3))
    return packets


def sent_again(packets: list[Packet], seed: int, *, shift: bool = False, lost: bool = False) -> list[Packet]:
    """Some segments a second time a little later, in other pieces with ``shift``, only then with ``lost``."""
    chance = random.Random(seed)
    kept = []
    for packet in packets:
        if not packet.payload or chance.random() > 0.05:
            kept.append(packet)
            continue
        copy = replace(packet, time_ns=packet.time_ns + 90_000)
        if shift and len(packet.payload) > 20:
            cut = chance.randint(1, 15)
            copy = replace(copy, seq=(packet.seq + cut) & MASK, payload=packet.payload[cut:])
        kept += [copy] if lost else [packet, copy]
    return sorted(kept, key=lambda packet: packet.time_ns)


def without_some(
    packets: Sequence[Packet], seed: int, share: float, *, ports: Sequence[int] = ()
) -> list[Packet]:
    """The packets without a share of those with payload, from ``ports`` only if there are any."""
    chance = random.Random(seed)
    return [
        packet
        for packet in packets
        if not packet.payload or (ports and packet.source[1] not in ports) or chance.random() > share
    ]


DISTURBANCES: dict[str, Callable[[str, int], list[Packet]]] = {
    "nothing": traffic,
    "pipelining": lambda kind, seed: traffic(kind, seed, pipelined=True),
    "wrap": lambda kind, seed: traffic(kind, seed, near_wrap=True),
    "reordering": lambda kind, seed: reordered(traffic(kind, seed), seed),
    "retransmission": lambda kind, seed: sent_again(traffic(kind, seed), seed),
    "overlap": lambda kind, seed: sent_again(traffic(kind, seed), seed, shift=True),
    "loss": lambda kind, seed: sent_again(traffic(kind, seed), seed, lost=True),
    "all of it": lambda kind, seed: sent_again(
        reordered(traffic(kind, seed, pipelined=True, near_wrap=True), seed), seed, shift=True
    ),
}
GAPS: dict[str, Callable[[str, int], list[Packet]]] = {
    "gaps in responses": lambda kind, seed: without_some(traffic(kind, seed), seed, 0.08, ports=(80,)),
    "gaps anywhere": lambda kind, seed: without_some(traffic(kind, seed), seed, 0.05),
    "gaps in pipelined responses": lambda kind, seed: without_some(
        traffic(kind, seed, pipelined=True), seed, 0.05, ports=(80,)
    ),
    "gaps anywhere in pipelined traffic": lambda kind, seed: without_some(
        traffic(kind, seed, pipelined=True), seed, 0.05
    ),
}
