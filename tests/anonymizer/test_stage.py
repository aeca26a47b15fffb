"""Whole captures: order, provenance, one value everywhere, and nothing half-written."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import brotli
import pytest
import zstandard

from anonymizer.policy import Policy, parse_policy
from anonymizer.stage import anonymize_capture
from captures.errors import CaptureError, UsageError, WriteError
from captures.model import Failure, FailureReason, Message, MessageKind, SignatureScheme
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header

JSON = (b"Content-Type", b"application/json")
EMAIL = b"alice.anderson@corp.com"
KEY = b"a key for tests, 32 bytes long.."
OTHER_KEY = b"another key for tests, 32 bytes."


def test_one_value_is_one_stand_in_everywhere(make_exchange: Any, anonymized: Any) -> None:
    """A login found in a body is replaced in paths, queries, headers, forms, reasons and later responses."""
    result = anonymized(
        make_exchange(0, target=b"/users/aliceanders?q=aliceanders", method=b"GET"),
        make_exchange(
            1, headers=(JSON,), body=b'{"user": {"login": "aliceanders", "url": "/u/aliceanders"}}'
        ),
        make_exchange(2, headers=((b"X-Note", b"for AliceAnders"),), body=b"who=aliceanders&n=1"),
        make_exchange(3, reason=b"Hello aliceanders", response_body=b"<b>aliceanders</b>"),
    )
    login = json.loads(result.exchanges[1].request.body)["user"]["login"].encode()
    assert b"aliceanders" not in result.everything().lower()
    assert len(login) == len(b"aliceanders")
    assert result.exchanges[0].request.target == b"/users/%b?q=%b" % (login, login)
    assert result.exchanges[1].request.body == b'{"user": {"login": "%b", "url": "/u/%b"}}' % (login, login)
    assert result.exchanges[2].request.headers[0][1].lower() == b"for " + login
    assert result.exchanges[2].request.body == b"who=%b&n=1" % login
    assert result.exchanges[3].outcome.reason == b"Hello " + login
    assert result.exchanges[3].outcome.body == b"<b>%b</b>" % login


def test_a_minted_token_and_its_later_use_stay_linked(make_exchange: Any, anonymized: Any) -> None:
    """A token from a response body, a Set-Cookie value and their use in later requests match."""
    result = anonymized(
        make_exchange(
            0,
            response_headers=((b"Set-Cookie", b"sid=s%3Aq8Xk2Lm9.zz; Path=/; HttpOnly"),),
            response_body=b'{"access_token": "f81d4fae7dec11d0"}',
        ),
        make_exchange(
            1,
            headers=(
                (b"Authorization", b"Bearer f81d4fae7dec11d0"),
                (b"Cookie", b"theme=dark; sid=s%3Aq8Xk2Lm9.zz"),
            ),
        ),
    )
    minted = json.loads(result.exchanges[0].outcome.body)["access_token"].encode()
    cookie = re.fullmatch(rb"sid=(\S+); Path=/; HttpOnly", result.exchanges[0].outcome.headers[0][1])
    assert cookie is not None
    assert result.exchanges[1].request.headers == (
        (b"Authorization", b"Bearer " + minted),
        (b"Cookie", b"theme=dark; sid=" + cookie[1]),
    )
    assert minted != b"f81d4fae7dec11d0"
    assert re.fullmatch(rb"[a-z]%3A[A-Za-z0-9]{8}\.[a-z]{2}", cookie[1])


def test_what_is_not_traffic_stays(make_exchange: Any, anonymized: Any) -> None:
    """Order, times, connections, counters and start stay; lineage and provenance are added."""
    before = [make_exchange(seq, body=b"mail " + EMAIL) for seq in range(20)]
    result = anonymized(*before)
    with CaptureReader.open(result.before) as reader:
        old = reader.header
        counters = reader.counters
    keep = [(one.seq, one.offset_ns, one.request_end_ns, one.connection) for one in before]
    assert [(o.seq, o.offset_ns, o.request_end_ns, o.connection) for o in result.exchanges] == keep
    assert [o.outcome.end_ns for o in result.exchanges] == [o.outcome.end_ns for o in before]
    assert result.counters == counters
    assert result.header.lineage == (old.capture_id,)
    assert result.header.started_wall_ns == old.started_wall_ns
    assert result.header.capture_id != old.capture_id
    assert result.header.anonymized.policy == "default"
    assert re.fullmatch("[0-9a-f]{12}", result.header.anonymized.key_fingerprint)
    assert result.after.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("action", ["keep", "pseudonymise", "drop"])
def test_the_start_moves_as_times_do(make_exchange: Any, tmp_path: Path, action: str) -> None:
    """A Date header says no more of the original time than the capture's own start does."""
    started_s = 1_700_000_000
    source, copy = tmp_path / "a.reel", tmp_path / "b.reel"
    with CaptureWriter.create(
        source, new_header(source="made for a test", started_wall_ns=started_s * 10**9)
    ) as writer:
        writer.write(make_exchange(response_headers=((b"X-Created-At", b"%d" % started_s),)))
    policy = parse_policy({"kinds": {"date": action}}, name="x")
    anonymize_capture(source, copy, policy=policy, key=bytes(32))
    with CaptureReader.open(copy) as reader:
        now_s, rest_ns = divmod(reader.header.started_wall_ns, 10**9)
        stamp = next(reader.exchanges()).outcome.headers[0][1]
    assert rest_ns == 0
    assert (now_s != started_s) == (action != "keep")
    assert (now_s - started_s) % (7 * 86_400) == 0
    assert stamp == (b"" if action == "drop" else b"%d" % now_s)


