"""Policies: what is valid, and one sentence about what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anonymizer.detectors.base import Kind
from anonymizer.policy import Action, Policy, Undecodable, parse_policy, read_policy
from captures.errors import UsageError


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
    ],
)
def test_a_wrong_key_or_value_is_named(document: dict[str, Any], named: str) -> None:
    """The error is one sentence that names the key."""
    with pytest.raises(UsageError, match=rf"policy key {named}\b") as caught:
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
