from __future__ import annotations

import contextlib
import errno
import gzip
import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures.errors import CaptureError, UsageError
from captures.model import Exchange, Failure, FailureReason, Message, MessageKind, Response
from captures.reader import CaptureReader
from recorder.importers import pcap
from recorder.importers.intake import import_files
from recorder.importers.pcap import PcapSource, open_pcap
from recorder.importers.tcp import Limits
from tests.recorder.importers.packets import (
    ACK,
    ETHERNET,
    LOOP,
    MASK,
    MS,
    NULL,
    RAW,
    RST,
    SLL,
    SLL2,
    START_NS,
    Packet,
    Talk,
    data_packets,
    frames,
    moved,
    ng_block,
    ng_interface,
    ng_packet,
    ng_section,
    write_pcap,
    write_pcapng,
)
from tests.recorder.importers.traffic import DISTURBANCES, GAPS, answered_by_its_own, read_pcap

GET = b"GET /a?b=1 HTTP/1.1\r\nHost: shop.test\r\nX-Case: kept  \r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n".encode()


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def read(path: Path, **options) -> tuple[list[Exchange], list[Message], PcapSource]:
    source = PcapSource(path, **options)
    items = list(source.items())
    source.close()
    assert source._output.memory.used_bytes == 0
    exchanges = sorted((item for item in items if isinstance(item, Exchange)), key=lambda each: each.seq)
    assert len({exchange.seq for exchange in exchanges}) == len(exchanges)
    return exchanges, [item for item in items if isinstance(item, Message)], source


@pytest.fixture
def imported(tmp_path: Path):
    """Writes packets to a file and reads its exchanges, messages and source."""

    def run(packets: list[Packet], **options):
        return read(write_pcap(tmp_path / "made.pcap", frames(packets)), **options)

    return run


def paths(exchanges: list[Exchange]) -> list[str]:
    return [exchange.request.target.decode() for exchange in exchanges]


def bodies(exchanges: list[Exchange]) -> list[bytes | None]:
    return [
        exchange.outcome.body if isinstance(exchange.outcome, Response) else None for exchange in exchanges
    ]


def test_one_exchange(imported) -> None:
    """A request and its response become an exchange with their own times."""
    exchanges, _, source = imported(Talk().open().client(GET).pause(9 * MS).server(OK).close().packets)
    (exchange,) = exchanges
    request, response = exchange.request, exchange.outcome
    assert (request.method, request.target, request.authority) == (b"GET", b"/a?b=1", b"shop.test")
    assert (request.scheme, request.http_version) == (b"http", b"HTTP/1.1")
    assert request.headers == ((b"Host", b"shop.test"), (b"X-Case", b"kept"))
    assert isinstance(response, Response)
    assert (response.status, response.reason, response.body) == (200, b"OK", b"hello")
    assert source.started_wall_ns == START_NS
    assert (exchange.offset_ns, exchange.request_end_ns) == (3 * MS, 3 * MS)
    assert (response.offset_ns, response.end_ns) == (14 * MS, 14 * MS)
    assert (source.tally.dropped, source.tally.in_flight) == (0, 0)
    assert source.format == "pcap"


def test_times_of_first_and_last_byte(imported) -> None:
    """A message that takes several segments begins with the first and ends with the last."""
    talk = Talk(mss=10).open().client(b"POST / HTTP/1.1\r\nContent-Length: 15\r\n\r\n" + b"x" * 15)
    sent_packets = len(talk.packets)
    (exchange,), _, _ = imported(talk.server(ok(b"y" * 33)).close().packets)
    assert (exchange.offset_ns, exchange.request_end_ns) == (3 * MS, (sent_packets - 2) * MS)
    assert isinstance(exchange.outcome, Response)
    assert exchange.outcome.offset_ns == sent_packets * MS
    assert exchange.outcome.end_ns == (len(talk.packets) - 5) * MS


@pytest.mark.parametrize("link", [ETHERNET, NULL, RAW, LOOP, SLL, SLL2])
def test_link_types(tmp_path: Path, link: int) -> None:
    """Files of every link type are read."""
    packets = Talk().open().client(GET).server(OK).close().packets
    exchanges, _, _ = read(write_pcap(tmp_path / "made.pcap", frames(packets, link), link=link))
    assert bodies(exchanges) == [b"hello"]


def test_ipv6_and_vlan(tmp_path: Path) -> None:
    """IPv6 inside VLAN tags is read, and without a Host header the server's address stands for it."""
    talk = Talk(client=("fd00::1", 40000), server=("fd00::2", 8080)).open()
    packets = talk.client(b"GET / HTTP/1.0\r\n\r\n").server(OK).close().packets
    tags = b"\x88\xa8\x00\x07\x81\x00\x00\x05"
    exchanges, _, _ = read(write_pcap(tmp_path / "made.pcap", frames(packets, tags=tags)))
    assert exchanges[0].request.authority == b"[fd00::2]:8080"


@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_classic_files(tmp_path: Path, nano: bool, order: str) -> None:
    """Both byte orders and both time units of classic pcap are read."""
    packets = Talk(start_ns=START_NS + 123_456_789).open().client(GET).server(OK).close().packets
    path = write_pcap(tmp_path / "made.pcap", frames(packets), nano=nano, order=order)
    exchanges, _, source = read(path)
    assert source.started_wall_ns == START_NS + (123_456_789 if nano else 123_456_000)
    assert exchanges[0].offset_ns == 3 * MS


