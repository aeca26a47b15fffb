"""The report: how sure each line is, and what its page and text show."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from anonymizer import report as report_module
from anonymizer.detectors.base import Kind
from anonymizer.fields import FIELD
from anonymizer.report import AuditResult, Confidence, FieldCounts, Report, confidence
from anonymizer.report_html import page_of
from anonymizer.report_text import full_text, summary


@pytest.mark.parametrize(
    ("kind", "path", "expected"),
    [
        (Kind.EMAIL, "request.body.comment", Confidence.FORMAT),
        (Kind.CARD, "request.body.x", Confidence.FORMAT),
        (Kind.USERNAME, "request.body.sender.login", Confidence.KEY),
        (Kind.USERNAME, "request.body.sender.html_url", Confidence.ELSEWHERE),
        (Kind.NAME, "request.body.customer.name", Confidence.KEY),
        (Kind.NAME, "request.body.description", Confidence.ELSEWHERE),
        (Kind.ADDRESS, "request.body.address.postal_code", Confidence.KEY),
        (Kind.DOMAIN, "request.authority", Confidence.ELSEWHERE),
        (Kind.TOKEN, "request.body.api_key", Confidence.KEY),
        (Kind.TOKEN, "request.body.text", Confidence.FORMAT),
        (Kind.CREDENTIAL, "request.header.authorization", Confidence.KEY),
        (FIELD, "request.body.text", Confidence.RULE),
        ("cut", "request.body", Confidence.KEY),
    ],
)
def test_how_sure_it_is(kind: str, path: str, expected: Confidence) -> None:
    """By its published format, by its field's name, as it is spelled alike elsewhere, or by a rule."""
    assert confidence(kind, path) is expected


def report(**fields: object) -> Report:
    made = Report(policy="default", key_fingerprint="0a1b2c", exchanges=3, messages=1, distinct_values=2)
    made.replaced["email", "POST /hooks", "request.body.mail"] = 12
    made.replaced["name", "POST /hooks", 'request.body.<b>"x"'] = 1
    made.undecodable["POST /hooks", "request.body"] = 2
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_the_page_is_whole_and_loads_nothing() -> None:
    """Style and script stand in it by their hashes, traffic is escaped, and there is no address in it."""
    page = page_of(report())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none';")
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy[1]
    assert "<b>" not in page.replace("<b>3</b>", "").replace("<b>1</b>", "").replace("<b>2</b>", "").replace(
        "<b>13</b>", ""
    )
    assert "&lt;b&gt;&quot;x&quot;" in page
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    assert "url(" not in page
    assert "audit not run" in page
    assert "2 bodies could not be read" in page


def test_an_audit_is_told() -> None:
    """Text, page and JSON say what the audit searched."""
    audited = report(audit=AuditResult(originals=7, patterns=90, searched_bytes=2048, unsearched=1, kept=4))
    assert "audit passed" in page_of(audited)
    assert "7 originals in 90 spellings" in summary(audited)
    assert "4 kept by the policy" in summary(audited)
    assert audited.as_dict()["audit"]["searched_bytes"] == 2048
    assert audited.as_dict()["audit"]["kept"] == 4
    assert report().as_dict()["audit"] is None
    assert "Audit: not run" in summary(report())


def test_the_text_lists_every_field() -> None:
    """Each kind, endpoint and field with its count and how it was known; control characters are shown."""
    made = report()
    made.replaced["email", "GET /\x1b[31m", "request.path"] = 1
    text = full_text(made)
    assert re.search(r"email +POST /hooks +request\.body\.mail +12 +format", text)
    assert "\x1b" not in text
    assert "field that could not be read" in text


def test_a_report_of_nothing() -> None:
    """No replacements give a page and a text all the same."""
    empty = Report(policy="default", key_fingerprint="0")
    assert "Nothing." in page_of(empty)
    assert "Exchanges: 0" in full_text(empty)


@pytest.mark.parametrize("most", [1, 2, 5, 9, 40])
def test_fields_without_number_are_told_by_what_they_are_in(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths lose their last names until they are few, all alike in whatever order and portions they come."""
    monkeypatch.setattr(report_module, "MAX_FIELDS", most)
    keys = [
        ("email", "POST /a", f"request.body.users.{name}.{at}.mail") for name in ("x", "y") for at in range(9)
    ]
    keys += [("email", "POST /a", path) for path in ("request.body", "request.body.users", "request.body.to")]
    whole, back, merged, *parts = (FieldCounts[tuple[str, ...]]() for _ in range(6))
    for at, key in enumerate(keys * 2):
        whole[key] += 1
        parts[at % 3][key] += 1
    for key in keys[::-1]:
        back[key] += 2
    for part in parts:
        for path, count in part.items():
            merged[path] += count
    assert whole == back == merged
    assert whole.total() == 2 * len(keys)
    assert len(whole) <= max(most, 1)
    assert most != 5 or {path.removeprefix("request.body") for *_, path in whole} == {
        "", ".users", ".to", ".users.x.*", ".users.y.*"
    }  # fmt: skip
