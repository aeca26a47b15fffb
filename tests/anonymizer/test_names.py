"""Names by their keys: what is somebody, and what only has a name."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from anonymizer.detectors.base import Context
from anonymizer.detectors.names import NameDetector


def words(text: str, **context: Any) -> list[str]:
    data = text.encode()
    found = NameDetector().find(data, Context(**context))
    return [data[one.start : one.stop].decode() for one in found]


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("aliceanders", {"key": "login"}, ["aliceanders"]),
        ("aliceanders", {"key": "preferred_username"}, ["aliceanders"]),
        ("aliceanders", {"key": "sub"}, ["aliceanders"]),
        ("Alice", {"key": "first_name"}, ["Alice"]),
        ("Mary-Jane O'Neil", {"key": "full_name"}, ["Mary", "Jane", "O'Neil"]),
        ("José Álvarez", {"key": "cardholder_name"}, ["José", "Álvarez"]),
        ("Mona Lisa", {"key": "name", "parent": "author"}, ["Mona", "Lisa"]),
        ("Mona Lisa", {"key": "name", "person": True}, ["Mona", "Lisa"]),
        ("Mona Lisa", {"key": "display_name", "parent": "profile"}, ["Mona", "Lisa"]),
        ("codertocat", {"key": "name", "parent": "pusher"}, ["codertocat"]),
        ("oldlogin", {"key": "from", "parent": "login"}, ["oldlogin"]),
        ("aliceanders", {"key": "created_by"}, ["aliceanders"]),
        ("Mona Lisa", {"key": "author"}, ["Mona", "Lisa"]),
        ("Wilhelmina", {"key": "display_name"}, ["Wilhelmina"]),
        ("Wilhelmina", {"key": "card_holder"}, ["Wilhelmina"]),
        ("Wilhelmina", {"key": "owner"}, ["Wilhelmina"]),
        ("Mona Lisa", {"key": "manager"}, ["Mona", "Lisa"]),
        ("Vincent van Gogh", {"key": "emergency_contact"}, ["Vincent", "van", "Gogh"]),
        ("Mona Lisa", {"key": "ship_to"}, ["Mona", "Lisa"]),
        ("Mona Lisa", {"key": "paid_by"}, ["Mona", "Lisa"]),
        ("monalisa", {"key": "signed_by"}, ["monalisa"]),
        ("Mona", {"key": "father_name"}, ["Mona"]),
        ("Mona", {"key": "reviewer_name"}, ["Mona"]),
        ("Mona", {"key": "fname"}, ["Mona"]),
        ("Mona", {"key": "name_first"}, ["Mona"]),
        ("Mona", {"key": "vorname"}, ["Mona"]),
        ("Mona", {"key": "first_names"}, ["Mona"]),
        ("Mona", {"key": "first", "parent": "name"}, ["Mona"]),
        ("Mona Lisa", {"key": "name", "parent": "customers"}, ["Mona", "Lisa"]),
        ("Mona Lisa", {"key": "name", "parent": "from"}, ["Mona", "Lisa"]),
        ("Mona Lisa", {"key": "users"}, ["Mona", "Lisa"]),
        ("monalisa", {"key": "users"}, ["monalisa"]),
        ("Lisa", {"key": "person"}, ["Lisa"]),
        ("王小明", {"key": "recipient"}, ["王小明"]),
        ("Mona Lisa", {"key": "name", "parent": "reviewer"}, ["Mona", "Lisa"]),
        ("release-crew", {"key": "name", "parent": "reviewer"}, []),
        ("platform-team", {"key": "owner"}, []),
        ("Platform Engineering", {"key": "owner"}, []),
        ("backend", {"key": "reviewer"}, []),
        ("SRE", {"key": "owner"}, []),
        ("Firefox", {"key": "client"}, []),
        ("Yarn", {"key": "package_manager"}, []),
        ("card", {"key": "paid_by"}, []),
        ("2026-01-02", {"key": "created_by"}, []),
        ("closed", {"key": "name", "parent": "to"}, []),
        ("Premium Plan", {"key": "display_name", "parent": "data"}, []),
        ("Main Menu", {"key": "parent"}, []),
        ("first", {"key": "first", "parent": "page"}, []),
        ("usr_4eC39HqLyjWD", {"key": "user"}, []),
        ("U2147483697", {"key": "user"}, []),
        ("Hello-World", {"key": "name", "parent": "repository"}, []),
        ("bug", {"key": "name", "parent": "labels"}, []),
        ("CodeQL", {"key": "name", "parent": "workflow"}, []),
        ("octo-org/octo-repo", {"key": "full_name", "parent": "repository"}, []),
        ("Premium plan", {"key": "display_name", "parent": "product"}, []),
        ("renovate[bot]", {"key": "login"}, []),
        ("web-flow", {"key": "login"}, []),
        ("f81d4fae-7dec-11d0-a765-00a0c91e6bf6", {"key": "sub"}, []),
        ("12345", {"key": "login"}, []),
        ("push", {"key": "event"}, []),
        ("master", {"key": "ref", "person": True}, []),
    ],
)
def test_names(text: str, context: dict[str, Any], expected: list[str]) -> None:
    """Keys and what they belong to decide: a repository, a label or a plan is no person."""
    assert words(text, **context) == expected


def test_names_in_old_charsets() -> None:
    """A name in Latin-1 bytes is found at its bytes."""
    text = "José García".encode("latin-1")
    found = NameDetector().find(text, Context(key="full_name"))
    assert [text[f.start : f.stop] for f in found] == [b"Jos\xe9", b"Garc\xeda"]


def test_decomposed_accents_are_part_of_a_name() -> None:
    """A name whose accents are characters of their own is found whole."""
    text = unicodedata.normalize("NFD", "José García")
    assert words(text, key="full_name") == text.split()
