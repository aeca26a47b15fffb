"""A replay from end to end: signatures and credentials that the target accepts, and the run it gives."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import slack_sdk.signature
import standardwebhooks
import stripe
from twilio.request_validator import RequestValidator

from captures.credentials import find_credentials
from captures.errors import CaptureError, HookreelError, UsageError
from captures.model import (
    Exchange,
    Failure,
    FailureReason,
    Headers,
    HmacTemplate,
    SignatureScheme,
    SigningRecipe,
)
from captures.reader import CaptureReader
from captures.signatures import verify
from replayer.credentials import Keyring
from replayer.load import Load
from replayer.options import ReplayOptions
from replayer.replay import Replayed, rehearse
from replayer.results import NEVER_NS, Outcome, read_run, write_run
from replayer.targets import parse_target

Make = Callable[..., Exchange]
Send = Callable[..., Replayed]
Serve = Callable[..., Any]
MS = 1_000_000
SALT = b"0123456789abcdef"
SECRETS = {
    SignatureScheme.GITHUB: b"github secret",
    SignatureScheme.STRIPE: b"whsec_stripe",
    SignatureScheme.SLACK: b"slack secret",
    SignatureScheme.STANDARD_WEBHOOKS: b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    SignatureScheme.TWILIO: b"twilio token",
    SignatureScheme.SHOPIFY: b"shopify secret",
    SignatureScheme.HMAC: b"acme secret",
}
ACME = HmacTemplate(
    algorithm="sha512",
    encoding="base64",
    prefix=b"acme=",
    signed=b"{timestamp}.{url}.{body}",
    timestamp_header=b"X-Acme-Time",
)
STAND_INS: dict[SignatureScheme, Headers] = {
    SignatureScheme.GITHUB: (
        (b"X-Hub-Signature-256", b"sha256=" + b"0" * 64),
        (b"X-Hub-Signature", b"sha1=" + b"0" * 40),
    ),
    SignatureScheme.STRIPE: ((b"Stripe-Signature", b"t=1,v1=" + b"0" * 64 + b",v0=" + b"0" * 64),),
    SignatureScheme.SLACK: (
        (b"X-Slack-Request-Timestamp", b"1"),
        (b"X-Slack-Signature", b"v0=" + b"0" * 64),
    ),
    SignatureScheme.STANDARD_WEBHOOKS: (
        (b"webhook-id", b"msg_1"),
        (b"webhook-timestamp", b"1"),
        (b"webhook-signature", b"v1," + b"A" * 43 + b"="),
    ),
    SignatureScheme.TWILIO: ((b"X-Twilio-Signature", b"A" * 27 + b"="),),
    SignatureScheme.SHOPIFY: ((b"X-Shopify-Hmac-Sha256", b"A" * 43 + b"="),),
    SignatureScheme.HMAC: (
        (b"X-Acme-Time", b"1700000000"),
        (b"X-Acme-Signature", b"acme=" + b"A" * 86 + b"=="),
    ),
}
BODY = json.dumps({"id": "evt_1", "object": "event", "type": "ping"}).encode()


def recipe(scheme: SignatureScheme) -> SigningRecipe:
    name = STAND_INS[scheme][0 if scheme is SignatureScheme.GITHUB else -1][0]
    template = ACME if scheme is SignatureScheme.HMAC else None
    return SigningRecipe(scheme=scheme, header=name, template=template)


def official_check(scheme: SignatureScheme, headers: dict[str, str], body: bytes, url: str) -> bool:
    """What the sender's own library says."""
    secret = SECRETS[scheme].decode()
    if scheme is SignatureScheme.STRIPE:
        stripe.Webhook.construct_event(body, headers["Stripe-Signature"], secret)
    elif scheme is SignatureScheme.SLACK:
        return slack_sdk.signature.SignatureVerifier(secret).is_valid_request(body, headers)
    elif scheme is SignatureScheme.STANDARD_WEBHOOKS:
        standardwebhooks.Webhook(secret).verify(body.decode(), headers)
    elif scheme is SignatureScheme.TWILIO:
        return RequestValidator(secret).validate(url, {}, headers["X-Twilio-Signature"])
    return True


