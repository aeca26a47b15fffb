"""Looking pieces up gives what looking at each leaf gives."""

from __future__ import annotations

import hashlib
import json
import re
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymizer import layouts
from anonymizer.literals import Literals
from anonymizer.policy import Policy, parse_policy
from anonymizer.pseudonyms import PseudonymTable
from anonymizer.scrubber import Scrubber
from captures.bodies.edits import splice
from captures.keys import Prf

PRF = Prf(b"a key for tests, 32 bytes long..")
VALUES = [
    "octocat", "Jane Doe", "jane.doe@corp.example.io", "2019-05-15T15:20:18Z", "a" * 20, 'a "quoted", one',
    "ends with a comma,", "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "https://x.io/octocat/7/8?a=b&c=d",
    "https://api.x.io/u/21031067", "b2N0b2NhdCBpcyBoZXJl", "+1 415 555 2671", "4111111111111111", "é, \u2028",
    "a\\b", "octocat\\", '\\"octocat', "4155552671", "https://x.io/2019-05-15T15:20:18Z", "a{\n}b",
    "192.168.17.4", "12", "", "71dbe52628a3f83a77ab494817525c6", "6a616e652e646f6540636f72702e636f6d2e6a6a",
    "72d3a11e-3b5c-4a1d-81ab-6a616e652e64", "0fd3a11e-3012-4123-8125-415555267100",
]  # fmt: skip
KEYS = [
    "login",
    "id",
    "version",
    "url",
    "name",
    "email",
    "sha",
    "phone",
    "from",
    "created_at",
    "octocat",
    "7",
    "user",
    "x/7/",
    'a "key"',
    "lat",
]
LEAVES = st.sampled_from(VALUES) | st.integers(0, 10**13) | st.booleans() | st.none() | st.floats(-200, 200)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=25,
).filter(lambda value: isinstance(value, dict | list))
SPELLINGS: list[dict[str, Any]] = [
    {"separators": (",", ":")}, {}, {"indent": 1}, {"separators": (",", ":"), "ensure_ascii": False},
]  # fmt: skip


def scrubbers() -> tuple[Scrubber, PseudonymTable]:
    table = PseudonymTable(PRF, Policy())
    return Scrubber(PRF, Policy(), table), table


_RUN = re.compile(rb"[0-9a-f]+")


def alike(data: bytes, chance: Random) -> bytes:
    """``data`` with other digits and letters of hex in some places, often of the same class."""

    def other(match: re.Match[bytes]) -> bytes:
        letters = chance.choice([b"", b"", b"123456789", b"0123456789", b"0123456789abcdef"])
        if not letters:
            return match[0]
        return bytes(
            chance.choice(letters) if chr(byte).isdigit() or len(letters) > 10 else byte for byte in match[0]
        )

    return _RUN.sub(other, data)


@settings(max_examples=150)
@given(st.lists(DOCUMENTS, max_size=3), st.sampled_from(SPELLINGS), st.randoms(use_true_random=False))
def test_documents_come_out_as_leaf_by_leaf(
    values: list[Any], spelling: dict[str, Any], chance: Random
) -> None:
    """The values that are collected and the bytes that come out are those of a scan, whatever came before."""
    first = [json.dumps(value, **spelling).encode() for value in values]
    documents = first * 2 + [alike(data, chance) for data in first * 3] + first
    quick, table = scrubbers()
    slow, other = scrubbers()
    for data in documents:
        if quick.document(data) is None:
            quick.json(data)
        slow.json(data)
    assert table.spellings == other.spellings
    assert table.phrases == other.phrases
    table.freeze()
    quick = Scrubber(PRF, Policy(), table, Literals(table, Policy()), quick.layouts)
    slow = Scrubber(PRF, Policy(), table, Literals(table, Policy()))
    for data in [*documents, *(alike(data, chance) for data in first)]:
        found = quick.document(data)
        assert found is None or found[0] == splice(data, slow.json(data))


