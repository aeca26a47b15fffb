"""What the audit takes for kept on purpose: the same as the policy that the anonymizer reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anonymizer.audit import audit
from anonymizer.audit_kept import field_path, read_kept
from anonymizer.detectors.base import Kind
from anonymizer.policy import Action, read_policy
from captures.model import Message, MessageKind
from captures.reader import CaptureReader

PATTERNS = ["request.body.{key}.email", "request.query.user[mail]", "message.sent.to"]
PATHS = [
    "request.body.jane.email",
    "request.body.{key}.email",
    "request.body.email",
    "request.query.user[mail]",
    "request.query.userm",
    "message.sent.to",
]


@pytest.mark.parametrize("path", PATHS)
def test_patterns_mean_what_they_mean_to_the_anonymizer(tmp_path: Path, path: str) -> None:
    """Of rules and of [keep] alike: any name for {key}, and brackets stand for themselves."""
    rules, keep = tmp_path / "rules.toml", tmp_path / "keep.toml"
    tables = (f'[[rules]]\npath = "{text}"\nkind = "email"\naction = "keep"\n' for text in PATTERNS)
    rules.write_text("".join(tables))
    keep.write_text(f"[keep]\npaths = {PATTERNS}\n")
    expected = bool(read_policy(rules).rules_at("POST /hooks", path))
    assert read_policy(keep).keeps(path) == expected
    assert read_kept(rules).keeps("email", "POST /hooks", path) == expected
    assert read_kept(keep).keeps("email", "POST /hooks", path) == expected


@pytest.mark.parametrize(
    ("place", "path", "expected"),
    [
        ("request body", '$["aaaa@aaaa.aaa"].mails[2].email', "request.body.{key}.mails.email"),
        ("request header x-by", "", "request.header.x-by"),
        ("response trailer x-by", "", "response.header.x-by"),
        ("request target", "?page", "request.query.page"),
        ("request target", "", "request.path"),
        ("request http_version", "", "request.http_version"),
        ("message 3 from the client", "$.to", "message.sent.to"),
        ("message 3 from the server", "", "message.received"),
    ],
)
def test_places_have_the_names_that_policies_give_them(place: str, path: str, expected: str) -> None:
    """So that a rule finds them."""
    assert field_path(place, path) == expected


ADDRESS = b"otto.berger@corp-mail.org"
FORM = ((b"Content-Type", b"application/x-www-form-urlencoded"),)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("request.body.{key}.email", {"body": b'{"jane.doe@corp.com": {"email": "%b"}}' % ADDRESS}),
        ("request.body.mail", {"headers": FORM, "body": b"n=1&mail=" + ADDRESS.replace(b"@", b"%40")}),
        ("request.query.mail", {"target": b"/a?n=1&mail=" + ADDRESS.replace(b"@", b"%40")}),
        ("request.header.x-mail", {"headers": ((b"X-Mail", ADDRESS),)}),
        ("response.reason", {"reason": ADDRESS}),
        ("message.received.data.to", {"event": b'data: {"to": "%b"}\n\n'}),
        ("message.received.data", {"event": b"event: x\ndata: for %b\n\n"}),
    ],
)
def test_what_anonymizing_keeps_passes_the_audit(
    anonymized: Any, make_exchange: Any, tmp_path: Path, path: str, fields: dict[str, Any]
) -> None:
    """Where a rule keeps a value, the audit says that it is kept and by no means left by mistake."""
    event = fields.get("event")
    message = Message(
        exchange=0,
        offset_ns=99,
        from_client=False,
        kind=MessageKind.EVENT,
        payload=(event or b"") % ((ADDRESS,) if event else ()),
    )
    file = tmp_path / "p.toml"
    file.write_text(f'[[rules]]\npath = "{path}"\nkind = "email"\naction = "keep"\n')
    with_domain = replace(read_policy(file), actions={Kind.DOMAIN: Action.KEEP})
    result = anonymized(
        make_exchange(stream=True) if event else make_exchange(**fields),
        messages=(message,) if event else (),
        policy=with_domain,
    )
    with CaptureReader.open(result.before) as before, CaptureReader.open(result.after) as after:
        report = audit(before, after, kept=read_kept(file))
    assert (report.clean, report.kept_count) == (True, 1)
