"""Both passes over whole exchanges: no way of doing it faster changes what comes out."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymizer.passes import Passes
from anonymizer.policy import Policy, parse_policy
from anonymizer.report import Report
from anonymizer.scrubber import MAX_DEPTH, Scrubber
from captures.keys import Prf
from captures.model import Exchange, Response

PRF = Prf(b"a key for tests, 32 bytes long..")
JSON = (b"Content-Type", b"application/json")
UUID = b"ae7024ed-b7ee-1a9a-34c8-d03ab7d9365c"


def replaced(policy: Policy, exchanges: Iterable[Exchange]) -> list[Exchange]:
    """What becomes of ``exchanges`` in both passes, without a file; none may fail."""
    exchanges = list(exchanges)
    report = Report(policy="", key_fingerprint="")
    passes = Passes(policy, PRF, report)
    for exchange in exchanges:
        passes.collecting.exchange(exchange)
    made = [*map(passes.replacing().exchange, exchanges)]
    assert not [path for _, path in report.undecodable if path.startswith("exchange")]
    return made


POLICIES = [
    Policy(),
    *[parse_policy({"kinds": {kind: "pseudonymise"}}, name=kind) for kind in ("id", "uuid", "date")],
    *[
        parse_policy({"kinds": dict.fromkeys(("email", "phone", "id", "uuid", "name"), action)}, name=action)
        for action in ("mask", "drop", "hash", "keep")
    ],
]
# values of one form, of which a quick way may take one for the other
TEXTS = [
    "806847", "4155552671", "12345678", "1", "0043", "1557933618", "2019-05-15T15:20:18Z",
    "2021-05-15T15:20:18.5+01:00", UUID.decode(), "0b0ba8a6-77a3-4f5a-b25b-cb1e0a6d1f5e",
    "6a616e65-2e64-6f65-4063-6f72702e696f", "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
    "6a616e652e646f6540636f72702e696f2c206162", "octocat", "jane.doe@corp.io",
]  # fmt: skip
FORMS = ["%s", "https://x.io/t/%s", "https://x.io/t/%s/a", "see %s"]
KEYS = ["count", "tenant", "id", "phone", "created_at", "login", "sha"]
ROWS = st.lists(st.sampled_from(TEXTS), min_size=3, max_size=3)


@settings(max_examples=30, deadline=None)
@given(
    policy=st.sampled_from(POLICIES),
    keys=st.lists(st.sampled_from(KEYS), min_size=3, max_size=3, unique=True),
    forms=st.lists(st.sampled_from(FORMS), min_size=3, max_size=3),
    rows=st.lists(ROWS, min_size=2, max_size=6),
)
def test_the_quick_way_gives_what_looking_at_each_leaf_gives(
    make_exchange_once: Any, policy: Policy, keys: list[str], forms: list[str], rows: list[list[str]]
) -> None:
    """Bodies and headers alike but for their values are the same whether they are compared or scanned."""
    exchanges = []
    for row in rows * 2:
        texts = [form % text for form, text in zip(forms, row, strict=True)]
        body = json.dumps(dict(zip(keys, texts, strict=True)) | {"n": [row[0]]}).encode()
        headers = tuple((f"X-{key}".encode(), text.encode()) for key, text in zip(keys, row, strict=True))
        exchanges.append(make_exchange_once(headers=(JSON, *headers), body=body))
    quick = replaced(policy, exchanges)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scrubber, "document", lambda _self, _data: None)
        assert replaced(policy, exchanges) == quick


@pytest.mark.parametrize("first", [b"806847", b"6113728f27ae82c7b1a177c8d03f9e96e0adf246"])
def test_a_uuid_goes_where_something_else_passed(first: bytes, make_exchange: Any) -> None:
    """A UUID that a policy replaces stands neither in a body nor in a header, whatever stood there before."""
    ones = [
        make_exchange(headers=(JSON, (b"X-Build", text)), body=b'{"tenant":"%b"}' % text)
        for text in (first, UUID)
    ]
    made = replaced(parse_policy({"kinds": {"uuid": "pseudonymise"}}, name="uuids"), ones)
    assert first in made[0].request.body
    assert UUID not in repr(made).encode()


def test_an_escape_that_leaves_nothing_is_no_value(make_exchange: Any) -> None:
    """A credential of a character that nobody sees does not fail."""
    made = replaced(Policy(), [make_exchange(headers=((b"Cookie", b"a=\xe2\x80\x8b"),))])
    assert made[0].request.headers[0][1].startswith(b"a=")


def nested(text: bytes, count: int) -> bytes:
    for _ in range(count):
        text = base64.b64encode(text)
    return text


def laid_bare(text: bytes) -> bytes:
    """``text`` with base64 undone as often as it goes."""
    try:
        return laid_bare(base64.b64decode(text, validate=True))
    except ValueError:
        return text


@pytest.mark.parametrize("inner", [b"please write to jane.doe@acme-corp.com soon", b'{"password":"monkey"}'])
@pytest.mark.parametrize("deep", [MAX_DEPTH, MAX_DEPTH + 1, MAX_DEPTH + 3])
def test_depth_hides_nothing(make_exchange: Any, inner: bytes, deep: int) -> None:
    """A text at a depth where nobody looks is gone, and it is found at another depth whatever came first."""
    ones = [make_exchange(seq, body=b'["%b"]' % nested(inner, count)) for seq, count in enumerate([deep, 1])]
    made = [one.request.body for one in replaced(Policy(), ones)]
    assert made[::-1] == [one.request.body for one in replaced(Policy(), ones[::-1])]
    for body in made:
        bare = laid_bare(body[2:-2])
        assert b"jane" not in bare
        assert b"monkey" not in bare
    assert laid_bare(made[1][2:-2])[:6] == inner[:6]


@pytest.mark.parametrize("action", ["pseudonymise", "mask", "drop", "hash"])
def test_an_account_in_an_address_is_replaced_where_identifiers_are(make_exchange: Any, action: str) -> None:
    """The number that a platform puts before a name has the identifier's stand-in, or at least another."""
    bodies = [
        b'{"id":12345678,"email":"12345678+octojane@users.noreply.github.com"}',
        b'{"email":"23456789-octojane@users.noreply.gitlab.com","url":"https://x.io/u/23456789/a"}',
    ]
    ones = [make_exchange(seq, headers=(JSON,), body=body) for seq, body in enumerate(bodies)]
    made = replaced(parse_policy({"kinds": {"id": action}}, name="ids"), ones)
    assert b"2345678" not in repr(made).encode()
    first, second = (json.loads(one.request.body) for one in made)
    if action == "pseudonymise":
        assert first["email"].startswith(f"{first['id']}+")
        assert f"/u/{second['email'].partition('-')[0]}/a" in second["url"]
    kept = [one.request.body for one in replaced(Policy(), ones)]
    assert b"12345678+" in kept[0]
    assert b"23456789-" in kept[1]


