"""Rules: what a file says is read, what it says wrongly is named."""

from __future__ import annotations

import pytest

from captures.errors import UsageError
from replayer.review.answers import Part
from replayer.review.noise_rules import Rule, read_rules


def test_rules_are_read(tmp_path):
    """Each table is one rule; a tolerance is a share or a number."""
    path = tmp_path / "rules.toml"
    path.write_text(
        '[[rule]]\npath = "$.items[*].at"\nendpoint = "GET /a/*"\nignore = true\n'
        '[[rule]]\npath = "$.total"\ntolerance = "1%"\n'
        '[[rule]]\npath = "$.score"\ntolerance = 0.5\nunordered = true\n'
    )
    assert read_rules(path) == (
        Rule(path="$.items[*].at", endpoint="GET /a/*", ignore=True),
        Rule(path="$.total", tolerance=(0.01, 0.0)),
        Rule(path="$.score", tolerance=(0.0, 0.5), unordered=True),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[rule]\n", "is no TOML"),
        ("", "holds no"),
        ("rule = 1", "holds no"),
        ("rule = [1]", "Rule 1 of .* is no table"),
        ('[[rule]]\npath = "$.a"\nignore = true\nother = 1', "has 'other'"),
        ("[[rule]]\nignore = true", "has no path"),
        ('[[rule]]\npath = "$.a"', "changes nothing"),
        ('[[rule]]\npath = "$.a"\nignore = "yes"', "true or false"),
        ('[[rule]]\npath = "$.a"\ntolerance = -1', "a tolerance is"),
        ('[[rule]]\npath = "$.a"\ntolerance = nan', "a tolerance is"),
        ('[[rule]]\npath = "$.a"\ntolerance = inf', "a tolerance is"),
        (f'[[rule]]\npath = "$.a"\ntolerance = {10**400}', "a tolerance is"),
        (f'[[rule]]\npath = "$.a"\ntolerance = 1{"0" * 5_000}', "is no TOML"),
        (f"rule = {'[' * 5_000}", "is no TOML"),
        ('[[rule]]\npath = "$.a"\ntolerance = true', "a tolerance is"),
        ('[[rule]]\npath = "$.a"\ntolerance = "x%"', "is not a share"),
    ],
)
def test_a_wrong_rule_is_named(tmp_path, text, words):
    """One sentence says which rule is wrong and what to write."""
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        read_rules(path)


def test_an_absent_file_is_named(tmp_path):
    """A misspelt name is wrong usage."""
    with pytest.raises(UsageError, match="cannot be read"):
        read_rules(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("rule", "part", "path", "covered"),
    [
        ("$.items[*].at", Part.BODY, "$.items[*].at", True),
        ("$.items[*].at", Part.BODY, "$.items.at", False),
        ("$.items", Part.BODY, "$.items[*].at", True),
        ("$.items", Part.BODY, "$.items2", False),
        ("$.*.at", Part.BODY, "$.a.b.at", True),
        ('$["a b"]', Part.BODY, '$["a b"]', True),
        ("header:etag", Part.HEADER, "etag", True),
        ("header:x-*", Part.HEADER, "x-cache", True),
        ("status", Part.STATUS, "", True),
        ("status", Part.BODY, "$.status", False),
    ],
)
def test_a_path_covers_what_it_names(rule, part, path, covered):
    """``[*]`` is itself, other stars are anything, and what is ignored is so with all under it."""
    assert Rule(path=rule, ignore=True).covers(part, path) is covered
