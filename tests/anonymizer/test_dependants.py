"""Headers about a body: they fit the new one, and what was no digest stays."""

from __future__ import annotations

import base64
import gzip
import hashlib
import zlib
from dataclasses import replace
from typing import Any

import google_crc32c
import pytest

from anonymizer.dependants import _digest, refitted, refitted_target, tags_of_bodies
from captures.model import Failure, FailureReason

OLD, NEW = b'{"email": "jane.doe@corp.com"}', b'{"email": "a@b.example"}'


def b64(digest: bytes) -> bytes:
    return base64.b64encode(digest)


def crc32c(data: bytes) -> bytes:
    return google_crc32c.value(data).to_bytes(4)


FITTING: dict[str, tuple[bytes, Any]] = {
    "length": (b"Content-Length", lambda body: b"%d" % len(body)),
    "Content-MD5": (b"Content-MD5", lambda body: b64(hashlib.md5(body).digest())),
    "Digest": (b"Digest", lambda body: b"SHA-256=" + b64(hashlib.sha256(body).digest())),
    "Content-Digest": (
        b"Content-Digest",
        lambda body: (
            b"sha-256=:%b:, sha-512=:%b:"
            % (b64(hashlib.sha256(body).digest()), b64(hashlib.sha512(body).digest()))
        ),
    ),
    "Repr-Digest": (b"Repr-Digest", lambda body: b"sha-512=:" + b64(hashlib.sha512(body).digest()) + b":"),
    "AWS": (b"x-amz-content-sha256", lambda body: hashlib.sha256(body).hexdigest().encode()),
    "S3 crc32": (b"x-amz-checksum-crc32", lambda body: b64(zlib.crc32(body).to_bytes(4))),
    "S3 crc32c": (b"x-amz-checksum-crc32c", lambda body: b64(crc32c(body))),
    "S3 sha1": (b"x-amz-checksum-sha1", lambda body: b64(hashlib.sha1(body).digest())),
    "S3 sha256": (b"x-amz-checksum-sha256", lambda body: b64(hashlib.sha256(body).digest())),
    "Google": (
        b"x-goog-hash",
        lambda body: b"crc32c=%b,md5=%b" % (b64(crc32c(body)), b64(hashlib.md5(body).digest())),
    ),
    "ETag md5": (b"ETag", lambda body: b'"' + hashlib.md5(body).hexdigest().encode() + b'"'),
    "ETag sha1": (b"etag", lambda body: b'W/"' + hashlib.sha1(body).hexdigest().encode() + b'"'),
    "ETag sha256": (b"ETag", lambda body: b'"' + hashlib.sha256(body).hexdigest().encode() + b'-gzip"'),
    "ETag base64": (b"ETag", lambda body: b'"' + b64(hashlib.sha256(body).digest()) + b'"'),
    "ETag of Express": (
        b"ETag",
        lambda body: b'W/"%x-%b"' % (len(body), b64(hashlib.sha1(body).digest())[:27]),
    ),
    "Artifactory": (b"X-Checksum-Sha1", lambda body: hashlib.sha1(body).hexdigest().encode()),
}


@pytest.mark.parametrize("name", list(FITTING))
def test_what_fitted_the_old_body_fits_the_new_one(name: str) -> None:
    """A length, digest, checksum or tag of the old body is that of the new one."""
    header, of = FITTING[name]
    assert refitted(((header, of(OLD)),), OLD, NEW) == ((header, of(NEW)),)


@pytest.mark.parametrize("name", [name for name in FITTING if name.startswith(("S3", "Google", "ETag"))])
def test_what_fitted_no_body_stays(name: str) -> None:
    """A tag or checksum of something else is left alone."""
    header, of = FITTING[name]
    headers = ((header, of(b"something else")), (b"ETag", b'"v17"'), (b"ETag", b"bare"))
    assert refitted(headers, OLD, NEW) == headers


def test_an_unchanged_body_changes_nothing() -> None:
    """Not even a wrong length is corrected."""
    headers = ((b"Content-Length", b"1"), (b"Content-MD5", b"wrong"))
    assert refitted(headers, OLD, OLD) == headers