def test_signatures_are_fresh_and_accepted(exchange: Make, send: Send, serve: Serve) -> None:
    """All schemes pass our own check and their makers' libraries, for the target's own URL."""
    exchanges = [
        exchange(
            number,
            offset_ns=number * 5 * MS,
            connection=number % 3,
            method=b"POST",
            target=b"/" + scheme.value.encode(),
            headers=((b"Host", b"h"), *STAND_INS[scheme], (b"Content-Length", b"%d" % len(BODY))),
            body=BODY,
            signing=recipe(scheme),
        )
        for number, scheme in enumerate(list(SignatureScheme) * 5)
    ]
    server = serve()
    replayed = send(exchanges, server.url, keyring=Keyring(by_scheme=SECRETS))
    assert replayed.run.rows.outcome.tolist() == [Outcome.COMPLETED] * 5 * len(SignatureScheme)
    assert not any("signature" in note for note in replayed.run.header.notes)
    now_s = int(time.time())
    for one in server.seen:
        scheme = SignatureScheme(one.request.target[1:].decode())
        headers, body = one.request.headers, one.request.body
        url = server.url.encode() + one.request.target
        facts = {"headers": headers, "body": body, "now_s": now_s, "url": url}
        assert verify(recipe(scheme), secret=SECRETS[scheme], **facts)
        text = {name.decode(): value.decode() for name, value in headers}
        assert official_check(scheme, text, body, url.decode())
        assert not verify(recipe(scheme), secret=b"d3Jvbmc=", **facts)


