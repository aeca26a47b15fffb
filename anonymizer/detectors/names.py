"""User names and names of people, by the key they stand under and what that key belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache

from anonymizer.detectors.base import Context, Finding, Kind, normal_key
from anonymizer.reserved import is_no_name, is_reserved

USERNAME_KEYS = re.compile(
    r"(?:^|_)(?:login|username|user_name|user_login|screen_name|nick|nickname|preferred_username|"
    r"display_login|sponsor_login|account_name|remote_user|actor_names?|usernames|logins)$"
)
_ROLE = (
    r"account_holder|approver|attendee|author|beneficiary|buyer|contact|committer|customer|doctor|"
    r"emergency_contact|employee|father|guardian|guest|husband|invitee|manager|mother|organizer|owner|"
    r"passenger|patient|payee|payer|person|recipient|relative|reviewer|sender|signatory|signer|spouse|"
    r"student|subscriber|supervisor|teacher|tutor|visitor|wife"
)
PERSON_KEYS = re.compile(
    r"(?:^|_)(?:first_?names?|given_?names?|fore_?names?|last_?names?|sur_?names?|family_?names?|"
    r"middle_?names?|maiden_?name|fname|lname|name_(?:first|last|middle|given|family)|"
    r"real_name|real_name_normalized|card_?holder_?name|card_?holder|name_on_card|"
    rf"(?:{_ROLE})_(?:full_?|first_?|last_?|legal_?)?name|user_full_name|legal_name|"
    r"billing_name|shipping_name|attention|"
    r"vor_?name|nach_?name|familien_?name|prenom|apellidos?|primer_nombre|cognome|sobrenome)$"
)
_SOMEBODY = re.compile(
    r"^(?:(?:user|author|committer|assignee)s?|assigned_to|(?:added|approved|assigned|changed|closed|created|"
    r"deleted|edited|invited|merged|modified|opened|removed|reported|requested|reviewed|signed|submitted|"
    r"updated|uploaded)_by)$"
)
# Under these a string is somebody only when it is spelled like a name: an owner may be a team.
_PERHAPS = re.compile(
    rf"(?:^|_)(?:(?:{_ROLE}|account|actor|assignee|child|client|contributor|creator|employer|holder|maintainer|"
    r"member|operator|parent|pusher|seller|user|(?:bill|deliver|report|sell|send|ship|sold|sent)_?to)s?|"
    r"(?:child|client|member|parent|holder)_name|display_?name|people|nom|nombre|attn)$"
    r"|^(?:authori[sz]ed|booked|cancel+ed|checked|commented|completed|issued|locked|managed|ordered|owned|paid|"
    r"posted|prepared|recorded|rejected|resolved|sent|shared|verified|witnessed|written)_by$"
)
_NO_PERSON = re.compile(
    r"(?:^|_)(?:package|build|session|state|tag|window|process|event|version|place|file|key|user|http|mail|"
    r"api|test|git|web)_(?:manager|holder|client|owner|contact|actor|agent)s?$"
)
# Firefox is a client and Acme an account: there one word is no name.
_SURE_OF_TWO = re.compile(
    r"(?:^|_)(?:account|actor|child|client|employer|member|operator|parent)(?:s|_name)?$"
)
_FULL_NAME = re.compile(r"(?:^|_)full_?name$")
# Names of people inside objects about people, and of anything else elsewhere.
_PLAIN_NAME = frozenset({"name", "display_name", "display_name_normalized", "handle", "nick_name"})
_PARTS_OF_A_NAME = frozenset(
    {"first", "last", "middle", "given", "family", "full", "formatted", "firstname", "lastname"}
)
_PEOPLE_WORDS = """
author committer owner user customer sender pusher contact billing_details billing_address
shipping shipping_address recipient assignee member employee person people patient holder cardholder
card_holder creator actor profile
passenger guest buyer seller student teacher subscriber lead attendee organizer invitee
visitor payer payee beneficiary signer primary_contact emergency_contact billing_contact contact_person
"""
_PEOPLE = frozenset(_PEOPLE_WORDS.split())
# A reviewer may be a team, and a message may come from an application.
_PERHAPS_PEOPLE_WORDS = """
from to cc bcc reply_to manager supervisor approver reviewer maintainer contributor participant moderator
"""
_PERHAPS_PEOPLE = frozenset(_PERHAPS_PEOPLE_WORDS.split())
_PERSON_MARKS = re.compile(
    r"(?:^|_)(?:email|e_mail|login|username|user_name|first_?name|last_?name|given_name|family_name|phone|birth_?date|dob)$"
)
"""Keys that only an object about a person has; a ``name`` beside one is a person's."""

