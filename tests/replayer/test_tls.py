"""TLS to the target: a private authority, client certificates, names, and refusals."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from captures.errors import HookreelError, UsageError
from captures.model import Exchange
from replayer.replay import Replayed
from replayer.results import Outcome
from replayer.services import Service
from replayer.targets import parse_target
from replayer.tls import client_context

Make = Callable[..., Exchange]
Send = Callable[..., Replayed]
Serve = Callable[..., Any]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def secure(authority: trustme.CA, serve: Serve) -> Callable[..., Any]:
    """Start a TLS server for ``names``; it notes the server names it was asked for."""

    def start(*names: str, client_ca: trustme.CA | None = None) -> Any:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(context)
        if client_ca is not None:
            client_ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        asked: list[str | None] = []
        context.sni_callback = lambda _socket, name, _context: asked.append(name)
        server = serve(tls=context)
        server.server_names = asked
        return server

    return start


def at(server: Any, host: str) -> dict[str, Any]:
    target = parse_target(f"https://{host}:{server.port}", resolve=[f"{host}:{server.port}:127.0.0.1"])
    return {"target": target}


def test_a_private_authority_is_trusted_when_named(
    exchange: Make, send: Send, secure: Callable[..., Any], ca_file: Path
) -> None:
    """Requests arrive over TLS, on their connections, with the target's name in SNI and Host."""
    server = secure("api.test")
    exchanges = [
        exchange(number, offset_ns=number * 30_000_000, connection=number % 2) for number in range(4)
    ]
    replayed = send(
        exchanges, server.url, tls=client_context(ca_file=ca_file, insecure=False), **at(server, "api.test")
    )
    assert replayed.run.rows.outcome.tolist() == [Outcome.COMPLETED] * 4
    assert set(server.server_names) == {"api.test"}
    assert server.seen[0].request.headers == ((b"Host", b"api.test:%d" % server.port),)


def test_large_bodies_pass_tls(exchange: Make, send: Send, secure: Callable[..., Any], ca_file: Path) -> None:
    """A request larger than any buffer arrives whole."""
    server = secure("api.test")
    body = bytes(range(256)) * 8_000
    replayed = send(
        [exchange(0, method=b"POST", body=body)],
        server.url,
        tls=client_context(ca_file=ca_file, insecure=False),
        **at(server, "api.test"),
    )
    assert replayed.run.rows.outcome.tolist() == [Outcome.COMPLETED]
    assert server.seen[0].request.body == body


@pytest.mark.parametrize("names", [("other.test",), ("api.test",)])
def test_an_unknown_authority_or_another_name_is_refused(
    exchange: Make, send: Send, secure: Callable[..., Any], names: tuple[str, ...], ca_file: Path
) -> None:
    """Nothing is sent, and the sentence says what failed; --insecure sends all the same."""
    server = secure(*names)
    trusted = ca_file if names == ("other.test",) else None
    with pytest.raises(HookreelError, match=r"TLS with https://api\.test:.* failed .*check --cacert"):
        send(
            [exchange(0)],
            server.url,
            tls=client_context(ca_file=trusted, insecure=False),
            **at(server, "api.test"),
        )
    assert server.seen == []
    replayed = send([exchange(0)], server.url, tls=client_context(insecure=True), **at(server, "api.test"))
    assert replayed.run.rows.outcome.tolist() == [Outcome.COMPLETED]


def test_client_certificates_are_shown(
    exchange: Make, send: Send, secure: Callable[..., Any], ca_file: Path, tmp_path: Path
) -> None:
    """A target that asks for one answers with it, and is a TLS failure without."""
    clients = trustme.CA()
    issued = clients.issue_cert("client.test")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    server = secure("api.test", client_ca=clients)
    with_cert = client_context(ca_file=ca_file, cert_file=cert, key_file=key, insecure=False)
    assert send(
        [exchange(0)], server.url, tls=with_cert, **at(server, "api.test")
    ).run.rows.outcome.tolist() == [Outcome.COMPLETED]
    without = client_context(ca_file=ca_file, insecure=False)
    refused = send([exchange(0)], server.url, tls=without, **at(server, "api.test")).run.rows
    assert refused.outcome[0] in {Outcome.TLS_FAILED, Outcome.RESET}
    assert refused.status.tolist() == [0]


