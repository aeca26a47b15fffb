"""Each detector's table of what it must find, and of what it must leave alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.detectors import cards, credentials, emails, ips, jwts, phones, street_addresses, tokens
from anonymizer.detectors.base import Context, Finding, normal_key
from anonymizer.detectors.registry import Detectors


def values(find: Any, text: str, **context: Any) -> list[str]:
    data = text.encode()
    return [data[found.start : found.stop].decode() for found in find(data, Context(**context))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alice@corp.com", ["alice@corp.com"]),
        ("mail Alice.B+tag@mail.corp.co.uk now", ["Alice.B+tag@mail.corp.co.uk"]),
        ("<o'brien@corp.ie>, 'x@y.org'", ["o'brien@corp.ie", "x@y.org"]),
        ("mailto:bob@corp.com?subject=x", ["bob@corp.com"]),
        ("41898282+github-actions[bot]@users.corp.com", ["41898282+github-actions[bot]@users.corp.com"]),
        ("jürgen@müller.de", ["jürgen@müller.de"]),
        ("a@b.com,c@d.com;e@f.com", ["a@b.com", "c@d.com", "e@f.com"]),
        ("end of sentence bob@corp.com.", ["bob@corp.com"]),
        ("https://x.test/?u=bob@corp.com&n=1", ["bob@corp.com"]),
        ("jane@корп.рф", ["jane@корп.рф"]),
        ("schreib an jane@xn--corp-9na.xn--p1ai.", ["jane@xn--corp-9na.xn--p1ai"]),
        ('mail "jane doe"@corp.com now', ['"jane doe"@corp.com']),
        ("jane@[203.0.113.7]", ["jane@[203.0.113.7]"]),
        ("git@github.com:owner/repo.git", []),
        ("ssh://git@localhost:3035/github/hello-world.git", []),
        ("npm install @scope/package@1.0.0", []),
        ("actions/checkout@v2", []),
        ("icon@2x.png", []),
        ("noreply@github.com", []),
        ("@handle and a @ b", []),
        ("user@localhost", []),
    ],
)
def test_emails(text: str, expected: list[str]) -> None:
    """Addresses are found whole; remotes, package versions and file names are none."""
    assert values(emails.find, text) == expected


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("jane@corpnine", "email", ["jane@corpnine"]),
        ("jane@localhost", "user_email_address", ["jane@localhost"]),
        ("jane@corp.com", "email", ["jane@corp.com"]),
        ("jane@corpnine", "image", []),
        ("yes", "email", []),
    ],
)
def test_emails_without_a_dot(text: str, key: str, expected: list[str]) -> None:
    """A host without a dot makes an address only where the key says that it is one."""
    assert values(emails.find, text, key=key) == expected


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("+14155552671", {}, ["+14155552671"]),
        ("call +49 30 901820 today", {}, ["+49 30 901820"]),
        ("(415) 555-2671", {}, ["(415) 555-2671"]),
        ("415-555-2671 or 415.555.2672", {}, ["415-555-2671", "415.555.2672"]),
        ("0301234567", {"key": "phone"}, ["0301234567"]),
        ("office 09-7625400, ext. 12", {"key": "phone"}, ["09-7625400"]),
        ("4155552671", {"key": "mobile_number", "number": True}, ["4155552671"]),
        ("+14155552671", {"key": "from"}, ["+14155552671"]),
        ("1557933565", {"key": "created"}, []),
        ("21031067", {"key": "id", "number": True}, []),
        ("2019-05-15T15:19:25Z", {}, []),
        ("1234567", {"key": "from"}, []),
        ("1.10.200.4", {}, []),
        ("ec26c3e57ca3a959ca5aad62de7213c562f8c821", {}, []),
        ("0000000000", {}, []),
        ("true", {"key": "phone"}, []),
    ],
)
def test_phones(text: str, context: dict[str, Any], expected: list[str]) -> None:
    """International and North American shapes anywhere, national numbers under telling keys."""
    assert values(phones.find, text, **context) == expected


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("4111111111111111", {}, ["4111111111111111"]),
        ("card 4242 4242 4242 4242 ok", {}, ["4242 4242 4242 4242"]),
        ("5555-5555-5555-4444", {}, ["5555-5555-5555-4444"]),
        ("378282246310005", {}, ["378282246310005"]),
        ("6759649826438453", {}, ["6759649826438453"]),
        ("my credit card: 122000000000003", {}, ["122000000000003"]),
        ("122000000000003", {"key": "card_number"}, ["122000000000003"]),
        ("122000000000003", {}, []),
        ("4111111111111111", {"key": "card_number", "number": True}, ["4111111111111111"]),
        ("4111111111111111", {"key": "id", "number": True}, []),
        ("4111111111111112", {}, []),
        ("1557933565123456", {}, []),
        ("9999999999999995", {}, []),
        ("4111111111111111.5", {}, []),
    ],
)
def test_cards(text: str, context: dict[str, Any], expected: list[str]) -> None:
    """Issuer range and check digit decide; identifiers and timestamps are none."""
    assert values(cards.find, text, **context) == expected


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("81.2.69.160", {}, ["81.2.69.160"]),
        ("81.2.69.160, 10.1.2.3", {}, ["81.2.69.160", "10.1.2.3"]),
        ("http://192.168.1.20:8080/x", {}, ["192.168.1.20"]),
        ("from 10.0.0.0/8", {}, ["10.0.0.0"]),
        ("9.8.2.81.in-addr.arpa", {}, ["9.8.2.81.in-addr.arpa"]),
        ("2001:4860:4860::8888", {}, ["2001:4860:4860::8888"]),
        ("[2a02:26f7::1]:443", {}, ["2a02:26f7::1"]),
        ("2001:db8::192.168.1.1 and 10.0.0.1", {}, ["2001:db8::192.168.1.1", "10.0.0.1"]),
        ("::ffff:81.2.69.160", {}, ["::ffff:81.2.69.160"]),
        ("::ffff:127.0.0.1", {}, []),
        ("127.0.0.1:8080", {}, []),
        ("::1", {}, []),
        ("0.0.0.0", {}, []),
        ("255.255.255.255", {}, []),
        ("Chrome/100.0.0.0 Safari/537.36", {}, []),
        ("node.js/100.0.0.0 (x11; Foo/9.8.7.6)", {}, []),
        ("/hosts/81.2.69.160/ports", {}, ["81.2.69.160"]),
        ("https://api.test/81.2.69.160", {}, ["81.2.69.160"]),
        ("9.4.27.8", {"key": "version"}, []),
        ("v1.2.3.4", {}, []),
        ("1.2.3", {}, []),
        ("1.2.3.4.5", {}, []),
        ("2019-05-15T15:19:25", {}, []),
        ("12:34:56", {}, []),
        ("std::string", {}, []),
        ("256.1.1.1", {}, []),
    ],
)
def test_ips(text: str, context: dict[str, Any], expected: list[str]) -> None:
    """Addresses of both versions; loopback, versions and times are none."""
    assert values(ips.find, text, **context) == expected


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("token ghp_" + "a1B2" * 9, {}, ["ghp_" + "a1B2" * 9]),
        ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", {}, ["sk_live_4eC39HqLyjWDarjtT1zdp7dc"]),
        ("xoxb-123456789012-abcdefGHIJKL", {}, ["xoxb-123456789012-abcdefGHIJKL"]),
        ("AKIAIOSFODNN7EXAMPLE", {}, ["AKIAIOSFODNN7EXAMPLE"]),
        ("key=AIzaSyA-1234567890abcdefghijklmnopqrst4", {}, ["AIzaSyA-1234567890abcdefghijklmnopqrst4"]),
        (
            "AKIAQWERTYUIOPASDFGH wJalrXUtnFEMI/K7MDENG/bPxRfiCYzq1W2e3R4t (prod)",
            {},
            ["AKIAQWERTYUIOPASDFGH", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzq1W2e3R4t"],
        ),
        ("sha wJalrXUtnFEMI/K7MDENG/bPxRfiCYzq1W2e3R4t", {}, []),
        ("AKIAQWERTYUIOPASDFGH at ec26c3e57ca3a959ca5aad62de7213c562f8c821", {}, ["AKIAQWERTYUIOPASDFGH"]),
        ("glpat-abcdefghij0123456789", {}, ["glpat-abcdefghij0123456789"]),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", {}, ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]),
        ("Authorization: Bearer abcdef0123456789", {}, ["abcdef0123456789"]),
        (
            "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
            {},
            ["T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"],
        ),
        (
            "https://hooks.slack.com/commands/1234/5678abcdEFGH",
            {},
            ["1234/5678abcdEFGH"],
        ),
        (
            "https://discord.com/api/webhooks/123456789012345678/aBcDeFgHiJkLmNoPqRsTuVwXyZ-_0123",
            {},
            ["aBcDeFgHiJkLmNoPqRsTuVwXyZ-_0123"],
        ),
        (
            "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
            {},
            ["110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"],
        ),
        ("AccountName=corp;AccountKey=Zm9vYmFyYmF6cXV4Zg==;x=y", {}, ["Zm9vYmFyYmF6cXV4Zg=="]),
        ("started with DB_PASSWORD=hunter2 and DEBUG=true", {}, ["hunter2"]),
        ("dcd98b7102dd2f0e", {"key": "pass"}, ["dcd98b7102dd2f0e"]),
        ("monkey", {"key": "password"}, ["monkey"]),
        ("Zx9yT2sQpL7m", {"key": "password_confirmation"}, ["Zx9yT2sQpL7m"]),
        ("Zx9yT2sQpL7m", {"key": "csrf"}, ["Zx9yT2sQpL7m"]),
        ("my first dog", {"key": "security_answer"}, ["my first dog"]),
        ("Zx9yT2sQpL7m", {"key": "pin"}, ["Zx9yT2sQpL7m"]),
        ("Zx9yT2sQpL7m", {"key": "state"}, ["Zx9yT2sQpL7m"]),
        ("sid=Zx9y; theme=dark", {"key": "cookie"}, ["sid=Zx9y; theme=dark"]),
        ("DE89 3704 0044 0532 0130 00", {"key": "iban"}, ["DE89 3704 0044 0532 0130 00"]),
        ("000123456", {"key": "account_number"}, ["000123456"]),
        ("hunter2", {"key": "password"}, ["hunter2"]),
        ("correct horse battery", {"key": "password"}, ["correct horse battery"]),
        ("abc123def456", {"key": "client_secret"}, ["abc123def456"]),
        ("f81d4fae7dec", {"key": "api_key"}, ["f81d4fae7dec"]),
        ("1234", {"key": "pin", "number": True}, ["1234"]),
        ("s1d2f3g4", {"key": "sid"}, ["s1d2f3g4"]),
        ("SM0123456789abcdef", {"key": "message_sid"}, []),
        ("anything at all", {"credential": True}, ["anything at all"]),
        ("4/0AfJohXl9-abcdEFGH", {"key": "code"}, ["4/0AfJohXl9-abcdEFGH"]),
        ("invalid_request", {"key": "code"}, []),
        ("in_progress", {"key": "state"}, []),
        ("********", {"key": "secret"}, []),
        ("read", {"key": "secret"}, []),
        ("Bearer", {"key": "token"}, []),
        ("bearer", {"key": "token_type"}, []),
        ("null", {"key": "password"}, []),
        ("[REDACTED]", {"key": "password"}, []),
        ("pass", {"key": "status"}, []),
        ("mode=password;type=secret", {}, []),
        ("https://x.test/?a=1&sort=asc", {}, []),
        ("E1234", {"key": "code"}, []),
        ("jane.doe%40corp.com", {"credential": True}, []),
        ("https://api.test/access_tokens", {"key": "access_tokens_url"}, []),
        ("3600", {"key": "token_expires_in"}, []),
        ("12", {"key": "total_tokens", "number": True}, []),
        ("secret", {"key": "privacy"}, []),
        ("ec26c3e57ca3a959ca5aad62de7213c562f8c821", {"key": "sha"}, []),
        ("sk-ip the queue", {}, []),
        ("refs/heads/key-rotation", {}, []),
        ("MDQ6VXNlcjIxMDMxMDY3", {"key": "node_id"}, []),
        ("workflow_dispatch", {"key": "event"}, []),
    ],
)
def test_tokens(text: str, context: dict[str, Any], expected: list[str]) -> None:
    """Published prefixes anywhere, whole values under keys that say secret; enums and hashes are none."""
    assert values(tokens.find, text, **context) == expected


def test_private_keys() -> None:
    """The body of a PEM private key is found and its frame is not; a public key is none."""
    pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc+/=\n-----END RSA PRIVATE KEY-----"
    assert values(tokens.find, pem) == ["\nMIIEabc+/=\n"]
    assert values(tokens.find, pem.replace("PRIVATE", "PUBLIC")) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", 1),
        ("x=eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.&y", 1),
        ("two eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIyIn0.c2ln", 2),
        ("eyJhbGciOiJIUzI1NiJ9", 0),
        ("example.test.com", 0),
        ("everything.eyeball.x", 0),
    ],
)
def test_jwts(text: str, count: int) -> None:
    """Three parts, of which two are base64url of JSON objects."""
    assert len(values(jwts.find, text)) == count


@pytest.mark.parametrize(
    ("text", "context", "found"),
    [
        ("Hauptstrasse 5", {"key": "line1", "parent": "address"}, True),
        ("12 Elm Street", {"key": "street_address"}, True),
        ("12 Elm Street", {"key": "address_line_1"}, True),
        ("10115", {"key": "postal_code"}, True),
        ("10115", {"key": "zip", "number": True}, True),
        ("SW1A 1AA", {"key": "postcode"}, True),
        ("first line", {"key": "line1", "parent": "diff"}, False),
        ("archive.tar.zip", {"key": "zip"}, False),
        ("https://x.test/street", {"key": "street"}, False),
        ("Berlin", {"key": "city"}, False),
        ("10.1.2.3", {"key": "address"}, False),
        ("12", {"key": "line", "number": True}, False),
    ],
)
def test_street_addresses(text: str, context: dict[str, Any], found: bool) -> None:
    """Streets and postal codes under their keys; lines of anything else are none."""
    assert values(street_addresses.find, text, **context) == ([text] if found else [])


def test_overlaps_are_settled() -> None:
    """Findings never overlap, and an address under a user name's key is an address."""
    found = Detectors().find(b"alice@corp.com", Context(key="username"))
    assert [finding.kind for finding in found] == ["email"]


