"""The audit on whole captures: leaks seeded on purpose, clean pairs, and what it says."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import brotli
import pytest
import zstandard
from click.testing import CliRunner, Result

from anonymizer.audit_cli import audit
from anonymizer.encodings import ENCODINGS, Encoding
from captures.errors import UsageError
from captures.model import (
    Exchange,
    Failure,
    FailureReason,
    Headers,
    HmacTemplate,
    Message,
    MessageKind,
    Provenance,
    RecorderFacts,
    Request,
    Response,
    SignatureScheme,
    SigningRecipe,
)
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header

# Its spelling differs in every encoding of the table.
ORIGINAL = "Jané Dœ+7/?~?~?@Corp-Nine.test".encode()
STAND_IN = b"Mara.Ex+1@example.com"
PHONE = b"+1 (415) 555-2671"
LEAF = json.dumps({"user": {"email": ORIGINAL.decode(), "age": 7}, "phone": PHONE.decode()})
SAFE_LEAF = json.dumps({"user": {"email": STAND_IN.decode(), "age": 7}, "phone": "+1 (202) 555-0143"})

Edit = Callable[[Exchange], Exchange]


def make_exchange(
    body: bytes, *, seq: int = 0, headers: Headers = (), target: bytes = b"/api/users"
) -> Exchange:
    return Exchange(
        seq=seq,
        offset_ns=seq * 1_000,
        request_end_ns=seq * 1_000 + 10,
        connection=0,
        request=Request(
            method=b"POST",
            scheme=b"http",
            authority=b"localhost:8080",
            target=target,
            http_version=b"HTTP/1.1",
            headers=((b"Host", b"localhost:8080"), (b"Content-Type", b"application/json"), *headers),
            body=body,
        ),
        outcome=Response(
            status=200,
            reason=b"OK",
            http_version=b"HTTP/1.1",
            headers=((b"Content-Type", b"application/json"), (b"Content-Length", b"13")),
            offset_ns=seq * 1_000 + 20,
            end_ns=seq * 1_000 + 30,
            body=b'{"accepted":1}',
        ),
    )


PROVENANCE = Provenance(policy="default", key_fingerprint="0" * 12)
BEFORE = (make_exchange(LEAF.encode()), make_exchange(b"{}", seq=1))
AFTER = (make_exchange(SAFE_LEAF.encode()), make_exchange(b"{}", seq=1))


@pytest.fixture
def write_capture(tmp_path: Path) -> Callable[..., Path]:
    def write(
        name: str, exchanges: tuple[Exchange, ...], messages: tuple[Message, ...] = (), **header
    ) -> Path:
        path = tmp_path / name
        header = {"source": "record reverse:http://localhost:8080", "started_wall_ns": 0, **header}
        with CaptureWriter.create(path, new_header(**header)) as writer:
            for exchange in exchanges:
                writer.write(exchange)
            for message in messages:
                writer.write_message(message)
        return path

    return write


@pytest.fixture
def run(write_capture) -> Callable[..., Result]:
    """Audit two lists of exchanges and check that no output holds a value."""

    def run_audit(before, after, *args: str, before_messages=(), after_messages=(), **header) -> Result:
        first = write_capture("before.reel", before, before_messages)
        header = {"anonymized": PROVENANCE, **header}
        second = write_capture("after.reel", after, after_messages, **header)
        result = CliRunner().invoke(audit, [str(first), str(second), *args])
        printed = result.stdout + result.stderr
        for value in (ORIGINAL.decode(), PHONE.decode(), STAND_IN.decode(), "Corp-Nine"):
            assert value not in printed
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run_audit


def test_a_capture_that_was_never_anonymized_is_refused(write_capture) -> None:
    """A copy of the original, or the two names swapped, is wrong usage and never a clean answer."""
    first, second = write_capture("before.reel", BEFORE), write_capture("copy.reel", BEFORE)
    result = CliRunner().invoke(audit, [str(first), str(second)])
    assert isinstance(result.exception, UsageError)
    assert "not made by hookreel anonymize" in str(result.exception)


def found(result: Result) -> dict:
    report = json.loads(result.stdout)
    assert result.exit_code == 3
    assert not report["clean"]
    return report["leaks"][0]


def in_request_header(text: bytes) -> Edit:
    return lambda exchange: with_request(exchange, headers=(*exchange.request.headers, (b"X-Trace", text)))


def with_request(exchange: Exchange, **changes) -> Exchange:
    return replace(exchange, request=replace(exchange.request, **changes))


def with_response(exchange: Exchange, **changes) -> Exchange:
    return replace(exchange, outcome=replace(exchange.outcome, **changes))


def in_form(text: bytes) -> Edit:
    headers = ((b"Content-Type", b"application/x-www-form-urlencoded"),)
    return lambda exchange: with_request(exchange, headers=headers, body=b"a=1&b=" + text)


def in_coded_body(coding: bytes, encode: Callable[[bytes], bytes]) -> Callable[[bytes], Edit]:
    def edit(text: bytes) -> Edit:
        headers = ((b"Content-Encoding", coding),)
        return lambda exchange: with_response(
            exchange, headers=headers, body=encode(b'{"a":["' + text + b'"]}')
        )

    return edit


def deflate_raw(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-15)
    return encoder.compress(data) + encoder.flush()


PLACES: dict[str, tuple[str, Callable[[bytes], Edit]]] = {
    "header": ("request header x-trace", in_request_header),
    "path": ("request target", lambda text: lambda e: with_request(e, target=b"/a/" + text + b"/b")),
    "query": ("request target", lambda text: lambda e: with_request(e, target=b"/a?q=" + text)),
    "authority": ("request authority", lambda text: lambda e: with_request(e, authority=text)),
    "cookie": (
        "request header cookie",
        lambda text: lambda e: with_request(e, headers=((b"Cookie", b"a=b; sid=" + text),)),
    ),
    "set-cookie": (
        "response header set-cookie",
        lambda text: lambda e: with_response(e, headers=((b"Set-Cookie", b"sid=" + text + b"; Path=/"),)),
    ),
    "header name": (
        "request header names",
        lambda text: lambda e: with_request(e, headers=((b"X-" + text, b"1"),)),
    ),
    "json body": (
        "request body",
        lambda text: lambda e: with_request(e, body=b'{"list":[1,{"note":"' + text + b'"}]}'),
    ),
    "form body": ("request body", in_form),
    "response body": ("response body", lambda text: lambda e: with_response(e, body=b"Hello " + text + b"!")),
    "gzip body": ("response body", in_coded_body(b"gzip", gzip.compress)),
    "deflate body": ("response body", in_coded_body(b"deflate", zlib.compress)),
    "raw deflate body": ("response body", in_coded_body(b"deflate", deflate_raw)),
    "brotli body": ("response body", in_coded_body(b"br", brotli.compress)),
    "zstd body": ("response body", in_coded_body(b"zstd", zstandard.compress)),
    "twice coded body": (
        "response body",
        in_coded_body(b"gzip, br", lambda data: brotli.compress(gzip.compress(data))),
    ),
    "body of unstated gzip": (
        "response body",
        lambda text: lambda e: with_response(e, body=gzip.compress(b'{"a":["' + text + b'"]}')),
    ),
    "request trailer": (
        "request trailer x-sum",
        lambda text: lambda e: with_request(e, trailers=((b"X-Sum", text),)),
    ),
    "reason phrase": ("response reason", lambda text: lambda e: with_response(e, reason=text)),
}


def spellings(encoding: Encoding) -> list[bytes]:
    """The patterns of ORIGINAL that no earlier encoding makes too."""
    earlier: set[bytes] = set()
    for other in ENCODINGS[: ENCODINGS.index(encoding)]:
        earlier.update(other.patterns(ORIGINAL))
    return [pattern for pattern in encoding.patterns(ORIGINAL) if pattern not in earlier]


def seeded(edit: Edit, seq: int = 1) -> tuple[Exchange, ...]:
    return tuple(edit(exchange) if exchange.seq == seq else exchange for exchange in AFTER)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)
def test_a_seeded_leak_is_found_in_every_encoding_at_every_place(run, encoding, place):
    """A leak exits with 3 and names its exchange, its place and its encoding."""
    text = spellings(encoding)[0]
    where, edit = PLACES[place]
    before = (BEFORE[0], edit(b"5")(BEFORE[1]))
    leak = found(run(before, seeded(edit(text)), "--json"))
    assert (leak["exchange"], leak["place"], leak["encoding"]) == (1, where, encoding.name)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)
def test_every_spelling_of_an_encoding_is_found(run, write_capture, tmp_path, encoding):
    """Each pattern of the table is a leak under its own name, for instance base64 at all three places."""
    texts = spellings(encoding)
    assert texts
    before = [BEFORE[0], *(make_exchange(b"{}", seq=n) for n in range(1, len(texts) + 1))]
    after = [AFTER[0], *(in_request_header(b"<" + text + b">")(before[n]) for n, text in enumerate(texts, 1))]
    report = json.loads(run(before, after, "--json").stdout)
    names = {
        leak["exchange"]: leak["encoding"] for leak in report["leaks"] if leak["place"].endswith("x-trace")
    }
    assert names == dict.fromkeys(range(1, len(texts) + 1), encoding.name)


def message(payload: bytes, kind: MessageKind = MessageKind.TEXT) -> Message:
    return Message(exchange=1, offset_ns=2_000, from_client=True, kind=kind, payload=payload)


@pytest.mark.parametrize("kind", [MessageKind.TEXT, MessageKind.BINARY, MessageKind.EVENT])
def test_a_leak_in_a_message_is_found(run, kind):
    """WebSocket messages and server-sent events are searched like bodies."""
    result = run(
        BEFORE,
        AFTER,
        "--json",
        before_messages=(message(b"data: x", kind),),
        after_messages=(message(b"data: " + ORIGINAL, kind),),
    )
    leak = found(result)
    assert (leak["exchange"], leak["place"]) == (1, "message 0 from the client")


def test_a_leak_in_a_compressed_message_is_found(run):
    """A payload that is compressed is searched as what it stands for."""
    before = (message(gzip.compress(b"x"), MessageKind.BINARY),)
    after = (message(gzip.compress(b"by " + ORIGINAL), MessageKind.BINARY),)
    leak = found(run(BEFORE, AFTER, "--json", before_messages=before, after_messages=after))
    assert (leak["place"], leak["encoding"]) == ("message 0 from the client", "as is")


def test_an_original_that_stood_in_a_message_only_is_searched(run):
    """What a message held before is an original too, leaf by leaf of a server-sent event."""
    before = message(b'event: log\ndata: {"who":"quentin-77","n":1}\n\n', MessageKind.EVENT)
    after = message(b'event: log\ndata: {"who":"someone-01","n":1}\n\n', MessageKind.EVENT)
    leaky = seeded(in_request_header(b"by=quentin-77"))
    leak = found(run(BEFORE, leaky, "--json", before_messages=(before,), after_messages=(after,)))
    assert leak["place"] == "request header x-trace"
    assert leak["replaced_at"].startswith("exchange 1, message")


def test_a_leak_in_the_capture_header_is_found(run):
    """The source field of the anonymized capture is searched; such a leak belongs to no exchange."""
    leak = found(run(BEFORE, AFTER, "--json", source="record reverse:http://" + ORIGINAL.decode()))
    assert (leak["exchange"], leak["place"]) == (None, "capture header source")


def recipe_of(value):
    template = HmacTemplate(algorithm="sha256", encoding="hex", prefix=value, signed=b"{body}")
    return SigningRecipe(scheme=SignatureScheme.HMAC, header=b"X-Acme-Signature", template=template)


@pytest.mark.parametrize(
    ("place", "edit"),
    [
        ("request scheme", lambda one, value: with_request(one, scheme=value)),
        ("request http_version", lambda one, value: with_request(one, http_version=value)),
        (
            "response http_version",
            lambda one, value: with_response(one, http_version=value),
        ),
        ("signing recipe", lambda one, value: replace(one, signing=recipe_of(value))),
    ],
)
def test_a_leak_in_the_words_around_a_message_is_found(run, place, edit):
    """Every field of an exchange is searched."""
    before = (BEFORE[0], edit(BEFORE[1], b"5"))
    assert found(run(before, seeded(lambda one: edit(one, ORIGINAL)), "--json"))["place"] == place


def test_a_leak_in_the_facts_of_a_recorder_is_found(write_capture):
    """What is counted by connection is searched, too."""
    before, after = write_capture("before.reel", BEFORE), write_capture("after.reel", AFTER)
    anonymized = after.with_name("told.reel")
    with (
        CaptureReader.open(after) as reader,
        CaptureWriter.create(anonymized, replace(reader.header, anonymized=PROVENANCE)) as writer,
    ):
        for exchange in AFTER:
            writer.write(exchange)
        writer.facts = RecorderFacts(server_tls={ORIGINAL.decode(): 1})
    result = CliRunner().invoke(audit, [str(before), str(anonymized), "--json"])
    assert found(result)["place"] == "recorder facts"


def test_a_leak_names_its_json_path(run):
    """In a JSON body the path of the leaf is given."""
    edit = PLACES["json body"][1](ORIGINAL)
    leak = found(run(BEFORE, seeded(edit), "--json"))
    assert leak["path"] == "$.list[1].note"
    assert leak["replaced_at"] == "exchange 0, request body"
    assert leak["shape"] == "Aaaa Aa+9/?????@Aaaa-Aaaa.aaaa"


def test_a_key_that_is_personal_is_not_printed(run):
    """A path goes through a key that is an original by the key's shape only."""
    body = json.dumps({ORIGINAL.decode(): {"mail": ORIGINAL.decode()}}).encode()
    result = run(BEFORE, seeded(lambda exchange: with_request(exchange, body=body)), "--json")
    assert found(result)["path"].startswith('$["Aaa')


