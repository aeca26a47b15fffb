"""What the audit takes for kept on purpose: the same as the policy that the anonymizer reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from anonymizer.audit_kept import field_path, read_kept
from anonymizer.policy import read_policy

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
