"""Compiling: wire bytes in windows, with what must wait until due marked."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.errors import CaptureError, UsageError
from captures.http1 import RequestParser
from captures.model import Exchange, SignatureScheme, SigningRecipe
from captures.reader import CaptureReader
from captures.signatures import verify
from replayer.compile import Compiler, Trait, Window, begin_with_http2, server_name
from replayer.credentials import Keyring
from replayer.load import Load
from replayer.rewrite import Rewriter, Tally
from replayer.schedule import build_schedule

Make = Callable[..., Exchange]
Write = Callable[..., Path]
BLANK = {
    SignatureScheme.GITHUB: (b"X-Hub-Signature-256", b"sha256=" + b"0" * 64),
    SignatureScheme.STRIPE: (b"Stripe-Signature", b"t=1,v1=" + b"0" * 64),
}


def compiled(
    path: Path, keyring: Keyring | None = None, exchanges: Iterable[Exchange] | None = None, **options: object
) -> tuple[list[Window], Tally]:
    keyring = keyring or Keyring()
    with CaptureReader.open(path) as reader:
        rewriter = Rewriter(host=None, keyring=keyring, salt=reader.header.fingerprint_salt, scheme=b"http")
        compiler = Compiler(
            schedule=build_schedule(reader.index, Load(multiplier=Fraction(2))),
            endpoints=reader.endpoint_labels,
            rewriters=(rewriter,),
            keyring=keyring,
            **options,
        )
        given = reader.exchanges() if exchanges is None else exchanges
        return list(compiler.windows(given)), compiler.tally()


def wires(windows: list[Window]) -> list[bytes]:
    return [
        bytes(window.wires[window.bounds[place] : window.bounds[place + 1]])
        for window in windows
        for place in range(len(window.traits))
    ]


@pytest.mark.parametrize("window_bytes", [1, 5_000, 10**9])
def test_windows_hold_each_request_once_in_order(exchange: Make, capture: Write, window_bytes: int) -> None:
    """However large a window is, the bytes are those of the captured requests."""
    exchanges = [exchange(number, method=b"POST", body=b"x" * number) for number in range(40)]
    windows, _ = compiled(capture(exchanges), window_bytes=window_bytes)
    found = RequestParser().feed(b"".join(wires(windows)))
    assert [(one.headers, one.body) for one in found] == [
        (one.request.headers, one.request.body) for one in exchanges
    ]
    assert [window.first for window in windows[1:]] == [window.stop for window in windows[:-1]]
    assert len(windows) == {1: 40, 5_000: len(windows), 10**9: 1}[window_bytes]
    assert all(len(window.wires) <= window_bytes + 300 for window in windows)


def test_what_the_sender_must_know_is_marked(exchange: Make, capture: Write) -> None:
    """HEAD, streams and WebSocket sessions with their scaled length, and nothing else."""
    asks = ((b"Host", b"h"), (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"))
    exchanges = [
        exchange(0, method=b"HEAD"),
        exchange(1, stream_ns=3_000_000),
        exchange(2),
        exchange(3, status=101, headers=asks, stream_ns=5_000_000),
        exchange(4, status=403, headers=asks),
    ]
    (window,), tally = compiled(capture(exchanges), server_names=True)
    assert list(window.traits) == [Trait.HEAD, Trait.STREAM, 0, Trait.SOCKET, Trait.SOCKET]
    assert window.stream_ns == {1: 1_500_000, 3: 2_500_000, 4: 0}
    assert window.server_names == ("recorded.test",) * 5
    assert (tally.requests, tally.streams, tally.sockets) == (5, 1, 2)


def test_github_signatures_are_made_when_compiling(exchange: Make, capture: Write) -> None:
    """There is no time in them, so the wire bytes hold them; without a secret they are counted."""
    header = BLANK[SignatureScheme.GITHUB]
    recipe = SigningRecipe(scheme=SignatureScheme.GITHUB, header=header[0])
    path = capture([exchange(0, headers=((b"Host", b"h"), header), body=b"{}", signing=recipe)])
    windows, tally = compiled(path, Keyring(by_scheme={SignatureScheme.GITHUB: b"key"}))
    (request,) = RequestParser().feed(wires(windows)[0])
    assert verify(recipe, secret=b"key", headers=request.headers, body=request.body, now_s=0)
    assert tally.signed == {"github": 1}
    windows, tally = compiled(path)
    assert header in RequestParser().feed(wires(windows)[0])[0].headers
    assert tally.unsigned == {"github": 1}


def test_each_service_begins_with_what_its_first_exchange_speaks() -> None:
    """Only the first one of a window counts, whatever comes later."""
    traits = bytes([0, Trait.HTTP2 | Trait.HEAD, Trait.HTTP2, 0])
    window = Window(
        first=2, wires=memoryview(b""), bounds=array("Q", [0] * 5), traits=traits, unsigned={}, chained={},
        stream_ns={}, server_names=(),
    )  # fmt: skip
    service = np.array([9, 9, 0, 1, 0, 1], np.uint16)
    assert begin_with_http2(window, service) == {1}
    assert begin_with_http2(window, None) == set()


def test_signatures_over_the_time_wait_until_due(exchange: Make, capture: Write) -> None:
    """The wire bytes of such a request are made for a second, and hold it."""
    header = BLANK[SignatureScheme.STRIPE]
    recipe = SigningRecipe(scheme=SignatureScheme.STRIPE, header=header[0])
    path = capture([exchange(0, headers=((b"Host", b"h"), header), body=b"{}", signing=recipe)])
    (window,), _ = compiled(path, Keyring(by_endpoint={"GET /": b"whsec_x"}))
    assert list(window.traits) == [Trait.TIMED]
    assert window.wires == b""
    (request,) = RequestParser().feed(window.unsigned[0].wire(1234))
    assert verify(recipe, secret=b"whsec_x", headers=request.headers, body=b"{}", now_s=1234)
    assert "whsec_x" not in repr(window.unsigned[0])


def test_raw_captures_are_signed_anew_when_a_secret_is_given(exchange: Make, capture: Write) -> None:
    """A recorded signature is recognised by its header; without a secret it stays as it is."""
    header = (b"Stripe-Signature", b"t=1700000000,v1=" + b"ab" * 32)
    path = capture([exchange(0, headers=((b"Host", b"h"), header))])
    (window,), _ = compiled(path, Keyring(by_scheme={SignatureScheme.STRIPE: b"x"}))
    assert list(window.unsigned) == [0]
    windows, tally = compiled(path)
    assert header in RequestParser().feed(wires(windows)[0])[0].headers
    assert not tally.unsigned


def test_a_secret_that_does_not_fit_is_found_before_the_run(exchange: Make, capture: Write) -> None:
    """Standard Webhooks secrets are base64; another is wrong usage."""
    headers = (
        (b"Host", b"h"),
        (b"webhook-id", b"m"),
        (b"webhook-timestamp", b"1"),
        (b"webhook-signature", b"v1,AAAA"),
    )
    recipe = SigningRecipe(scheme=SignatureScheme.STANDARD_WEBHOOKS, header=b"webhook-signature")
    path = capture([exchange(0, headers=headers, signing=recipe)])
    with pytest.raises(UsageError, match="base64"):
        compiled(path, Keyring(by_scheme={SignatureScheme.STANDARD_WEBHOOKS: b"not base64!"}))


def test_exchanges_that_are_not_the_schedules_are_an_error(exchange: Make, capture: Write) -> None:
    """A capture whose rows end before its index is damaged."""
    path = capture([exchange(0), exchange(1)])
    with pytest.raises(CaptureError):
        compiled(path, exchanges=[exchange(0)])


@given(st.sampled_from([b"a.test", b"a.test:80", b"[::1]:80", b"[::1]", b""]))
def test_server_names_have_no_port(authority: bytes) -> None:
    """Host alone, brackets removed."""
    assert server_name(authority) in {"a.test", "::1", ""}


def test_a_window_does_not_show_what_it_holds(exchange: Make, capture: Write) -> None:
    """Its bytes are requests with their credentials, and a repr ends up in logs."""
    headers = ((b"Host", b"h"), (b"Authorization", b"Bearer sesame"), BLANK[SignatureScheme.STRIPE])
    path = capture([exchange(0, headers=headers), exchange(1, headers=headers[:2])])
    (window,), _ = compiled(path, Keyring(by_scheme={SignatureScheme.STRIPE: b"x"}))
    assert window.unsigned
    assert b"sesame" in bytes(window.wires)
    assert "sesame" not in repr(window) + repr(window.unsigned[0])