def test_a_clean_pair_is_0(run):
    """Nothing survives: exit 0, with a count of what was searched."""
    result = run(BEFORE, AFTER)
    assert result.exit_code == 0
    assert "No leak found." in result.stdout
    assert "of 2 exchanges and 0 messages" in result.stdout


def test_a_clean_report_counts_what_was_searched(run):
    """The JSON report is numeric and says how much was searched."""
    report = json.loads(run(BEFORE, AFTER, "--json").stdout)
    assert report["clean"] is True
    assert report["exchanges"] == 2
    assert report["originals"] >= 2
    assert report["patterns"] > report["originals"]
    assert report["searched_bytes"] > len(SAFE_LEAF)
    assert report["leaks"] == []


def test_identical_captures_are_0_with_a_warning(run):
    """When nothing differs, a note says that nothing was anonymized; without known shapes it is 0."""
    result = run(BEFORE[1:], BEFORE[1:])
    assert result.exit_code == 0
    assert "nothing was anonymized" in result.stderr
    assert "nothing was searched" in result.stdout


def test_a_foreign_capture_is_noted(run):
    """A capture that was not made from the original is noted, since its lineage says so."""
    assert "lineage" in run(BEFORE, AFTER).stderr


@pytest.mark.parametrize("after", [AFTER[:1], (AFTER[0], replace(AFTER[1], seq=5))])
def test_captures_that_cannot_be_aligned_are_refused(run, write_capture, after):
    """Different exchanges are a usage error in one sentence."""
    first, second = write_capture("a.reel", BEFORE), write_capture("b.reel", after, anonymized=PROVENANCE)
    result = CliRunner().invoke(audit, [str(first), str(second)])
    assert isinstance(result.exception, UsageError)
    assert "different exchanges" in str(result.exception)


