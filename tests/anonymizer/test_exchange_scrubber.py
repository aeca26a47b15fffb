"""What stands around a body: names of headers, types, boundaries, metadata, tags and signatures."""

from __future__ import annotations

import base64
import email.parser
import email.policy
import hashlib
import quopri
import re
import time
from typing import Any

import pytest
from google.protobuf import struct_pb2
from twilio.request_validator import RequestValidator

from anonymizer.policy import parse_policy
from captures.model import SignatureScheme
from captures.signatures import sign, verify

EMAIL = b"alice.anderson@corp.com"
LOGIN = b"aliceanders"
JSON = (b"Content-Type", b"application/json")
BODY = b'{"user": {"login": "aliceanders", "name": "Alice Anderson", "email": "alice.anderson@corp.com"}}'


def test_a_known_value_in_a_headers_name_goes(make_exchange: Any, anonymized: Any) -> None:
    """Metadata named after somebody is renamed as its values are, also where a trailer announces it."""
    result = anonymized(
        make_exchange(
            headers=(
                JSON,
                (b"X-Amz-Meta-aliceanders", b"yes"),
                (b"x-amz-meta-alice-anderson", b"no"),
                (b"Trailer", b"X-Sum-AliceAnders"),
                (b"X-Request-Id", b"17"),
            ),
            body=BODY,
        )
    )
    names = [name for name, _ in result.exchanges[0].request.headers]
    values = [value for _, value in result.exchanges[0].request.headers]
    everything = result.everything().lower()
    assert b"alice" not in everything
    assert b"anderson" not in everything
    assert names[0] == b"Content-Type"
    assert names[1].startswith(b"X-Amz-Meta-")
    assert names[2].startswith(b"x-amz-meta-")
    assert names[2].count(b"-") == 4
    assert values[1:3] == [b"yes", b"no"]
    assert values[3].lower() == b"x-sum-" + names[1].lower().removeprefix(b"x-amz-meta-")
    assert names[4] == b"X-Request-Id"
    report = result.report.as_json()
    assert "alice" not in report.lower()


def test_the_names_that_everybody_sends_stay(make_exchange: Any, anonymized: Any) -> None:
    """A user who is called like a header renames none."""
    headers = (
        (b"Origin", b"http://x.test"),
        (b"X-Forwarded-For", b"10.0.0.1"),
        (b"Forwarded", b"for=10.0.0.1"),
    )
    body = b'{"user": {"login": "forwarded", "email": "a@corp.com"}, "owner": {"login": "origin"}}'
    result = anonymized(make_exchange(headers=(JSON, *headers), body=body))
    new = result.exchanges[0].request.headers
    assert [name for name, _ in new[1:]] == [name for name, _ in headers]


def parts_of(content_type: bytes, body: bytes) -> list[Any]:
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        b"Content-Type: %b\r\n\r\n%b" % (content_type, body)
    )
    assert not message.defects
    return list(message.iter_parts())


def test_a_boundary_with_a_value_is_renamed_in_type_and_body(make_exchange: Any, anonymized: Any) -> None:
    """The new body splits by the new type's boundary, also one level deeper, and has no value in either."""
    inner = (
        b"--in-alice.anderson@corp.com\r\nContent-Disposition: form-data; name=a\r\n\r\nA\r\n"
        b"--in-alice.anderson@corp.com--\r\n"
    )
    body = (
        b"--=_alice.anderson@corp.com\r\n"
        b'Content-Disposition: form-data; name="email"; filename="alice.anderson@corp.com (1).txt"\r\n\r\n'
        b"alice.anderson@corp.com\r\n"
        b"--=_alice.anderson@corp.com\r\n"
        b'Content-Type: multipart/mixed; boundary="in-alice.anderson@corp.com"\r\n\r\n%b\r\n'
        b"--=_alice.anderson@corp.com--\r\n"
    ) % inner
    content_type = b'multipart/form-data; boundary="=_alice.anderson@corp.com"'
    result = anonymized(make_exchange(headers=((b"Content-Type", content_type),), body=body))
    request = result.exchanges[0].request
    assert b"alice" not in result.everything()
    first, second = parts_of(request.headers[0][1], request.body)
    assert first.get_content().endswith("example.com")
    assert first.get_filename() == first.get_content() + " (1).txt"
    assert [part.get_content() for part in second.iter_parts()] == ["A"]


def test_a_plain_boundary_stays(make_exchange: Any, anonymized: Any) -> None:
    """Type and delimiters are as they were, and parts without values too."""
    body = b'--QQ\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--QQ--\r\n'
    headers = ((b"Content-Type", b"multipart/form-data; boundary=QQ"),)
    request = anonymized(make_exchange(headers=headers, body=body)).exchanges[0].request
    assert (request.headers, request.body) == (headers, body)


