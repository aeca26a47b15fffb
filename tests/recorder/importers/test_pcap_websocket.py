from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.model import Message, MessageKind
from recorder.importers.http_exchange import Output
from recorder.importers.pcap_websocket import Deflate, WebSocketSide, agreed_deflate
from recorder.importers.tcp_half import Memory


def side(
    *, limit_bytes: int = 1 << 20, deflated: bool = False, resets: bool = False
) -> tuple[WebSocketSide, Output]:
    output = Output(Memory(1 << 30), max_body_bytes=limit_bytes)
    return WebSocketSide(output, 7, from_client=True, deflated=deflated, resets=resets), output


def frame(
    payload: bytes, *, opcode: int = 1, mask: bytes = b"", last: bool = True, packed: bool = False
) -> bytes:
    size = len(payload)
    bit = 0x80 if mask else 0
    head = bytes([last << 7 | packed << 6 | opcode])
    if size < 126:
        head += bytes([bit | size])
    elif size < 65_536:
        head += struct.pack("!BH", bit | 126, size)
    else:
        head += struct.pack("!BQ", bit | 127, size)
    if mask:
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return head + mask + payload


def payloads(output: Output) -> list[tuple[bytes, int]]:
    messages = [item for item in output.items if isinstance(item, Message)]
    return [(message.payload, message.truncated_bytes) for message in messages]


@given(
    st.lists(st.tuples(st.binary(max_size=300), st.sampled_from([b"", b"\x01\x02\x03\x04"]), st.booleans())),
    st.integers(1, 50),
)
def test_messages_cut_anywhere(messages: list[tuple[bytes, bytes, bool]], step: int) -> None:
    """Frames of any sizes, masked or not, in any pieces, give their messages with the last byte's time."""
    stream = b""
    ends = []
    for payload, mask, split in messages:
        half = len(payload) // 2
        if split:
            stream += frame(payload[:half], mask=mask, last=False) + frame(b"ping", opcode=9, mask=mask)
            stream += frame(payload[half:], mask=mask, opcode=0)
        else:
            stream += frame(payload, mask=mask)
        ends.append(len(stream))
    receiver, output = side()
    for at in range(0, len(stream), step):
        receiver.feed(stream[at : at + step], at, 0, 0)
    assert [payload for payload, _ in payloads(output)] == [payload for payload, _, _ in messages]
    times = [item.offset_ns for item in output.items if isinstance(item, Message)]
    assert times == [(end - 1) // step * step for end in ends]


def test_large_message() -> None:
    """A length of 64 bits is understood, and what is above the limit is counted."""
    receiver, output = side(limit_bytes=70_000)
    receiver.feed(frame(b"x" * 100_000, opcode=2) + frame(b"next"), 1, 0, 0)
    assert payloads(output) == [(b"x" * 70_000, 30_000), (b"next", 0)]
    first = output.items[0]
    assert isinstance(first, Message)
    assert (first.kind, first.from_client, first.exchange) == (MessageKind.BINARY, True, 7)


@pytest.mark.parametrize("resets", [False, True])
def test_deflate(resets: bool) -> None:
    """Messages are inflated, whether the context goes on or starts anew; others pass as they are."""
    receiver, output = side(deflated=True, resets=resets)
    packer = zlib.compressobj(wbits=-15)
    texts = [b"hello " * 50, b"hello again", b""]
    for text in texts:
        packed = packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH if resets else zlib.Z_SYNC_FLUSH)
        receiver.feed(frame(packed[:-4], packed=True), 1, 0, 0)
        if resets:
            packer = zlib.compressobj(wbits=-15)
    receiver.feed(frame(b"plain"), 2, 0, 0)
    assert payloads(output) == [*((text, 0) for text in texts), (b"plain", 0)]