def test_captures_with_different_messages_are_refused(write_capture):
    """A missing message is a usage error, since messages are aligned one by one."""
    first = write_capture("a.reel", BEFORE, (message(b"one"),))
    result = CliRunner().invoke(
        audit, [str(first), str(write_capture("b.reel", AFTER, anonymized=PROVENANCE))]
    )
    assert isinstance(result.exception, UsageError)
    assert "different messages" in str(result.exception)


def test_an_incomplete_capture_is_noted(run, write_capture, tmp_path):
    """What is left of a capture that lost its end is audited, and a note says so."""
    first, second = write_capture("a.reel", BEFORE), write_capture("b.reel", AFTER, anonymized=PROVENANCE)
    for path in (first, second):
        path.write_bytes(path.read_bytes()[:-20])
    result = CliRunner().invoke(audit, [str(first), str(second)])
    assert result.exit_code == 0
    assert "original capture is incomplete" in result.stderr
    assert "anonymized capture is incomplete" in result.stderr


def test_short_originals_are_counted_and_not_searched(run):
    """A replaced value below 6 bytes is counted; its survival is no leak."""
    before = (make_exchange(b'{"login":"bob","city":"Rome"}'), BEFORE[1])
    after = (make_exchange(b'{"login":"kim","city":"Oslo"}'), make_exchange(b'{"x":"bob"}', seq=1))
    report = json.loads(run(before, (after[0], BEFORE[1]), "--json").stdout)
    assert (report["unsearched"], report["common"], report["originals"]) == (2, 0, 0)


