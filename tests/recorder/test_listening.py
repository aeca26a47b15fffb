from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import pytest

from captures.errors import UsageError
from recorder.listening import bind_all
from recorder.modes import parse_listen, parse_modes
from tests.recorder.support import WAIT_S, RawClient, RawServer, Recorder, read_capture, read_head

DEFAULT = parse_listen("127.0.0.1:0")


def test_all_addresses_are_bound_or_none():
    """When one of several is taken, the others are free again and the message names the taken one."""
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as probe:
        port, free = taken.getsockname()[1], probe.getsockname()[1]
        probe.close()
        with pytest.raises(UsageError, match=f"{port}.*in use"):
            bind_all(parse_modes([f"regular@{free}", f"socks5@{port}"], DEFAULT))
        socket.create_server(("127.0.0.1", free)).close()


def test_a_name_with_several_addresses_has_one_port():
    """The name localhost is often both 127.0.0.1 and ::1; clients are told one port."""
    (listening,) = bind_all(parse_modes(["regular"], parse_listen("localhost:0")))
    assert {item.getsockname()[1] for item in listening.sockets} == {listening.port}
    assert listening.url == f"http://localhost:{listening.port}"
    listening.close()


def test_an_unknown_name_is_wrong_usage():
    """The message says what is wrong with the address."""
    with pytest.raises(UsageError, match=r"name is not known.*--listen"):
        bind_all(parse_modes(["regular"], parse_listen("no-such-host.invalid:0")))


def socks5_connect(link: socket.socket, port: int) -> None:
    """A SOCKS5 handshake (RFC 1928) for localhost and ``port``."""
    link.sendall(b"\x05\x01\x00")
    assert link.recv(2) == b"\x05\x00"
    link.sendall(b"\x05\x01\x00\x03\x09localhost" + struct.pack(">H", port))
    assert link.recv(10)[:2] == b"\x05\x00"


def test_several_modes_at_once(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """Reverse, regular, SOCKS5 and upstream proxies in one recording, each at its own address."""
    server = start_server()
    behind = start_recorder("regular")
    recorder = start_recorder(
        f"reverse:http://127.0.0.1:{server.port}",
        *("--mode", "regular@0", "--mode", "socks5@127.0.0.1:0"),
        *("--mode", f"upstream:http://127.0.0.1:{behind.port}@[::1]:0"),
    )
    urls = [listener["url"] for listener in recorder.ready["listeners"]]
    ports = [int(url.rsplit(":", 1)[1]) for url in urls]
    assert urls[2].startswith("socks5://")
    assert urls[3].startswith("http://[::1]:")
    absolute = f"GET http://127.0.0.1:{server.port}/%s HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n"
    with RawClient(ports[0]) as client:
        assert client.call(b"GET /reverse HTTP/1.1\r\nHost: h\r\n\r\n").status == 200
    with RawClient(ports[1]) as client:
        assert client.call((absolute % "regular").encode()).status == 200
    with RawClient(ports[2]) as client:
        socks5_connect(client.socket, server.port)
        assert client.call(b"GET /socks5 HTTP/1.1\r\nHost: h\r\n\r\n").status == 200
    with socket.create_connection(("::1", ports[3]), timeout=WAIT_S) as link:
        link.sendall((absolute % "upstream").encode())
        assert read_head(link.makefile("rb")).startswith(b"HTTP/1.1 200")
    assert recorder.stop() == 0
    assert behind.stop() == 0
    assert [seen.target for seen in server.seen] == ["/reverse", "/regular", "/socks5", "/upstream"]
    capture = read_capture(recorder.output)
    assert [item.request.target for item in capture.exchanges] == [
        b"/reverse",
        b"/regular",
        b"/socks5",
        b"/upstream",
    ]
    assert {item.request.scheme for item in capture.exchanges} == {b"http"}
    assert capture.exchanges[2].request.authority == b"h"
    assert [item.request.target for item in read_capture(behind.output).exchanges] == [b"/upstream"]


def test_transparent_mode_closes_what_was_not_redirected(start_recorder: Callable[..., Recorder]):
    """A connection without an original destination has nowhere to go; the recorder goes on."""
    recorder = start_recorder("transparent")
    with RawClient(recorder.port) as client:
        client.socket.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert client.source.read() == b""
    assert recorder.stop() == 0
    assert recorder.account["seen"] == 0
