"""Small JSON files of ours: kinds, versions and migrations."""

from __future__ import annotations

import pytest

from captures.errors import CaptureError, UsageError
from replayer.review.documents import read_document, write_document


def _read(path, newest=1, migrations=None):
    return read_document(path, kind="thing", newest=newest, migrations=migrations or {})


def test_values_come_back_and_replace_what_was_there(tmp_path):
    """The second writing leaves the second values and no other file."""
    path = tmp_path / "a.json"
    for value in (1, 2):
        write_document(path, kind="thing", format_=1, values={"value": value})
    assert _read(path)["value"] == 2
    assert list(tmp_path.iterdir()) == [path]


def test_old_versions_are_opened_by_one_step_migrations(tmp_path):
    """A file of version 1 read by version 3 goes through both steps, in order."""
    path = tmp_path / "a.json"
    write_document(path, kind="thing", format_=1, values={"trail": []})
    steps = {
        number: lambda values, number=number: {**values, "trail": [*values["trail"], number]}
        for number in (1, 2)
    }
    assert _read(path, newest=3, migrations=steps)["trail"] == [1, 2]
    with pytest.raises(CaptureError):
        _read(path, newest=3, migrations={1: steps[1]})


def test_values_that_break_a_migration_are_damage(tmp_path):
    """What is not of the version it names is no crash."""
    path = tmp_path / "a.json"
    write_document(path, kind="thing", format_=1, values={})
    with pytest.raises(CaptureError):
        _read(path, newest=2, migrations={1: lambda values: {"kind": "thing", "x": values["absent"]}})


def test_a_missing_file_is_a_mistake_of_the_user(tmp_path):
    """It says which file."""
    with pytest.raises(UsageError, match="absent"):
        _read(tmp_path / "absent")
