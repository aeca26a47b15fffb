"""Domains of e-mail addresses: which of them name an organization, and which of their words do."""

from __future__ import annotations

import re

from anonymizer.reserved import is_common, is_platform_domain

MIN_BYTES = 5
"""A shorter domain could be anything with a dot in it."""

# Labels under which countries register names, as in corp.co.uk.
_SECOND_LEVEL = frozenset(b"ac co com edu gob gov gouv govt ne net nom or org".split())
# RFC 2606 and RFC 6761: nobody can own these, so addresses may stay in them.
_RESERVED = frozenset({b"example.com", b"example.net", b"example.org", b"localhost"})
PROVIDERS = frozenset(
    b"126 163 aol fastmail gmail gmx googlemail hotmail icloud live mac me msn outlook proton protonmail "
    b"qq web yahoo yandex".split()
)
"""Labels of mail providers: one of millions has an address there. The audit takes all of them for common."""

_WORD = re.compile(rb"[^-_]+")


def registrable(domain: bytes) -> bytes:
    """The part that somebody registered: ``corp.co.uk`` of ``mail.eu.corp.co.uk``."""
    labels = domain.split(b".")
    country = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    return b".".join(labels[-3 if country else -2 :])


def label(domain: bytes) -> bytes:
    """The first label of the registrable part: ``corp`` of ``mail.eu.corp.co.uk``."""
    return registrable(domain).partition(b".")[0]


def is_reserved_domain(domain: bytes) -> bool:
    """Whether nobody can own ``domain`` (lower case), so that no address in it is real."""
    return domain in _RESERVED or registrable(domain) in _RESERVED


def is_own(domain: bytes) -> bool:
    """Whether ``domain`` (lower case) names an organization, and is no platform, provider or example."""
    return (
        b"." in domain.strip(b".")
        and len(domain) >= MIN_BYTES
        and not domain.startswith(b"[")
        and not is_reserved_domain(domain)
        and not is_platform_domain(domain.rpartition(b".")[0])
        and label(domain) not in PROVIDERS
    )


def telling_words(name: bytes) -> list[bool]:
    """
    For each word of the label ``name``, whether it tells which organization it is.

    English words do not, unless there are no others: ``systems`` of ``acme-systems`` may stay.
    """
    words = _WORD.findall(name)
    telling = [not is_common(word) for word in words]
    return telling if any(telling) else [True] * len(words)
