"""Identities of copies: consistent within one, apart between two, and the rest of a request untouched."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.bodies.coding import decode, encode
from captures.errors import UsageError
from captures.model import Headers, Request
from hookreel import customer_values, identities
from hookreel.identities import CopyIdentities

HOST: Headers = ((b"Host", b"shop.test"),)
JSON: Headers = (*HOST, (b"Content-Type", b"application/json"))
FORM: Headers = (*HOST, (b"Content-Type", b"application/x-www-form-urlencoded"))
EMAIL = b"jane.doe84@acme-mail.test"


def ask(target: bytes = b"/", headers: Headers = HOST, body: Any = b"") -> Request:
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request(
        method=b"POST", scheme=b"http", authority=b"shop.test", target=target, http_version=b"HTTP/1.1",
        headers=headers, body=body,
    )  # fmt: skip


def settled(requests: list[Request], copies: int = 3, seed: int = 1, keep: bytes = b"") -> CopyIdentities:
    made = CopyIdentities(seed)
    if keep:
        made.keep(keep)
    for request in requests:
        made.learn(request)
    made.settle(copies)
    return made


def test_one_value_is_one_value_wherever_it_stands() -> None:
    """Path, query, header, cookie, form, JSON and the claims of a token agree within a copy."""
    claims = base64.urlsafe_b64encode(b'{"sub":"usr_19ab73cd22","email":"%b"}' % EMAIL).rstrip(b"=")
    token = b"eyJhbGciOiJSUzI1NiJ9." + claims + b"." + b"c2lnbmF0dXJlLW9mLXNvbWVib2R5"
    requests = [
        ask(body={"user_id": "usr_19ab73cd22", "email": EMAIL.decode()}, headers=JSON),
        ask(
            b"/users/usr_19ab73cd22?mail=jane.doe84%40acme-mail.test",
            (*HOST, (b"X-User-Id", b"usr_19ab73cd22")),
        ),
        ask(headers=FORM, body=b"who=usr_19ab73cd22&email=jane.doe84%40acme-mail.test"),
        ask(headers=(*HOST, (b"Authorization", b"Bearer " + token))),
    ]  # fmt: skip
    made = settled(requests)
    seen = []
    for copy in (1, 2):
        body, path, form, bearer = (made.request(request, copy) for request in requests)
        fresh = json.loads(body.body)
        user, email = fresh["user_id"].encode(), fresh["email"].encode()
        assert re.fullmatch(rb"usr_[a-z0-9]{10}", user)
        assert re.fullmatch(rb"[a-z]{4}\.[a-z]{3}\d\d@acme-mail\.test", email)
        assert path.target == b"/users/%b?mail=%b" % (user, email.replace(b"@", b"%40"))
        assert dict(path.headers)[b"X-User-Id"] == user
        assert form.body == b"who=%b&email=%b" % (user, email.replace(b"@", b"%40"))
        raw = dict(bearer.headers)[b"Authorization"].split(b".")[1]
        told = json.loads(base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4)))
        assert (told["sub"].encode(), told["email"].encode()) == (user, email)
        seen += [user, email]
    assert len({b"usr_19ab73cd22", EMAIL, *seen}) == 6


def test_messages_speak_of_the_same_customers() -> None:
    """JSON on a socket names them as requests do, and so does other text."""
    request = ask(body={"user_id": "usr_19ab73cd22"}, headers=JSON)
    made = CopyIdentities(1)
    made.learn(request)
    said = b'{"topic": "usr_19ab73cd22", "from": {"email": "%b"}}' % EMAIL
    made.learn_message(said)
    made.learn_message(b"usr_19ab73cd22 said hello")
    made.settle(2)
    user = json.loads(made.request(request, 1).body)["user_id"]
    told = json.loads(made.message(said, 1))
    assert told["topic"] == user != "usr_19ab73cd22"
    assert told["from"]["email"] != EMAIL.decode()
    assert made.message(b"usr_19ab73cd22 said hello", 1) == user.encode() + b" said hello"
    assert made.message(b"ping", 1) == b"ping"


def test_user_and_password_are_those_of_the_copy() -> None:
    """Basic credentials say the user that the body says, and another password; a mapped one stays."""
    basic = base64.b64encode(EMAIL + b":hunter2")
    request = ask(headers=(*JSON, (b"Authorization", b"Basic " + basic)), body={"email": EMAIL.decode()})
    for kept in (b"", basic):
        fresh = settled([request], keep=kept).request(request, 1)
        said = dict(fresh.headers)[b"Authorization"].removeprefix(b"Basic ")
        user, _, password = base64.b64decode(said).partition(b":")
        assert (said == basic) is bool(kept)
        if not kept:
            assert user.decode() == json.loads(fresh.body)["email"] != EMAIL.decode()
            assert password not in {b"hunter2", b""}


@pytest.mark.parametrize(
    ("stated_type", "coding", "template"),
    [
        (b"application/json", b"gzip", b'{"email": "%b", "user_id": "%b"}'),
        (b"application/json", b"br", b'{"email": "%b", "user_id": "%b"}'),
        (b"application/xml", b"", b"<order by='%b'><user-id>%b</user-id></order>"),
        (b"application/xml", b"zstd", b"<order><note>for %b and %b</note></order>"),
        (b"text/plain", b"", b"%b ordered as %b, thanks"),
        (b"application/x-ndjson", b"", b'{"email": "%b"}\n{"user_id": "%b"}\n'),
        (
            b"multipart/form-data; boundary=B", b"",
            b'--B\r\nContent-Disposition: form-data; name="m"\r\n\r\n%b\r\n'
            b'--B\r\nContent-Disposition: form-data; name="user_id"\r\n\r\n%b\r\n--B--\r\n',
        ),
    ],
)  # fmt: skip
def test_bodies_of_all_kinds_are_the_customers_of_the_copy(
    stated_type: bytes, coding: bytes, template: bytes
) -> None:
    """What stands in them is what stands in JSON; the rest of the body stays, and its coding."""
    user = b"usr_19ab73cd22"
    plain = ask(headers=JSON, body={"email": EMAIL.decode(), "user_id": user.decode()})
    headers = (*HOST, (b"Content-Type", stated_type), *(((b"Content-Encoding", coding),) if coding else ()))
    request = ask(headers=headers, body=encode(template % (EMAIL, user), coding))
    made = settled([plain, request])
    for copy in (1, 2):
        fresh = json.loads(made.request(plain, copy).body)
        wanted = template % (fresh["email"].encode(), fresh["user_id"].encode())
        assert decode(made.request(request, copy).body, coding) == wanted
        assert fresh["email"].encode() != EMAIL
    nobody = replace(request, body=encode(b"nothing of anybody", coding))
    assert made.request(nobody, 1) == nobody


def test_what_is_binary_stays() -> None:
    """A picture, and a coding that does not decode, are the same in all copies."""
    for headers, body in (
        ((*HOST, (b"Content-Type", b"image/png")), b"\x89PNG\0\xff" + EMAIL),
        ((*JSON, (b"Content-Encoding", b"gzip")), b"no gzip of " + EMAIL),
    ):
        request = ask(headers=headers, body=body)
        assert (
            settled([ask(headers=JSON, body={"email": EMAIL.decode()}), request]).request(request, 1)
            == request
        )


def test_short_ids_never_meet() -> None:
    """300 members with numbers of one to three digits are 300 others in each of nine copies."""
    requests = [
        ask(body=b'{"user_id": %d}' % number, headers=JSON, target=b"/u/%d" % number)
        for number in range(1, 301)
    ]
    made = settled(requests, copies=10)
    found = dict.fromkeys(range(1, 301), 0)
    for copy in range(1, 10):
        for request in requests:
            fresh = made.request(request, copy)
            number = json.loads(fresh.body)["user_id"]
            assert fresh.target == b"/u/%d" % number
            found[number] = found.get(number, 0) + 1
    assert len(found) == 300 * 10
    assert max(found.values()) == 1


def test_the_same_seed_gives_the_same_customers() -> None:
    """Runs that are compared send the same bytes; another seed others."""
    request = ask(body={"user_id": "usr_19ab73cd22", "id": 17, "email": EMAIL.decode()}, headers=JSON)
    first, again, other = (settled([request], seed=seed).request(request, 1) for seed in (1, 1, 2))
    assert first == again
    assert first.body != other.body


def test_what_is_nobodys_stays() -> None:
    """Words, amounts, times, hosts, flags and cookies like theme=dark are the same in all copies."""
    request = ask(
        b"/api/v2/orders/pending?page=2&sort=name",
        (*JSON, (b"Cookie", b"theme=dark; lang=en"), (b"User-Agent", b"app/1.2"), (b"X-Retries", b"0")),
        {"status": "pending", "amount": 129900, "at": "2026-01-01T10:00:00Z", "paid": True, "sku": None},
    )
    assert settled([request]).request(request, 1) == request


def test_a_kept_value_stays_everywhere() -> None:
    """A value that the target mints, or that is mapped, is no customer's."""
    request = ask(
        b"/orders/ord_77aa66bb55", (*HOST, (b"Authorization", b"Bearer tok-12345678-abcdef")),
        {"order_id": "ord_77aa66bb55", "user_id": "usr_19ab73cd22"},
    )  # fmt: skip
    made = settled([request], keep=b"ord_77aa66bb55").request(request, 1)
    assert made.target == request.target
    assert b'"ord_77aa66bb55"' in made.body
    assert b"usr_19ab73cd22" not in made.body
    assert dict(made.headers)[b"Authorization"] != b"Bearer tok-12345678-abcdef"


