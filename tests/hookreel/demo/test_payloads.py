from __future__ import annotations

import json
import random

import pytest

from hookreel.demo.payloads import github_body, slack_body, stripe_body
from hookreel.demo.people import fake_people

PERSON = fake_people(1, 9)[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: github_body("push", "acme", PERSON, random.Random(1)),
        lambda: github_body("pull_request", "acme", PERSON, random.Random(1)),
        lambda: github_body("issues", "acme", PERSON, random.Random(1)),
        lambda: github_body("deployment", "acme", PERSON, random.Random(1)),
        lambda: stripe_body("charge.succeeded", "evt_1", 1, PERSON, random.Random(1)),
        lambda: stripe_body("customer.updated", "evt_1", 1, PERSON, random.Random(1)),
        lambda: slack_body("message", "Ev1", 1, PERSON, random.Random(1)),
        lambda: slack_body("team_join", "Ev1", 1, PERSON, random.Random(1)),
    ],
)
def test_a_body_repeats_and_holds_its_persons_mail_address(make):
    """Each event is the same for the same random state and names the person it is about."""
    assert make() == make()
    assert PERSON.email in json.dumps(make())
