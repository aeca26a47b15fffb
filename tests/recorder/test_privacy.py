from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.codec import exchange_row
from captures.credentials import find_credentials
from captures.errors import UsageError
from captures.model import Counters, Exchange, Headers, Message, MessageKind, Request, Response
from recorder.privacy import REDACTED, STAND_IN_PREFIX, Privacy, Withhold, check_header_names
from tests.recorder.made import made_exchange
from tests.recorder.memory import MemoryWriter, start

KEY = b"k" * 32
TOKEN = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
SID = b"3f9a0c77-sid-of-ada-lovelace"
API_KEY = b"sk_live_0123456789abcdef"


def withhold(exchange: Exchange) -> Exchange:
    return Withhold(KEY).exchange(exchange)


def everything(exchange: Exchange) -> bytes:
    """All bytes of an exchange."""
    return repr(exchange_row(exchange)).encode()


def message(payload: bytes, kind: MessageKind = MessageKind.TEXT, exchange: int = 0) -> Message:
    return Message(exchange=exchange, offset_ns=5, from_client=True, kind=kind, payload=payload)


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        (((b"Authorization", b"Bearer " + TOKEN),), TOKEN),
        (((b"authorization", TOKEN),), TOKEN),
        (((b"Proxy-Authorization", b"Basic " + base64.b64encode(b"ada:correct horse")),), b"correct"),
        (((b"Cookie", b"theme=dark; sid=" + SID + b"; x=1"),), SID),
        (((b"X-API-Key", API_KEY), (b"apikey", API_KEY)), API_KEY),
        (((b"Authorization", b"AWS4-HMAC-SHA256 Credential=AKIA1/x, Signature=abcdef0123456789"),), b"AKIA1"),
        (((b"Referer", b"https://h/x?access_token=" + TOKEN + b"&y=1"),), TOKEN),
    ],
)
def test_credentials_in_headers_do_not_stay(headers: Headers, secret: bytes):
    """The value is gone, its header keeps its name and place, and it is still a credential of its kind."""
    cleaned = withhold(made_exchange(headers=headers)).request.headers
    assert secret not in repr(cleaned).encode()
    assert [name for name, _ in cleaned] == [name for name, _ in headers]
    kinds = [(item.kind, item.name) for item in find_credentials(headers)]
    assert [(item.kind, item.name) for item in find_credentials(cleaned)] == kinds


def test_a_basic_stand_in_is_still_basic():
    """A server that decodes it finds a user and a password, neither of them real."""
    headers = ((b"Authorization", b"Basic " + base64.b64encode(b"ada:correct horse")),)
    value = withhold(made_exchange(headers=headers)).request.headers[0][1]
    user, colon, password = base64.b64decode(value.removeprefix(b"Basic "), validate=True).partition(b":")
    assert (user, colon) == (b"withheld", b":")
    assert password


def test_a_cookie_that_is_set_has_the_stand_in_of_the_cookie_that_is_sent():
    """Set-Cookie and Cookie still name one session; attributes stay."""
    step = Withhold(KEY)
    given_cookie = step.exchange(
        made_exchange(response_headers=((b"Set-Cookie", b"sid=" + SID + b"; Path=/"),))
    )
    sent = step.exchange(made_exchange(1, headers=((b"Cookie", b"sid=" + SID),)))
    assert isinstance(given_cookie.outcome, Response)
    value = given_cookie.outcome.headers[0][1]
    assert SID not in value
    assert value.endswith(b"; Path=/")
    assert sent.request.headers[0][1] == value.removesuffix(b"; Path=/")


def test_credentials_that_a_response_hands_out_do_not_stay():
    """Logins that answer with Authorization or API key headers give nothing away."""
    headers = ((b"Authorization", b"Bearer " + TOKEN), (b"X-Auth-Token", API_KEY))
    found = everything(withhold(made_exchange(response_headers=headers)))
    assert TOKEN not in found
    assert API_KEY not in found