def test_numbers_stay_numbers_that_fit() -> None:
    """No leading zero, no more digits, and not above 32 or 64 bits where the recorded one was not."""
    numbers = (1_999_999_999, 2_147_483_647, 9_007_199_254_740_991, 9_223_372_036_854_775_807)
    request = ask(body=b'{"id":%d,"user_id":%d,"team_id":%d,"org_id":%d}' % numbers, headers=JSON)
    made = settled([request], copies=40)
    for copy in range(1, 40):
        fresh = json.loads(made.request(request, copy).body).values()
        for old, new in zip(numbers, fresh, strict=True):
            assert len(str(new)) == len(str(old))
            for limit in (2**31 - 1, 2**53 - 1, 2**63 - 1):
                assert old > limit or new <= limit


def test_signature_headers_are_left_to_whoever_signs() -> None:
    """Their shape must stay recognisable."""
    headers = (*JSON, (b"X-Hub-Signature-256", b"sha256=" + b"0a" * 32))
    request = ask(headers=headers, body={"user_id": "usr_19ab73cd22"})
    assert settled([request]).request(request, 1).headers == headers


def test_of_a_header_its_credential_is_replaced_once() -> None:
    """A proxy's credentials are known by their scheme and as a header of their own."""
    value = b"Bearer tok-12345678-abcdef"
    request = ask(headers=(*HOST, (b"Proxy-Authorization", value), (b"X-Api-Key", value[7:])))
    fresh = dict(settled([request]).request(request, 1).headers)
    assert fresh[b"Proxy-Authorization"] == b"Bearer " + fresh[b"X-Api-Key"]
    assert fresh[b"X-Api-Key"] != value[7:]
    assert len(fresh[b"X-Api-Key"]) == len(value) - 7