WORDS = """
Mona Lisa jane monkey + 4 . @ = : / - eyJ ewo Bearer xoxb- sk- hooks AKIA [ ] " corp.com abcdefghij e 078
05 1123 1985 12 DE89 370400440532013000 dob ssn passport geo: 52.5200 00 1B 81 2 69 160 T10 hf_ datadog
"""
PIECES = st.sampled_from([*WORDS.split(), " "])
CONTEXTS = st.builds(
    Context,
    key=st.sampled_from(
        ["", "text", "login", "owner", "name", "password", "pin", "zip", "line1", "phone", "pet"]
    ),
    parent=st.sampled_from(["", "user", "address", "login"]),
    person=st.booleans(),
)


@given(st.lists(PIECES, max_size=8).map("".join), CONTEXTS)
def test_nothing_is_missed_for_want_of_a_hint(text: str, context: Context) -> None:
    """What is found is what all detectors find, looked into one after the other."""
    detectors = Detectors(frozenset({"pet"}), frozenset())
    every: list[Finding] = []
    for find in detectors._find:
        for finding in find(text.encode(), context):
            if all(finding.stop <= other.start or finding.start >= other.stop for other in every):
                every.append(finding)
    assert detectors.find(text.encode(), context) == sorted(every, key=lambda finding: finding.start)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"firstName", "first_name"),
        (b"First-Name", "first_name"),
        (b"user[email]", "user_email"),
        (b"HTTPServer", "http_server"),
        (b"X-API-Key", "x_api_key"),
        (b"", ""),
    ],
)
def test_keys_are_compared_in_snake_case(raw: bytes, expected: str) -> None:
    """Camel case, dashes and brackets make no difference."""
    assert normal_key(raw) == expected


