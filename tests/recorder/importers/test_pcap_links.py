from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.importers.pcap_links import ACK, DAMAGED, MAX_FRAGMENTED, Decoder
from tests.recorder.importers.packets import (
    ETHERNET,
    LOOP,
    NULL,
    RAW,
    SLL,
    SLL2,
    Packet,
    framed,
    ip_around,
    ip_packet,
)

V4 = Packet(
    time_ns=0,
    source=("10.0.0.1", 40000),
    target=("10.0.0.2", 80),
    seq=7,
    ack=9,
    flags=ACK,
    payload=b"GET / HTTP/1.1\r\n\r\n",
)
V6 = Packet(
    time_ns=0, source=("fd00::1", 40000), target=("fd00::2", 80), seq=7, ack=9, flags=ACK, payload=b"hello"
)
KEY4 = bytes([10, 0, 0, 1, 10, 0, 0, 2]) + struct.pack("!HH", 40000, 80)
TCP = ip_packet(V4)[20:]


def decode(frame: bytes, link: int = ETHERNET):
    return Decoder().decoders[link](frame)


@pytest.mark.parametrize("link", [ETHERNET, NULL, RAW, LOOP, SLL, SLL2])
@pytest.mark.parametrize("packet", [V4, V6], ids=["ipv4", "ipv6"])
def test_segment_in_every_link_type(link: int, packet: Packet) -> None:
    """The segment is found in each link type, with IPv4 and with IPv6."""
    segment = decode(framed(ip_packet(packet), link), link)
    assert segment is not None
    assert segment[1:] == (7, 9, ACK, packet.payload)


def test_key_is_addresses_then_ports() -> None:
    """A segment is known by its addresses and its ports as they stand in the packet."""
    segment = decode(framed(ip_packet(V4)))
    assert segment is not None
    assert segment[0] == KEY4


@pytest.mark.parametrize(
    "tags",
    [b"\x81\x00\x00\x05", b"\x88\xa8\x00\x07\x81\x00\x00\x05", b"\x91\x00\x00\x07\x81\x00\x00\x05"],
    ids=["vlan", "qinq", "older qinq"],
)
def test_vlan_tags_are_passed_over(tags: bytes) -> None:
    """One or several VLAN tags before the IP packet make no difference."""
    assert decode(framed(ip_packet(V4), tags=tags)) == decode(framed(ip_packet(V4)))


def test_ethernet_padding_is_no_payload() -> None:
    """Bytes that fill a short frame up do not become data."""
    bare = Packet(time_ns=0, source=V4.source, target=V4.target, seq=1, ack=1, flags=ACK)
    segment = decode(framed(ip_packet(bare)))
    assert segment is not None
    assert segment[4] == b""


def test_total_length_of_zero_means_to_the_end() -> None:
    """A packet captured before the card cut it up has no total length and is taken whole."""
    ip = bytearray(ip_packet(V4))
    ip[2:4] = b"\x00\x00"
    segment = decode(framed(bytes(ip), RAW), RAW)
    assert segment is not None
    assert segment[4] == V4.payload


def test_tcp_options_are_no_payload() -> None:
    """The payload begins after the options."""
    options = b"\x01\x01\x08\x0a" + b"\x00" * 8
    tcp = bytearray(TCP[:20] + options + V4.payload)
    tcp[12] = 8 << 4
    segment = decode(ip_around(bytes(tcp), "10.0.0.1", "10.0.0.2", 6), RAW)
    assert segment is not None
    assert segment[4] == V4.payload


def test_ipv6_option_headers_are_passed_over() -> None:
    """Hop-by-hop and destination options before the TCP header make no difference."""
    tcp = ip_packet(V6)[40:]
    options = b"\x3c\x00" + b"\x00" * 6 + b"\x06\x01" + b"\x00" * 14
    assert decode(ip_around(options + tcp, "fd00::1", "fd00::2", 0), RAW) == decode(ip_packet(V6), RAW)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 0, 2, 1)])