def test_blanked_signatures_must_not_survive(run):
    """The value of a signature header is an original like any other."""
    digest = b"5f" * 32
    before = (make_exchange(b"{}", headers=((b"X-Hub-Signature-256", b"sha256=" + digest),)), BEFORE[1])
    after = (
        make_exchange(b"{}", headers=((b"X-Hub-Signature-256", b"sha256=" + b"0" * 64),)),
        in_request_header(digest)(BEFORE[1]),
    )
    leak = found(run(before, after, "--json"))
    assert leak["replaced_at"] == "exchange 0, request header x-hub-signature-256"


def test_derived_headers_are_no_originals(run):
    """Content-Length and digests change with a body and are not searched for."""
    headers = ((b"Content-Length", b"1234567"), (b"Content-MD5", b"Q2hlY2sgSW50ZWdyaXR5IQ=="))
    before = (make_exchange(b"{}", headers=headers), BEFORE[1])
    after = (
        make_exchange(b"{}", headers=((b"Content-Length", b"7654321"), (b"Content-MD5", b"AAAA"))),
        in_request_header(b"1234567 Q2hlY2sgSW50ZWdyaXR5IQ==")(BEFORE[1]),
    )
    report = json.loads(run(before, after, "--json").stdout)
    assert (report["originals"], report["leak_count"]) == (0, 0)


