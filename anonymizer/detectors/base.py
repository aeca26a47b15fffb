"""What a detector is given and what it gives back."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple


class Kind(StrEnum):
    """What a sensitive value is. The words of policies and reports."""

    EMAIL = "email"
    DOMAIN = "domain"  # of an e-mail address, where it stands elsewhere
    USERNAME = "username"
    NAME = "name"
    ADDRESS = "address"
    PHONE = "phone"
    CARD = "card"
    IP = "ip"
    MAC = "mac"  # the address of a network card
    IBAN = "iban"
    NATIONAL_ID = "national_id"  # social security, tax and health numbers, identity cards
    BIRTH_DATE = "birth_date"
    GEO = "geo"  # latitude and longitude
    JWT = "jwt"
    TOKEN = "token"  # noqa: S105 - the word for a kind
    CREDENTIAL = "credential"
    UUID = "uuid"
    ID = "id"  # under a key that says so
    DATE = "date"  # any point in time


KEPT_BY_DEFAULT = frozenset({Kind.UUID, Kind.ID, Kind.DATE})
"""
Kinds that are left as they are unless a policy says otherwise.

Identifiers and times name nobody by themselves, and applications compare them with what they
know; whoever can look them up in the recorded system learns whose they are, so a policy may
replace them.
"""


class Finding(NamedTuple):
    """A sensitive value: what it is and where it stands in its text. It holds no value."""

    kind: Kind
    start: int
    stop: int


class Context(NamedTuple):
    """
    What is known about a text besides its bytes; of tuples because it is looked up for each text.

    ``key`` is the field's name in snake case (``first_name``), ``parent`` that of the object it
    is in; ``person`` says that the object describes a person; ``number`` that the text is a
    JSON number, which must stay one; ``credential`` that the whole text is a secret.
    """

    key: str = ""
    parent: str = ""
    person: bool = False
    number: bool = False
    credential: bool = False


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OTHER = re.compile(r"[^a-z0-9]+")


@lru_cache(maxsize=16_384)
def normal_key(raw: bytes) -> str:
    """``raw`` in snake case: ``firstName``, ``First-Name`` and ``user[first_name]`` end in ``first_name``."""
    split = _CAMEL.sub("_", raw.decode("utf-8", "replace"))
    return _OTHER.sub("_", split.lower()).strip("_")
