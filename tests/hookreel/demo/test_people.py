from __future__ import annotations

from hookreel.demo.people import fake_people


def test_the_same_seed_gives_the_same_distinct_people():
    """People repeat with their seed, differ with another, and no two share a name or an address."""
    people = fake_people(60, 3)
    assert people == fake_people(60, 3)
    assert people != fake_people(60, 4)
    for values in (
        {person.full_name for person in people},
        {person.email for person in people},
        {person.login for person in people},
        {person.ip for person in people},
        {person.phone for person in people},
    ):
        assert len(values) == 60