def test_a_start_that_nobody_knows_stays_so(make_exchange: Any, anonymized: Any) -> None:
    """It tells nobody by how much times moved."""
    policy = parse_policy({"kinds": {"date": "pseudonymise"}}, name="x")
    assert anonymized(make_exchange(), policy=policy).header.started_wall_ns == 0


def test_fingerprints_of_the_original_cannot_be_guessed(make_exchange: Any, anonymized: Any) -> None:
    """The copy has a salt of its own, which is the same in each run with the same key."""
    result = anonymized(make_exchange())
    with CaptureReader.open(result.before) as reader:
        old = reader.header.fingerprint_salt
    assert len(result.header.fingerprint_salt) == len(old)
    again = result.after.with_suffix(".again")
    other = result.after.with_suffix(".other")
    anonymize_capture(result.before, again, policy=Policy(), key=KEY)
    anonymize_capture(result.before, other, policy=Policy(), key=OTHER_KEY)
    with CaptureReader.open(again) as same, CaptureReader.open(other) as different:
        assert same.header.fingerprint_salt == result.header.fingerprint_salt
        assert len({old, same.header.fingerprint_salt, different.header.fingerprint_salt}) == 3


def test_where_links_are_missing_no_file_is_replaced(
    make_exchange: Any, anonymized: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process puts at the name while the copy is written stays there."""
    source, folder = anonymized(make_exchange()).before, tmp_path / "out"
    folder.mkdir()
    monkeypatch.setattr(os, "link", Mock(side_effect=PermissionError(1, "no links here")))

    def taken(*_: object) -> None:
        (folder / "taken.reel").write_bytes(b"theirs")

    with pytest.raises(UsageError, match="exists already"):
        anonymize_capture(source, folder / "taken.reel", policy=Policy(), key=KEY, finish=taken)
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("taken.reel", b"theirs")]
    anonymize_capture(source, folder / "free.reel", policy=Policy(), key=KEY)
    with CaptureReader.open(folder / "free.reel") as reader:
        assert len(reader) == 1


def test_the_same_key_gives_the_same_exchanges(make_exchange: Any, anonymized: Any) -> None:
    """Two runs with one key agree, in whatever order values are met; another key gives others."""
    ones = [
        make_exchange(seq, body=b'{"email": "user%d@corp.com"}' % seq, headers=(JSON,)) for seq in range(9)
    ]
    turned = [make_exchange(9 - one.seq, body=one.request.body, headers=(JSON,)) for one in ones]
    first, again, other = anonymized(*ones), anonymized(*ones), anonymized(*ones, key=b"k" * 32)
    assert first.exchanges == again.exchanges
    assert first.exchanges != other.exchanges
    backwards = [one.request.body for one in anonymized(*turned).exchanges]
    assert backwards == [one.request.body for one in reversed(first.exchanges)]


def test_anonymizing_twice_is_harmless(make_exchange: Any, anonymized: Any) -> None:
    """A second run keeps the structure, names both captures and brings no original back."""
    body = json.dumps({"user": {"login": "aliceanders", "email": EMAIL.decode()}, "n": 1}).encode()
    once = anonymized(make_exchange(body=body, headers=(JSON,)))
    twice = anonymized(*once.exchanges)
    new = json.loads(twice.exchanges[0].request.body)
    assert b"alice" not in twice.everything()
    assert new.keys() == {"user", "n"}
    assert new["user"]["email"].endswith("example.com")


@pytest.mark.parametrize(
    ("coding", "encode", "decode"),
    [
        (b"gzip", gzip.compress, gzip.decompress),
        (b"br", brotli.compress, brotli.decompress),
        (b"zstd", zstandard.compress, zstandard.decompress),
        (b"deflate", __import__("zlib").compress, __import__("zlib").decompress),
    ],
    ids=["gzip", "br", "zstd", "deflate"],
)
def test_content_coding_and_length_agree(coding: bytes, encode: Any, decode: Any, through: Any) -> None:
    """A compressed body is compressed again by the same coding, and Content-Length and digests fit it."""
    body = encode(b'{"email": "%b"}' % EMAIL)
    sha = base64.b64encode(hashlib.sha256(body).digest())
    one = through(
        body=body,
        headers=(
            JSON,
            (b"content-encoding", coding),
            (b"content-length", b"%d" % len(body)),
            (b"Content-Digest", b"sha-256=:%b:" % sha),
            (b"Content-MD5", base64.b64encode(hashlib.md5(body).digest())),
        ),
    )
    new, headers = one.request.body, dict(one.request.headers)
    assert EMAIL not in decode(new)
    assert json.loads(decode(new))["email"].endswith("example.com")
    assert headers[b"content-length"] == b"%d" % len(new)
    assert headers[b"Content-Digest"] == b"sha-256=:%b:" % base64.b64encode(hashlib.sha256(new).digest())
    assert headers[b"Content-MD5"] == base64.b64encode(hashlib.md5(new).digest())


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (((b"Content-Encoding", b"gzip"),), b"\x1f\x8b\x08 alice.anderson@corp.com"),
        (((b"Content-Encoding", b"gzip"),), gzip.compress(EMAIL * 9, mtime=0)[:-9]),
        (((b"Content-Encoding", b"snappy"),), b"alice.anderson@corp.com"),
        (((b"Content-Type", b"image/png"),), b"\x89PNG\x00alice.anderson@corp.com"),
        (((b"Content-Type", b"application/grpc"),), b"\x00\x00\x00\x00\x18alice.anderson@corp.com"),
        ((JSON,), b'{"a": "\xff\xfe alice.anderson@corp.com"}'),
    ],
    ids=["no gzip", "gzip cut", "unknown coding", "image", "grpc cut", "no utf-8"],
)
def test_what_cannot_be_read_is_never_passed_on(
    headers: Any, body: bytes, make_exchange: Any, anonymized: Any
) -> None:
    """A body that does not decode becomes zero bytes of its length, or nothing, and is counted."""
    result = anonymized(make_exchange(headers=headers, body=body))
    assert result.exchanges[0].request.body == bytes(len(body))
    assert sum(result.report.undecodable.values()) == 1
    policy = parse_policy({"bodies": {"undecodable": "drop"}}, name="drop")
    assert (
        anonymized(make_exchange(headers=headers, body=body), policy=policy).exchanges[0].request.body == b""
    )


def test_a_cut_body_ends_without_part_of_a_value(through: Any) -> None:
    """What a truncated body ends with is masked, since part of a value is not recognised."""
    one = through(
        body=b'{"n": 1, "email": "alice.anders',
        headers=(JSON, (b"Content-Length", b"64")),
        truncated_bytes=33,
    )
    assert one.request.body == b'{"n": 1, "email": "xxxxxxxxxxxx'
    assert dict(one.request.headers)[b"Content-Length"] == b"64"


def test_signatures_are_blanked_and_recipes_stored(through: Any) -> None:
    """Signature headers keep place and shape with nothing left of the signature; timestamps stay."""
    stripe = b"t=1700000000,v1=" + b"ab" * 32
    one = through(headers=((b"Host", b"a"), (b"Stripe-Signature", stripe), (b"X-Last", b"1")), body=b"{}")
    assert one.signing is not None
    assert one.signing.scheme is SignatureScheme.STRIPE
    assert one.request.headers == (
        (b"Host", b"a"),
        (b"Stripe-Signature", b"t=1700000000,v1=" + b"0" * 64),
        (b"X-Last", b"1"),
    )


def test_messages_go_through_too(make_exchange: Any, anonymized: Any) -> None:
    """SSE events and WebSocket frames are replaced with the same stand-ins; binary frames are blanked."""
    kinds = [
        (MessageKind.EVENT, b'id: 7\nevent: log\ndata: {"login": "aliceanders", "n": 1.50}\n\n'),
        (MessageKind.TEXT, b'{"by": "@aliceanders"}'),
        (MessageKind.TEXT, b"plain aliceanders"),
        (MessageKind.BINARY, b"\x00\xffaliceanders"),
        (MessageKind.END, b""),
    ]
    messages = [
        Message(exchange=0, offset_ns=100 + at, from_client=at == 1, kind=kind, payload=payload)
        for at, (kind, payload) in enumerate(kinds)
    ]
    result = anonymized(make_exchange(0, stream=True), messages=messages)
    assert b"alice" not in result.everything()
    assert [m.kind for m in result.messages] == [kind for kind, _ in kinds]
    event = re.fullmatch(
        rb'id: 7\nevent: log\ndata: \{"login": "([a-z]{11})", "n": 1\.50\}\n\n', result.messages[0].payload
    )
    assert event is not None
    assert result.messages[1].payload == b'{"by": "@%b"}' % event[1]
    assert result.messages[2].payload == b"plain " + event[1]
    assert result.messages[3].payload == bytes(13)


def test_a_failure_and_the_source_are_searched(make_exchange: Any, anonymized: Any) -> None:
    """A failure's detail and the header's source hold no value either."""
    from dataclasses import replace

    failure = Failure(reason=FailureReason.OTHER, offset_ns=9, detail="no answer for aliceanders")
    result = anonymized(
        replace(make_exchange(0, body=b'{"login": "aliceanders"}'), outcome=failure),
        source="import of aliceanders.har",
    )
    assert b"alice" not in result.everything()
    assert result.exchanges[0].outcome.reason is FailureReason.OTHER


def test_the_report_holds_counts_and_no_value(make_exchange: Any, anonymized: Any) -> None:
    """Counts stand by kind, endpoint and field; keys and paths that are values show as stand-ins."""
    body = b'{"user": {"email": "%b"}, "seen": {"%b": 1, "nested": {"login": "aliceanders"}}}' % (
        EMAIL,
        EMAIL,
    )
    result = anonymized(make_exchange(0, target=b"/users/aliceanders", headers=(JSON,), body=body))
    text = result.report.as_json()
    assert "alice" not in text
    assert "corp" not in text
    fields = {(entry["kind"], entry["field"]) for entry in json.loads(text)["fields"]}
    assert ("email", "request.body.user.email") in fields
    assert ("email", "request.body.seen.{key}") in fields
    assert ("username", "request.path") in fields
    assert result.report.kinds()["email"] == 2


def test_policy_actions(make_exchange: Any, anonymized: Any) -> None:
    """Keep, mask, hash and drop do what they say, and other kinds are not touched by them."""
    body = json.dumps(
        {"email": EMAIL.decode(), "login": "bobbybrown", "ip": "81.2.69.160", "token": "tok-12345678"}
    )
    kinds = {"email": "keep", "username": "mask", "ip": "drop", "token": "hash"}
    policy = parse_policy({"kinds": kinds}, name="x")
    one = anonymized(make_exchange(body=body.encode(), headers=(JSON,)), policy=policy).exchanges[0]
    new = json.loads(one.request.body)
    assert new["email"] == EMAIL.decode()
    assert new["login"] == "*" * 10
    assert new["ip"] == ""
    assert re.fullmatch("[0-9a-f]{12}", new["token"])


def test_kept_paths_stay(make_exchange: Any, anonymized: Any) -> None:
    """A field named by keep.paths is not looked at; the same kind elsewhere is replaced."""
    body = b'{"kept": {"email": "a.person@corp.com"}, "email": "b.person@corp.com"}'
    policy = Policy(name="x", keep_paths=("request.body.kept.*",))
    new = json.loads(anonymized(make_exchange(body=body), policy=policy).exchanges[0].request.body)
    assert new["kept"]["email"] == "a.person@corp.com"
    assert new["email"].endswith("example.com")


def test_extra_name_keys(make_exchange: Any, anonymized: Any) -> None:
    """A key named by names.keys holds a person's name."""
    policy = parse_policy({"names": {"keys": ["dogOwner"]}}, name="x")
    one = anonymized(make_exchange(body=b'{"dog_owner": "Petra Lindqvist"}'), policy=policy).exchanges[0]
    assert re.fullmatch(rb'\{"dog_owner": "[A-Z][a-z]+ [A-Z][a-z]+"\}', one.request.body)
    assert b"Lindqvist" not in one.request.body


def test_nothing_is_left_after_a_failure(
    make_exchange: Any, anonymized: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When writing fails no file stands at the output's name, nor beside it."""
    source = anonymized(make_exchange(body=EMAIL)).before

    def fail(*_: object) -> None:
        raise WriteError("The disk is full; make room.")

    folder = tmp_path / "out"
    folder.mkdir()
    monkeypatch.setattr("captures.writer.CaptureWriter.close", fail)
    with pytest.raises(WriteError):
        anonymize_capture(source, folder / "safe.reel", policy=Policy(), key=b"k" * 32)
    assert list(folder.iterdir()) == []


def test_usage_errors(make_exchange: Any, anonymized: Any, tmp_path: Path) -> None:
    """An existing output, an absent input and a file that is no capture are refused."""
    result = anonymized(make_exchange())
    with pytest.raises(UsageError, match="exists already"):
        anonymize_capture(result.before, result.after, policy=Policy(), key=b"k" * 32)
    with pytest.raises(UsageError):
        anonymize_capture(tmp_path / "absent.reel", tmp_path / "o.reel", policy=Policy(), key=b"k" * 32)
    (tmp_path / "text.reel").write_text("no capture")
    with pytest.raises(CaptureError):
        anonymize_capture(tmp_path / "text.reel", tmp_path / "o.reel", policy=Policy(), key=b"k" * 32)
    assert not (tmp_path / "o.reel").exists()
    with pytest.raises(UsageError, match="folder"):
        anonymize_capture(result.before, tmp_path / "no" / "o.reel", policy=Policy(), key=b"k" * 32)


def test_an_incomplete_capture_stays_incomplete(make_exchange: Any, tmp_path: Path) -> None:
    """What was missing in the original is told by the copy, whose account is of what it holds."""
    source, copy = tmp_path / "a.reel", tmp_path / "b.reel"
    writer = CaptureWriter.create(source, new_header(source="made for a test", started_wall_ns=1))
    for number in range(3):
        writer.write(make_exchange(number))
    writer.flush()
    shutil.copy(source, tmp_path / "killed.reel")  # what a killed recorder leaves
    writer.close()
    anonymize_capture(tmp_path / "killed.reel", copy, policy=Policy(), key=bytes(32))
    with CaptureReader.open(tmp_path / "killed.reel") as before, CaptureReader.open(copy) as after:
        assert not before.complete
        assert after.complete
        assert after.header.source_problems == before.problems
        assert (before.has_account, after.counters.written) == (False, 3)