@pytest.mark.parametrize("coding", [b"base64", b"quoted-printable"])
def test_parts_in_a_transfer_coding_are_read(coding: bytes, make_exchange: Any, anonymized: Any) -> None:
    """A value that such lines would cut in two is found, and the part decodes as before."""
    text = b"x" * 40 + b" <p>" + EMAIL + b" caf\xc3\xa9</p> " + b"y" * 40 + b"\n"
    encoded = base64.encodebytes(text) if coding == b"base64" else quopri.encodestring(text)
    head = b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: " + coding
    body = b"--QQ\r\n%b\r\n\r\n%b\r\n--QQ--\r\n" % (head, encoded.replace(b"\n", b"\r\n"))
    content_type = b"multipart/related; boundary=QQ"
    result = anonymized(make_exchange(headers=((b"Content-Type", content_type),), body=body))
    (part,) = parts_of(content_type, result.exchanges[0].request.body)
    new = part.get_content()
    assert "alice" not in new
    assert "example.com caf\xe9</p>" in new
    assert not result.report.undecodable


def test_parameters_of_a_type_are_fields(make_exchange: Any, anonymized: Any) -> None:
    """A value in a parameter goes; type and charset are words of the protocol."""
    kind = b'application/json; charset=utf-8; name="alice.anderson@corp.com 1.json"'
    one = anonymized(make_exchange(headers=((b"Content-Type", kind),), body=BODY)).exchanges[0]
    new = one.request.headers[0][1]
    assert b"alice" not in new
    assert new.startswith(b'application/json; charset=utf-8; name="')
    assert new.endswith(b'example.com 1.json"')


def test_metadata_of_grpc_is_decoded(make_exchange: Any, anonymized: Any) -> None:
    """Binary metadata is text or a message inside of base64; other bytes are blanked and counted."""
    details = struct_pb2.Struct()
    details.update({"email": EMAIL.decode(), "kept": "y" * 40})
    opaque = b"\xff\xfe\x00\x01" + EMAIL
    result = anonymized(
        make_exchange(
            response_headers=(
                (b"user-bin", base64.b64encode(EMAIL).rstrip(b"=")),
                (b"grpc-status-details-bin", base64.b64encode(details.SerializeToString())),
                (b"trace-bin", base64.b64encode(opaque)),
                (b"grpc-message", b"no user alice.anderson%40corp.com"),
            )
        )
    )
    values = dict(result.exchanges[0].outcome.headers)
    user = base64.b64decode(values[b"user-bin"] + b"==")
    found = struct_pb2.Struct.FromString(base64.b64decode(values[b"grpc-status-details-bin"]))
    assert found["email"] == user.decode()
    assert found["kept"] == "y" * 40
    assert base64.b64decode(values[b"trace-bin"]) == bytes(len(opaque))
    assert values[b"grpc-message"] == b"no user " + user.replace(b"@", b"%40")
    assert sum(result.report.undecodable.values()) == 1


@pytest.mark.parametrize("name", [b"X-Signature", b"X-Twilio-Signature", b"Stripe-Signature"])
def test_a_signature_of_no_known_shape_is_a_secret(name: bytes, make_exchange: Any, anonymized: Any) -> None:
    """Its value does not pass, and no recipe pretends to renew it."""
    one = anonymized(make_exchange(headers=((name, b"hand-written by q8Xk2Lm9zzAB"),))).exchanges[0]
    assert one.signing is None
    assert b"q8Xk2Lm9zzAB" not in one.request.headers[0][1]


def test_the_tag_of_a_response_tells_nothing_of_its_body(make_exchange: Any, anonymized: Any) -> None:
    """A tag that is the MD5 of the body becomes another one of its shape, a server's own stays."""
    tags = ((b"ETag", b'"%b"' % hashlib.md5(BODY).hexdigest().encode()), (b"X-Version", b'"17"'))
    outcome = (
        anonymized(make_exchange(response_headers=(JSON, *tags), response_body=BODY)).exchanges[0].outcome
    )
    assert outcome.body != BODY
    assert outcome.headers[1] != tags[0]
    assert re.fullmatch(rb'"[0-9a-f]{32}"', outcome.headers[1][1])
    assert outcome.headers[2] == tags[1]


def test_digests_in_trailers_follow_the_body(make_exchange: Any, anonymized: Any) -> None:
    """A digest that comes after the body is made anew too."""
    from dataclasses import replace

    one = make_exchange(headers=(JSON, (b"Trailer", b"Content-Digest")), body=BODY)
    digest = b"sha-256=:%b:" % base64.b64encode(hashlib.sha256(BODY).digest())
    one = replace(one, request=replace(one.request, trailers=((b"Content-Digest", digest),)))
    new = anonymized(one).exchanges[0].request
    expected = b"sha-256=:%b:" % base64.b64encode(hashlib.sha256(new.body).digest())
    assert new.trailers == ((b"Content-Digest", expected),)
    assert new.headers[1] == (b"Trailer", b"Content-Digest")