def test_ipv4_fragments_are_joined(order: tuple[int, ...]) -> None:
    """The fragments of a datagram give its segment once the last of them came, in any order."""
    pieces = [
        ip_around(TCP[start : start + 16], "10.0.0.1", "10.0.0.2", 6, ident=5, place=start // 8 | more)
        for start, more in ((0, 0x2000), (16, 0x2000), (32, 0))
    ]
    decoder = Decoder().decoders[RAW]
    segments = [decoder(pieces[at]) for at in order]
    assert segments[:-1] == [None] * (len(order) - 1)
    assert segments[-1] == decode(ip_packet(V4), RAW)


def test_ipv6_fragments_are_joined() -> None:
    """The fragment header of IPv6 is understood."""
    tcp = ip_packet(V6)[40:]
    heads = [struct.pack("!BBHI", 6, 0, 0 | 1, 77), struct.pack("!BBHI", 6, 0, 16, 77)]
    decoder = Decoder().decoders[RAW]
    assert decoder(ip_around(heads[0] + tcp[:16], "fd00::1", "fd00::2", 44)) is None
    whole = decoder(ip_around(heads[1] + tcp[16:], "fd00::1", "fd00::2", 44))
    assert whole == decode(ip_packet(V6), RAW)


def test_fragments_take_bounded_memory() -> None:
    """Of datagrams that are never whole only the newest are kept."""
    decoder = Decoder()
    for ident in range(MAX_FRAGMENTED + 10):
        packet = ip_around(TCP[:16], "10.0.0.1", "10.0.0.2", 6, ident=ident, place=0x2000)
        assert decoder.decoders[RAW](packet) is None
    assert len(decoder._fragments) == MAX_FRAGMENTED


def tunnels() -> dict[str, bytes]:
    inner = framed(ip_packet(V4))
    ip = ip_packet(V4)
    vxlan = struct.pack("!HHHH", 50000, 4789, 16 + len(inner), 0) + b"\x08" + b"\x00" * 7 + inner
    return {
        "vxlan": ip_around(vxlan, "192.0.2.1", "192.0.2.2", 17),
        "ip in ip": ip_around(ip, "192.0.2.1", "192.0.2.2", 4),
        "ipv4 in ipv6": ip_around(ip, "fd00::1", "fd00::2", 4),
        "ipv6 in ipv4": ip_around(ip_packet(V6), "192.0.2.1", "192.0.2.2", 41),
        "gre": ip_around(b"\x00\x00\x08\x00" + ip, "192.0.2.1", "192.0.2.2", 47),
        "gre with key": ip_around(b"\x20\x00\x08\x00" + b"\x00" * 4 + ip, "192.0.2.1", "192.0.2.2", 47),
        "gre with ethernet": ip_around(b"\x00\x00\x65\x58" + inner, "192.0.2.1", "192.0.2.2", 47),
    }


@pytest.mark.parametrize("name", tunnels())
def test_tunnels_are_opened(name: str) -> None:
    """Mirrored traffic comes in tunnels; what is inside counts."""
    wanted = decode(ip_packet(V6 if name == "ipv6 in ipv4" else V4), RAW)
    assert decode(framed(tunnels()[name])) == wanted


def test_tunnels_in_tunnels_have_an_end() -> None:
    """A packet that claims to be nested for ever is given up."""
    ip = ip_packet(V4)
    for _ in range(50):
        ip = ip_around(ip, "192.0.2.1", "192.0.2.2", 4)
    assert decode(ip, RAW) is None


@pytest.mark.parametrize("kind", ["pppoe", "mpls", "ppp"])
def test_point_to_point_and_labels(kind: str) -> None:
    """PPPoE, MPLS and PPP frames hold IP too."""
    ip = ip_packet(V4)
    if kind == "ppp":
        assert decode(b"\xff\x03\x00\x21" + ip, 9) == decode(ip, RAW)
        return
    head = {
        "pppoe": b"\x88\x64\x11\x00\x00\x01\x00\x00\x00\x21",
        "mpls": b"\x88\x47\x00\x01\x00\x40\x00\x02\x01\x40",
    }[kind]
    assert decode(b"\x00" * 12 + head + ip) == decode(ip, RAW)


def test_other_packets_hold_no_segment() -> None:
    """UDP, ARP and unknown types give nothing."""
    assert decode(framed(ip_around(b"\x00" * 20, "10.0.0.1", "10.0.0.2", 17))) is None
    assert decode(b"\x00" * 12 + b"\x08\x06" + b"\x00" * 40) is None


@given(st.binary(max_size=200), st.sampled_from(sorted(Decoder().decoders)))
def test_any_bytes_decode_or_are_damaged(data: bytes, link: int) -> None:
    """No packet makes a decoder raise anything but that the packet is damaged."""
    try:
        segment = decode(data, link)
    except DAMAGED:
        return
    assert segment is None or len(segment) == 5


@given(st.integers(0, 5), st.data())
def test_packets_cut_anywhere(at: int, data: st.DataObject) -> None:
    """A packet cut by the capture gives a shorter payload, nothing, or is damaged."""
    link = (ETHERNET, NULL, RAW, LOOP, SLL, SLL2)[at]
    frame = framed(ip_packet(V4), link)
    try:
        segment = decode(frame[: data.draw(st.integers(0, len(frame)))], link)
    except DAMAGED:
        return
    assert segment is None or V4.payload.startswith(segment[4])