def test_the_recorded_name_can_be_asked_for(
    exchange: Make, send: Send, secure: Callable[..., Any], ca_file: Path
) -> None:
    """Recorded SNI and Host reach a target elsewhere, each connection with its own name."""
    server = secure("one.test", "two.test", "localhost")
    exchanges = [
        exchange(number, offset_ns=number * 40_000_000, connection=number, authority=name)
        for number, name in enumerate([b"one.test", b"two.test:443"])
    ]
    replayed = send(
        exchanges,
        server.url,
        tls=client_context(ca_file=ca_file, insecure=False),
        recorded_sni=True,
        recorded_host=True,
        **at(server, "localhost"),
    )
    assert replayed.run.rows.outcome.tolist() == [Outcome.COMPLETED] * 2
    assert [one.request.headers[0][1] for one in server.seen] == [b"one.test", b"two.test:443"]
    asked = [server.server_names[one.connection] for one in server.seen]
    assert sorted(asked) == ["one.test", "two.test"]


def test_unusable_files_are_wrong_usage(tmp_path: Path, ca_file: Path) -> None:
    """Absent, foreign and half-given files are named, not traced."""
    foreign = tmp_path / "foreign.pem"
    foreign.write_text("not PEM")
    for arguments in (
        {"ca_file": tmp_path / "absent.pem"},
        {"ca_file": foreign},
        {"cert_file": foreign},
        {"cert_file": ca_file, "key_file": tmp_path / "absent.pem"},
        {"cert_file": ca_file},
        {"key_file": ca_file},
    ):
        with pytest.raises(UsageError):
            client_context(**arguments, insecure=False)


def test_a_slow_handshake_is_the_targets_time_and_no_lag(
    secure: Callable[..., Any], exchange: Make, send: Send, ca_file: Path
) -> None:
    """Who waits for a connection that the target has yet to take was sent in time, and is served late."""
    server = secure("api.test")
    last = [0.0]

    def hello(_socket: object, _name: object, _context: object) -> None:
        if last[0] and time.monotonic() > last[0]:
            threading.Event().wait(0.6)  # each connection has a thread of its own in this server

    server.tls.sni_callback = hello
    exchanges = [
        exchange(0, offset_ns=0, connection=0),
        *(exchange(n, offset_ns=1_500_000_000, connection=n) for n in range(1, 4)),
    ]
    last[0] = time.monotonic() + 1.0  # from then on the warm-up is over
    context = client_context(ca_file=ca_file, insecure=False)
    rows = send(exchanges, server.url, tls=context, **at(server, "api.test")).run.rows
    assert rows.outcome.tolist() == [0, 0, 0, 0]
    assert int((rows.sent_ns - rows.due_ns)[1:].max()) < 200_000_000
    assert int((rows.done_ns - rows.sent_ns)[1:].min()) > 200_000_000


def test_services_with_and_without_tls_go_side_by_side(
    exchange: Make, send: Send, serve: Serve, secure: Callable[..., Any], ca_file: Path
) -> None:
    """Each target is dialled as its own URL says, with its own name."""
    plain, encrypted = serve(), secure("api.test")
    exchanges = [exchange(number, authority=(b"a.test", b"b.test")[number % 2]) for number in range(6)]
    context = client_context(ca_file=ca_file, insecure=False)
    services = (
        Service(host="a.test", target=parse_target(plain.url), tls=None),
        Service(host="b.test", target=at(encrypted, "api.test")["target"], tls=context),
    )
    replayed = send(exchanges, plain.url, services=services)
    assert replayed.run.rows.outcome.tolist() == [Outcome.COMPLETED] * 6
    assert (len(plain.seen), len(encrypted.seen)) == (3, 3)
    assert set(encrypted.server_names) == {"api.test"}
