"""Points in time move by whole days and keep their spelling."""

from __future__ import annotations

import base64
import datetime as dt
import json
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from anonymizer import times
from anonymizer.policy import parse_policy


@pytest.mark.parametrize(
    ("text", "days", "expected"),
    [
        (b"2024-03-01T10:00:00.250Z", -7, b"2024-02-23T10:00:00.250Z"),
        (b"2024-03-01", -7, b"2024-02-23"),
        (b"05 Mar 2024 08:12:31 GMT", -7, b"27 Feb 2024 08:12:31 GMT"),
        (b"05-Mar-2024 08:12:31 GMT", -7, b"27-Feb-2024 08:12:31 GMT"),
        (b"1557933565", -7, b"1557328765"),
        (b"1557933565123", -7, b"1557328765123"),
        (b"1557933565.000200", -7, b"1557328765.000200"),
        (b"2024-02-31T10:00:00Z", -7, b"2024-02-31T10:00:00Z"),
        (b"soon", -7, b"soon"),
        (b"2024-03-01", 0, b"2024-03-01"),
    ],
)
def test_shifted(text: bytes, days: int, expected: bytes) -> None:
    """The date moves, the time of day, its zone and the fraction stay; what is no date stays whole."""
    assert times.shifted(text, days) == expected


def ulid(milliseconds: int) -> str:
    """The ten characters that say ``milliseconds`` since 1970 in a ULID."""
    bits = f"{milliseconds:050b}"
    return "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[int(bits[at : at + 5], 2)] for at in range(0, 50, 5))


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_all_times_of_a_capture_move_alike(through: Any) -> None:
    """Claims of a token, the Date header, times in a body and inside of identifiers keep their distances."""
    now = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
    seconds = int(now.timestamp())
    claims = {"sub": "wthackeray", "iat": seconds, "nbf": seconds - 5, "exp": seconds + 3600}
    token = f"{segment({'alg': 'HS256'})}.{segment(claims)}.c2ln"
    milliseconds = seconds * 1_000
    uuid7 = f"{milliseconds:012x}"
    body = {
        "created_at": now.isoformat(),
        "expires": seconds + 60,
        "event_id": f"{uuid7[:8]}-{uuid7[8:]}-7abc-8def-0123456789ab",
        "user_id": str(milliseconds << 22 | 77),
        "order_id": ulid(milliseconds) + "V4RRFFQ69G5FAV0Z",
        "parent_id": ulid(milliseconds - 1_500).lower() + "v4rrffq69g5fav0z",
    }
    policy = parse_policy({"kinds": dict.fromkeys(("date", "uuid", "id"), "pseudonymise")}, name="times")
    one = through(
        policy=policy,
        headers=(
            (b"Date", now.strftime("%a, %d %b %Y %H:%M:%S GMT").encode()),
            (b"Authorization", b"Bearer " + token.encode()),
            (b"Content-Type", b"application/json"),
        ),
        body=json.dumps(body).encode(),
    )
    (_, date), (_, bearer), _ = one.request.headers
    new_now = parsedate_to_datetime(date.decode())
    moved = int((new_now - now).total_seconds())
    new_claims = json.loads(base64.urlsafe_b64decode(bearer.split(b".")[1] + b"=="))
    new = json.loads(one.request.body)
    assert moved % (7 * 86_400) == 0
    assert moved < 0
    assert {name: new_claims[name] - claims[name] for name in ("iat", "nbf", "exp")} == dict.fromkeys(
        ("iat", "nbf", "exp"), moved
    )
    assert dt.datetime.fromisoformat(new["created_at"]) == new_now
    assert new["expires"] - body["expires"] == moved
    assert int(new["event_id"].replace("-", "")[:12], 16) == milliseconds + moved * 1_000
    assert int(new["user_id"]) >> 22 == milliseconds + moved * 1_000
    assert new["order_id"][:10] == ulid(milliseconds + moved * 1_000)
    assert new["parent_id"][:10] == ulid(milliseconds - 1_500 + moved * 1_000).lower()
    assert len(new["order_id"]) == 26
    assert new["order_id"][10:] != "V4RRFFQ69G5FAV0Z"


def test_a_ulid_moves_with_its_milliseconds() -> None:
    """The example of its specification moves by a day, whatever it moves over."""
    value = b"01ARZ3NDEKTSV4RRFFQ69G5FAV"
    assert times.shifted_ulid(value, 0) == value[:10]
    assert times.shifted_ulid(value, 1) == ulid(1_469_922_850_259 + 86_400_000).encode()
    assert times.shifted_ulid(b"7ZZZZZZZZZ" + value[10:], 1) == ulid(86_400_000 - 1).encode()
