"""What a review needs of the machine: processes, sockets and a clock, behind one small protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from replayer.review.children import run_command

RunReplay = Callable[[Sequence[str]], tuple[int, str, str]]
"""Runs ``hookreel replay`` with these words: exit code, standard output, last line of standard error."""


class Tools(Protocol):
    """What a review needs of the machine; the command line has the real ones, tests others."""

    def replay(self, words: Sequence[str]) -> tuple[int, str, str]:
        """Run ``hookreel replay WORDS``: exit code, standard output, last line of standard error."""

    def before(self, words: Sequence[str]) -> int:
        """Run the user's command that restores state; its exit code."""

    def await_target(self, url: str) -> None:
        """Return once the target accepts connections; raises HookreelError when it does not."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def monotonic_s(self) -> float:
        """A clock that never goes back."""


class RealTools:
    """Processes, sockets and the clock of this machine; what the user's command says goes to ``log``."""

    def __init__(self, run_replay: RunReplay, log: Path, await_target: Callable[[str], None]) -> None:
        self._run_replay, self._log, self._await_target = run_replay, log, await_target

    def replay(self, words: Sequence[str]) -> tuple[int, str, str]:
        """Run ``hookreel replay WORDS`` in a process of its own."""
        return self._run_replay(words)

    def before(self, words: Sequence[str]) -> int:
        """Run the user's command."""
        return run_command(words, self._log)[0]

    def await_target(self, url: str) -> None:
        """Return once the target accepts connections."""
        self._await_target(url)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def monotonic_s(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()