def test_a_removed_header_is_an_original(run):
    """A header that was dropped altogether must not survive elsewhere."""
    before = (make_exchange(b"{}", headers=((b"X-Secret", b"hunter2hunter2"),)), BEFORE[1])
    after = (make_exchange(b"{}"), in_request_header(b"hunter2hunter2")(BEFORE[1]))
    assert found(run(before, after, "--json"))["replaced_at"] == "exchange 0, request header x-secret"


def test_failures_are_searched(run):
    """An exchange without a response is audited as well."""
    failure = Failure(reason=FailureReason.TIMEOUT, offset_ns=1_500, detail="none")
    leaky = replace(failure, detail=ORIGINAL.decode())
    before = (BEFORE[0], replace(BEFORE[1], outcome=failure))
    leak = found(run(before, (AFTER[0], replace(AFTER[1], outcome=leaky)), "--json"))
    assert leak["place"] == "failure detail"


def test_text_output_shows_a_table_without_values(run):
    """The text report lists place, encoding and masked shape."""
    result = run(BEFORE, seeded(in_request_header(PHONE)))
    assert result.exit_code == 3
    assert "request header x-trace" in result.stdout
    assert "+9 (999) 999-9999" in result.stdout


@pytest.mark.parametrize("spelling", [b"4155552671", b"14155552671", b"1-415-555-2671", b"1.415.555.2671"])
def test_a_phone_number_with_other_separators_is_a_leak(run, spelling):
    """A number that was replaced in one spelling is found in the others."""
    before = (make_exchange(b'{"phone":"%s"}' % PHONE), BEFORE[1])
    after = (make_exchange(b'{"phone":"+1 (202) 555-0143"}'), BEFORE[1])
    leaky = (after[0], in_request_header(spelling)(after[1]))
    if spelling == b"4155552671":
        before = (make_exchange(b'{"phone":4155552671}'), BEFORE[1])
        leaky = (make_exchange(b'{"phone":2025550143}'), in_request_header(b"+1" + spelling)(after[1]))
    assert found(run(before, leaky, "--json"))["place"] == "request header x-trace"