_CHANGE_KEYS = frozenset({"from", "to", "old", "new", "old_value", "new_value", "previous"})
_SUBJECT = re.compile(rb"[A-Za-z][A-Za-z0-9._-]{2,63}")
_LETTERS = r"[^\W\d_](?:[^\W\d_]|[\u0300-\u036f])*"  # with the accents of decomposed text
_WORD = re.compile(rf"{_LETTERS}(?:['\u2019]{_LETTERS})*")
_CAPITALISED = re.compile(rf"{_LETTERS}(?:['\u2019]{_LETTERS})*[.,]?")
_BETWEEN_WORDS = re.compile(r"[\s-]+")
_PARTICLE_WORDS = "al bin da de del della der di do dos du el la le ten ter van von y zu"
_PARTICLES = frozenset(_PARTICLE_WORDS.split())
_LETTER = re.compile(rb"[A-Za-z\x80-\xff]")
_OPAQUE = re.compile(
    rb"\d+|[0-9a-fA-F]{16,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[A-Z0-9]{9,12}|\S*://\S*"
    rb"|[a-z]{2,8}_(?=[A-Za-z]*\d)[A-Za-z0-9]{8,}"  # usr_4eC39HqLyjWD and the like are identifiers
)


class _Says(Enum):
    """What a key says of the text under it."""

    NOTHING = "nothing"
    USERNAME = "username"
    SUBJECT = "subject"  # of a token: a user name or an identifier
    NAME = "name"
    FULL_NAME = "full name"  # of a person, or a repository's owner/name
    SOMEBODY = "somebody"  # a name or a user name
    PERHAPS = "perhaps"  # a name where it is spelled like one


@lru_cache(maxsize=16_384)
def marks_a_person(raw_key: bytes) -> bool:
    """Whether an object with this key is about a person."""
    return _PERSON_MARKS.search(normal_key(raw_key)) is not None


def key_tells(key: str, parent: str, person: bool) -> bool:
    """Whether what stands under ``key`` may be a name for that alone."""
    name = parent if key in _CHANGE_KEYS and parent else key
    return _meaning(name, parent, person) is not _Says.NOTHING


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
        says = _Says.NAME if key in self._extra_keys else _meaning(key, context.parent, context.person)
        match says:
            case _Says.USERNAME:
                yield from _username(text)
            case _Says.SUBJECT if _SUBJECT.fullmatch(text):
                yield from _username(text)
            case _Says.NAME:
                yield from _person(text)
            case _Says.FULL_NAME if b"/" not in text:
                yield from _person(text)
            case _Says.SOMEBODY:
                yield from _person_or_username(text)
            case _Says.PERHAPS if _spelled_like_a_name(text, key):
                yield from _person(text)


@lru_cache(maxsize=16_384)
def _meaning(key: str, parent: str, person: bool) -> _Says:
    if USERNAME_KEYS.search(key):
        return _Says.USERNAME
    if key == "sub":
        return _Says.SUBJECT
    if PERSON_KEYS.search(key) or (key in _PARTS_OF_A_NAME and _holds_a_name(parent)):
        return _Says.NAME
    if _FULL_NAME.search(key):
        return _Says.FULL_NAME
    if _SOMEBODY.search(key) or (key in _PLAIN_NAME and (person or _in(parent, _PEOPLE))):
        return _Says.SOMEBODY
    if key in _PLAIN_NAME and _in(parent, _PERHAPS_PEOPLE):
        return _Says.PERHAPS
    return _Says.PERHAPS if _PERHAPS.search(key) and not _NO_PERSON.search(key) else _Says.NOTHING


def _in(parent: str, words: frozenset[str]) -> bool:
    return parent in words or parent.removesuffix("s") in words


def _holds_a_name(parent: str) -> bool:
    return parent == "name" or PERSON_KEYS.search(parent) is not None or parent in {"full_name", "names"}


def _spelled_like_a_name(text: bytes, key: str) -> bool:
    """Whether all words are capitalised and none is an English word that is no usual name."""
    words = [word for word in _BETWEEN_WORDS.split(text.decode(_charset(text)).strip()) if word]
    names = [word for word in words if word not in _PARTICLES]
    if len(words) == 1 and (len(words[0]) < 3 or words[0].isupper() or _SURE_OF_TWO.search(key)):
        return False
    return 0 < len(names) <= 5 and all(
        not word[0].islower()
        and _CAPITALISED.fullmatch(word) is not None
        and (len(word) < 3 or not is_no_name(word.strip(".,").encode()))
        for word in names
    )


def _username(text: bytes) -> Iterator[Finding]:
    value = text.strip()
    if b" " in value:
        yield from _person(text)
    elif (
        b"@" not in value.strip(b"@")
        and _LETTER.search(value)
        and not _OPAQUE.fullmatch(value)
        and not is_reserved(value.strip(b"@"))
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


def words_of_a_name(text: bytes) -> Iterator[Finding]:
    """Each word of the name ``text``, for who knows by other means that it is one."""
    return _person(text)


def _charset(text: bytes) -> str:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"  # header values of old; every byte is a character
    return "utf-8"
