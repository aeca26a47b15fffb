"""Fresh ids: another one for each run and instance, the same one within it, the same shape everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.bodies.coding import decode, encode
from captures.model import Exchange, SignatureScheme, SigningRecipe
from replayer.credentials import Keyring
from replayer.fresh_ids import FreshIds

Make = Callable[..., Exchange]
DELIVERY = b"72d3162e-cc78-11e3-81ab-4c9367dc0958"
JSON = (b"Content-Type", b"application/json")


def made(key: bytes, **more: Any) -> FreshIds:
    return FreshIds(key, signs=Keyring().signs, **more)


def test_an_id_changes_alike_wherever_it_stands(exchange: Make) -> None:
    """In its header, in the body and in a later request's path; the next instance has another one."""
    fresh = made(b"key")
    body = b'{"n": 1.10, "delivery_id": "%b", "text": "no id: %b"}' % (DELIVERY, DELIVERY)
    delivery = exchange(0, headers=((b"X-GitHub-Delivery", DELIVERY), JSON), body=body)
    look = exchange(1, target=b"/deliveries/" + DELIVERY + b"?x=1")
    stranger = exchange(2, target=b"/deliveries/11111111-cc78-11e3-81ab-4c9367dc0958")
    first, second, third = (fresh(one, 0).request for one in (delivery, look, stranger))
    new = first.headers[0][1]
    assert new != DELIVERY
    assert first.body == body.replace(DELIVERY, new)
    assert second.target == b"/deliveries/" + new + b"?x=1"
    assert third == stranger.request
    assert fresh(delivery, 1).request.headers[0][1] not in {DELIVERY, new}
    assert fresh.replaced == 3


@pytest.mark.parametrize(
    ("coding", "template"),
    [
        (b"gzip", b'{"event_id": "%b", "n": 1}'),
        (b"br", b'{"event_id": "%b", "n": 1}'),
        (b"", b"From=%%2B1555&MessageSid=%b&Body=hi"),
        (b"", b"event_id=%b"),
    ],
)
def test_ids_are_fresh_in_packed_bodies_and_forms(exchange: Make, coding: bytes, template: bytes) -> None:
    """Header and body of a delivery say the same new id, in the body's own coding."""
    headers = ((b"X-GitHub-Delivery", DELIVERY), *(((b"Content-Encoding", coding),) if coding else ()))
    one = exchange(0, headers=headers, body=encode(template % DELIVERY, coding))
    sent = made(b"key")(one, 0).request
    new = sent.headers[0][1]
    assert new != DELIVERY
    assert decode(sent.body, coding) == template % new
    bare = exchange(1, headers=headers[1:], body=encode(template % DELIVERY, coding))
    assert decode(made(b"key")(bare, 0).request.body, coding) == template % new


def test_a_packed_body_without_ids_stays_as_it_was(exchange: Make) -> None:
    """It is not packed anew, whoever packed it."""
    packed = encode(b'{"n": 1}', b"gzip").replace(b"\x1f\x8b\x08\x00", b"\x1f\x8b\x08\x01", 1)
    one = exchange(0, headers=((b"X-GitHub-Delivery", DELIVERY), (b"Content-Encoding", b"gzip")), body=packed)
    assert made(b"key")(one, 0).request.body == packed


def test_runs_differ_and_repeat(exchange: Make) -> None:
    """The key decides: another run has other ids, the same key the same ones."""
    one = exchange(0, headers=((b"Idempotency-Key", b"order-2026-0001"),))
    values = [made(key)(one, 0).request.headers[0][1] for key in (b"a", b"b", b"a")]
    assert values[0] == values[2] != values[1]
    assert re.fullmatch(rb"[a-z]{5}-\d{4}-\d{4}", values[0])


@pytest.mark.parametrize(
    ("old", "shape"),
    [
        (DELIVERY, rb"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}"),
        (b"evt_1NG8Du2eZvKYlo2CUI79vXWy", rb"evt_[1-9][A-Z]{2}[1-9].{20}"),
        (b"01HZY3QZ7K4R8V2M5N6P9S0T1W", rb"01HZY3QZ7K[0-9A-HJKMNP-TV-Z]{16}"),
        (b"msg_0a1b2c3d4e5f6a7b", rb"msg_[0-9a-f]{16}"),
        (b"1234567890", rb"[1-9]{9}[0-9]"),
        (b"SM0a1b2c3d4e5f60718293a4b5c6d7e8f9", rb"SM[0-9a-f]{32}"),
    ],
)
def test_the_shape_of_an_id_is_kept(old: bytes, shape: bytes) -> None:
    """Length, prefix, UUID version and variant, a ULID's time, hex, digits."""
    new = made(b"key").fresh(old, 3)
    assert new != old
    assert re.fullmatch(shape, new)