def spans(*headers: tuple[bytes, bytes]) -> list[bytes]:
    return [headers[s.header][1][s.start : s.stop] for s in credentials.find(headers)]


def test_credentials_in_headers() -> None:
    """Authorization, cookies, Set-Cookie and secret-named headers; preferences and attributes are none."""
    assert spans(
        (b"Authorization", b"Bearer abc"),
        (b"Cookie", b"sid=s1; theme=dark; od+d=x"),
        (b"Set-Cookie", b"sid=s2; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
        (b"Set-Cookie", b"lang=en-US; Path=/"),
        (b"X-Api-Key", b"k"),
        (b"X-Custom-Token", b"t"),
        (b"X-Shopify-Hmac-Sha256", b"h="),
        (b"X-Hub-Signature-256", b"sha256=00"),
        (b"X-GitHub-Event", b"push"),
        (b"X-Request-Id", b"abc"),
        (b"WWW-Authenticate", b"Bearer realm=x"),
    ) == [b"abc", b"s1", b"x", b"k", b"s2", b"t"]


def test_quotes_are_no_part_of_a_cookie() -> None:
    """A cookie's value is the same with and without the double quotes around it."""
    assert spans((b"Cookie", b'uid="q1w2"; b=""'), (b"Set-Cookie", b'uid="q1w2"; Domain=x.test')) == [
        b"q1w2",
        b'""',
        b"q1w2",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            b'Digest username="mona", realm="r", nonce="dcd9", uri="/x", qop=auth, nc=01, response="66aa"',
            [b"mona", b"dcd9", b"66aa"],
        ),
        (
            b"AWS4-HMAC-SHA256 Credential=AKIAQWERTYUIOPASDFGH/20130524/us-east-1/s3/aws4_request, "
            b"SignedHeaders=host, Signature=fe5f80",
            [b"fe5f80"],
        ),
        (b'OAuth oauth_consumer_key="ck", oauth_version="1.0", oauth_signature="s%3D"', [b"ck", b"s%3D"]),
        (b'Token token="t1", nonce="n1"', [b"t1", b"n1"]),
        (b"Bearer dXNlcjpwYXNzd29yZA=", [b"dXNlcjpwYXNzd29yZA="]),
        (b"Bearer a=b=c", [b"a=b=c"]),
        (b"opaque-without-scheme", [b"opaque-without-scheme"]),
    ],
)
def test_parameters_of_authorization(value: bytes, expected: list[bytes]) -> None:
    """Of a scheme with parameters the secret values are found one by one, so that its shape stays."""
    assert spans((b"Authorization", value)) == expected