def test_twilios_package_accepts_what_is_anonymized_and_signed_again(
    make_exchange: Any, anonymized: Any
) -> None:
    """The digest in the URL is that of the new body, and the signature over both passes."""
    target = b"/hooks/t?bodySHA256=" + hashlib.sha256(BODY).hexdigest().encode()
    signature = (b"X-Twilio-Signature", b"c2lnbmF0dXJlIG9mIDIwIGJ5dGU=")
    one = anonymized(make_exchange(target=target, headers=(JSON, signature), body=BODY)).exchanges[0]
    assert one.signing is not None
    assert one.signing.scheme is SignatureScheme.TWILIO
    assert dict(one.request.headers)[b"X-Twilio-Signature"] == b"A" * 27 + b"="
    url = b"http://127.0.0.1:3000" + one.request.target
    fresh = sign(
        one.signing, secret=b"token", headers=one.request.headers, body=one.request.body, now_s=0, url=url
    )
    value = fresh[b"x-twilio-signature"].decode()
    assert RequestValidator("token").validate(url.decode(), one.request.body.decode(), value)
    assert not RequestValidator("token").validate(url.decode(), BODY.decode(), value)


def test_a_signature_that_a_policy_describes_becomes_a_recipe(make_exchange: Any, anonymized: Any) -> None:
    """Its digest goes, the capture keeps how to make it, and what is made verifies."""
    policy = parse_policy(
        {
            "signatures": [
                {
                    "header": "X-Acme-Signature",
                    "algorithm": "sha512",
                    "encoding": "base64",
                    "prefix": "v1:",
                    "signed": "{timestamp}.{body}",
                    "timestamp_header": "X-Acme-Time",
                }
            ]
        },
        name="acme",
    )
    digest = base64.b64encode(hashlib.sha512(b"secret digest").digest())
    headers = (JSON, (b"X-Acme-Time", b"1700000000"), (b"x-acme-signature", b"v1:" + digest))
    one = anonymized(make_exchange(headers=headers, body=BODY), policy=policy).exchanges[0]
    assert one.signing is not None
    assert one.signing.scheme is SignatureScheme.HMAC
    assert one.signing.header == b"x-acme-signature"
    assert one.request.headers[2] == (b"x-acme-signature", b"v1:" + b"A" * 86 + b"==")
    now_s = int(time.time())
    facts = {"secret": b"s3cret", "body": one.request.body, "now_s": now_s}
    fresh = sign(one.signing, headers=one.request.headers, **facts)
    final = tuple((name, fresh.get(name.lower(), value)) for name, value in one.request.headers)
    assert verify(one.signing, headers=final, **facts)
    assert not verify(one.signing, headers=one.request.headers, **facts)


def test_words_in_other_letters_are_read(make_exchange: Any, anonymized: Any) -> None:
    """A value in an encoded word of a header goes, in both of its forms."""
    words = (
        b"=?utf-8?q?Re=3A_alice=2Eanderson=40corp=2Ecom?=",
        b"=?UTF-8?B?" + base64.b64encode(b"to " + EMAIL) + b"?=",
    )
    one = anonymized(make_exchange(headers=tuple((b"X-Subject", word) for word in words))).exchanges[0]
    (_, quoted), (_, encoded) = one.request.headers
    plain = quopri.decodestring(quoted[10:-2], header=True)
    assert plain.startswith(b"Re: ")
    assert plain.endswith(b"example.com")
    assert base64.b64decode(encoded[10:-2]) == b"to " + plain[4:]


def test_an_id_of_a_delivery_stays_unless_it_holds_a_value(make_exchange: Any, anonymized: Any) -> None:
    """Ids that come once pass by, but for a known value, a phone number or text that is one's digits."""
    ids = [
        b"72d3a11e-3b5c-4a1d-81ab-0123456789ab",
        b"72d3a11e-3b5c-4a1d-81ab-c0ffee12ab34",
        b"72d3a11e-3b5c-4a1d-81ab-004989044960",
        b"72d3a11e-3b5c-4a1d-81ab-6f63746f6361",
        b"99d3a11e-3b5c-4a1d-81ab-9876543210fe",
    ]
    body = b'{"user": {"login": "c0ffee12ab34"}, "sender": {"login": "octoca"}}'
    ones = [
        make_exchange(seq, headers=(JSON, (b"X-GitHub-Delivery", one)), body=body)
        for seq, one in enumerate(ids * 2)
    ]
    result = anonymized(*ones)
    after = [one.request.headers[1][1] for one in result.exchanges]
    assert after[:5] == after[5:]
    assert [after[at] == ids[at] for at in range(5)] == [True, False, False, False, True]
    assert b"c0ffee12ab34" not in result.everything()
