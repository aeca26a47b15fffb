"""Made-up people with the personal data that real webhooks carry; the same seed, the same people."""

from __future__ import annotations

import random
from dataclasses import dataclass

from mimesis import Person
from mimesis.locales import Locale

_MAIL_DOMAINS = ("northwind-mail.example", "fabrikam-post.example", "tailspin-inbox.example")
# Numbers that the card networks publish for tests; no account stands behind any of them.
_TEST_CARDS = ("4242424242424242", "5555555555554444", "378282246310005", "6011111111111117")
_PHONE_MASKS = ("+44 20 7946 0###", "+1 415-2##-####", "+49 30 901820###", "+33 1 99 00 ## ##")


@dataclass(frozen=True, slots=True, kw_only=True)
class FakePerson:
    """One person; nothing about them is real."""

    number: int
    first_name: str
    last_name: str
    login: str
    email: str
    phone: str
    ip: str
    card: str

    @property
    def full_name(self) -> str:
        """First and last name as people write them."""
        return f"{self.first_name} {self.last_name}"


def fake_people(count: int, seed: int) -> tuple[FakePerson, ...]:
    """``count`` people with distinct names, logins and addresses."""
    chance = random.Random(seed)  # noqa: S311  made-up data must repeat
    tables = Person(Locale.EN, seed=seed)
    people: list[FakePerson] = []
    names: set[tuple[str, str]] = set()
    while len(people) < count:
        first, last = tables.first_name(), tables.last_name()
        if (first, last) in names or not (first + last).isascii() or not (first + last).isalpha():
            continue
        names.add((first, last))
        number = len(people)
        login = f"{first.lower()}-{last.lower()}{chance.randrange(10, 100)}"
        mask = _PHONE_MASKS[number % len(_PHONE_MASKS)]
        people.append(
            FakePerson(
                number=number,
                first_name=first,
                last_name=last,
                login=login,
                email=f"{first.lower()}.{last.lower()}@{chance.choice(_MAIL_DOMAINS)}",
                phone="".join(str(chance.randrange(10)) if mark == "#" else mark for mark in mask),
                ip=f"{chance.randrange(80, 96)}.{chance.randrange(1, 255)}"
                f".{chance.randrange(1, 255)}.{chance.randrange(1, 255)}",
                card=_TEST_CARDS[number % len(_TEST_CARDS)],
            )
        )
    return tuple(people)
