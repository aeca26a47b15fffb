"""
Why a run ended before its schedule did.

Whatever the reason, a run of which something was sent is written with what was measured, and INVALID
(exit code 4), be it our own failure; only one of which nothing was sent is none (exit code 1).
"""

from __future__ import annotations

import traceback
from pathlib import Path

from captures.errors import HookreelError


def why_stopped(error: Exception) -> str:
    """
    Why a run ended early, in a few words.

    Of an error that nobody foresaw only the kind and place are told: its text could quote a request.
    """
    if isinstance(error, HookreelError):
        return str(error).rstrip(".")
    last = traceback.extract_tb(error.__traceback__)[-1:]
    places = [f" at {Path(frame.filename).name}:{frame.lineno}" for frame in last]
    return f"it failed unexpectedly ({type(error).__name__}{''.join(places)})"
