"""Words around a body that come again, and what changes among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from anonymizer.census import Census
from anonymizer.policy import parse_policy
from anonymizer.suggest import survey
from captures.model import Exchange
from captures.reader import CaptureReader

JSON = (b"Content-Type", b"application/json")
LOGIN = b"aliceanders"
BODY = b'{"user": {"login": "aliceanders"}, "pad": "%b"}' % (b"x" * 300)


def test_answers_that_come_again_are_counted_each_time(make_exchange: Any, anonymized: Any) -> None:
    """A short answer with a value is replaced and counted as often as it comes, one without stays."""
    with_value, without = b'{"by":"aliceanders"}', b'{"ok":true}'
    ones = [
        make_exchange(seq, headers=(JSON,), body=BODY, response_headers=(JSON,), response_body=answer)
        for seq, answer in enumerate([with_value, without] * 3)
    ]
    result = anonymized(*ones)
    answers = [one.outcome.body for one in result.exchanges]
    assert answers[1::2] == [without] * 3
    assert len(set(answers[::2])) == 1
    assert LOGIN not in answers[0]
    rows = {row["field"]: row["count"] for row in result.report.as_dict()["fields"]}
    assert rows["response.body.by"] == 3


def test_a_value_in_a_trailer_or_a_host_goes_each_time(make_exchange: Any, anonymized: Any) -> None:
    """First lines and trailers that came before without a value hide none that has one."""
    plain = make_exchange(0, headers=(JSON,), body=BODY)
    trailers = ((b"X-By", LOGIN),)
    told = replace(plain, seq=1, offset_ns=10**6, request_end_ns=10**6 + 10)
    told = replace(told, request=replace(told.request, trailers=trailers, authority=b"aliceanders@api.test"))
    ones = [plain, told, replace(plain, seq=2, offset_ns=2 * 10**6, request_end_ns=2 * 10**6 + 10)]
    result = anonymized(*ones)
    assert LOGIN not in result.everything()
    assert result.exchanges[1].request.trailers[0][0] == b"X-By"
    assert result.exchanges[0].request.authority == result.exchanges[2].request.authority == b"api.test:8080"


def rules(*ones: dict[str, str], **tables: Any) -> Any:
    return parse_policy({"rules": list(ones), **tables}, name="x")


ACME = {"header": "X-Acme-Signature", "prefix": "sha256=", "encoding": "hex"}


@pytest.mark.parametrize("name", [b"X-Hub-Signature-256", b"X-Acme-Signature"])
def test_what_is_no_signature_in_its_header_is_a_secret(
    through: Callable[..., Exchange], name: bytes
) -> None:
    """Beside the signature another value under the same name goes; the signature leaves its shape."""
    signed, address = b"sha256=" + b"ab" * 32, b"jane.doe@acme-corp.com"
    policy = rules(signatures=[ACME])
    done = through(policy=policy, headers=((name, signed), (name, address), (name, b"thackeray")))
    values = [value for _, value in done.request.headers]
    assert values[0] == b"sha256=" + b"0" * 64
    assert b"jane" not in values[1]
    assert values[2] != b"thackeray"
    assert len(values[2]) == len(b"thackeray")


def test_the_time_in_a_signature_moves_as_others_do(through: Callable[..., Exchange]) -> None:
    """Where times move, that of a signature does by the same days."""
    headers = ((b"Stripe-Signature", b"t=1700000000,v1=" + b"ab" * 32), (b"X-Timestamp", b"1700000000"))
    done = through(policy=rules(kinds={"date": "pseudonymise"}), headers=headers)
    (_, signature), (_, stamp) = done.request.headers
    assert stamp != b"1700000000"
    assert signature == b"t=%b,v1=" % stamp + b"0" * 64


@pytest.mark.parametrize(
    "value",
    [
        b"text/jane.doe@acme-corp.com",
        b"text/jane.doe@acme-corp.com; charset=utf-8",
        b"text/plain; charset=jane.doe@acme-corp.com",
        b"ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    ],
)
def test_values_in_a_content_type_go(through: Callable[..., Exchange], value: bytes) -> None:
    """Before, behind and without a semicolon."""
    done = through(headers=((b"Content-Type", value),))
    assert b"jane.doe" not in done.request.headers[0][1]
    assert b"16C7e42F292c" not in done.request.headers[0][1]


def test_words_of_the_protocol_in_a_content_type_stay(through: Callable[..., Exchange]) -> None:
    """Somebody who is called like a type or a charset changes neither."""
    content_type = (b"Content-Type", b"application/aliceanders; charset=aliceanders; by=aliceanders")
    done = through(headers=(content_type,), body=BODY)
    value = done.request.headers[0][1]
    assert value.startswith(b"application/aliceanders; charset=aliceanders; by=")
    assert value != content_type[1]


def test_rules_hold_in_headers_of_the_protocol(through: Callable[..., Exchange]) -> None:
    """What is negotiated goes by a rule; what frames the message stays, and so do all names."""
    headers = ((b"Accept-Language", b"de"), (b"Content-Length", b"5"), (b"X-By", b"a"))
    done = through(policy=rules({"path": "request.header.*", "action": "drop"}), headers=headers)
    assert done.request.headers == ((b"Accept-Language", b""), (b"Content-Length", b"5"), (b"X-By", b""))


def test_kept_kinds_stay_in_headers_of_the_protocol(through: Callable[..., Exchange]) -> None:
    """A rule that moves times in one field moves no Date header; one about that header does."""
    date = ((b"Date", b"Tue, 14 Nov 2023 22:13:20 GMT"),)
    elsewhere = {"path": "request.body.at", "kind": "date", "action": "pseudonymise"}
    assert through(policy=rules(elsewhere), headers=date).request.headers == date
    here = {"path": "request.header.date", "kind": "date", "action": "pseudonymise"}
    assert through(policy=rules(here), headers=date).request.headers != date


def test_a_path_that_a_rule_keeps_stays(through: Callable[..., Exchange]) -> None:
    """A rule may keep what no rule may replace as a whole."""
    target = b"/of/jane.doe@acme-corp.com"
    assert through(target=target).request.target != target
    kept = rules({"path": "request.path", "action": "keep"})
    assert through(policy=kept, target=target).request.target == target


def test_text_in_headers_of_the_protocol_is_unknown(make_exchange: Any, anonymized: Any) -> None:
    """Watchers hear of it, but not of what clients and servers usually say there."""
    usual = (
        (b"Accept", b"text/html,application/xml;q=0.9,image/apng,*/*;q=0.8,application/x;v=b3;q=0.7"),
        (b"Accept-Encoding", b"gzip, deflate, br, zstd"),
        (b"Accept-Language", b"en-US,en;q=0.9,zh-Hans-CN;q=0.8"),
        (b"Connection", b"keep-alive, Upgrade"),
        (b"Content-Length", b"123456789"),
        (b"Date", b"Tue, 14 Nov 2023 22:13:20 GMT"),
        (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"TE", b"trailers"),
    )
    told = (b"Accept", b"mrs thackeray private text")
    results = []
    for headers in (usual, (*usual, told)):
        result, census = anonymized(make_exchange(method=b"GET", headers=headers)), Census()
        with CaptureReader.open(result.before) as reader:
            survey(reader, parse_policy({}, name="x"), census)
        results.append([path for path in census.unknown if path.startswith("request.header.")])
    assert results == [[], ["request.header.accept"]]


def test_a_value_in_a_method_is_in_no_report(make_exchange: Any, anonymized: Any) -> None:
    """Endpoints are counted and told of by what became of the method."""
    one = make_exchange(method=b"jane.doe@acme-corp.com", body=b'{"mail": "otto.berg@acme-corp.com"}')
    result, census = anonymized(one), Census()
    with CaptureReader.open(result.before) as reader:
        survey(reader, parse_policy({}, name="x"), census)
    assert result.report.replaced
    assert census.found
    assert "jane" not in repr(result.report)
    assert "jane" not in repr(census)