def test_deflate_bomb() -> None:
    """A small frame that would become huge is stored up to the limit, and the next one is read."""
    receiver, output = side(deflated=True, limit_bytes=10_000)
    packer = zlib.compressobj(wbits=-15)
    for text in (b"0" * 5_000_000, b"next"):
        packed = packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)
        receiver.feed(frame(packed[:-4], packed=True), 1, 0, 0)
    assert payloads(output) == [(b"0" * 10_000, 4_990_000), (b"next", 0)]


def test_gap_in_deflated_messages() -> None:
    """After a gap in a context that goes on, messages that cannot be inflated are marked as cut."""
    receiver, output = side(deflated=True)
    packer = zlib.compressobj(wbits=-15)
    packed = [
        packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH) for text in (b"hello" * 9, b"hello" * 8)
    ]
    first = frame(packed[0][:-4], packed=True)
    receiver.feed(first[:4], 1, 0, 0)
    receiver.gap(2, len(first) - 4)
    receiver.feed(frame(packed[1][:-4], packed=True) + frame(b"plain"), 3, 0, 0)
    assert [truncated > 0 for _, truncated in payloads(output)] == [True, True, False]
    assert payloads(output)[2] == (b"plain", 0)


def test_gap_outside_a_payload() -> None:
    """When a frame's head is missing the rest of the direction is left out, and that is remarked once."""
    receiver, output = side()
    receiver.feed(frame(b"one"), 1, 0, 0)
    receiver.gap(2, 10)
    receiver.gap(2, 10)
    receiver.feed(frame(b"two"), 3, 0, 0)
    assert payloads(output) == [(b"one", 0)]
    assert sum(output.tally.remarks.values()) == 1


FRAMES = st.builds(
    frame,
    st.binary(max_size=40),
    opcode=st.integers(0, 15),
    mask=st.sampled_from([b"", b"\x01\x02\x03\x04"]),
    last=st.booleans(),
    packed=st.booleans(),
)


@given(st.lists(FRAMES | st.binary(max_size=20)).map(b"".join), st.booleans(), st.integers(1, 7))
def test_any_bytes_mean_the_same_in_any_pieces(data: bytes, deflated: bool, step: int) -> None:
    """Whatever the bytes, how they were cut changes no message and no remark, and none is invented."""
    (whole, output), (cut, cut_output) = side(deflated=deflated), side(deflated=deflated)
    whole.feed(data, 1, 0, 0)
    for at in range(0, len(data), step):
        cut.feed(data[at : at + step], 1, 0, 0)
    for receiver in (whole, cut):
        receiver.gap(1, 5)
        receiver.feed(data, 1, 0, 0)
    assert cut_output.items == output.items
    assert cut_output.tally.remarks == output.tally.remarks
    if not deflated:
        assert sum(len(payload) + missing for payload, missing in payloads(output)) <= 2 * len(data) + 5


def test_agreed_deflate() -> None:
    """What the server's answer says of permessage-deflate counts, in any of the ways to write it."""
    name = b"Sec-WebSocket-Extensions"
    assert agreed_deflate(((name, b"x-other"),)) is None
    assert agreed_deflate(((name, b"permessage-deflate"),)) == Deflate(
        client_resets=False, server_resets=False
    )
    headers = (
        (name, b"x-other"),
        (name.lower(), b"Permessage-Deflate; server_max_window_bits=10;client_no_context_takeover"),
    )
    assert agreed_deflate(headers) == Deflate(client_resets=True, server_resets=False)


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        (frame(b"whole"), 0),
        (frame(b"whole") + frame(b"ping", opcode=9)[:-1], 0),
        (frame(b"cut")[:-1], 1),
        (frame(b"first", last=False), 1),
        (frame(b"first", last=False) + frame(b"rest", opcode=0), 0),
    ],
    ids=["whole", "ping", "cut", "unfinished", "finished"],
)
def test_a_message_that_never_ends_is_told(stream: bytes, told: int) -> None:
    """What the file or its connection ends in the middle of is no message, and that is told."""
    one, output = side()
    one.feed(stream, 0, 0, 0)
    one.release()
    assert sum(output.tally.remarks.values()) == told
    assert output.memory.used_bytes == 0