def test_signatures_carry_the_due_time(exchange: Make, send: Send, serve: Serve) -> None:
    """The signed second is that of the exchange's own due time on the wall clock."""
    scheme = SignatureScheme.SLACK
    exchanges = [
        exchange(
            number,
            offset_ns=number * 1_300 * MS,
            headers=((b"Host", b"h"), *STAND_INS[scheme]),
            signing=recipe(scheme),
        )
        for number in range(2)
    ]
    server = serve()
    run = send(exchanges, server.url, keyring=Keyring(by_scheme=SECRETS)).run
    stamps = [int(dict(one.request.headers)[b"X-Slack-Request-Timestamp"]) for one in server.seen]
    assert stamps == [(run.header.started_wall_ns + due) // 10**9 for due in run.rows.due_ns.tolist()]
    assert abs(run.header.started_wall_ns / 1e9 - time.time()) < 30


def test_unsigned_exchanges_are_counted(exchange: Make, send: Send, serve: Serve) -> None:
    """Without the secret the stand-in goes out and a note says how many did."""
    scheme = SignatureScheme.STRIPE
    signed = exchange(0, headers=((b"Host", b"h"), *STAND_INS[scheme]), signing=recipe(scheme))
    server = serve()
    replayed = send([signed], server.url)
    assert "stand-in signature: stripe x 1." in " ".join(replayed.run.header.notes)
    assert STAND_INS[scheme][0] in server.seen[0].request.headers


def test_mapped_credentials_open_the_target(
    exchange: Make, send: Send, serve: Serve, answer: Any, capture: Callable[..., Path]
) -> None:
    """The recorded token is refused with 401 and its mapped value answered with 200."""

    def respond(seen: Any) -> Any:
        good = (b"Authorization", b"Bearer target-token") in seen.request.headers
        return answer([b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % (b"200 OK" if good else b"401 No")])

    headers = ((b"Host", b"h"), (b"Authorization", b"Bearer recorded-token"))
    path = capture([exchange(number, headers=headers) for number in range(3)], fingerprint_salt=SALT)
    (found,) = find_credentials(headers)
    server = serve(respond)
    refused = send(path, server.url)
    assert refused.run.rows.status.tolist() == [401] * 3
    assert "1 recorded credentials without a mapping" in " ".join(refused.run.header.notes)
    keyring = Keyring(credentials={found.fingerprint(SALT): b"target-token", "bearer:000000000000": b"x"})
    accepted = send(path, server.url, keyring=keyring)
    assert accepted.run.rows.status.tolist() == [200] * 3
    notes = " ".join(accepted.run.header.notes)
    assert "maps what no request carries: bearer:000000000000" in notes
    assert "without a mapping" not in notes
    assert "target-token" not in notes + repr(accepted.run.header)


def test_notes_say_what_was_not_as_recorded(exchange: Make, send: Send, serve: Serve) -> None:
    """HTTP/2, upgrades to what is no WebSocket and cut bodies are counted in the run."""
    exchanges = [
        exchange(0, http_version=b"HTTP/2.0", headers=((b"accept", b"*/*"),)),
        exchange(1, status=101),
        exchange(2, method=b"POST", body=b"abc", truncated_bytes=5),
    ]
    server = serve()
    replayed = send(exchanges, server.url)
    notes = " ".join(replayed.run.header.notes)
    assert "1 exchanges captured over HTTP/2 were sent over HTTP/1.1." in notes
    assert "never sent: an upgrade to another protocol than WebSocket x 1." in notes
    assert "1 requests had their bodies cut" in notes
    assert len(server.seen) == 2
    assert server.seen[0].request.http_version == b"HTTP/1.1"


def test_the_run_holds_a_row_per_exchange(exchange: Make, send: Send, serve: Serve, tmp_path: Path) -> None:
    """Rows say what was recorded and what came, and survive the file."""
    failure = Failure(reason=FailureReason.TIMEOUT, offset_ns=1)
    exchanges = [
        exchange(0, target=b"/runs/17"),
        exchange(1, target=b"/runs/18", status=404),
        exchange(2, method=b"POST", failure=failure, connection=4),
    ]
    run = send(exchanges, serve().url, "1/2").run
    rows = run.rows
    assert [run.header.endpoints[number] for number in rows.endpoint] == ["GET /runs/{id}"] * 2 + ["POST /"]
    assert rows.recorded_status.tolist() == [200, 404, 0]
    assert rows.status.tolist() == [200] * 3
    assert rows.response_bytes.tolist() == [2] * 3
    assert rows.connection.tolist() == [0, 0, 4]
    assert rows.due_ns.tolist() == [0, 2 * MS, 4 * MS]
    assert not (rows.sent_ns == NEVER_NS).any()
    assert run.header.speed == "1/2x"
    write_run(tmp_path / "a.run", run)
    again = read_run(tmp_path / "a.run")
    assert again.header == run.header
    assert again.rows.done_ns.tolist() == rows.done_ns.tolist()


def test_equal_replays_offer_equal_schedules(
    exchange: Make, send: Send, serve: Serve, capture: Callable[..., Path]
) -> None:
    """Two runs of a capture at one speed share the schedule hash, and differ in run id."""
    path = capture([exchange(number) for number in range(3)])
    server = serve()
    first, second, other = (send(path, server.url, speed).run.header for speed in ("2", "2", "3"))
    assert first.schedule_hash == second.schedule_hash != other.schedule_hash
    assert first.run_id != second.run_id


def test_a_capture_with_nothing_to_send_is_told(send: Send, serve: Serve) -> None:
    """An empty capture is a clear sentence and exit code 1."""
    server = serve()
    with pytest.raises(CaptureError, match="no exchanges") as empty:
        send([], server.url)
    assert empty.value.exit_code == 1
    assert server.connections == 0


def test_a_damaged_capture_is_told(send: Send, serve: Serve, tmp_path: Path) -> None:
    """Random bytes are no capture."""
    path = tmp_path / "random.reel"
    path.write_bytes(b"\x00random" * 100)
    with pytest.raises(CaptureError):
        send(path, serve().url)


def test_a_cut_capture_is_replayed_as_far_as_it_goes(
    exchange: Make, send: Send, serve: Serve, capture: Callable[..., Path]
) -> None:
    """A recording that was killed leaves a file without end; the run says so."""
    path = capture([exchange(number) for number in range(5)])
    path.write_bytes(path.read_bytes()[:-60])
    replayed = send(path, serve().url)
    assert replayed.run.rows.outcome.tolist() == [Outcome.COMPLETED] * 5
    assert replayed.run.header.notes[0].startswith("The capture ")


def test_a_capture_whose_first_block_is_damaged_is_an_error_and_no_run(
    exchange: Make, send: Send, serve: Serve, capture: Callable[..., Path]
) -> None:
    """Before anything was sent the damage itself is told, and the target is not even connected to."""
    path = capture([exchange(number) for number in range(4)])
    with CaptureReader.open(path) as reader:
        position = reader.index.blocks[0].position
    content = bytearray(path.read_bytes())
    content[position + 80] ^= 255
    path.write_bytes(content)
    server = serve()
    with pytest.raises(CaptureError, match="damaged"):
        send(path, server.url)
    assert server.connections == 0


def test_a_secret_that_does_not_fit_its_scheme_is_wrong_usage(
    exchange: Make, send: Send, serve: Serve
) -> None:
    """It is found before the first send and never quoted."""
    scheme = SignatureScheme.STANDARD_WEBHOOKS
    signed = exchange(0, headers=((b"Host", b"h"), *STAND_INS[scheme]), signing=recipe(scheme))
    server = serve()
    with pytest.raises(UsageError) as told:
        send([signed], server.url, keyring=Keyring(by_scheme={scheme: b"!sesame!"}))
    assert "sesame" not in str(told.value)
    assert server.connections == 0


def test_a_rehearsal_tells_a_capture_that_cannot_be_read(
    exchange: Make, capture: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the file system is a sentence, too."""

    def broken(_reader: CaptureReader, **_window: object) -> Iterator[Exchange]:
        raise OSError(errno.EIO, "Input/output error")
        yield

    path = capture([exchange(0)])
    options = ReplayOptions(
        target=parse_target("http://127.0.0.1:1"), load=Load(), tls=None, timeout_ns=10**9
    )
    monkeypatch.setattr(CaptureReader, "exchanges", broken)
    with CaptureReader.open(path) as reader, pytest.raises(HookreelError, match="input/output error"):
        rehearse(reader, options)


def test_notes_count_what_was_sent_and_not_what_was_compiled(
    exchange: Make, send: Send, serve: Serve, answer: Any
) -> None:
    """A run that is stopped early says nothing about exchanges that it did not come to."""

    def respond(seen: Any) -> Any:
        if seen.request.target == b"/1":
            os.kill(os.getpid(), signal.SIGINT)
        return answer()

    scheme = SignatureScheme.STRIPE
    headers = ((b"accept", b"*/*"), (b"authorization", b"Bearer one"), *STAND_INS[scheme])
    exchanges = [
        exchange(
            number,
            offset_ns=number * (30 if number < 2 else 3_600_000) * MS,
            target=b"/%d" % number,
            http_version=b"HTTP/2.0",
            headers=headers,
            signing=recipe(scheme),
            stream_ns=MS,
            truncated_bytes=1,
        )
        for number in range(10)
    ]
    run = send(exchanges, serve(respond).url).run
    assert len(run.rows) == 2
    notes = " ".join(run.header.notes)
    assert "2 exchanges captured over HTTP/2" in notes
    assert "2 streams" in notes
    assert "2 requests had their bodies cut" in notes
    assert "1 recorded credentials without a mapping were sent as they stand in the capture, 2 times" in notes
    assert "stripe x 2." in notes


def test_what_is_no_request_is_dropped_and_told(exchange: Make, send: Send, serve: Serve) -> None:
    """A capture from anywhere can make no request but those it lists; the others go out as usual."""
    evil = b"x\r\n\r\nGET /admin HTTP/1.1\r\nHost: t"
    exchanges = [
        exchange(0, target=b"/0"),
        exchange(1, method=b"GET / HTTP/1.1\r\nHost: t\r\n\r\nGET"),
        exchange(2, headers=((b"A", evil),)),
        exchange(3, headers=((b"A: " + evil, b"b"),), connection=7),
        exchange(4, target=b"/" + evil, stream_ns=MS),
        exchange(5, http_version=b"HTTP/1.1\r\nHost: t\r\n\r\nGET /admin HTTP/1.1", target=b"/5"),
        exchange(6, target=b"/6", offset_ns=300 * MS),
        exchange(7, method=b"", offset_ns=301 * MS, connection=7),
    ]
    server = serve()
    run = send(exchanges, server.url).run
    assert sorted(one.request.target for one in server.seen) == [b"/0", b"/5", b"/6"]
    good, bad = Outcome.COMPLETED, Outcome.DROPPED
    assert run.rows.outcome.tolist() == [good, bad, bad, bad, bad, good, good, bad]
    assert "5 exchanges were due and not sent." in run.header.invalid_reasons
    (note,) = [note for note in run.header.notes if "not valid HTTP" in note]
    assert note.startswith("5 captured requests are not valid HTTP and are never sent: ")
    assert "the method is no token x 2" in note
    assert "admin" not in note


def test_requests_of_several_hosts_are_noted(exchange, send, serve):
    """Traffic of two services that all goes to one target is said, with one host nothing is."""
    two = [exchange(number, offset_ns=number * MS, authority=b"host-%d" % number) for number in range(2)]
    assert any("2 different hosts" in note for note in send(two, serve().url).run.header.notes)
    one = [exchange(number, offset_ns=number * MS, authority=b"Host") for number in range(2)]
    assert not any("hosts" in note for note in send(one, serve().url).run.header.notes)
