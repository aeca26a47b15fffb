"""User names and names of people, by the key they stand under and what that key belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from anonymizer.detectors.base import Context, Finding, Kind, normal_key
from anonymizer.reserved import is_reserved

USERNAME_KEYS = re.compile(
    r"(?:^|_)(?:login|username|user_name|user_login|screen_name|nick|nickname|preferred_username|"
    r"display_login|sponsor_login|account_name|remote_user|actor_names?|usernames|logins)$"
)
PERSON_KEYS = re.compile(
    r"(?:^|_)(?:first_?name|given_?name|forename|last_?name|surname|family_?name|middle_?name|maiden_name|"
    r"real_name|real_name_normalized|cardholder_name|cardholder|name_on_card|"
    r"account_holder_name|account_holder|contact_name|customer_name|author_name|sender_name|recipient_name|"
    r"patient_name|employee_name|user_full_name|legal_name|person_name|owner_name|committer_name|"
    r"billing_name|shipping_name|attention)$"
)
_SOMEBODY = re.compile(
    r"^(?:user|author|committer|assignee|(?:created|updated|modified|deleted|approved|requested|submitted|invited|"
    r"assigned|opened|closed|merged|uploaded)_(?:by|to))$"
)
_FULL_NAME = re.compile(r"(?:^|_)full_?name$")
# Names of people inside objects about people, and of anything else elsewhere.
_PLAIN_NAME = frozenset({"name", "display_name", "display_name_normalized", "handle", "nick_name"})
_PEOPLE_WORDS = """
author committer owner user users customer sender pusher contact contacts billing_details billing_address
shipping shipping_address recipient assignee member employee person people patient holder cardholder
creator actor profile
passenger guest buyer seller student teacher subscriber lead attendee organizer invitee
"""
_PEOPLE = frozenset(_PEOPLE_WORDS.split())
_PERSON_MARKS = re.compile(
    r"(?:^|_)(?:email|e_mail|login|username|user_name|first_?name|last_?name|given_name|family_name|phone|birth_?date|dob)$"
)
"""Keys that only an object about a person has; a ``name`` beside one is a person's."""

_CHANGE_KEYS = frozenset({"from", "to", "old", "new", "old_value", "new_value", "previous"})
_SUBJECT = re.compile(rb"[A-Za-z][A-Za-z0-9._-]{2,63}")
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_OPAQUE = re.compile(
    rb"\d+|[0-9a-fA-F]{16,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[A-Z0-9]{9,12}|\S*://\S*"
    rb"|[a-z]{2,8}_(?=[A-Za-z]*\d)[A-Za-z0-9]{8,}"  # usr_4eC39HqLyjWD and the like are identifiers
)


@lru_cache(maxsize=16_384)
def marks_a_person(raw_key: bytes) -> bool:
    """Whether an object with this key is about a person."""
    return _PERSON_MARKS.search(normal_key(raw_key)) is not None


class NameDetector:
    """Finds names under the usual keys and under ``extra_keys`` (snake case)."""

    __slots__ = ("_extra_keys",)

    def __init__(self, extra_keys: frozenset[str] = frozenset()) -> None:
        self._extra_keys = extra_keys

    def find(self, text: bytes, context: Context) -> Iterator[Finding]:
        """The user name or the words of a name that ``text`` is, if its key says so."""
        if context.number or not text.strip() or len(text) > 200:
            return
        key = context.parent if context.key in _CHANGE_KEYS and context.parent else context.key
        if USERNAME_KEYS.search(key) or (key == "sub" and _SUBJECT.fullmatch(text)):
            yield from _username(text)
        elif (
            PERSON_KEYS.search(key)
            or key in self._extra_keys
            or (_FULL_NAME.search(key) and b"/" not in text)  # full_name of a repository is owner/name
        ):
            yield from _person(text)
        elif _SOMEBODY.search(key) or (key in _PLAIN_NAME and (context.person or context.parent in _PEOPLE)):
            yield from _person_or_username(text)


def _username(text: bytes) -> Iterator[Finding]:
    value = text.strip()
    if b" " in value:
        yield from _person(text)
    elif (
        b"@" not in value.strip(b"@") and not _OPAQUE.fullmatch(value) and not is_reserved(value.strip(b"@"))
    ):
        start = text.find(value)
        start += len(value) - len(value.lstrip(b"@"))
        yield Finding(Kind.USERNAME, start, start + len(value.lstrip(b"@")))


def _person_or_username(text: bytes) -> Iterator[Finding]:
    if b" " in text.strip():
        yield from _person(text)
    else:
        yield from _username(text)


def _person(text: bytes) -> Iterator[Finding]:
    if b"@" in text or _OPAQUE.fullmatch(text.strip()) or is_reserved(text.strip()):
        return
    charset = _charset(text)
    decoded = text.decode(charset)
    for match in _WORD.finditer(decoded):
        start = len(decoded[: match.start()].encode(charset))
        stop = start + len(match[0].encode(charset))
        if not is_reserved(text[start:stop]):
            yield Finding(Kind.NAME, start, stop)


def _charset(text: bytes) -> str:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"  # header values of old; every byte is a character
    return "utf-8"
