"""Finds out, on a connection of its own, whether a target speaks HTTP/2."""

from __future__ import annotations

import socket
import ssl

from captures.units import NS_PER_S
from replayer.http2_wire import FRAME_HEAD_BYTES, PREFACE, SETTINGS
from replayer.targets import Target

_EMPTY_SETTINGS = bytes((0, 0, 0, SETTINGS, 0, 0, 0, 0, 0))
_GOAWAY = bytes((0, 0, 8, 7, 0)) + bytes(12)
_PATIENCE_S = 2.0  # a server that knows the preface answers it at once


def speaks_http2(target: Target, tls: ssl.SSLContext | None, timeout_ns: int) -> bool:
    """
    Whether the target agrees on HTTP/2 in TLS, or answers its preface in plain text.

    A target that cannot be reached does not speak it; whoever sends finds out why.
    """
    timeout_s = min(_PATIENCE_S, timeout_ns / NS_PER_S)
    for address in target.addresses:
        try:
            with socket.create_connection((address, target.port), timeout_s) as plain:
                if tls is None:
                    return _answers_preface(plain)
                with tls.wrap_socket(plain, server_hostname=target.host) as secure:
                    return secure.selected_alpn_protocol() == "h2"
        except OSError:
            continue
    return False


def _answers_preface(plain: socket.socket) -> bool:
    plain.sendall(PREFACE + _EMPTY_SETTINGS)
    head = b""
    while len(head) < FRAME_HEAD_BYTES:
        data = plain.recv(FRAME_HEAD_BYTES - len(head))
        if not data:
            return False
        head += data
    spoken = head[3] == SETTINGS and not head[4] and not any(head[5:])
    if spoken:
        plain.sendall(_GOAWAY)
    return spoken
