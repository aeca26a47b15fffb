"""What belongs to the protocol, what is unknown text, and what a strict policy refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anonymizer.census import MAX_FIELDS, OTHER_FIELDS, Census, UnknownFieldsError, is_structural
from anonymizer.policy import parse_policy
from anonymizer.stage import anonymize_capture
from captures.bodies.edits import Edit


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "true", "No", "12", "-3.5", "1.10.3", "v2.1", "open", "push", "check_run", "COMPLETED",
        "User",
        "pull_request.opened", "2026-01-02T03:04:05Z", "2026-01-02 03:04:05.123+01:00", "application/json",
        "text/html; charset=utf-8", "0d9f2e3c-1b2a-4c3d-8e9f-0a1b2c3d4e5f",
    ],
)  # fmt: skip
def test_structural_texts(text: str) -> None:
    """Words of the trade, points in time, versions and identifiers belong to nobody."""
    assert is_structural(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "bob", "Alice", "jane", "mark", "janedoe", "Octocat", "12345", "0049 30 123456", "1985-07-30",
        "10.0.0.1", "alice", "dupont", "Kowalski",
        "hello there", "a1b2c3d4", "Hello World", "x@y.z", "deadbeef" * 5, "Zürich", "smith_corp",
    ],
)  # fmt: skip
def test_other_texts(text: str) -> None:
    """Names, numbers, birthdays and prose may be somebody's."""
    assert not is_structural(text.encode())


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def refused(anonymized: Callable[..., Any], exchange: Any, **tables: Any) -> dict[str, int]:
    with pytest.raises(UnknownFieldsError) as caught:
        anonymized(exchange, policy=parse_policy({"strict": {}, **tables}, name="x"))
    return caught.value.fields


def test_a_strict_policy_refuses_unknown_text(anonymized: Any, make_exchange: Any, tmp_path: Path) -> None:
    """The error lists the field; nothing stands at the output; the message holds no value."""
    listed = ["request.authority", "request.path", "header.source", "response.*"]
    one = make_exchange(
        body=body(
            mail="jane.miller@corp-mail.test",
            state="open",
            motto="carpe diem",
            n=123456,
            items=["a b", "c d"],
        )
    )
    fields = refused(anonymized, one, strict={"fields": listed})
    assert fields == {"request.body.items": 2, "request.body.motto": 1}
    strict = parse_policy({"strict": {"fields": listed}}, name="x")
    with pytest.raises(UnknownFieldsError) as caught:
        anonymize_capture(tmp_path / "in0.reel", tmp_path / "o.reel", policy=strict, key=b"k" * 32)
    assert caught.value.exit_code == 3
    assert "carpe" not in str(caught.value)
    assert not (tmp_path / "o.reel").exists()
    assert not list(tmp_path.glob(".*partial"))


@pytest.mark.parametrize(
    "tables",
    [
        {"strict": {"fields": ["*"]}},
        {"strict": {"fields": ["request.*", "header.source"]}},
        {"rules": [{"path": "*", "action": "keep"}], "strict": {"fields": ["request.path"]}},
        {"keep": {"paths": ["*"]}},
    ],
)
def test_what_names_a_field(anonymized: Any, make_exchange: Any, tables: dict[str, Any]) -> None:
    """A listed field, one that a rule treats whole, and one that is kept are decided about."""
    policy = parse_policy({"strict": {}, **tables}, name="x")
    assert anonymized(make_exchange(body=body(motto="carpe diem")), policy=policy).exchanges


@pytest.mark.parametrize(
    ("content_type", "data", "path"),
    [
        ("application/json", b'{"a": {"b": "carpe diem"}}', "request.body.a.b"),
        ("application/x-www-form-urlencoded", b"a=carpe+diem&b=1", "request.body.a"),
        ("text/plain", b"carpe diem", "request.body"),
        ("text/event-stream", b"data: carpe diem\n\n", "request.body.data"),
        ("application/xml", b"<a><b>carpe diem</b></a>", "request.body.*"),
        ("application/x-ndjson", b'{"a": "carpe diem"}\n{"a": "carpe diem"}\n', "request.body.a"),
        ("application/graphql", b'query { user(name: "carpe diem") { id } }', "request.body*"),
        (
            "multipart/form-data; boundary=xx",
            b'--xx\r\nContent-Disposition: form-data; name="a"\r\n\r\ncarpe diem\r\n--xx--\r\n',
            "request.body.a",
        ),
        ("application/msgpack", b"\x81\xa1a\xaacarpe diem", "request.body*"),
    ],
)  # fmt: skip
def test_every_kind_of_body_is_looked_at(
    anonymized: Any, make_exchange: Any, content_type: str, data: bytes, path: str
) -> None:
    """Unknown text is noticed in each kind of body."""
    from fnmatch import fnmatchcase

    one = make_exchange(headers=((b"Content-Type", content_type.encode()),), body=data)
    fields = refused(anonymized, one)
    assert any(fnmatchcase(field, path) for field in fields), fields


def test_a_census_is_bounded_and_keeps_no_value() -> None:
    """Beyond the limit fields are counted together, and shapes stand for values."""
    census = Census()
    for number in range(MAX_FIELDS + 5):
        census.seen("GET /", f"f{number}", b"carpe diem", [])
    assert len(census.unknown) == MAX_FIELDS + 1
    assert census.unknown[OTHER_FIELDS].count == 5
    assert list(census.unknown["f0"].shapes) == ["aaaaa aaaa"]
    census.seen("GET /", "mail", b"to jane@corp.test", [Edit(3, 17, b"x", "email")])
    assert census.found == {("email", "GET /", "mail"): 1}
    assert census.shapes == {("email", "mail"): "aaaa@aaaa.aaaa"}