# One real-looking value of each family of shapes; none of them belongs to anybody.
UNREPLACED = {
    "e-mail address": b"jane.doe@corp-nine.com",
    "card number": b"4929 1234 5678 9015",
    "IBAN": b"DE75512108001245126199",
    "phone number": b"+14155553917",
    "IP address": b"8.31.44.17",
    "IPv6 address": b"2a01:4f8:c0c:1234::2",
    "US social security number": b"536-22-8726",
    "private key": b"-----BEGIN RSA PRIVATE KEY-----" + b"MIIEow" * 12,
    "JWT": b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqYW5lIn0.c2lnbmF0dXJl",
    "GitHub token": b"ghp_" + b"a1B2c3D4e5F6" * 3,
    "AWS access key id": b"AKIA" + b"QRSTUVWX23456723",
    "Stripe key": b"sk_live_" + b"4eC39HqLyjWDarjtT1zdp7dc",
    "Slack token": b"xoxb-" + b"123456789012-abcdefABCDEF",
    "password in a URL": b"https://jane:s3cret-pass@db.corp-nine.com/x",
}


@pytest.mark.parametrize("what", UNREPLACED)
@pytest.mark.parametrize("spelled", ["as is", "base64", "percent escapes"])
def test_a_known_shape_that_was_never_replaced_fails(run, what, spelled):
    """A value of a known shape in both captures exits with 3 and names place, path and shape only."""
    value = UNREPLACED[what]
    if spelled == "base64":
        value = base64.b64encode(b"it is " + value)
    elif spelled == "percent escapes":
        value = quote(value, safe="").encode()
    both = make_exchange(b'{"list":[1,{"note":"%b"}]}' % value, seq=1)
    result = run((BEFORE[0], both), (AFTER[0], both), "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["clean"], report["leak_count"]) == (3, False, 0)
    assert {(found["what"], found["exchange"], found["path"]) for found in report["unreplaced"]} >= {
        (what, 1, "$.list[1].note")
    }
    assert UNREPLACED[what].decode() not in result.stdout


def test_a_stand_in_of_a_known_shape_is_no_finding(run):
    """What the original does not hold was made by the anonymizer, whatever it looks like."""
    before = make_exchange(b'{"note":"ghp_%b"}' % (b"a1B2c3D4e5F6" * 3), seq=1)
    after = make_exchange(b'{"note":"ghp_%b"}' % (b"z9Y8x7W6v5U4" * 3), seq=1)
    report = json.loads(run((BEFORE[0], before), (AFTER[0], after), "--json").stdout)
    assert (report["clean"], report["unreplaced"]) == (True, [])


def test_an_authorization_that_stayed_is_found_whatever_its_shape(run):
    """A credential under its own header needs no known shape."""
    both = make_exchange(b"{}", seq=1, headers=((b"Authorization", b"Token 0123456789"),))
    report = json.loads(run((BEFORE[0], both), (AFTER[0], both), "--json").stdout)
    assert [(found["what"], found["place"]) for found in report["unreplaced"]] == [
        ("credential", "request header authorization")
    ]


def test_a_known_shape_in_a_message_is_found(run):
    """Messages are looked through too, each beside its own original."""
    both = message(b'{"mail":"jane.doe@corp-nine.com"}')
    report = json.loads(run(BEFORE, AFTER, "--json", before_messages=(both,), after_messages=(both,)).stdout)
    assert [(found["place"], found["path"]) for found in report["unreplaced"]] == [
        ("message 0 from the client", "$.mail")
    ]


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ('[kinds]\nemail = "keep"', True),
        ('[kinds]\nemail = "mask"\nip = "keep"', False),
        ('[keep]\npaths = ["request.body.user.*"]', True),
        ('[keep]\npaths = ["response.body.user.*"]', False),
        ('[[rules]]\nendpoint = "POST /api/*"\npath = "request.body.*"\naction = "keep"', True),
        ('[[rules]]\nendpoint = "GET /api/*"\npath = "request.body.*"\naction = "keep"', False),
        (
            '[kinds]\nemail = "keep"\n[[rules]]\npath = "request.body.user.*"\naction = "drop"',
            False,
        ),
    ],
)
def test_what_the_policy_keeps_is_told_apart(run, tmp_path, policy, kept):
    """A value that a policy keeps on purpose is listed as kept and is no failure."""
    path = tmp_path / "policy.toml"
    path.write_text(policy)
    both = make_exchange(b'{"user":{"mail":"jane.doe@corp-nine.com"}}', seq=1)
    result = run((BEFORE[0], both), (AFTER[0], both), "--policy", str(path), "--json")
    report = json.loads(result.stdout)
    assert (report["kept_count"], report["unreplaced_count"]) == (int(kept), int(not kept))
    assert result.exit_code == (0 if kept else 3)
    files = [str(tmp_path / name) for name in ("before.reel", "after.reel")]
    text = CliRunner().invoke(audit, [*files, "--policy", str(path)]).stdout
    assert ("kept by the policy" in text, "NOT REPLACED" in text) == (kept, not kept)