def test_what_is_forgotten_is_learnt_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one document alone everything comes out as with room for all."""
    documents = [
        b'{"users":{"k%d":{"login":"octocat-%d","size":%d}},"at":[-1.%s5]}' % (at, at % 3, at, b"2" * at)
        for at in range(4)
    ] * 3
    roomy = replaced(*documents)
    assert b"octocat" not in b"".join(roomy)
    monkeypatch.setattr(layouts, "MAX_BYTES", 5_000)
    assert replaced(*documents) == roomy


@pytest.mark.parametrize("sort", ["shapes", "keys", "none"])
def test_documents_that_differ_do_not_add_up(sort: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes, keys and texts that are not quite JSON, each of which comes once, are not all remembered."""
    monkeypatch.setattr(layouts, "MAX_BYTES", 60_000)
    chance = Random(1)

    def document() -> bytes:
        if sort == "shapes":
            return json.dumps(
                {"n": [round(chance.uniform(-9, 9), chance.randrange(4)) for _ in range(40)]}
            ).encode()
        if sort == "keys":
            return json.dumps({f"k{chance.getrandbits(40):x}": {"a": "b"} for _ in range(9)}).encode()
        return b"[%b]" % b",".join(b"b" * chance.randrange(1, 9) for _ in range(300))

    scrubber = scrubbers()[0]
    for _ in range(200):
        scrubber.document(document())
    pieces = scrubber._pieces
    assert scrubber.layouts.forgotten
    for known in (scrubber.layouts._known, pieces._plans, pieces._known, pieces._keys):
        assert len(known) <= 120


def replaced(*documents: bytes, policy: Policy | None = None) -> list[bytes]:
    table = PseudonymTable(PRF, policy or Policy())
    collecting = Scrubber(PRF, policy or Policy(), table)
    for data in documents:
        assert collecting.document(data) is not None
    table.freeze()
    scrubber = Scrubber(PRF, policy or Policy(), table, Literals(table, policy or Policy()))
    found = [scrubber.document(data) for data in documents]
    return [one[0] for one in found if one is not None]


def test_numbers_pass_and_known_ones_do_not() -> None:
    """A number in a URL stays, but for one that was a phone number elsewhere."""
    first, second, third = replaced(
        b'{"phone":"4155552671","url":"https://x.io/t/12345678/a"}',
        b'{"phone":"","url":"https://x.io/t/87654321/a"}',
        b'{"phone":"","url":"https://x.io/t/4155552671/a"}',
    )
    assert b"/t/12345678/a" in first
    assert b"/t/87654321/a" in second
    assert b"4155552671" not in third


def test_a_value_that_is_no_value_at_its_first_place_is_found_at_the_next() -> None:
    """What passed under a key that says nothing is found under one that tells."""
    first, second = replaced(b'{"a":{"id":41555526}}', b'{"a":{"phone":41555526,"id":41555526}}')
    assert first == b'{"a":{"id":41555526}}'
    assert b'"phone":41555526' not in second


@pytest.mark.parametrize(
    ("key", "value"),
    [(b"id", b"4012888888881881"), (b"version", b"93.184.216.34"), (b"via", b"to 93.184.216.34")],
)
def test_a_value_that_a_key_denies_is_found_where_none_does(key: bytes, value: bytes) -> None:
    """What is an id, a version or a product by its key is a card or an address under another key."""
    _, second = replaced(b'{"%b":"%b"}' % (key, value), b'{"note":"%b"}' % value)
    assert value not in second


def test_a_hash_of_a_known_value_does_not_pass() -> None:
    """A SHA-1 of a login is replaced where other hashes at the same place pass."""
    known = b"d3bda4a98e0f3ff2d0b5d1a9c1d7a8ac9b3a0a5e"
    login = hashlib.sha1(b"octocat-1").hexdigest().encode()
    out = replaced(b'{"login":"octocat-1","sha":"%b"}' % known, b'{"login":"octocat-1","sha":"%b"}' % login)
    assert known in out[0]
    assert login not in out[1]


