"""``hookreel review``: put together from the replay command and this Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import hookreel
from hookreel.replaying import replay
from replayer.review.children import run_command
from replayer.review.review_cli import review_command

_PACKAGE_ROOT = str(Path(hookreel.__file__).resolve().parents[1])


def run_replay(words: Sequence[str]) -> tuple[int, str, str]:
    """Run ``hookreel replay`` with this Python and this hookreel, installed or not, whatever is on PATH."""
    paths = os.pathsep.join(filter(None, (_PACKAGE_ROOT, os.environ.get("PYTHONPATH", ""))))
    command = (sys.executable, "-P", "-m", "hookreel", "replay", *words)
    return run_command(command, environment={**os.environ, "PYTHONPATH": paths})


review = review_command(replay, run_replay)
