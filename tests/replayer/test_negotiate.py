"""Whether a target speaks HTTP/2, found out before it is sent to."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest
import trustme

from replayer.negotiate import speaks_http2
from replayer.targets import parse_target
from replayer.tls import client_context

S = 1_000_000_000
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
Talk = Callable[[socket.socket], None]


@pytest.fixture
def listen() -> Iterator[Callable[[Talk], int]]:
    """Serve one connection by a function; its port."""
    threads: list[threading.Thread] = []

    def start(talk: Talk) -> int:
        listener = socket.create_server(("127.0.0.1", 0))

        def run() -> None:
            with listener, contextlib.suppress(OSError):
                client, _ = listener.accept()
                with client:
                    talk(client)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        port: int = listener.getsockname()[1]
        return port

    yield start
    for thread in threads:
        thread.join(10)


def read_all(client: socket.socket) -> None:
    while client.recv(4096):
        pass


def saying(answer: bytes) -> Talk:
    def talk(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(answer)

    return talk


@pytest.mark.parametrize(
    ("answer", "speaks"),
    [
        (SETTINGS, True),
        (b"\0\0\x06\x04\0\0\0\0\0\0\3\0\0\0\x64", True),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"\0\0\0\x04\1\0\0\0\0", False),
        (b"", False),
        (SETTINGS[:5], False),
    ],
    ids=["settings", "settings-with-values", "http1", "acknowledgement", "nothing", "cut"],
)
def test_plain_targets_answer_the_preface(listen: Callable[[Talk], int], answer: bytes, speaks: bool) -> None:
    """Only one that answers with its settings speaks HTTP/2."""
    target = parse_target(f"http://127.0.0.1:{listen(saying(answer))}")
    assert speaks_http2(target, None, 5 * S) is speaks


def test_silence_is_no_yes(listen: Callable[[Talk], int]) -> None:
    """A target that says nothing is waited for no longer than the timeout."""
    target = parse_target(f"http://127.0.0.1:{listen(read_all)}")
    assert speaks_http2(target, None, S // 10) is False


def test_an_absent_target_is_no_yes() -> None:
    """Who sends finds out that nobody listens; here it only means HTTP/1.1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert speaks_http2(parse_target(f"http://127.0.0.1:{port}"), None, S) is False


@pytest.mark.parametrize(
    ("offers", "speaks"), [(["h2", "http/1.1"], True), (["http/1.1"], False), ([], False)]
)
def test_tls_targets_agree_in_the_handshake(
    listen: Callable[[Talk], int], offers: list[str], speaks: bool
) -> None:
    """By TLS the protocol is agreed on, and nothing is sent."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    if offers:
        server.set_alpn_protocols(offers)
    got: list[bytes] = []

    def talk(client: socket.socket) -> None:
        with server.wrap_socket(client, server_side=True) as secure:
            got.append(secure.recv(4096))

    port = listen(talk)
    client = client_context(insecure=False, http2=True)
    authority.configure_trust(client)
    assert speaks_http2(parse_target(f"https://127.0.0.1:{port}"), client, 5 * S) is speaks
    assert b"".join(got) == b""


def test_a_stranger_is_not_trusted(listen: Callable[[Talk], int]) -> None:
    """A certificate that is not verified makes no HTTP/2 target."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server)
    server.set_alpn_protocols(["h2"])

    def talk(client: socket.socket) -> None:
        server.wrap_socket(client, server_side=True).close()

    port = listen(talk)
    context = client_context(insecure=False, http2=True)
    assert speaks_http2(parse_target(f"https://127.0.0.1:{port}"), context, 5 * S) is False