def test_text_in_hex_does_not_pass() -> None:
    """Forty hex digits that spell a known address are no hash."""
    text = b"jane.doe@corp.io,abc"
    out = replaced(
        b'{"email":"jane.doe@corp.io","sha":"6113728f27ae82c7b1a177c8d03f9e96e0adf246"}',
        b'{"email":"jane.doe@corp.io","sha":"%b"}' % text.hex().encode(),
    )
    assert text[:16].hex().encode() not in out[1]


def test_strings_that_differ_are_looked_at_one_by_one() -> None:
    """Of documents that are alike but for some words each known value goes, and is counted by its kind."""
    note = b'{"login":"octocat-%d","id":12,"url":"https://x.io/build-%d/%d","note":"\\"%b\\" said %b"}'
    numbers = [note % (1, 70, 5, b"ab12", b"cd"), note % (1, 71, 6, b"cd34", b"ad")]
    documents = [*numbers * 3, note % (1, 72, 7, b"face", b"fe")]
    known = note % (2, 72, 7, b"face", b"fe")
    table = PseudonymTable(PRF, Policy())
    collecting = Scrubber(PRF, Policy(), table)
    for data in (*documents, known):
        assert collecting.document(data) == (data, None)
    assert set(table.spellings) == {b"octocat-1", b"octocat-2"}
    table.freeze()
    scrubber = Scrubber(PRF, Policy(), table, Literals(table, Policy()), collecting.layouts)
    for data in (*documents, known):
        found = scrubber.document(data)
        assert found is not None
        assert found[0] == splice(data, scrubber.json(data))
        assert b"octocat" not in found[0]
        assert found[1] is not None
        assert found[1].named("body", bytes.decode) == {("body.login", "username"): 1}


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":"\x01"}',
        b'{"a":b,"c":1}',
        b'{"a":"b',
        b'{"a":1 2}',
        b'{"a":t1rue}',
        b'{"a":1.2.3}',
        b'{\\"a":1}',
    ],
)
def test_what_is_not_quite_json_is_left_to_a_scan(data: bytes) -> None:
    """Stray text, cut strings and marks of our own are not looked up, also where the next thing was one."""
    scrubber = scrubbers()[0]
    for known in (b'{"a":12}', b'{"a": 12}', b'{"a":true}', b'{"a":1.2}', b'{"a":"b"}'):
        assert scrubber.document(known) is not None
    assert scrubber.document(data) is None


@pytest.mark.parametrize(
    ("before", "data"),
    [
        (b'{"note":"x"}', b'{"note":"call \\"jane.doe@corp.io\\""}'),
        (b'{"note":"a\\\\"}', b'{"note":"jane.doe@corp.io\\\\","a":"b"}'),
        (b'{"x\\"y":1}', b'{"x\\"jane.doe@corp.io":1}'),
        (b'{"at":{"lat":1.2345678}}', b'{"at":{"lat":-48.8566969}}'),
        (b'{"t":1234567890,"phone":1}', b'{"t":1,"phone":4155552671}'),
    ],
)
def test_escapes_and_numbers_are_looked_at_like_all_else(before: bytes, data: bytes) -> None:
    """What is beside an escaped quote or is a number under a telling key is replaced at once and later."""
    first, _, second = replaced(data, before, data)
    assert first == second
    for value in (b"jane.doe", b"48.8566969", b"4155552671"):
        assert value not in first
    assert len(json.loads(first)) == len(json.loads(data))


@pytest.mark.parametrize("kind", ["date", "uuid"])
def test_a_policy_that_replaces_what_passes_has_no_quick_way(kind: str) -> None:
    """Where UUIDs or times are replaced, every leaf is looked at."""
    policy = parse_policy({"kinds": {kind: "pseudonymise"}}, name="p")
    assert Scrubber(PRF, policy, PseudonymTable(PRF, policy)).document(b'{"a":1}') is None