@pytest.mark.parametrize(
    "body",
    [
        b'{"access_token": "%s", "n": 1}',
        b'{"a":{"refresh_token":"%s"}}',
        b'{"token":"%s"}',
        b'{"Password" : "%s"}',
        b'"{\\"access_token\\":\\"%s\\"}"',
        b"grant_type=password&client_secret=%s&x=1",
        b"id-token=%s",
    ],
)
def test_fields_that_are_named_like_credentials_are_withheld(body: bytes):
    """In request and response bodies, JSON or form, the field stays and its value does not."""
    whole = body % TOKEN
    cleaned = withhold(made_exchange(body=whole, response_body=whole))
    assert isinstance(cleaned.outcome, Response)
    for result in (cleaned.request.body, cleaned.outcome.body):
        assert TOKEN not in result
        assert len(result) == len(whole)
        before, after = body.split(b"%s")
        assert result.startswith(before)
        assert result.endswith(after)


def test_a_value_is_replaced_wherever_else_it_stands():
    """The exchange's own credentials leave the target, other headers, trailers and bodies too."""
    cleaned = withhold(
        made_exchange(
            target=b"/socket?apikey=" + API_KEY + b"&vsn=1&t=" + TOKEN,
            headers=((b"Authorization", b"Bearer " + TOKEN), (b"X-Trace", b"for " + TOKEN)),
            body=b"binary \x00" + TOKEN,
            response_headers=((b"X-Echo", TOKEN),),
            response_body=b"you sent " + TOKEN + b" and " + API_KEY,
        )
    )
    found = everything(cleaned)
    assert TOKEN not in found
    assert API_KEY not in found
    assert cleaned.request.target.startswith(b"/socket?apikey=" + STAND_IN_PREFIX)
    assert b"&vsn=1&t=" + STAND_IN_PREFIX in cleaned.request.target


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
def test_compressed_bodies_are_searched(coding: str):
    """A token in a compressed body goes, and the body still decodes by its Content-Encoding."""
    from captures.bodies.coding import decode, encode

    plain = b'{"access_token":"%s"}' % TOKEN
    body = encode(plain, coding.encode())
    headers = ((b"Content-Encoding", coding.encode()), (b"Content-Length", b"%d" % len(body)))
    cleaned = withhold(made_exchange(response_headers=headers, response_body=body)).outcome
    assert isinstance(cleaned, Response)
    assert TOKEN not in decode(cleaned.body, coding.encode())
    assert cleaned.headers[1] == (b"Content-Length", b"%d" % len(cleaned.body))


def test_a_compressed_body_without_credentials_stays_byte_for_byte():
    """What needs no change is not compressed again."""
    body = gzip.compress(b'{"n": 1}', compresslevel=1)
    cleaned = withhold(made_exchange(headers=((b"Content-Encoding", b"gzip"),), body=body))
    assert cleaned.request.body == body


LOGIN = b'{"access_token":"%s","rest":"%s"}' % (TOKEN, bytes(range(35, 92)) * 40)
ZIPPED = gzip.compress(LOGIN, mtime=0)


@pytest.mark.parametrize(
    ("coding", "body", "truncated_bytes"),
    [
        (b"gzip", ZIPPED[:-20], 20),
        (b"gzip", ZIPPED + b"x", 0),
        (b"gzip", LOGIN, 0),
        (b"aws-chunked", LOGIN, 0),
        (b"gzip, secret", gzip.compress(LOGIN), 0),
    ],
    ids=["cut", "damaged", "not gzip", "unknown", "unknown on top"],
)
def test_a_body_that_cannot_be_read_to_its_end_is_left_out(coding: bytes, body: bytes, truncated_bytes: int):
    """A beginning inflates, and a damaged body does to most readers; what was on the wire is still stated."""
    headers = ((b"Content-Encoding", coding), (b"Content-Length", b"%d" % (len(body) + truncated_bytes)))
    whole = made_exchange(headers=headers, body=body, response_headers=headers, response_body=body)
    whole = replace(
        whole,
        request=replace(whole.request, truncated_bytes=truncated_bytes),
        outcome=replace(whole.outcome, truncated_bytes=truncated_bytes),
    )
    cleaned = withhold(whole)
    for part in (cleaned.request, cleaned.outcome):
        assert isinstance(part, Request | Response)
        assert (part.body, part.truncated_bytes) == (b"", len(body) + truncated_bytes)
        assert part.headers == headers


