"""Policies: what is valid, and one sentence about what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anonymizer.detectors.base import Kind
from anonymizer.policy import Action, Policy, Undecodable, parse_policy, read_policy
from captures.errors import UsageError
from captures.model import HmacTemplate, SignatureScheme, SigningRecipe


def test_a_whole_policy(tmp_path: Path) -> None:
    """Every section is read, and the name is a fingerprint of the file."""
    path = tmp_path / "policy.toml"
    path.write_text(
        '[kinds]\nemail = "mask"\nip = "keep"\n[names]\nkeys = ["petOwner"]\n'
        '[keep]\npaths = ["request.body.meta.*"]\n[bodies]\nundecodable = "drop"\n'
    )
    policy = read_policy(path)
    assert policy.action(Kind.EMAIL) is Action.MASK
    assert policy.action(Kind.IP) is Action.KEEP
    assert policy.action(Kind.TOKEN) is Action.PSEUDONYMISE
    assert policy.name_keys == {"pet_owner"}
    assert policy.keeps("request.body.meta.email")
    assert not policy.keeps("request.body.email")
    assert policy.undecodable is Undecodable.DROP
    assert policy.name.startswith("sha256:")
    assert read_policy(path) == policy


def test_the_default_replaces_all_but_identifiers_and_times() -> None:
    """Without a policy every kind is pseudonymised, save those that name nobody by themselves."""
    kept = {kind for kind in Kind if Policy().action(kind) is Action.KEEP}
    assert kept == {Kind.UUID, Kind.ID, Kind.DATE}
    assert {Policy().action(kind) for kind in set(Kind) - kept} == {Action.PSEUDONYMISE}


def test_own_domains() -> None:
    """Domains that are to be replaced without an address in them can be named."""
    assert parse_policy({"domains": {"own": ["corp.io"]}}, name="x").own_domains == ("corp.io",)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"kind": {}}, "kind"),
        ({"kinds": {"mail": "keep"}}, "kinds.mail"),
        ({"kinds": {"email": "delete"}}, "kinds.email"),
        ({"kinds": {"email": ["keep"]}}, "kinds.email"),
        ({"kinds": "keep"}, "kinds"),
        ({"names": {"key": []}}, "names.key"),
        ({"names": {"keys": "a"}}, "names.keys"),
        ({"keep": {"paths": [1]}}, "keep.paths"),
        ({"bodies": {"undecodable": "keep"}}, "bodies.undecodable"),
        ({"name": 5}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"rules": {}}, "rules"),
        ({"rules": [{"path": "a", "action": "hide"}]}, r"rules\[1\]\.action"),
        ({"rules": [{"path": "a", "action": "keep"}, {"path": "a"}]}, r"rules\[2\]"),
        ({"rules": [{"action": "keep"}]}, r"rules\[1\]"),
        ({"rules": [{"endpoint": "GET *", "action": "keep"}]}, r"rules\[1\]"),
        ({"rules": [{"path": "a", "action": "keep", "kind": "mail"}]}, r"rules\[1\]\.kind"),
        ({"rules": [{"path": 1, "action": "keep"}]}, r"rules\[1\]\.path"),
        ({"rules": [{"field": "a", "action": "keep"}]}, r"rules\[1\]\.field"),
        ({"strict": {"paths": []}}, "strict.paths"),
        ({"strict": {"fields": "a"}}, "strict.fields"),
        ({"signatures": [{"header": "no spaces"}]}, r"signatures\[1\]\.header"),
        ({"signatures": [{}]}, r"signatures\[1\]\.header"),
        ({"signatures": [{"header": "X", "algorithm": "crc"}]}, r"signatures\[1\]\.algorithm"),
        ({"signatures": [{"header": "X", "encoding": "raw"}]}, r"signatures\[1\]\.encoding"),
        ({"signatures": [{"header": "X", "signed": "x"}]}, r"signatures\[1\]\.signed"),
        ({"signatures": [{"header": "X", "signed": "{secret}{body}"}]}, r"signatures\[1\]\.signed"),
        (
            {"signatures": [{"header": "X", "signed": "{timestamp}.{body}"}]},
            r"signatures\[1\]\.timestamp_header",
        ),
    ],
)
def test_a_wrong_key_or_value_is_named(document: dict[str, Any], named: str) -> None:
    """The error is one sentence that names the key."""
    with pytest.raises(UsageError, match=rf"policy key {named}(?!\w)") as caught:
        parse_policy(document, name="x")
    assert str(caught.value).endswith(".")
    assert str(caught.value).count(". ") == 0


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """An absent file and one that is no TOML are usage errors."""
    with pytest.raises(UsageError, match="cannot be read"):
        read_policy(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("= nothing")
    with pytest.raises(UsageError, match="is not TOML"):
        read_policy(tmp_path / "bad.toml")


def test_rules_stand_in_the_order_in_which_they_win() -> None:
    """A longer path first, then a longer endpoint, then a named kind; equals as they were written."""
    rules = [
        {"path": "request.body.*", "action": "mask"},
        {"path": "request.body.user.*", "action": "drop"},
        {"path": "request.body.user.*", "kind": "email", "action": "keep"},
        {"path": "request.body.user.*", "endpoint": "POST /hooks", "action": "hash"},
        {"path": "request.body.user.?", "action": "keep"},
    ]
    policy = parse_policy({"rules": rules}, name="x")
    assert [(rule.action, rule.kind) for rule in policy.rules] == [
        ("hash", None), ("keep", "email"), ("drop", None), ("keep", None), ("mask", None),
    ]  # fmt: skip
    at_hooks = policy.rules_at("POST /hooks", "request.body.user.mail")
    assert [rule.action for rule in at_hooks] == ["hash", "keep", "drop", "mask"]
    assert not policy.rules_at("GET /x", "response.body.a")


@pytest.mark.parametrize(
    "path", ["request.header.content-length", "response.header.te", "request.method", "request.path"]
)
def test_no_rule_replaces_what_frames_a_message(path: str) -> None:
    """A rule about the whole of such a field is refused; one about a kind, or that keeps it, is none."""
    with pytest.raises(UsageError, match="how a message is read"):
        parse_policy({"rules": [{"path": path, "action": "drop"}]}, name="x")
    parse_policy({"rules": [{"path": path, "action": "keep"}]}, name="x")
    parse_policy({"rules": [{"path": path, "kind": "email", "action": "drop"}]}, name="x")


def test_patterns_of_rules() -> None:
    """Brackets stand for themselves, and what reports write for a key that is a value stands for any key."""
    rules = [{"path": "request.body.a[b].{key}", "kind": "email", "action": "keep"}]
    policy = parse_policy(
        {"rules": rules, "strict": {"fields": ["x.{key}"]}, "keep": {"paths": ["request.query.user[{key}]"]}},
        name="x",
    )
    assert policy.rules_at("", "request.body.a[b].jane")
    assert not policy.rules_at("", "request.body.ab.jane")
    assert policy.lists("x.jane")
    assert policy.keeps("request.query.user[jane]")
    assert not policy.keeps("request.query.userj")


def test_names_strictness_and_signatures() -> None:
    """Its name stands before its hash, a [strict] table without entries is strict, signatures are read."""
    document = {
        "name": "team",
        "strict": {},
        "signatures": [
            {"header": "X-Acme-Signature", "prefix": "v1=", "encoding": "base64", "algorithm": "sha512",
             "signed": "{timestamp}.{body}", "timestamp_header": "X-Acme-Time"},
            {"header": "X-Other"},
        ],
    }  # fmt: skip
    policy = parse_policy(document, name="sha256:00")
    assert policy.name == "team sha256:00"
    assert policy.strict_fields == ()
    assert Policy().strict_fields is None
    assert policy.signatures == (
        SigningRecipe(
            scheme=SignatureScheme.HMAC,
            header=b"X-Acme-Signature",
            template=HmacTemplate(
                algorithm="sha512",
                encoding="base64",
                prefix=b"v1=",
                signed=b"{timestamp}.{body}",
                timestamp_header=b"X-Acme-Time",
            ),
        ),
        SigningRecipe(
            scheme=SignatureScheme.HMAC,
            header=b"X-Other",
            template=HmacTemplate(algorithm="sha256", encoding="hex", prefix=b"", signed=b"{body}"),
        ),
    )