@pytest.mark.parametrize(
    ("resolution", "per_second"),
    [(None, 10**6), (9, 10**9), (3, 10**3), (0x80 | 20, 2**20)],
    ids=["default", "ns", "ms", "2^-20"],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_times(tmp_path: Path, resolution: int | None, per_second: int, order: str) -> None:
    """if_tsresol and if_tsoffset of the interface say what its times mean."""
    records = frames(Talk(start_ns=START_NS).open().client(GET).server(OK).close().packets)
    blocks = [ng_section(order), ng_interface(resolution=resolution, offset_s=1000, order=order)]
    for time_ns, data in records:
        blocks.append(ng_packet((time_ns - 10**12) * per_second // 10**9, data, order=order))
    path = tmp_path / "made.pcapng"
    path.write_bytes(b"".join(blocks))
    exchanges, _, source = read(path)
    assert source.started_wall_ns == START_NS
    assert abs(exchanges[0].offset_ns - 3 * MS) <= 10**9 // per_second


def test_pcapng_interfaces_and_sections(tmp_path: Path) -> None:
    """Interfaces differ in link type and time unit, and are numbered anew in each section."""
    first = frames(Talk().open().client(get("/1")).server(OK).close().packets)
    second = frames(Talk(client=("10.0.0.3", 50000)).open().client(get("/2")).server(OK).packets, SLL)
    third = frames(Talk(client=("10.0.0.4", 50000)).open().client(get("/3")).server(OK).packets, RAW)
    blocks = [ng_section(), ng_interface(), ng_interface(SLL, resolution=9)]
    for (time_ns, data), (time2_ns, data2) in zip(first, second, strict=False):
        blocks += [ng_packet(time_ns // 1000, data), ng_packet(time2_ns, data2, interface=1)]
    blocks += [ng_block(0x0BAD, b"what is this"), ng_section(">"), ng_interface(RAW, resolution=9, order=">")]
    blocks += [ng_packet(time_ns, data, order=">") for time_ns, data in third]
    path = tmp_path / "made.pcapng"
    path.write_bytes(b"".join(blocks))
    exchanges, _, _ = read(path)
    assert sorted(paths(exchanges)) == ["/1", "/2", "/3"]
    assert {exchange.connection for exchange in exchanges} == {0, 1, 2}


def test_pcapng_simple_and_old_packet_blocks(tmp_path: Path) -> None:
    """Simple packet blocks, which have no time, and the obsolete packet block are read."""
    records = frames(Talk().open().client(GET).server(OK).packets)
    blocks = [ng_section(), ng_interface()]
    for at, (time_ns, data) in enumerate(records):
        ticks, size = time_ns // 1000, len(data)
        if at % 2:
            blocks.append(ng_block(3, struct.pack("<I", size) + data))
        else:
            head = struct.pack("<HH4I", 0, 0, ticks >> 32, ticks & MASK, size, size)
            blocks.append(ng_block(2, head + data))
    path = tmp_path / "made.pcapng"
    path.write_bytes(b"".join(blocks))
    assert bodies(read(path)[0]) == [b"hello"]


def test_gzipped_file(tmp_path: Path) -> None:
    """A gzipped capture is read as it is, all its sections too."""
    records = frames(Talk().open().client(GET).server(OK).packets)
    for write, sections in ((write_pcap, 1), (write_pcapng, 1), (write_pcapng, 2)):
        path = write(tmp_path / "made", records)
        other = frames(Talk(client=("10.0.0.9", 40_000)).open().client(GET).server(OK).packets)
        behind = write(tmp_path / "behind", other).read_bytes() * (sections - 1)
        path.write_bytes(gzip.compress(path.read_bytes() + behind))
        exchanges, _, source = read(path)
        assert bodies(exchanges) == [b"hello"] * sections
        assert not source.tally.remarks


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (ng_block(6, bytes(8)), "packet block that is too short for a packet, left out"),
        (ng_block(3, b""), "packet block that is too short for a packet, left out"),
        (
            ng_packet(1, bytes(60), interface=7),
            "packet of an interface that the file does not describe, left out",
        ),
        (ng_packet(2**64 - 1, bytes(60)), "packet with a time that cannot be, left out"),
    ],
    ids=["short", "short simple", "undescribed interface", "impossible time"],
)
@pytest.mark.parametrize("place", [2, 3, 6])
def test_pcapng_packets_that_cannot_be_taken(tmp_path: Path, odd: bytes, why: str, place: int) -> None:
    """A block that holds no packet is told of, wherever it is, and the file goes on behind it."""
    records = frames(Talk().open().client(GET).server(OK).packets)
    blocks = [ng_section(), ng_interface(resolution=9), *(ng_packet(*record) for record in records)]
    (tmp_path / "odd.pcapng").write_bytes(b"".join([*blocks[:place], odd, *blocks[place:]]))
    exchanges, _, source = read(tmp_path / "odd.pcapng")
    assert bodies(exchanges) == [b"hello"]
    assert source.started_wall_ns == START_NS
    assert source.tally.remarks == {why: 1}


def test_pcapng_time_offset_that_cannot_be(tmp_path: Path) -> None:
    """A file all of whose packets have impossible times is imported as one without packets."""
    records = frames(Talk().open().client(GET).server(OK).packets)
    blocks = [ng_section(), ng_interface(offset_s=2**62), *(ng_packet(*record) for record in records)]
    (tmp_path / "odd.pcapng").write_bytes(b"".join(blocks))
    (imported,) = import_files([tmp_path / "odd.pcapng"], tmp_path / "out.reel")
    assert imported.remarks == {"packet with a time that cannot be, left out": len(records)}
    assert imported.counters.seen == 0


@pytest.mark.parametrize(
    "odd",
    [ng_block(1, bytes(4)), ng_section()[:20], struct.pack("<II", 0x0A0D0D0A, 2**31) + bytes(40), b"\x06"],
    ids=["short interface", "cut section", "odd section", "cut"],
)
def test_pcapng_that_ends_by_damage(tmp_path: Path, odd: bytes) -> None:
    """A block that nothing can be read behind ends the import with a remark."""
    path = write_pcapng(tmp_path / "odd.pcapng", frames(Talk().open().client(GET).server(OK).packets))
    path.write_bytes(path.read_bytes() + odd)
    exchanges, _, source = read(path)
    assert bodies(exchanges) == [b"hello"]
    assert source.tally.remarks == {"damaged block, after which nothing can be read": 1}


class FailingDisk(io.BytesIO):
    """Cannot be read behind what it holds."""

    def readinto(self, buffer) -> int:
        return super().readinto(buffer) or self.fail()

    def fail(self) -> int:
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
def test_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write) -> None:
    """A disk that cannot be read any more is no clean end of a file."""
    path = write(tmp_path / "made", frames(Talk().open().client(GET).server(OK).packets))
    disk = FailingDisk(path.read_bytes())
    monkeypatch.setattr(pcap, "open_bytes", lambda *_: io.BufferedReader(disk))
    exchanges, _, source = read(path)
    assert bodies(exchanges) == [b"hello"]
    assert sum(source.tally.remarks.values()) == 1


def test_what_is_no_capture(tmp_path: Path) -> None:
    """Other files and absent ones are refused with what to do."""
    path = tmp_path / "other"
    path.write_bytes(b"GIF89a and more")
    with pytest.raises(CaptureError, match="does not begin as a whole pcap"):
        open_pcap(path)
    path.write_bytes(b"\x0a\x0d\x0d\x0a\x00\x00")
    with pytest.raises(CaptureError, match="does not begin as a whole pcap"):
        open_pcap(path)
    with pytest.raises(UsageError, match="cannot be read"):
        open_pcap(tmp_path / "absent")


def test_file_without_packets(tmp_path: Path) -> None:
    """An empty capture has no exchanges."""
    exchanges, _, source = read(write_pcap(tmp_path / "made.pcap", []))
    assert (exchanges, source.started_wall_ns) == ([], 0)


def test_real_capture() -> None:
    """What dumpcap wrote of nginx and its clients on the loopback is what nginx logged, in its order."""
    exchanges, _, source = read_pcap(Path(__file__).parent / "data" / "nginx.pcapng")
    logged = [
        *("GET /some.txt?1 200", "POST /api/2 201", "HEAD /some.txt?3 200", "PUT /api/4 201"),
        *("GET /none?5 204", "DELETE /missing/6 405"),
        *(f"GET /small.json?pipelined={at} 200" for at in range(3)),
    ]
    logged = [*logged, *logged, "GET /some.txt?h2 200", "POST /api/7 200"]  # by IPv4, IPv6, then HTTP/2
    assert logged == [
        f"{exchange.request.method.decode()} {exchange.request.target.decode()} {exchange.outcome.status}"
        for exchange in exchanges
        if isinstance(exchange.outcome, Response)
    ]
    assert len(gzip.decompress(bodies(exchanges)[0] or b"")) == 1500
    assert exchanges[1].request.body == b"x" * 3000
    assert exchanges[3].request.body == b"abc" * 10 + b"def" * 10
    assert bodies(exchanges)[-2:] == [gzip.decompress(bodies(exchanges)[0] or b""), b"h2 ok"]
    assert exchanges[-1].request.body == b"hello"
    assert source.tally.remarks == {}


def test_no_http_as_an_answer(imported) -> None:
    """A response that is no HTTP is a Failure, also in the middle of a chunked body."""
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nwhat?\r\n"
    for answer in (b"\x00\x01\x02\x03 binary", chunks, b"HTTP/1.1 20x OK\r\n\r\n"):
        (exchange,), _, _ = imported(Talk().open().client(GET).server(answer).close().packets)
        assert isinstance(exchange.outcome, Failure)
        assert exchange.outcome.reason is FailureReason.PROTOCOL_ERROR


def test_keep_alive(imported) -> None:
    """Requests one after the other on one connection each get their own response."""
    talk = Talk().open()
    for at in range(20):
        talk.client(get(f"/{at}")).server(ok(b"%d" % at))
    exchanges, _, _ = imported(talk.close().packets)
    assert paths(exchanges) == [f"/{at}" for at in range(20)]
    assert bodies(exchanges) == [b"%d" % at for at in range(20)]
    assert {exchange.connection for exchange in exchanges} == {0}


def test_pipelining(imported) -> None:
    """Requests sent together get the responses in their order, HEAD and 204 without a body."""
    asked = get("/0") + get("/1").replace(b"GET", b"HEAD") + get("/2") + get("/3") + get("/4")
    answers = (
        ok(b"zero")
        + b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"
        + b"HTTP/1.1 204 No Content\r\n\r\n"
        + b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"
        + ok(b"four")
    )
    exchanges, _, _ = imported(Talk(mss=37).open().client(asked).server(answers).close().packets)
    assert bodies(exchanges) == [b"zero", b"", b"", b"", b"four"]


def test_chunked_with_trailers(imported) -> None:
    """Chunked bodies lose their coding and keep their trailers, in both directions."""
    asked = (
        b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n"
        b"7\r\n0\r\n\r\n\r\n\r\n0\r\nX-End: yes\r\nX-Two: b\r\n\r\n"
    )
    for mss in (1, 7, 1460):
        talk = Talk(mss=mss).open().client(asked + get("/next")).server(answer + OK).close()
        exchanges, _, _ = imported(talk.packets)
        assert exchanges[0].request.body == b"hello world"
        assert exchanges[0].request.trailers == ((b"X-Sum", b"1"),)
        response = exchanges[0].outcome
        assert isinstance(response, Response)
        assert response.body == b"0\r\n\r\n\r\n"
        assert response.trailers == ((b"X-End", b"yes"), (b"X-Two", b"b"))
        assert bodies(exchanges)[1] == b"hello"


def test_content_coding_is_kept(imported) -> None:
    """A gzipped body stays gzipped."""
    body = gzip.compress(b"hello" * 100)
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    exchanges, _, _ = imported(Talk().open().client(GET).server(answer).close().packets)
    assert bodies(exchanges) == [body]


def test_body_until_the_connection_ends(imported) -> None:
    """A response without a length ends with the connection."""
    answer = b"HTTP/1.0 200 OK\r\n\r\n" + b"long " * 1000
    exchanges, _, _ = imported(Talk().open().client(GET).server(answer).close().packets)
    assert bodies(exchanges) == [b"long " * 1000]


def test_interim_responses(imported) -> None:
    """100 Continue and 103 Early Hints answer nothing."""
    talk = Talk().open().client(b"POST /up HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    talk.server(b"HTTP/1.1 100 Continue\r\n\r\n").client(b"abc")
    talk.server(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK)
    (exchange,), _, _ = imported(talk.close().packets)
    assert exchange.request.body == b"abc"
    assert bodies([exchange]) == [b"hello"]


def test_odd_but_real_messages(imported) -> None:
    """Unusual methods, bare line feeds, blank lines before a request, folded and broken headers pass."""
    asked = (
        b"\r\nPATCH /p HTTP/1.1\nHost: a\nX: 1\n\n"
        b"QUERY /q HTTP/1.1\r\nHost: a\r\nX-Fold: a\r\n b\r\nnot a header\r\n\r\n"
        b"M-SEARCH * HTTP/1.1\r\nHost: a\r\n\r\n"
        b"GET http://user@other.test:81/abs?x HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    exchanges, _, source = imported(Talk().open().client(asked).server(OK * 4).close().packets)
    assert [exchange.request.method for exchange in exchanges] == [b"PATCH", b"QUERY", b"M-SEARCH", b"GET"]
    assert exchanges[1].request.headers == ((b"Host", b"a"), (b"X-Fold", b"a b"))
    assert exchanges[3].request.authority == b"other.test:81"
    assert exchanges[3].request.target == b"/abs?x"
    assert source.tally.remarks == {"header line that is no header, left out": 1}


def sample(mss: int = 200) -> Talk:
    """Ten exchanges of several segments each on one connection."""
    talk = Talk(mss=mss).open()
    for at in range(10):
        body = b"%d" % at * 700
        talk.client(b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 700\r\n\r\n%s" % (at, body))
        talk.server(ok(body))
    return talk.close()


def check_sample(exchanges: list[Exchange]) -> None:
    assert paths(exchanges) == [f"/{at}" for at in range(10)]
    assert [exchange.request.body for exchange in exchanges] == [b"%d" % at * 700 for at in range(10)]
    assert bodies(exchanges) == [b"%d" % at * 700 for at in range(10)]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_reordering_and_retransmission(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Packets that are captured late, twice or again in other pieces change nothing."""
    packets = sample().packets
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(3, len(packets) - 5))
        packets = moved(packets, at, min(len(packets) - 4, at + data.draw(st.integers(1, 6))))
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(3, len(packets) - 5))
        cut = data.draw(st.integers(0, 150))
        again = packets[at]
        again = replace(again, seq=(again.seq + cut) & MASK, payload=again.payload[cut:])
        packets = [*packets[: at + 1], again, *packets[at + 1 :]]
    path = write_pcap(tmp_path_factory.mktemp("pcap") / "made.pcap", frames(packets))
    exchanges, _, source = read(path)
    check_sample(exchanges)
    assert source.tally.remarks == {}


@pytest.mark.parametrize("kind", DISTURBANCES)
@pytest.mark.parametrize("seed", [11, 12])
def test_generated_traffic(imported, kind: str, seed: int) -> None:
    """Whatever happened on the way, each request has its own response and nothing is missing or cut."""
    exchanges, _, source = imported(DISTURBANCES[kind](kind, seed))
    assert len(exchanges) >= 36
    assert all(isinstance(exchange.outcome, Response) for exchange in exchanges)
    assert all(answered_by_its_own(exchange) for exchange in exchanges)
    assert not any(exchange.request.truncated_bytes for exchange in exchanges)
    assert source.tally.remarks == {}


@pytest.mark.parametrize("kind", GAPS)
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_generated_traffic_with_gaps(imported, kind: str, seed: int) -> None:
    """Whatever is missing, no response is given to a request that is not its own."""
    packets = GAPS[kind](kind, seed)
    exchanges, _, source = imported(packets)
    assert all(answered_by_its_own(exchange) for exchange in exchanges)
    if kind == "gaps anywhere":
        assert len(exchanges) + source.tally.dropped == 36
    if "responses" in kind:
        assert len(exchanges) >= 36
        assert source.tally.dropped == 0


@pytest.mark.parametrize("isn", [MASK, MASK - 1, MASK - 300, MASK - 3000])
def test_sequence_wrap(imported, isn: int) -> None:
    """Numbers that wrap in the middle of a message change nothing."""
    talk = Talk(isns=(isn, isn - 100), mss=200).open()
    for at in range(10):
        body = b"%d" % at * 700
        talk.client(b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 700\r\n\r\n%s" % (at, body))
        talk.server(ok(body))
    check_sample(imported(talk.close().packets)[0])


@pytest.mark.parametrize("side", ["10.0.0.1", "10.0.0.2"])
def test_gap_in_a_body_of_known_length(imported, side: str) -> None:
    """Missing body bytes cut and mark the one message that lacks them; the place is kept."""
    packets = sample().packets
    port = 40000 if side == "10.0.0.1" else 80
    own = [at for at in data_packets(packets, (side, port)) if packets[at].payload == b"4" * 200]
    missing = packets.pop(own[1])
    exchanges, _, _ = imported(packets)
    assert paths(exchanges) == [f"/{at}" for at in range(10)]
    damaged = exchanges[4]
    message = damaged.request if side == "10.0.0.1" else damaged.outcome
    assert not isinstance(message, Failure)
    assert len(message.body) + message.truncated_bytes == 700
    assert message.truncated_bytes >= len(missing.payload)
    assert message.body.ljust(700, b"4") == b"4" * 700
    assert bodies(exchanges[:4] + exchanges[5:]) == [b"%d" % at * 700 for at in (0, 1, 2, 3, 5, 6, 7, 8, 9)]


def test_gap_with_a_response_head(imported) -> None:
    """A response whose head is missing is a Failure; those after it find their requests again."""
    packets = sample().packets
    heads = [at for at in data_packets(packets, ("10.0.0.2", 80)) if packets[at].payload[:4] == b"HTTP"]
    packets.pop(heads[4])
    exchanges, _, _ = imported(packets)
    assert paths(exchanges) == [f"/{at}" for at in range(10)]
    assert isinstance(exchanges[4].outcome, Failure)
    assert bodies(exchanges) == [b"%d" % at * 700 if at != 4 else None for at in range(10)]


def test_gap_with_whole_exchanges(imported) -> None:
    """Exchanges that are not in the file at all leave the others with their own responses."""
    packets = sample().packets
    first = next(at for at, packet in enumerate(packets) if packet.payload.startswith(b"POST /3 "))
    last = next(at for at, packet in enumerate(packets) if packet.payload.startswith(b"POST /6 "))
    exchanges, _, _ = imported(packets[:first] + packets[last:])
    assert paths(exchanges) == [f"/{at}" for at in (0, 1, 2, 6, 7, 8, 9)]
    assert bodies(exchanges) == [b"%d" % at * 700 for at in (0, 1, 2, 6, 7, 8, 9)]


def test_gap_with_a_request(imported) -> None:
    """A response whose request is missing is counted as dropped and given to no other."""
    packets = sample().packets
    first = next(at for at, packet in enumerate(packets) if packet.payload.startswith(b"POST /3 "))
    missing = set(range(first, first + 8))
    exchanges, _, source = imported([packet for at, packet in enumerate(packets) if at not in missing])
    assert paths(exchanges) == [f"/{at}" for at in (0, 1, 2, 4, 5, 6, 7, 8, 9)]
    assert bodies(exchanges) == [b"%d" % at * 700 for at in (0, 1, 2, 4, 5, 6, 7, 8, 9)]
    assert source.tally.dropped == 1


def test_gap_in_a_request_head(imported) -> None:
    """A request whose head is not whole is dropped together with its response."""
    packets = sample(mss=20).packets
    at = next(at for at, packet in enumerate(packets) if packet.payload.startswith(b"POST /3 "))
    packets.pop(at + 2)
    exchanges, _, source = imported(packets)
    assert bodies(exchanges) == [b"%d" % at * 700 for at in (0, 1, 2, 4, 5, 6, 7, 8, 9)]
    assert source.tally.dropped == 1


def test_gap_in_chunks(imported) -> None:
    """After a gap that hides a chunk's size the next response is found at the next head."""
    chunks = b"".join(b"64\r\n" + bytes([97 + at]) * 100 + b"\r\n" for at in range(20)) + b"0\r\n\r\n"
    talk = Talk(mss=150).open()
    for at in range(4):
        talk.client(get(f"/{at}")).server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    packets = talk.close().packets
    heads = [at for at in data_packets(packets, ("10.0.0.2", 80)) if packets[at].payload[:4] == b"HTTP"]
    packets.pop(heads[1] + 8)
    exchanges, _, _ = imported(packets)
    damaged = exchanges[1].outcome
    assert isinstance(damaged, Response)
    assert damaged.truncated_bytes > 0
    whole = b"".join(bytes([97 + at]) * 100 for at in range(20))
    assert whole.startswith(damaged.body)
    assert [bodies(exchanges)[at] for at in (0, 2, 3)] == [whole] * 3


def test_gap_among_pipelined_responses_is_no_guess(imported) -> None:
    """When a gap hides which response is whose, the requests fail; later ones are paired again."""
    answers = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n%03d\r\n0\r\n\r\n" % at for at in range(5)
    ]
    talk = Talk().open().client(b"".join(get(f"/{at}") for at in range(5)))
    for answer in answers:
        talk.server(answer)
    talk.client(get("/5")).server(ok(b"005"))
    packets = talk.close().packets
    packets.pop(data_packets(packets, ("10.0.0.2", 80))[1])
    exchanges, _, _ = imported(packets)
    assert paths(exchanges) == [f"/{at}" for at in range(6)]
    assert bodies(exchanges) == [b"000", None, None, None, None, b"005"]


def test_cut_packets_are_gaps(tmp_path: Path) -> None:
    """Packets cut by a small snapshot length lose their rest, and that is marked."""
    talk = Talk(mss=700).open()
    for at in range(5):
        talk.client(get(f"/{at}")).server(ok(b"x" * 3000))
    path = write_pcap(tmp_path / "made.pcap", frames(talk.close().packets), snap_bytes=200)
    exchanges, _, _ = read(path)
    assert paths(exchanges) == [f"/{at}" for at in range(5)]
    for exchange in exchanges:
        assert isinstance(exchange.outcome, Response)
        assert exchange.outcome.body == b"x" * len(exchange.outcome.body)
        assert len(exchange.outcome.body) + exchange.outcome.truncated_bytes == 3000


def test_start_in_the_middle(imported) -> None:
    """A capture that begins inside a response waits for the next request."""
    talk = Talk().skip_open().server(b"tail of something\r\n").client(get("/1")).server(OK)
    exchanges, _, source = imported(talk.client(get("/2")).server(OK).packets)
    assert bodies(exchanges) == [b"hello", b"hello"]
    assert (source.tally.dropped, source.tally.in_flight) == (0, 0)


def test_start_between_request_and_response(imported) -> None:
    """A response whose request is before the capture is counted as dropped."""
    talk = Talk().skip_open().server(OK).client(get("/1")).server(ok(b"one")).close()
    exchanges, _, source = imported(talk.packets)
    assert bodies(exchanges) == [b"one"]
    assert source.tally.dropped == 1


def test_only_the_clients_side(imported) -> None:
    """With the server's direction missing, the requests are kept as Failures."""
    packets = [packet for packet in sample().packets if packet.source[1] == 40000]
    exchanges, _, _ = imported(packets)
    assert [exchange.request.body for exchange in exchanges] == [b"%d" % at * 700 for at in range(10)]
    for exchange in exchanges:
        assert isinstance(exchange.outcome, Failure)
        assert exchange.outcome.reason is FailureReason.OTHER


def test_only_the_servers_side(imported) -> None:
    """With the client's direction missing, the responses are counted as dropped."""
    exchanges, _, source = imported([packet for packet in sample().packets if packet.source[1] == 80])
    assert exchanges == []
    assert source.tally.dropped == 10


@pytest.mark.parametrize("end", range(4, 40, 3))
def test_file_that_ends_anywhere(imported, end: int) -> None:
    """What was cut by the capture's end is a Failure, marked, or counted as in flight."""
    packets = sample().packets[:end]
    exchanges, _, source = imported(packets)
    asked = sum(packet.payload.startswith(b"POST") for packet in packets)
    assert len(exchanges) + source.tally.in_flight == asked


def test_reset_in_a_response(imported) -> None:
    """A connection that the server resets, or the client, says whose fault the Failure is."""
    for side, reason in ((1, FailureReason.UPSTREAM_RESET), (0, FailureReason.CLIENT_DISCONNECTED)):
        talk = Talk().open().client(GET).server(OK[:-2])
        talk.add(side, RST | ACK)
        (exchange,), _, _ = imported(talk.packets)
        assert isinstance(exchange.outcome, Failure)
        assert exchange.outcome.reason is reason


def test_close_without_an_answer(imported) -> None:
    """A server that closes the connection instead of answering is a Failure of the upstream."""
    talk = Talk().open().client(GET)
    talk.add(1, 17)
    talk.add(0, 17)
    (exchange,), _, _ = imported(talk.packets)
    assert isinstance(exchange.outcome, Failure)
    assert exchange.outcome.reason is FailureReason.UPSTREAM_RESET


def test_ports_used_again(imported) -> None:
    """The same ports later are another connection."""
    first = Talk().open().client(get("/1")).server(OK)
    second = Talk(isns=(77_000, 99_000), start_ns=first.now_ns).open().client(get("/2")).server(OK).close()
    exchanges, _, _ = imported(first.packets + second.packets)
    assert paths(exchanges) == ["/1", "/2"]
    assert [exchange.connection for exchange in exchanges] == [0, 1]


def frame(payload: bytes, *, opcode: int = 1, mask: bytes = b"", flags: int = 0x80) -> bytes:
    size = len(payload)
    head = bytes([flags | opcode])
    bit = 0x80 if mask else 0
    head += bytes([bit | size]) if size < 126 else bytes([bit | 126]) + struct.pack("!H", size)
    if mask:
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return head + mask + payload


UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


@pytest.mark.parametrize("mss", [1, 3, 1460])
def test_websocket(imported, mss: int) -> None:
    """After 101 the frames of both sides become messages of the exchange, joined and unmasked."""
    talk = Talk(mss=mss).open().client(UPGRADE).server(SWITCHED + b"\r\n" + frame(b"welcome"))
    talk.client(frame(b"hel", mask=b"abcd", flags=0) + frame(b"", opcode=9, mask=b"abcd"))
    talk.client(frame(b"lo", opcode=0, mask=b"wxyz")).server(frame(b"x" * 300, opcode=2))
    talk.server(frame(b"\x03\xe8", opcode=8)).close()
    (exchange,), messages, _ = imported(talk.packets)
    assert isinstance(exchange.outcome, Response)
    assert (exchange.outcome.stream, exchange.outcome.end_ns) == (True, None)
    assert [(message.from_client, message.kind, message.payload) for message in messages] == [
        (False, MessageKind.TEXT, b"welcome"),
        (True, MessageKind.TEXT, b"hello"),
        (False, MessageKind.BINARY, b"x" * 300),
        (False, MessageKind.END, b""),
    ]
    offsets = [message.offset_ns for message in messages]
    assert offsets == sorted(offsets)


def test_websocket_deflate(imported) -> None:
    """Messages that were deflated, with a context that goes on, are inflated."""
    deflate = zlib.compressobj(wbits=-15)
    texts = [b"hello hello", b"hello again", b"hello hello again"]
    sent = b""
    for text in texts:
        packed = deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)
        sent += frame(packed[:-4], flags=0xC0)
    head = SWITCHED + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    _, messages, _ = imported(Talk(mss=9).open().client(UPGRADE).server(head + sent).packets)
    assert [message.payload for message in messages] == texts


def test_websocket_open_at_the_end(imported) -> None:
    """A WebSocket that was open when the capture ended has no END."""
    _, messages, _ = imported(
        Talk().open().client(UPGRADE).server(SWITCHED + b"\r\n" + frame(b"one")).packets
    )
    assert [message.kind for message in messages] == [MessageKind.TEXT]


def test_websocket_with_a_gap(imported) -> None:
    """A message with bytes missing is cut and marked, and the next one is whole."""
    talk = Talk(mss=100).open().client(UPGRADE).server(SWITCHED + b"\r\n")
    talk.server(frame(b"x" * 250)).server(frame(b"whole")).close()
    packets = talk.packets
    packets.pop(data_packets(packets, ("10.0.0.2", 80))[2])
    _, messages, _ = imported(packets)
    assert [(message.payload, message.truncated_bytes) for message in messages[:2]] == [
        (b"x" * 96, 154),
        (b"whole", 0),
    ]


def test_server_sent_events(imported) -> None:
    """An event stream becomes messages with the times of their last bytes."""
    talk = Talk().open().client(GET).server(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    talk.server(b"data: 1\n").pause(50 * MS).server(b"\n").server(b"data: 2\n\ndata: 3").close()
    (exchange,), messages, _ = imported(talk.packets)
    assert isinstance(exchange.outcome, Response)
    assert exchange.outcome.stream
    assert [message.payload for message in messages] == [b"data: 1\n\n", b"data: 2\n\n", b"data: 3", b""]
    assert messages[0].offset_ns - exchange.outcome.offset_ns == 54 * MS
    assert messages[-1].kind is MessageKind.END


def test_into_a_capture(tmp_path: Path) -> None:
    """Exchanges and the messages of streams can be written to a capture as they come, and read back."""
    talk = Talk(mss=5).open().client(UPGRADE).server(SWITCHED + b"\r\n" + frame(b"welcome"))
    path = write_pcap(tmp_path / "made.pcap", frames(talk.close().packets))
    (imported,) = import_files([path], tmp_path / "made.reel")
    assert (imported.counters.written, imported.messages, imported.format) == (1, 1, "pcap")
    with CaptureReader.open(tmp_path / "made.reel") as reader:
        assert reader.header.started_wall_ns == START_NS
        assert [message.payload for message in reader.messages()] == [b"welcome", b""]


def test_tunnel(imported) -> None:
    """What passes a CONNECT tunnel in clear is read as well."""
    talk = Talk().open().client(b"CONNECT shop.test:80 HTTP/1.1\r\nHost: shop.test:80\r\n\r\n")
    talk.server(b"HTTP/1.1 200 Connection established\r\n\r\n").client(GET).server(OK).close()
    exchanges, _, _ = imported(talk.packets)
    assert [exchange.request.method for exchange in exchanges] == [b"CONNECT", b"GET"]
    assert exchanges[0].request.authority == b"shop.test:80"
    assert bodies(exchanges) == [b"", b"hello"]


def test_tls_is_remarked(imported) -> None:
    """Connections with TLS are counted, so that an empty result explains itself."""
    exchanges, _, source = imported(Talk().open().client(b"\x16\x03\x01\x02\x00" + b"x" * 512).packets)
    assert exchanges == []
    assert source.tally.remarks == {"connection with TLS, whose exchanges cannot be read": 1}


@pytest.mark.parametrize(
    ("client", "server"),
    [
        (b"EHLO me\r\nMAIL FROM:<a@b.test>\r\n", b"250 ok\r\n"),
        (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
        (b"PING\r\n\r\n", b"+PONG\r\n"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"),
        (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"S"),
        (b"select 1 from /x\r\n\r\n", b"HTTP/"),
    ],
    ids=["smtp", "redis", "inline", "ssh", "postgres", "text"],
)
def test_other_protocols_are_nothing(imported, client: bytes, server: bytes) -> None:
    """Connections that speak no HTTP give neither exchanges nor drops, whoever speaks first."""
    for talk in (Talk().open().client(client).server(server), Talk().open().server(server).client(client)):
        exchanges, _, source = imported(talk.close().packets)
        assert (exchanges, source.tally.dropped, source.tally.in_flight) == ([], 0, 0)


def test_head_that_is_cut(imported) -> None:
    """A request whose head is cut is in flight when the file ends in it, and dropped when its sender left."""
    talk = Talk().open().client(GET[:-5])
    assert imported(talk.packets)[2].tally.in_flight == 1
    source = imported(talk.close().packets)[2]
    assert (source.tally.in_flight, source.tally.dropped) == (0, 1)


def test_large_bodies_are_cut(imported) -> None:
    """A body above the limit is stored cut, with what is left out counted."""
    (exchange,), _, _ = imported(
        Talk().open().client(GET).server(ok(b"x" * 10_000)).close().packets, max_body_bytes=4000
    )
    assert isinstance(exchange.outcome, Response)
    assert (exchange.outcome.body, exchange.outcome.truncated_bytes) == (b"x" * 4000, 6000)


def test_all_memory_is_bounded(imported) -> None:
    """Bodies of all open exchanges together take no more than the bound."""
    packets: list[Packet] = []
    for port in range(50):
        talk = Talk(client=("10.0.0.1", 40000 + port), start_ns=START_NS + port)
        packets += talk.open().client(GET).server(ok(b"x" * 20_000)).packets
    packets.sort(key=lambda packet: packet.time_ns)
    exchanges, _, _ = imported(packets, memory_bytes=100_000)
    assert len(exchanges) == 50
    stored = [len(body or b"") for body in bodies(exchanges)]
    assert sum(stored) <= 100_000 + 50 * 1460


def test_patience_is_an_option(imported) -> None:
    """How long a gap is waited for can be set."""
    packets = sample().packets
    at = next(at for at, packet in enumerate(packets) if packet.payload == b"4" * 200)
    packets = moved(packets, at, at + 20)
    check_sample(imported(packets)[0])
    exchanges, _, _ = imported(packets, limits=Limits(grace_ns=0))
    assert exchanges[4].request.truncated_bytes > 0


@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
def test_cut_file(tmp_path: Path, write) -> None:
    """A file cut anywhere gives what is whole in it, and never breaks."""
    whole = write(tmp_path / "whole", frames(sample().packets)).read_bytes()
    path = tmp_path / "cut"
    for size in range(30, len(whole), 977):
        path.write_bytes(whole[:size])
        exchanges, _, _ = read(path)
        assert paths(exchanges) == [f"/{at}" for at in range(len(exchanges))]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_file(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """What was answered before the first damaged byte is imported as it stood; damage may cost the rest."""
    folder = tmp_path_factory.mktemp("pcap")
    write = data.draw(st.sampled_from([write_pcap, write_pcapng]))
    whole = write(folder / "whole", frames(sample(mss=900).packets)).read_bytes()
    first = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[first] ^= data.draw(st.integers(1, 255))
    for _ in range(data.draw(st.integers(0, 7))):
        damaged[data.draw(st.integers(first, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (folder / "before").write_bytes(whole[:first])
    (folder / "damaged").write_bytes(damaged)
    before: list[Exchange] = []
    with contextlib.suppress(CaptureError):  # the damage is in the file's own header
        before = [
            item
            for item in read(folder / "before")[0]
            if isinstance(item.outcome, Response) and not item.outcome.truncated_bytes
        ]
    found: list[Exchange] = []
    try:
        found = read(folder / "damaged")[0]
    except CaptureError:
        assert not before
    assert [item for item in found if item in before] == before