def test_what_is_left_out_counts_as_cut():
    """The account says how many exchanges are not whole in the file."""
    sink = start(MemoryWriter(), cleaner=Privacy(withhold_key=KEY))
    damaged = made_exchange(sink.saw(), headers=((b"Content-Encoding", b"gzip"),), body=b"no gzip")
    sink.offer(exchange_row(damaged))
    assert sink.close(in_flight=0, connections=1).counters == Counters(seen=1, written=1, truncated=1)


@pytest.mark.parametrize("coding", [(), ((b"Content-Encoding", b"identity"),)], ids=["none", "identity"])
@pytest.mark.parametrize("stop", range(8, len(TOKEN), 7))
def test_a_body_that_was_cut_inside_a_credential_holds_nothing_of_it(stop: int, coding: Headers):
    """A value without its closing quote is one; and so is the beginning of one that stands elsewhere, too."""
    headers = ((b"Authorization", b"Bearer " + TOKEN), *coding)
    for body in (
        b'{"n":1,"password":"' + TOKEN[:stop],
        b'{"body":"{\\"jwt\\":\\"' + TOKEN[:stop],
        b"password=" + TOKEN[:stop],
        b'{"password":"' + TOKEN[:stop] + b"\\",
        b"you sent " + TOKEN[:stop],
    ):
        whole = made_exchange(headers=headers, body=body)
        cleaned = withhold(replace(whole, request=replace(whole.request, truncated_bytes=9))).request
        assert TOKEN[:8] not in cleaned.body
        assert STAND_IN_PREFIX[:8] in cleaned.body


@pytest.mark.parametrize("end", [b"", b'"', b"\\"], ids=["nothing", "empty", "backslash"])
def test_a_field_without_a_value_holds_no_credential(end: bytes):
    """A body that was cut before the value, or has an empty one, stays as it is."""
    whole = made_exchange(body=b'{"password":"' + end)
    whole = replace(whole, request=replace(whole.request, truncated_bytes=9))
    assert withhold(whole) == whole


@pytest.mark.parametrize("piece", [b"a" * 1024, b"\\n" * 512], ids=["plain", "escapes"])
@pytest.mark.parametrize("end", [b'"}', b""], ids=["whole", "cut"])
def test_a_long_value_takes_memory_in_proportion(piece: bytes, end: bytes):
    """Whoever sends a password of megabytes does not get the recorder killed for want of memory."""
    whole = made_exchange(body=b'{"password":"' + piece * 256 + end)
    whole = replace(whole, request=replace(whole.request, truncated_bytes=not end))
    tracemalloc.start()
    try:
        cleaned = withhold(whole).request.body
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert piece not in cleaned
    assert peak_bytes < 20 * len(whole.request.body)


def test_a_message_that_was_cut_inside_a_credential_holds_nothing_of_it():
    """Messages are cut like bodies."""
    cut = replace(message(b'{"token":"' + TOKEN[:20]), truncated_bytes=5)
    assert TOKEN[:20] not in Withhold(KEY).message(cut).payload


def test_a_short_value_changes_the_length_that_is_stated():
    """A Content-Length that named the body's length still does."""
    body = b'{"password":"abc"}'
    cleaned = withhold(made_exchange(headers=((b"Content-Length", b"%d" % len(body)),), body=body)).request
    assert b'"abc"' not in cleaned.body
    assert cleaned.headers[0][1] == b"%d" % len(cleaned.body)


def test_a_stream_loses_the_credentials_of_its_request_and_its_own():
    """A WebSocket's messages are cleaned of what opened it and of tokens that are sent later."""
    step = Withhold(KEY)
    step.exchange(
        made_exchange(3, headers=((b"Authorization", b"Bearer " + TOKEN),), status=101, stream=True)
    )
    join = message(
        json.dumps(["1", "1", "t", "phx_join", {"access_token": API_KEY.decode()}]).encode(), exchange=3
    )
    cleaned = step.message(join).payload
    assert API_KEY not in cleaned
    assert json.loads(cleaned)[4]["access_token"].startswith("withheld-")
    assert TOKEN not in step.message(message(b"\x01" + TOKEN, MessageKind.BINARY, 3)).payload
    assert API_KEY not in step.message(message(b"echo " + API_KEY, exchange=3)).payload
    assert step.message(message(b"", MessageKind.END, 3)).payload == b""
    assert step._streams == {}


