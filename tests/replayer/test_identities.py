"""Copies as different customers: a target finds ten times as many of them, and each is consistent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from captures.credentials import find_credentials
from captures.model import Exchange, Request, Response, SignatureScheme, SigningRecipe
from hookreel.identities import CopyIdentities
from replayer.credentials import Keyring
from replayer.identities import Copies, learnt
from replayer.load import Load
from replayer.minting import MintingKey

Make = Callable[..., Exchange]
MS = 1_000_000
SECRET, KEY = b"a signing secret", b"a key for tokens that is long enough for all"
RECORDED_S = 1_700_000_000  # the captures of these tests began then
API_KEY = b"the-api-key-of-the-target-4711"
NAMES = (b"Al Bo", b"Maximiliane Oberhuber", b"Zoe Quist")
HEX = b"0123456789abcdef"


def b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token_of(number: int, email: bytes) -> bytes:
    claims = b'{"iss":"club","sub":"%d","email":"%b","iat":%d,"exp":%d}' % (
        number, email, RECORDED_S - 60, RECORDED_S + 600,
    )  # fmt: skip
    message = b64(b'{"alg":"HS256","typ":"JWT"}') + b"." + b64(claims)
    return message + b"." + b64(hmac.new(b"an older key", message, hashlib.sha256).digest())


@dataclass
class Club:
    """
    A target with members: sign up with a token, write a note, read it.

    It refuses what does not fit together: a token of somebody else, a path of another member, a
    signature, a note that nobody wrote. ``old`` accepts the recorded tokens, to record by.
    """

    name: bytes
    old: bool = False
    members: dict[bytes, tuple[bytes, bytes, bytes]] = field(default_factory=dict)  # by session
    notes: dict[bytes, bytes] = field(default_factory=dict)
    api_keys: set[bytes] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    minted: int = 0

    def mint(self, prefix: bytes) -> bytes:
        self.minted += 1
        return prefix + hashlib.sha256(b"%b %d" % (self.name, self.minted)).hexdigest()[:24].encode()

    def answer(self, request: Any) -> tuple[int, tuple[tuple[bytes, bytes], ...], bytes]:
        try:
            return self._answer(request)
        except (KeyError, AssertionError, ValueError, IndexError) as error:
            self.refused.append(f"{request.method!r} {request.target!r} {error!r}")
            return 409, (), b"{}"

    def _claims(self, bearer: bytes) -> dict[str, Any]:
        head, claims, signature = bearer.split(b".")
        found = json.loads(base64.urlsafe_b64decode(claims + b"=="))
        if not self.old:
            digest = b64(hmac.new(KEY, head + b"." + claims, hashlib.sha256).digest())
            assert signature == digest, "token"
            assert found["iat"] <= time.time() + 1 < found["exp"], "expired"
            assert found["exp"] - found["iat"] == 660, "lifetime"
        return found

    def _answer(self, request: Any) -> tuple[int, tuple[tuple[bytes, bytes], ...], bytes]:
        headers = {name.lower(): value for name, value in request.headers}
        assert int(headers.get(b"content-length", b"0")) == len(request.body)
        self.api_keys.add(headers[b"x-api-key"])
        path = urlsplit(request.target.decode())
        if path.path == "/members":
            claims = self._claims(headers[b"authorization"].removeprefix(b"Bearer "))
            body = json.loads(request.body)
            assert body["user_id"] == int(claims["sub"]), "sub"
            assert body["email"] == claims["email"], "email"
            assert headers[b"x-user-id"] == str(body["user_id"]).encode(), "header"
            session = self.mint(b"s")
            member = str(body["user_id"]).encode(), body["email"].encode(), body["device_id"].encode()
            self.members[session] = member
            return 201, ((b"Set-Cookie", b"session=" + session),), b"{}"
        number, email, device = self.members[headers[b"cookie"].removeprefix(b"session=")]
        if path.path.startswith("/users/"):
            digest = hmac.new(SECRET, request.body, hashlib.sha256).hexdigest().encode()
            assert headers[b"x-hub-signature-256"] == b"sha256=" + digest, "signature"
            assert path.path.split("/")[2].encode() == number, "path"
            assert json.loads(request.body)["author"]["email"].encode() == email, "author"
            note = self.mint(b"note_")
            self.notes[note] = number
            return 201, (), b'{"note": {"id": "%b"}}' % note
        body = json.loads(request.body)
        assert self.notes[body["note"].encode()] == number, "note of somebody else"
        assert parse_qs(path.query)["owner"][0].encode() == email, "query"
        assert body["device"].encode() == device, "device"
        return 200, (), b"{}"


def recorded(exchange: Make) -> list[Exchange]:
    """What three members did at the club, each on a connection of its own."""
    club, made = Club(name=b"recorded", old=True), []
    for member, name in enumerate(NAMES):
        number, email = 41 + member, b"%b@club.test" % name.split()[0].lower()
        device = b"dev_%b" % hashlib.sha256(name).hexdigest()[:16].encode()
        key = (b"X-Api-Key", API_KEY)
        steps: list[tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...], bytes]] = [
            (
                b"POST",
                b"/members",
                ((b"Authorization", b"Bearer " + token_of(number, email)), (b"X-User-Id", b"%d" % number)),
                b'{"name": "%b", "user_id": %d, "email": "%b", "device_id": "%b"}'
                % (name, number, email, device),
            ),
            (b"POST", b"/users/%d/notes" % number, (), b""),
            (b"PUT", b"/notes?owner=%b" % email.replace(b"@", b"%40"), (), b""),
        ]
        cookie = note = b""
        for step, (method, target, more, body) in enumerate(steps):
            at_ns = (member * 3 + step * 10) * MS
            headers = ((b"Host", b"club.test"), key, *more)
            signing = None
            if step == 1:
                body = b'{"author": {"name": "%b", "email": "%b"}, "text": "hi"}' % (name, email)  # noqa: PLW2901
                digest = hmac.new(SECRET, body, hashlib.sha256).hexdigest().encode()
                headers = (*headers, (b"X-Hub-Signature-256", b"sha256=" + digest))
                signing = SigningRecipe(scheme=SignatureScheme.GITHUB, header=b"X-Hub-Signature-256")
            elif step == 2:
                body = b'{"full_name": "%b", "note": "%b", "device": "%b"}' % (name, note, device)  # noqa: PLW2901
            if step:
                headers = (*headers, (b"Cookie", b"session=" + cookie))
            headers = (*headers, (b"Content-Length", b"%d" % len(body)))
            one = exchange(
                len(made), offset_ns=at_ns, connection=member, method=method, target=target, headers=headers,
                body=body,
            )  # fmt: skip
            status, answer_headers, answer = club.answer(one.request)
            cookie = cookie or answer_headers[0][1].removeprefix(b"session=")
            note = json.loads(answer)["note"]["id"].encode() if step == 1 else note
            assert isinstance(one.outcome, Response)
            outcome = replace(
                one.outcome, status=status, headers=answer_headers, body=answer, end_ns=at_ns + MS
            )
            made.append(replace(one, outcome=outcome, signing=signing))
    assert not club.refused
    return [
        replace(one, seq=seq)
        for seq, one in enumerate(sorted(made, key=lambda one: (one.offset_ns, one.seq)))
    ]


@pytest.fixture
def club(serve: Callable[..., Any], answer: Any) -> tuple[Club, str]:
    """A club without members yet, and its URL."""
    fresh = Club(name=b"fresh")

    def respond(seen: Any) -> Any:
        status, headers, body = fresh.answer(seen.request)
        lines = b"".join(b"%b: %b\r\n" % pair for pair in (*headers, (b"Content-Length", b"%d" % len(body))))
        return answer(parts=[b"HTTP/1.1 %d Fine\r\n%b\r\n" % (status, lines) + body])

    return fresh, serve(respond).url


def keyring() -> Keyring:
    return Keyring(by_scheme={SignatureScheme.GITHUB: SECRET}, minting={"club": MintingKey(key=KEY)})


@pytest.mark.parametrize("workers", [1, 2])
def test_ten_copies_are_ten_different_sets_of_customers(
    club: tuple[Club, str], exchange: Make, send: Callable[..., Any], workers: int
) -> None:
    """Every id, address and device is in one copy only; tokens, signatures and chains hold in each."""
    target, url = club
    replayed = send(
        recorded(exchange), url,
        load=Load(multiplier=Fraction(1), copies=10, stagger_ns=100 * MS, own_identities=True),
        keyring=keyring(), identities=CopyIdentities, ids_key=b"k" * 32, timeout_s=20, workers=workers,
    )  # fmt: skip
    assert target.refused == []
    rows = replayed.run.rows
    assert bool((rows.status == rows.recorded_status).all())
    assert len(target.members) == 30
    for values in zip(*target.members.values(), strict=True):
        assert len(set(values)) == 30
    assert {b"41", b"42", b"43"} <= {number for number, _, _ in target.members.values()}  # copy 0
    assert len(target.notes) == 30
    assert len(target.api_keys) == 10  # one for all members of a copy
    assert replayed.run.header.chains.broken == 0
    assert any("in place of" in note and "--keep-identities" in note for note in replayed.run.header.notes)
    assert any("tokens signed anew" in note for note in replayed.run.header.notes)


def test_kept_identities_are_the_same_customers_again(
    club: tuple[Club, str], exchange: Make, send: Callable[..., Any]
) -> None:
    """Without identities of their own all copies are the recorded customers."""
    target, url = club
    send(
        recorded(exchange), url, load=Load(copies=3, stagger_ns=50 * MS), keyring=keyring(),
        identities=CopyIdentities, timeout_s=20,
    )  # fmt: skip
    assert target.refused == []
    assert {number for number, _, _ in target.members.values()} == {b"41", b"42", b"43"}


def test_a_mapped_credential_is_the_one_from_the_file_in_every_copy(
    club: tuple[Club, str], exchange: Make, send: Callable[..., Any], capture: Callable[..., Any]
) -> None:
    """What a credentials file maps wins over what a copy would have."""
    target, url = club
    exchanges = recorded(exchange)
    salt = b"s" * 16
    api_key = next(find_credentials(((b"X-Api-Key", API_KEY),)))
    ring = replace(keyring(), credentials={api_key.fingerprint(salt): b"the-new-key-8888"})
    send(
        capture(exchanges, fingerprint_salt=salt), url,
        load=Load(copies=4, stagger_ns=50 * MS, own_identities=True),
        keyring=ring, identities=CopyIdentities, timeout_s=20,
    )  # fmt: skip
    assert target.refused == []
    assert target.api_keys == {b"the-new-key-8888"}
    assert len(target.members) == 12


def test_a_list_of_credentials_is_one_for_each_copy(
    club: tuple[Club, str], exchange: Make, send: Callable[..., Any], capture: Callable[..., Any]
) -> None:
    """Ten customers may have ten accounts; with fewer the copies take turns."""
    target, url = club
    salt = b"s" * 16
    fingerprint = next(find_credentials(((b"X-Api-Key", API_KEY),))).fingerprint(salt)
    ring = replace(
        keyring(), credentials={fingerprint: b"first-0"}, of_copies={fingerprint: (b"second-1", b"third-2")}
    )
    send(
        capture(recorded(exchange), fingerprint_salt=salt), url,
        load=Load(copies=4, stagger_ns=50 * MS, own_identities=True),
        keyring=ring, identities=CopyIdentities, timeout_s=20,
    )  # fmt: skip
    assert target.refused == []
    assert target.api_keys == {b"first-0", b"second-1", b"third-2"}
    assert {b"first-0", b"second-1", b"third-2"} <= ring.values()


class Upper:
    """Identities that shout."""

    def __init__(self) -> None:
        self.kept: set[bytes] = set()
        self.learnt: list[bytes] = []
        self.copies = 0

    def keep(self, value: bytes) -> None:
        self.kept.add(value)

    def learn(self, request: Request) -> None:
        self.learnt.append(request.target)

    def learn_message(self, payload: bytes) -> None:
        self.learnt.append(payload)

    def message(self, payload: bytes, copy: int) -> bytes:
        return payload.upper() + b"%d" % copy

    def settle(self, copies: int) -> None:
        self.copies = copies

    def request(self, request: Request, copy: int) -> Request:
        return replace(request, target=request.target.upper() + b"%d" % copy)

    def notes(self) -> tuple[str, ...]:
        return ()


def test_a_copy_keeps_its_identity_in_every_loop(exchange: Make) -> None:
    """Instances are numbered loop by loop; copy 0 is the recorded traffic."""
    copies = Copies(Upper(), 3, signs=Keyring().signs)
    one = exchange(0, target=b"/a")
    assert [copies(one, instance).request.target for instance in range(7)] == [
        b"/a", b"/A1", b"/A2", b"/a", b"/A1", b"/A2", b"/a",
    ]  # fmt: skip


def test_a_message_is_said_by_the_customer_of_its_copy() -> None:
    """What is said on a socket is as much a customer's as what is asked."""
    copies = Copies(Upper(), 2, signs=Keyring().signs)
    assert [copies.message(b"hi", instance) for instance in range(4)] == [b"hi", b"HI1", b"hi", b"HI1"]


