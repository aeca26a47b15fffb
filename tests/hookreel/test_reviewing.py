"""The command ``review`` as the front door puts it together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from captures.errors import UsageError
from hookreel.replaying import replay

SAMPLE = Path(__file__).parents[2] / "captures" / "samples" / "workflow-engine.reel"


def test_what_a_review_asks_before_it_begins_is_answered_with_kept_answers_too() -> None:
    """It rehearses with the options of its replays and no file, as nothing will be written."""
    words = [str(SAMPLE), "--target", "http://127.0.0.1:1", "--keep-bodies", "all"]
    told = CliRunner().invoke(replay, [*words, "--dry-run", "--json"], catch_exceptions=False)
    assert told.exit_code == 0
    assert json.loads(told.stdout)["exchanges"] > 0
    with pytest.raises(UsageError, match="name its file"):
        CliRunner().invoke(replay, words, catch_exceptions=False)