SECRET = b"S3cr3tT0kenValue99"
BITS = [
    SECRET, b"a", b"\\u00e9", b"\\u0041", b"\\ud800", b"\\x41", b"\\303\\251", b"\\", b"%FF", b"%41", b"%",
    b"%5Cu00e9", b"&#233;", b"&", b";", b"=3D", b"=E9", b"=", b"\xff", b"\xc3", b"\xe2\x80\x8b",
    b"\xef\xbc\xa1",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b'"', b"{", b"[", b"<b>", b"</b>", b"<!--", b"=?utf-8?q?", b"?=", b" ",
    b"\n", b"\x00", b"\x01", b"eyJhIjoxfQ.eyJhIjoxfQ.aaaa", b"Bearer ", b"//u:p@h/", b"?a=", b"@", b"<~",
    b"~>", b"1" * 30,
]  # fmt: skip
WRAPS = [
    bytes, base64.b64encode, base64.b32encode, quote_from_bytes, bytes.hex,
    lambda text: json.dumps(text.decode("latin-1")), lambda text: b'{"x":"' + text + b'"}',
]  # fmt: skip
ODD = st.recursive(
    st.lists(st.sampled_from(BITS), max_size=5).map(b"".join),
    lambda inner: st.builds(
        lambda wrap, text: out if isinstance(out := wrap(text), bytes) else out.encode(),
        st.sampled_from(WRAPS),
        inner,
    ),
    max_leaves=2,
)
NAMES = [
    b"Authorization", b"Cookie", b"Set-Cookie", b"X-Api-Key", b"Referer", b"Content-Type", b"ETag",
    b"Forwarded", b"Content-Disposition", b"X-Meta-bin", b"Content-Length", b"X-Hub-Signature-256", b"Digest",
    b"Content-Encoding",
]  # fmt: skip
PART = b'--q\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n--q--'
BODIES = [
    (b"application/json", b'{"password":"%b","n":["%b"]}'),
    (b"text/plain", b"password=%b\n%b"),
    (b"application/x-www-form-urlencoded", b"password=%b&x=%b"),
    (b"text/html", b"<p a='%b'>%b</p>"),
    (b"multipart/form-data; boundary=q", PART),
    (b"text/event-stream", b"data: %b\nid: %b\n\n"),
    (b"application/graphql", b'query { a(b: "%b", c: "%b") }'),
]


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(*[ODD] * 6, st.sampled_from(NAMES), st.sampled_from(BODIES)), min_size=6, max_size=6)
)
def test_nothing_that_a_client_sends_fails_or_leaks(
    make_exchange_once: Any, odd: list[tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, Any]]
) -> None:
    """Escapes, bytes that are no text and values in any mixture: no exception, and no known value is left."""
    exchanges = [make_exchange_once(headers=(JSON,), body=b'{"password":"%b"}' % SECRET)]
    for seq, (*texts, name, (content_type, body)) in enumerate(odd, start=1):
        one, two, three, four, five, six = texts
        exchanges.append(
            make_exchange_once(
                seq,
                target=b"/x/%b?password=%b" % (one, two),
                headers=((b"Content-Type", content_type), (name, three)),
                body=body % (four, five),
                response_headers=((name, six), (b"Location", one)),
                response_body=body % (six, two),
                reason=three,
            )
        )
    assert SECRET not in b"".join(map(everything, replaced(Policy(), exchanges)))


def everything(exchange: Exchange) -> bytes:
    request, response = exchange.request, exchange.outcome
    assert isinstance(response, Response)
    headers = [part for header in (*request.headers, *response.headers) for part in header]
    return b"\n".join([request.target, request.body, response.reason, response.body, *headers])