def test_what_standards_set_aside_is_no_original(run):
    """Example addresses belong to nobody: one person's stand-in may be another's original."""
    before = [make_exchange(b'{"mail":"%b","ip":"192.0.2.77"}' % mail) for mail in (b"a1@example.com",)]
    after = [make_exchange(b'{"mail":"b2@example.com","ip":"198.51.100.3"}')]
    leaky = in_request_header(b"a1@example.com 192.0.2.77")
    report = json.loads(run((*before, leaky(BEFORE[1])), (*after, leaky(BEFORE[1])), "--json").stdout)
    assert (report["clean"], report["reserved"], report["leak_count"]) == (True, 2, 0)


def test_a_leak_across_the_cuts_of_a_body_is_found(run):
    """Bodies are searched piece by piece, and an original that a cut falls into is found nevertheless."""
    secret = b'hunter2","hunter3'
    page = b"<p>" + b'x","y' * 300
    before = (make_exchange(secret), make_exchange(page, seq=1), make_exchange(page, seq=2))
    after = (
        make_exchange(b"0" * len(secret)),
        make_exchange(page, seq=1),
        make_exchange(page + secret, seq=2),
    )
    assert found(run(before, after, "--json"))["exchange"] == 2


def test_a_leak_that_comes_again_is_told_each_time(run):
    """A piece that leaked once is not taken for clean in the next exchange."""
    leaky = b'{"padding":"' + b"x" * 600 + b'","note":"' + PHONE + b'","more":1}'
    before = (BEFORE[0], *(make_exchange(b"{}", seq=number) for number in range(1, 400)))
    after = (AFTER[0], *(make_exchange(leaky, seq=number) for number in range(1, 400)))
    report = json.loads(run(before, after, "--json").stdout)
    assert {leak["exchange"] for leak in report["leaks"]} == set(range(1, 400))