def test_what_is_no_text_stays() -> None:
    """Bytes that are not UTF-8 cannot be told apart and are left."""
    request = ask(headers=JSON, body=b'{"email":"jane@b.test\x80","user_id":"usr_19ab73cd22"}')
    fresh = settled([request]).request(request, 1).body
    assert b'"email":"jane@b.test\x80"' in fresh
    assert b"usr_19ab73cd22" not in fresh


def test_too_many_short_values_for_so_many_copies_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory for them is bounded; the message says what to do."""
    monkeypatch.setattr(identities, "SHORT_STAND_INS_MAX", 10)
    requests = [ask(body=b'{"user_id": %d}' % number, headers=JSON) for number in range(1, 5)]
    settled(requests, copies=3)
    with pytest.raises(UsageError, match="fewer --copies, or send them as recorded with --keep-identities"):
        settled(requests, copies=4)


def test_more_values_than_are_told_apart_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later ones are the same in all copies, and a note tells it."""
    monkeypatch.setattr(customer_values, "VALUES_MAX", 2)
    requests = [ask(body={"user_id": f"usr_19ab73cd2{number}"}, headers=JSON) for number in range(4)]
    made = settled(requests)
    assert made.request(requests[0], 1) != requests[0]
    assert made.request(requests[3], 1) == requests[3]
    assert "all copies share the rest" in made.notes()[1]


def test_stand_ins_are_the_same_after_they_were_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is bounded; forgetting it changes nothing."""
    requests = [ask(body={"user_id": f"usr_19ab73cd{number}"}, headers=JSON) for number in range(10, 60)]
    made = settled(requests)
    first = [made.request(request, 1) for request in requests]
    monkeypatch.setattr(identities, "_MEMO_MAX", 3)
    assert [made.request(request, 1) for request in requests] == first


def test_a_capture_without_customers_needs_no_note() -> None:
    """Nothing to replace is nothing to tell."""
    assert settled([ask()]).notes() == ()


_PARTS = st.sampled_from(
    [b"usr_19ab73cd22", b"a@b.test", b"17", b"tok-12345678-abcd", b"s=", b"; ", b"%",
     b'"', b"\\", b"{", b"&", b"\xff"]
)  # fmt: skip
_TEXTS = st.lists(_PARTS | st.binary(max_size=3), max_size=6).map(b"".join)
_NAMES = st.sampled_from([b"Authorization", b"Cookie", b"X-Api-Key", b"X-User-Id", b"Content-Type"])


@given(_TEXTS, st.lists(st.tuples(_NAMES, _TEXTS), max_size=4), _TEXTS)
def test_any_request_comes_out_as_one(target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Header names and their order stay, no line break comes in, and a second time gives the same."""
    request = ask(b"/" + target, tuple(headers), b'{"user_id": 17, "x": "%b"}' % body)
    made = settled([request])
    fresh = made.request(request, 1)
    assert [name for name, _ in fresh.headers] == [name for name, _ in headers]
    assert fresh.target.startswith(b"/")
    for (_, old), (_, new) in zip(headers, fresh.headers, strict=True):
        assert all(bad in old or bad not in new for bad in b"\r\n\0")
    assert made.request(request, 1) == fresh


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | st.sampled_from(["usr_19ab73cd22", "a@b.test"]),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "user_id", "email", "name", "x", "é"]), inner, max_size=4),
    )
)  # fmt: skip
def test_documents_keep_their_shape(document: Any) -> None:
    """Keys, order, types and nesting of any JSON stay; only strings and numbers change."""
    request = ask(headers=JSON, body=document)
    fresh = json.loads(settled([request]).request(request, 1).body)

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shape(inner) for key, inner in value.items()}
        return [shape(inner) for inner in value] if isinstance(value, list) else type(value)

    assert shape(fresh) == shape(document)
