"""Secrets by the published formats: each found whole, alone and as the value of its key."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from anonymizer.detectors import secrets, tokens
from anonymizer.detectors.base import Context
from anonymizer.detectors.registry import Detectors
from anonymizer.detectors.secret_rules import entropy_bits, rules

HEX = "9f86d081884c7d659a2feaa0c55ad015"


def values(find: Any, text: str, **context: Any) -> list[str]:
    data = text.encode()
    return [data[found.start : found.stop].decode() for found in find(data, Context(**context))]


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        (f'datadog_key = "{HEX}9f86d081"', {}, [f"{HEX}9f86d081"]),
        (f"{HEX}9f86d081", {"key": "datadog_key"}, [f"{HEX}9f86d081"]),
        (f"{HEX}9f86d081", {"key": "value", "parent": "datadog"}, [f"{HEX}9f86d081"]),
        (f"dapi{HEX}", {}, [f"dapi{HEX}"]),
        ("dp.pt." + "a1B2c3D" * 6 + "x", {}, ["dp.pt." + "a1B2c3D" * 6 + "x"]),
        ("use hf_" + "qwertyGHIJKLmnopqrSTUVWXyzabcdEFGH", {}, ["hf_qwertyGHIJKLmnopqrSTUVWXyzabcdEFGH"]),
        (
            "curl -u deploy:q9Wz-77Lm https://api.test/x",
            {},
            ["deploy:q9Wz-77Lm"],
        ),
        (
            "FLWSECK_TEST-ea1a2fc6e47ef4b30dc1f73638095044-X",
            {},
            ["FLWSECK_TEST-ea1a2fc6e47ef4b30dc1f73638095044-X"],
        ),
        (f"{HEX}9f86d081", {"key": "head_sha"}, []),
        (f"{HEX}9f86d081", {}, []),
        ("datadog is a service for metrics and logs", {}, []),
        ("https://api.test/repos/x/keys{/key_id}", {"key": "keys_url"}, []),
        ("${DATADOG_KEY}", {"key": "datadog_key"}, []),
        ("123456789012345678", {"key": "discord_client_id", "number": True}, []),
        ("short", {"key": "datadog_key"}, []),
    ],
)
def test_secrets(text: str, context: dict[str, Any], expected: list[str]) -> None:
    """The format and the service beside it decide; hashes, prose and placeholders are none."""
    assert values(secrets.find, text, **context) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "https://hooks.slack.com/services/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",
            ["T0A1B2C3D/B0A1B2C3D/a1B2c3D4e5F6g7H8i9J0k1L2"],
        ),
        (
            "https://acme.webhook.office.com/webhookb2/f81d4fae-7dec-11d0-a765-00a0c91e6bf6@x/IncomingWebhook/9f",
            ["f81d4fae-7dec-11d0-a765-00a0c91e6bf6@x/IncomingWebhook/9f"],
        ),
        ("kind: Secret\ndata:\n  extra: YWRtaW46cGFzc3dvcmQ=\n", ["YWRtaW46cGFzc3dvcmQ="]),
        (f"Cookie: _gitlab_session={HEX}", [HEX]),
        (f"-----BEGIN PRIVATE KEY-----\n{HEX * 3}\n-----END PRIVATE KEY-----", [f"\n{HEX * 3}\n"]),
    ],
)
def test_what_is_around_a_secret_stays(text: str, expected: list[str]) -> None:
    """Of an address, a cookie or a key file only the secret part is found, so that its frame stays."""
    assert values(tokens.find, text) == expected


def test_a_secret_of_letters_alone_is_not_passed_over() -> None:
    """A token without a digit is found by all detectors together too."""
    text = b"api_org_" + b"tyPaPWrxMbPgowfFWjsYReAicXgRJmqCpQ"
    assert len(Detectors().find(text, Context())) == 1


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_each_family_is_in_the_automaton(rule: Any) -> None:
    """Each family has an exact pattern, and what the automaton has for it is no stricter."""
    assert rule.prefilter
    assert rule.pattern.pattern
    assert all(keyword == keyword.lower() for keyword in rule.keywords)
    assert not re.search(rb"\\z", rule.prefilter)


def readable(rule: Any) -> bool:
    """Whether Python reads the rule's pattern too, and as RE2 does."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            re.compile(rule.pattern.pattern)
        except (re.error, FutureWarning):
            return False
    return True


READABLE = [rule for rule in rules() if readable(rule)]


@settings(deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_a_family_matches_goes_through_the_automaton(data: st.DataObject) -> None:
    """Whatever text an exact pattern matches, the automaton, which asks for less, finds its family in it."""
    rule = data.draw(st.sampled_from(READABLE))
    pattern = rule.pattern.pattern.decode()
    text = data.draw(st.from_regex(pattern, alphabet=st.characters(max_codepoint=127))).encode()
    assume(rule.pattern.search(text))
    assert rule in secrets._candidates(text)


@pytest.mark.parametrize(
    "text",
    [
        f"kind: Secret\ndata:\n  extra: {HEX}\n",
        f"data:\n  extra: {HEX}\nkind: 'secret'\n",
        f"curl -H 'Authorization: Bearer {HEX}' https://api.test",
        f'curl https://api.test --header "X-Api-Key: {HEX}"',
        "curl https://api.test --user jane:9f86d081",
    ],
)
def test_families_that_are_told_by_their_gist_are_found_too(text: str) -> None:
    """Commands and manifests whose patterns are too large for the automaton go through it all the same."""
    assert values(secrets.find, text)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_no_long_repeat_is_counted_to_its_end(rule: Any) -> None:
    """The automaton asks for twelve of a kind at most and never counts a long repeat to its end."""
    for low, comma, high in re.findall(rb"\{(\d+)(,?)(\d*)\}", rule.prefilter):
        assert int(low) <= 12
        assert int(high or low) < 12 or (comma and not high)


def test_entropy() -> None:
    """Equal bytes tell nothing, and sixteen different ones four bits each."""
    assert entropy_bits(b"aaaa") == 0
    assert entropy_bits(bytes(range(16))) == 4
