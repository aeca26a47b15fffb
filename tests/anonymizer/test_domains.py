"""Which domains name an organization."""

from __future__ import annotations

import re

import pytest

from anonymizer import domains, generators
from anonymizer.audit_places import Place
from anonymizer.audit_spans import Part, place_spans
from captures.keys import Prf

PRF = Prf(b"a key for tests, 32 bytes long..")


@pytest.mark.parametrize(
    ("domain", "registrable", "label"),
    [
        (b"corp.com", b"corp.com", b"corp"),
        (b"mail.eu.corp.com", b"corp.com", b"corp"),
        (b"mail.corp.co.uk", b"corp.co.uk", b"corp"),
        (b"corp.co", b"corp.co", b"corp"),
        ("корп.рф".encode(), "корп.рф".encode(), "корп".encode()),
        (b"localhost", b"localhost", b"localhost"),
    ],
)
def test_what_was_registered(domain: bytes, registrable: bytes, label: bytes) -> None:
    """Subdomains are none of it, and the second level that a country registers under is."""
    assert domains.registrable(domain) == registrable
    assert domains.label(domain) == label


@pytest.mark.parametrize(
    ("domain", "own"),
    [
        (b"corp-nine.io", True),
        (b"mail.corp.co.uk", True),
        (b"acme.test", True),
        (b"gmail.com", False),
        (b"hotmail.co.uk", False),
        (b"users.noreply.github.com", False),
        (b"example.com", False),
        (b"qwerty.example.com", False),
        (b"localhost", False),
        (b"corpnine", False),
        (b"[192.0.2.1]", False),
    ],
)
def test_an_organizations_own(domain: bytes, own: bool) -> None:
    """Platforms, mail providers and reserved domains name nobody."""
    assert domains.is_own(domain) == own


@pytest.mark.parametrize("provider", sorted(domains.PROVIDERS))
def test_the_audit_takes_providers_for_common_words(provider: bytes) -> None:
    """A provider's domain may stay in host names because the audit does not search for it."""
    before = Place(name="b", key=("b", b"", 0), data=b"qqjanexx@%b.com" % provider)
    after = Place(name="b", key=("b", b"", 0), data=b"zzkkeeyy@rrttuuww.example.com")
    searched = [span.value for span in place_spans(before, after) if span.part is Part.VALUE]
    assert searched
    assert all(b"qqjanexx" in value for value in searched)


@pytest.mark.parametrize(
    ("domain", "shape"),
    [
        (b"corp-nine.io", rb"[a-z]{4}-[a-z]{4}\.example\.com"),
        (b"acmelabs-systems.com", rb"[a-z]{8}-systems\.example\.com"),
        (b"mail.acmelabs.com", rb"mail\.[a-z]{8}\.example\.com"),
        (b"wartburg.acmelabs.com", rb"(?!wartburg)[a-z]{8}\.[a-z]{8}\.example\.com"),
        (b"hp.com", rb"[a-z]{6}\.example\.com"),
        ("корп.рф".encode(), rb"[a-z]{6}\.example\.com"),
        (b"[192.0.2.1]", rb"[a-z]{6}\.example\.com"),
        (b"users.noreply.github.com", rb"users\.noreply\.github\.example\.com"),
        (b"example.org", rb"example\.org"),
        (b"localhost", rb"localhost"),
    ],
)
def test_stand_ins_of_domains(domain: bytes, shape: bytes) -> None:
    """Words keep their lengths, what tells nothing stays, and all are under a reserved domain."""
    assert re.fullmatch(shape, generators.domain_of(PRF, domain))