def test_stand_ins_tell_credentials_apart_and_need_the_key():
    """Equal values have one stand-in, others another, and another key gives other ones."""

    def stand_in(value: bytes, key: bytes = KEY) -> bytes:
        exchange = made_exchange(headers=((b"Authorization", b"Bearer " + value),))
        return Withhold(key).exchange(exchange).request.headers[0][1]

    assert stand_in(TOKEN) == stand_in(TOKEN)
    assert stand_in(TOKEN) != stand_in(API_KEY)
    assert stand_in(TOKEN) != stand_in(TOKEN, b"x" * 32)
    assert len(stand_in(TOKEN)) == len(b"Bearer " + TOKEN)


@given(st.binary(min_size=1, max_size=200))
def test_no_value_survives(value: bytes):
    """Whatever Bearer, cookie and API key values are, they do not stay where they are declared."""
    cleaned = withhold(
        made_exchange(headers=((b"X-Api-Key", value), (b"Authorization", b"Bearer A" + value + b"A")))
    )
    assert cleaned.request.headers[0][1].startswith(STAND_IN_PREFIX)
    assert b"A" + value + b"A" not in cleaned.request.headers[1][1]


def test_the_account_counts_credentials_and_places():
    """The end of a recording can say how many there were."""
    privacy = Privacy(withhold_key=KEY)
    for seq in range(3):
        privacy.exchange(made_exchange(seq, headers=((b"Authorization", b"Bearer " + TOKEN),)))
    privacy.exchange(made_exchange(4, headers=((b"apikey", API_KEY),)))
    assert (len(privacy.withheld_names), privacy.withheld_uses) == (2, 4)
    assert TOKEN not in b"".join(privacy.withheld_names)
    nothing = Privacy(redact=["X"])
    assert (nothing.withheld_names, nothing.withheld_uses) == (frozenset(), 0)


def test_redacted_headers_lose_their_values_everywhere():
    """Any case, every duplicate, requests and responses; other headers are untouched."""
    headers = ((b"X-Internal", b"one"), (b"x-internal", b"two"), (b"Accept", b"*/*"))
    cleaned = Privacy(redact=["X-INTERNAL"]).exchange(
        made_exchange(headers=headers, response_headers=headers)
    )
    assert isinstance(cleaned.outcome, Response)
    expected = ((b"X-Internal", REDACTED), (b"x-internal", REDACTED), (b"Accept", b"*/*"))
    assert cleaned.request.headers == expected
    assert cleaned.outcome.headers == expected


def test_a_failure_is_cleaned_too():
    """An exchange without a response loses its credentials as any other."""
    cleaned = Privacy(withhold_key=KEY, redact=["X-A"]).exchange(
        made_exchange(status=0, headers=((b"Authorization", b"Bearer " + TOKEN), (b"X-A", b"secret")))
    )
    assert TOKEN not in everything(cleaned)
    assert cleaned.request.headers[1] == (b"X-A", REDACTED)


@pytest.mark.parametrize("name", ["", "a b", "X:", "Content-Length", "host", "Transfer-Encoding"])
def test_a_header_that_cannot_be_redacted_is_a_usage_error(name: str):
    """What a message is read by stays, and what is no name is told."""
    with pytest.raises(UsageError):
        check_header_names([name])


def test_an_exchange_without_credentials_stays_as_it_is():
    """Ordinary traffic passes unchanged."""
    exchange = made_exchange(
        target=b"/search?q=tokenizer",
        headers=((b"Accept", b"*/*"),),
        body=b'{"tokens": 3, "note": "the password is not here"}',
        response_body=b"plain",
    )
    assert withhold(exchange) == exchange
