"""Rules by endpoint and field: what each does, which one wins, and that a kept kind stays kept elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from anonymizer.policy import parse_policy
from anonymizer.suggest import survey
from captures.bodies.edits import Edit
from captures.model import Exchange, Message, MessageKind
from captures.reader import CaptureReader

ADDRESS = "jane.miller@corp-mail.test"
OTHER = "otto.berger@corp-mail.test"


def policy(*rules: dict[str, str], **tables: Any):
    return parse_policy({"rules": list(rules), **tables}, name="x")


def body_after(through: Callable[..., Exchange], document: object, *rules: dict[str, str], **tables: Any):
    done = through(policy=policy(*rules, **tables), body=json.dumps(document).encode())
    return json.loads(done.request.body)


@pytest.mark.parametrize(
    ("action", "expected"),
    [("drop", ""), ("mask", "*" * len(ADDRESS)), ("keep", ADDRESS)],
)
def test_a_rule_about_a_kind_holds_in_its_field_alone(
    through: Callable[..., Exchange], action: str, expected: str
) -> None:
    """The field that the rule names is treated by it, another one of the same kind as ever."""
    rule = {"path": "request.body.user.*", "kind": "email", "action": action}
    done = body_after(through, {"user": {"mail": ADDRESS}, "copy": OTHER}, rule)
    assert done["user"]["mail"] == expected
    assert done["copy"] != OTHER
    assert done["copy"].endswith("example.com")


def test_a_rule_holds_at_its_endpoint_alone(anonymized: Callable[..., Any], make_exchange: Any) -> None:
    """The same field of another endpoint is treated as ever."""
    rule = {"endpoint": "POST /hooks/*", "path": "request.body.mail", "kind": "email", "action": "drop"}
    body = json.dumps({"mail": ADDRESS}).encode() + b" " * 300
    result = anonymized(
        make_exchange(0, target=b"/hooks/7", body=body),
        make_exchange(1, target=b"/api/7", body=body),
        policy=policy(rule),
    )
    first, second = (json.loads(one.request.body)["mail"] for one in result.exchanges)
    assert first == ""
    assert second.endswith("example.com")


def test_the_most_specific_rule_wins(through: Callable[..., Exchange]) -> None:
    """A longer path beats a shorter one, whatever order they stand in."""
    done = body_after(
        through,
        {"user": {"mail": ADDRESS, "copy": OTHER}},
        {"path": "request.body.*", "kind": "email", "action": "drop"},
        {"path": "request.body.user.mail", "kind": "email", "action": "mask"},
    )
    assert done["user"] == {"mail": "*" * len(ADDRESS), "copy": ""}


def test_a_whole_field_is_forced_and_follows_elsewhere(through: Callable[..., Exchange]) -> None:
    """What no detector knows is replaced by a rule, in the field and where the same text stands elsewhere."""
    rule = {"path": "request.body.codename", "action": "pseudonymise"}
    done = body_after(
        through, {"codename": "Bluefin Harrier 77", "note": "about Bluefin Harrier 77 again"}, rule
    )
    new = done["codename"]
    assert new != "Bluefin Harrier 77"
    assert len(new) == len("Bluefin Harrier 77")
    assert done["note"] == f"about {new} again"


@pytest.mark.parametrize(
    "text", ["Zürich Süd", 'with "quotes" and \\ more', "x", "Иван Петров", "tab\there", "a - b"]
)
@pytest.mark.parametrize("action", ["pseudonymise", "mask", "hash", "drop"])
def test_any_text_can_be_forced(through: Callable[..., Exchange], text: str, action: str) -> None:
    """Escapes, short texts and other alphabets: the result is JSON and no word of the text is left."""
    for ascii_only in (True, False):
        raw = json.dumps({"field": text, "end": 1}, ensure_ascii=ascii_only).encode()
        rule = {"path": "request.body.field", "action": action}
        done = json.loads(through(policy=policy(rule), body=raw).request.body)
        assert done["end"] == 1
        assert not set(done["field"].split()) & {
            word for word in text.replace('"', " ").split() if word.isalnum()
        }


@pytest.mark.parametrize("number", ["7", "1234567", "-12.50", "0.25", "1e300"])
@pytest.mark.parametrize("action", ["pseudonymise", "mask", "hash", "drop"])
def test_a_forced_number_stays_a_number(through: Callable[..., Exchange], number: str, action: str) -> None:
    """A number becomes another number, as JSON has them."""
    raw = f'{{"amount": {number}, "end": true}}'.encode()
    rule = {"path": "request.body.amount", "action": action}
    done = json.loads(through(policy=policy(rule), body=raw).request.body)
    assert done["end"] is True
    assert isinstance(done["amount"], int | float)
    assert done["amount"] != json.loads(number)


def test_a_forced_field_that_is_kept_stays(through: Callable[..., Exchange]) -> None:
    """A whole field that a rule keeps holds its values still."""
    done = body_after(through, {"a": ADDRESS, "b": OTHER}, {"path": "request.body.a", "action": "keep"})
    assert done["a"] == ADDRESS
    assert done["b"] != OTHER


def test_a_value_of_a_named_kind_is_not_masked_with_its_field(through: Callable[..., Exchange]) -> None:
    """A more specific rule about a kind wins where the value is all of the field, and nowhere else."""
    done = body_after(
        through,
        {"user": {"mail": ADDRESS, "text": f"write to {OTHER}"}},
        {"path": "request.body.user.*", "action": "mask"},
        {"path": "request.body.user.????", "kind": "email", "action": "drop"},
    )
    assert done["user"]["mail"] == ""
    assert set(done["user"]["text"]) == {"*"}


def test_a_kept_kind_is_replaced_where_a_rule_says_so(through: Callable[..., Exchange]) -> None:
    """With addresses kept by kind, a rule for one field replaces them there and leaves all others."""
    rule = {"path": "request.body.private", "kind": "email", "action": "pseudonymise"}
    done = body_after(through, {"private": ADDRESS, "public": OTHER}, rule, kinds={"email": "keep"})
    assert done["private"] != ADDRESS
    assert done["public"] == OTHER


def test_what_is_encoded_is_not_kept_with_its_kind(through: Callable[..., Exchange]) -> None:
    """A rule that keeps addresses does not let pass a token that stands beside one in base64."""
    import base64

    secret = "ghp_" + "a1B2" * 9
    text = base64.b64encode(f"mail {ADDRESS} token {secret}".encode()).decode()
    done = body_after(through, {"a": text}, {"path": "request.body.a", "kind": "email", "action": "keep"})
    assert secret.encode() not in base64.b64decode(done["a"])


def test_headers_forms_queries_and_messages_have_rules_too(
    anonymized: Callable[..., Any], make_exchange: Any
) -> None:
    """Each kind of place is a field with a path of its own."""
    rules = [
        {"path": "request.header.x-trace", "action": "mask"},
        {"path": "request.query.who", "action": "drop"},
        {"path": "request.body.who", "action": "mask"},
        {"path": "message.sent.who", "action": "drop"},
        {"endpoint": "GET /ws*", "path": "message.received.who", "action": "mask"},
    ]
    form = make_exchange(
        0,
        target=b"/hooks?who=aaa%20bbb&x=1",
        headers=((b"X-Trace", b"alpha"), (b"Content-Type", b"application/x-www-form-urlencoded")),
        body=b"who=one+two&x=1",
    )
    stream = make_exchange(1, method=b"GET", target=b"/ws/1", stream=True)
    messages = [
        Message(exchange=1, offset_ns=9, from_client=sent, kind=MessageKind.TEXT, payload=b'{"who": "abcd"}')
        for sent in (True, False)
    ]
    done = anonymized(form, stream, messages=messages, policy=policy(*rules))
    request = done.exchanges[0].request
    assert request.target == b"/hooks?who=&x=1"
    assert request.headers[0] == (b"X-Trace", b"*****")
    assert unquote_to_bytes(request.body) == b"who=*******&x=1"
    assert [message.payload for message in done.messages] == [b'{"who": ""}', b'{"who": "****"}']


def test_a_path_is_not_forced_as_a_whole(through: Callable[..., Exchange]) -> None:
    """A rule about request.path without a kind is not applied: a request keeps its path."""
    done = through(target=b"/a/b", policy=policy({"path": "request.*", "action": "drop"}))
    assert done.request.target == b"/a/b"


def test_a_watcher_hears_of_each_field_once(anonymized: Callable[..., Any], make_exchange: Any) -> None:
    """Changed and unchanged texts are told, under the endpoint's label; plain numbers are not."""
    body = json.dumps({"mail": ADDRESS, "state": "open", "n": 5}).encode()
    source = anonymized(make_exchange(target=b"/hooks?q=1", body=body)).before

    class Heard:
        def __init__(self) -> None:
            self.fields: list[tuple[str, str, bytes, int]] = []

        def seen(self, endpoint: str, path: str, text: bytes, edits: list[Edit]) -> None:
            self.fields.append((endpoint, path, text, len(edits)))

    heard = Heard()
    with CaptureReader.open(source) as reader:
        survey(reader, policy(), heard)
    found = [entry for entry in heard.fields if entry[1].startswith(("request.body", "request.query"))]
    assert sorted(found) == [
        ("POST /hooks", "request.body.mail", ADDRESS.encode(), 1),
        ("POST /hooks", "request.body.state", b"open", 0),
        ("POST /hooks", "request.query.q", b"1", 0),
    ]