def test_a_recorded_signature_that_nobody_renews_stays_whole(exchange: Make) -> None:
    """Whoever has no secret sends the signed bytes as they were."""
    headers = ((b"Host", b"h"), (b"X-Hub-Signature-256", b"sha256=" + HEX * 4))
    one = exchange(0, target=b"/a", headers=headers)
    other = Keyring(by_scheme={SignatureScheme.SHOPIFY: b"s"})
    assert Copies(Upper(), 2, signs=other.signs)(one, 1) is one
    ring = Keyring(by_scheme={SignatureScheme.GITHUB: b"s"})
    assert Copies(Upper(), 2, signs=ring.signs)(one, 1).request.target == b"/A1"


def test_what_is_minted_or_mapped_is_kept_and_all_is_learnt(exchange: Make) -> None:
    """Identities hear of every request, and of each value that must stay."""
    one = exchange(0, target=b"/a", headers=((b"Host", b"h"), (b"Authorization", b"Bearer known-1")))
    other = exchange(1, target=b"/b", headers=((b"Host", b"h"), (b"Authorization", b"Bearer strange-2")))
    bearer = next(find_credentials(one.request.headers))
    ring = Keyring(credentials={bearer.fingerprint(b"salt"): b"x"})
    identities = Upper()
    learnt(identities, [one, other], [b"said"], copies=4, minted=[b"m1"], keyring=ring, salt=b"salt")
    assert identities.kept == {b"m1", b"known-1"}
    assert identities.learnt == [b"/a", b"/b", b"said"]
    assert identities.copies == 4