def test_a_tag_of_the_plain_body_fits_beside_a_coding() -> None:
    """Of a compressed body both the sent and the plain bytes may be what the tag is of."""
    old, new = gzip.compress(OLD), gzip.compress(NEW)
    tag = b'"' + hashlib.md5(OLD).hexdigest().encode() + b'"'
    sent = b'"' + hashlib.md5(old).hexdigest().encode() + b'"'
    found = refitted(((b"ETag", tag), (b"ETag", sent)), old, new, b"gzip")
    assert [value.strip(b'"') for _, value in found] == [
        hashlib.md5(NEW).hexdigest().encode(),
        hashlib.md5(new).hexdigest().encode(),
    ]


def test_a_truncated_bodys_length_moves_by_the_difference() -> None:
    """A header that states more than was stored still states more."""
    assert refitted(((b"Content-Length", b"1000"),), b"12345", b"123") == ((b"Content-Length", b"998"),)


def test_a_length_that_no_body_has_stays() -> None:
    """Thousands of digits are a header that anybody can send, and no number to count with."""
    headers = ((b"Content-Length", b"9" * 5_000),)
    assert refitted(headers, b"old", b"new one") == headers


def test_the_check_values_of_the_crcs() -> None:
    """CRC-32C and CRC-64/NVME of the nine digits are those of the catalogue."""
    assert _digest("crc32c", b"123456789").hex() == "e3069283"
    assert _digest("crc64nvme", b"123456789").hex() == "ae8b14860a799888"


def test_twilios_digest_in_the_target_fits() -> None:
    """The SHA-256 that a URL states of its body is that of the new one, and only that."""
    old, new = (hashlib.sha256(body).hexdigest().encode() for body in (OLD, NEW))
    assert refitted_target(b"/p?a=1&bodySHA256=" + old, OLD, NEW) == b"/p?a=1&bodySHA256=" + new
    assert refitted_target(b"/p?bodySHA256=" + b"0" * 64, OLD, NEW) == b"/p?bodySHA256=" + b"0" * 64
    assert refitted_target(b"/p?other=" + old, OLD, NEW) == b"/p?other=" + old


TAGS = {
    "hex": lambda body: b'"' + hashlib.md5(body).hexdigest().encode() + b'"',
    "weak": lambda body: b'W/"' + hashlib.sha1(body).hexdigest().encode() + b'"',
    "base64": lambda body: b'"' + b64(hashlib.sha256(body).digest()) + b'"',
    "Express": FITTING["ETag of Express"][1],
    "Apache": lambda body: b'"' + hashlib.md5(body).hexdigest().encode() + b'-gzip"',
}


@pytest.mark.parametrize("name", list(TAGS))
@pytest.mark.parametrize("header", [b"If-None-Match", b"If-Match", b"If-Range"])
def test_a_later_request_carries_the_tag(
    name: str, header: bytes, make_exchange: Any, anonymized: Any
) -> None:
    """A tag that is a digest of its body is the same stand-in in the response and in what refers to it."""
    tag = TAGS[name](OLD)
    later = b'"other", ' + tag if header != b"If-Range" else tag
    first, second = anonymized(
        make_exchange(0, method=b"GET", response_headers=((b"ETag", tag),), response_body=OLD),
        make_exchange(1, method=b"GET", headers=((header, later),), response_headers=((b"ETag", tag),)),
    ).exchanges
    new = first.outcome.headers[0][1]
    assert new != tag
    assert len(new) == len(tag)
    assert second.outcome.headers[0][1] == new
    assert second.request.headers[0][1] == later.replace(tag, new)


def test_a_tag_of_what_was_sent(make_exchange: Any, anonymized: Any) -> None:
    """A store of objects answers with the digest of the object."""
    tag = TAGS["hex"](OLD)
    one = anonymized(
        make_exchange(body=OLD, response_headers=((b"ETag", tag), (b"etag", b'"v17"')))
    ).exchanges[0]
    (_, new), (_, version) = one.outcome.headers
    assert new != tag
    assert version == b'"v17"'


def test_tags_of_compressed_bodies_and_of_failures(make_exchange: Any) -> None:
    """Both the sent and the plain bytes count; where there is no response there is no tag."""
    sent = gzip.compress(OLD)
    headers = ((b"Content-Encoding", b"gzip"), (b"ETag", TAGS["hex"](OLD)), (b"ETag", TAGS["hex"](sent)))
    one = make_exchange(response_headers=headers, response_body=sent)
    assert len(list(tags_of_bodies(one))) == 2
    failed = replace(one, outcome=Failure(reason=FailureReason.TIMEOUT, offset_ns=1))
    assert list(tags_of_bodies(failed)) == []
