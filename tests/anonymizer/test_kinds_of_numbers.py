"""Accounts, ids, places and times go through a whole anonymization and stay coherent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from stdnum import iban

from anonymizer.detectors.base import Kind
from anonymizer.policy import Action, Policy

PERSON = {
    "name": "Hope Summer",
    "email": "hope.summer@corpnine.io",
    "iban": "DE89 3704 0044 0532 0130 00",
    "ssn": "078-05-1123",
    "dob": "1985-04-12",
    "ip": 3232235796,
    "mac": "00:1B:44:11:3A:B7",
    "position": {"lat": 52.520008, "lng": -13.404954},
}
NOTE = (
    "Hope Summer, born on 1985-04-12, DE89370400440532013000, host 192.168.1.20, "
    "card 001b.4411.3ab7, at 52.520008, -13.404954, ssn 078051123, see summer-sale and hope"
)


@pytest.fixture
def bodies(through: Any) -> Any:
    def run(policy: Policy | None = None, **document: Any) -> Any:
        return json.loads(through(body=json.dumps(document).encode(), policy=policy).request.body)

    return run


def test_one_value_has_one_stand_in_in_every_spelling(bodies: Any) -> None:
    """What is told by its key is replaced in prose too, in whatever way it is written there."""
    new = bodies(person=PERSON, note=NOTE)
    person, note = new["person"], new["note"]
    account = person["iban"].replace(" ", "")
    assert iban.is_valid(account, check_country=False)
    assert account in note
    assert person["dob"] in note
    assert f"{person['ip'] >> 8 & 255}.{person['ip'] & 255}" in note
    assert person["mac"].replace(":", "").lower() in note.replace(".", "")
    assert str(person["position"]["lat"]) in note
    assert person["ssn"].replace("-", "") in note
    assert person["name"] in note
    for original in ("Hope", "Summer,", "3704", "078", "1985-04", "168.1.20", "3ab7", "520008", "404954"):
        assert original not in json.dumps(new)


def test_parts_of_a_name_that_are_words_stay_elsewhere(bodies: Any) -> None:
    """A full name of English words is replaced, the words by themselves are not."""
    note = bodies(person=PERSON, note=NOTE)["note"]
    assert note.endswith("see summer-sale and hope")


def test_places_can_be_made_coarse(bodies: Any) -> None:
    """The mask of a coordinate leaves its first decimal."""
    policy = Policy(actions={Kind.GEO: Action.MASK})
    assert bodies(policy, lat=52.520008, lng="-13.404954") == {"lat": 52.5, "lng": "-13.400000"}


RUN = "f81d4fae-7dec-41d0-a765-00a0c91e6bf6"


def test_identifiers_and_times_stay_by_default(bodies: Any) -> None:
    """Without a policy they are left as they are."""
    document = {"id": RUN, "user_id": 21031067, "created_at": "2024-03-01T10:00:00Z", "exp": 1709287200}
    assert bodies(**document) == document


def test_identifiers_are_replaced_on_request(through: Any) -> None:
    """The same identifier gets the same stand-in in a path, a body and a header."""
    policy = Policy(actions={Kind.UUID: Action.PSEUDONYMISE, Kind.ID: Action.PSEUDONYMISE})
    new = through(
        target=f"/runs/{RUN}?of=usr_4eC39HqL".encode(),
        headers=((b"X-Run", RUN.upper().encode()),),
        body=json.dumps({"run_id": RUN, "user_id": "usr_4eC39HqL", "id": 21031067}).encode(),
        policy=policy,
    )
    body = json.loads(new.request.body)
    assert new.request.target == f"/runs/{body['run_id']}?of={body['user_id']}".encode()
    assert new.request.headers[0][1] == body["run_id"].upper().encode()
    assert body["run_id"] != RUN
    assert (body["run_id"][14], body["user_id"][:4]) == ("4", "usr_")
    assert len(str(body["id"])) == 8
    assert body["id"] != 21031067


def test_times_move_alike_on_request(bodies: Any) -> None:
    """Written dates, counted seconds and the times inside identifiers move by the same weeks."""
    policy = Policy(actions={Kind.DATE: Action.PSEUDONYMISE, Kind.ID: Action.PSEUDONYMISE})
    new = bodies(
        policy,
        created_at="2024-03-01T10:00:00Z",
        exp=1709287200,
        updated="Fri, 01 Mar 2024 10:00:00 GMT",
        id="1174000000000000000",
    )
    days = (1709287200 - new["exp"]) / 86_400
    assert days == int(days)
    assert days % 7 == 0
    assert 26 * 7 <= days < 130 * 7
    assert new["created_at"].endswith("T10:00:00Z")
    assert new["updated"].startswith("Fri, ")
    assert new["updated"].endswith(" 10:00:00 GMT")
    assert (1174000000000000000 >> 22) - (int(new["id"]) >> 22) == days * 86_400_000


def test_own_domains_without_an_address(bodies: Any) -> None:
    """A host under a domain that the policy names changes though nobody's address is in it."""
    policy = Policy(own_domains=("corpnine.io",))
    url = bodies(policy, url="https://api.corpnine.io/v1")["url"]
    assert url.startswith("https://api.")
    assert url.endswith(".example.com/v1")
    assert "corpnine" not in url


def test_an_address_in_the_other_versions_spelling_is_the_same(bodies: Any) -> None:
    """::ffff:81.2.69.160 is 81.2.69.160, and both have one stand-in."""
    new = bodies(one="81.2.69.160", two="::ffff:81.2.69.160")
    assert new["two"] == f"::ffff:{new['one']}"
    assert new["one"] != "81.2.69.160"