@given(st.from_regex(rb"[A-Za-z0-9_.:-]{8,60}", fullmatch=True), st.integers(0, 10**6))
def test_any_id_keeps_length_and_kinds_of_characters(old: bytes, instance: int) -> None:
    """What is no letter or digit stays where it was."""
    new = made(b"key").fresh(old, instance)
    assert len(new) == len(old)
    assert [(at, byte) for at, byte in enumerate(new) if not bytes((byte,)).isalnum()] == [
        (at, byte) for at, byte in enumerate(old) if not bytes((byte,)).isalnum()
    ]


def test_a_hundred_thousand_instances_do_not_meet() -> None:
    """Ids of different instances are different."""
    fresh = made(b"key")
    assert len({fresh.fresh(DELIVERY, instance) for instance in range(100_000)}) == 100_000


def test_what_the_target_mints_and_what_is_signed_as_recorded_stay(exchange: Make) -> None:
    """A kept value is no id of the client; a signature that nobody makes anew must still fit."""
    one = exchange(0, headers=((b"X-Request-Id", b"run_4f81a9c2d3e0b7"),))
    assert made(b"key", kept=[b"run_4f81a9c2d3e0b7"])(one, 0) == one
    signature = (b"X-Hub-Signature-256", b"sha256=" + b"a" * 64)
    signed = exchange(0, headers=((b"X-GitHub-Delivery", DELIVERY), signature))
    assert made(b"key")(signed, 0) == signed
    for ring, changes in [
        (Keyring(by_scheme={SignatureScheme.SHOPIFY: b"s"}), False),
        (Keyring(by_scheme={SignatureScheme.GITHUB: b"s"}), True),
        (Keyring(by_endpoint={"POST /": b"s"}), False),
        (Keyring(by_endpoint={"GET /other": b"s", "GET /": b"s"}), True),
    ]:
        assert (FreshIds(b"key", signs=ring.signs)(signed, 0) != signed) is changes
    recipe = SigningRecipe(scheme=SignatureScheme.GITHUB, header=signature[0])
    assert made(b"key")(replace(signed, signing=recipe), 0) != signed  # its signature is a stand-in


def test_an_id_is_no_part_of_a_longer_word(exchange: Make) -> None:
    """Amounts and times that begin with its digits stay, and so does a longer id."""
    body = (
        b'{"event_id":"10000000","amount":100000000,"ts":1710000000123,"ref":"a-10000000/b","x":"10000000"}'
    )
    one = exchange(0, target=b"/e/10000000", headers=((b"X-Ref", b"n10000000 10000000"), JSON), body=body)
    sent = made(b"key")(one, 0).request
    new = made(b"key").fresh(b"10000000", 0)
    assert sent.target == b"/e/" + new
    assert sent.headers[0][1] == b"n10000000 " + new
    assert sent.body == body.replace(b'"10000000"', b'"%b"' % new).replace(b"a-10000000", b"a-" + new)


def test_the_longer_of_two_ids_is_meant(exchange: Make) -> None:
    """An id that begins with another one is that one in no run, however a set is ordered."""
    ids = [b"order-1001" + b"-x1" * more for more in range(6)]
    names = (b"Webhook-Id", b"Svix-Id", b"X-Event-Id", b"X-Request-Id", b"Ce-Id", b"X-Message-Id")
    headers = tuple(zip(names, ids, strict=True))
    sent = made(b"key")(exchange(0, headers=headers), 0).request
    assert [value for _, value in sent.headers] == [made(b"key").fresh(one, 0) for one in ids]


def test_plain_words_are_no_ids(exchange: Make) -> None:
    """A header of that name without a digit, or a short one, is left alone."""
    one = exchange(0, headers=((b"X-Request-Id", b"health-check"), (b"Webhook-Id", b"a1")))
    assert made(b"key")(one, 0) == one


def test_a_replay_has_ids_of_its_own(command: Any, serve: Any, exchange: Make, capture: Any) -> None:
    """Two replays and two copies send four different ids; --keep-ids sends the recorded one."""
    path: Path = capture([exchange(0, headers=((b"Host", b"h"), (b"X-GitHub-Delivery", DELIVERY)))])
    limits = ("--lag-p99", "1s", "--lag-max", "5s", "--rate-error", "100%", "--stagger", "10ms")
    server = serve()
    for _ in range(2):
        assert command(path, "--target", server.url, "--copies", "2", *limits).exit_code == 0
    ids = [dict(seen.request.headers)[b"X-GitHub-Delivery"] for seen in server.seen]
    assert len({DELIVERY, *ids}) == 5
    assert command(path, "--target", server.url, "--keep-ids", *limits).exit_code == 0
    assert dict(server.seen[-1].request.headers)[b"X-GitHub-Delivery"] == DELIVERY
